//! When to probe a container, and what its answers mean.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Probe;

/// Between first attempts, until a container answers for the first time, a readiness probe is tried this much sooner.
const EAGER_FIRST: Duration = Duration::from_millis(100);

/// What the probes of one container found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether it takes requests.
    pub ready: bool,
    /// Whether its startup probe has passed, or it has none.
    pub started: bool,
    /// What the last failed probe said.
    pub detail: String,
    /// Why it must be restarted, when its liveness or startup probe, or its postStart hook, says so.
    pub restart: Option<String>,
    /// Whether its postStart hook has yet to end, so that it is not told to run.
    pub awaits_hook: bool,
}

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Whether it has started.
    Startup,
    /// Whether it takes requests.
    Readiness,
    /// Whether it must be restarted.
    Liveness,
}

impl ProbeKind {
    /// As an event's message begins.
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// The course of one probe of one run of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probing {
    kind: ProbeKind,
    next: Timestamp,
    attempts: u32,
    in_a_row: u32,
    last: Option<bool>,
    passed: bool,
}

impl Probing {
    /// A probe of a container that runs since `started`. `passed` says that it was found well before we began to look.
    pub fn new(kind: ProbeKind, probe: &Probe, started: Timestamp, passed: bool) -> Self {
        let delay = seconds(probe.initial_delay_seconds, 0);
        let next = started.checked_add(delay).unwrap_or(Timestamp::MAX);
        Self { kind, next, attempts: 0, in_a_row: 0, last: None, passed }
    }

    /// When it is due.
    pub fn next(&self) -> Timestamp {
        self.next
    }

    /// Lets it wait: it is being tried, or not due yet.
    pub fn put_off(&mut self, now: Timestamp, by: Duration) {
        self.next = now.checked_add(by).unwrap_or(Timestamp::MAX);
    }

    /// What it is for.
    pub fn kind(&self) -> ProbeKind {
        self.kind
    }

    /// Takes an answer into account: what it means for the container, when it means something.
    pub fn answer(&mut self, probe: &Probe, passed: bool, detail: &str, now: Timestamp, health: &mut Health) {
        self.attempts = self.attempts.saturating_add(1);
        self.in_a_row = if self.last == Some(passed) { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(passed);
        let threshold = if passed { count(probe.success_threshold, 1) } else { count(probe.failure_threshold, 3) };
        if !passed {
            health.detail = detail.to_owned();
        }
        // A container that was never ready need not fail three times to be told so.
        let decided = self.in_a_row >= threshold;
        if decided {
            self.decide(passed, detail, health);
        }
        self.next = now.checked_add(self.pause(probe)).unwrap_or(Timestamp::MAX);
    }

    fn decide(&mut self, passed: bool, detail: &str, health: &mut Health) {
        self.passed |= passed;
        match (self.kind, passed) {
            (ProbeKind::Readiness, _) => health.ready = passed,
            (ProbeKind::Startup, true) => health.started = true,
            (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                health.restart = Some(format!("{} probe failed: {detail}", self.kind.word()));
            }
            (ProbeKind::Liveness, true) => {}
        }
        if passed && self.kind == ProbeKind::Readiness {
            health.detail.clear();
        }
    }

    fn pause(&self, probe: &Probe) -> Duration {
        let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
        if self.passed || self.kind == ProbeKind::Liveness {
            return period;
        }
        EAGER_FIRST.saturating_mul(1 << self.attempts.saturating_sub(3).min(10)).min(period)
    }
}

/// How long one attempt may take.
pub fn patience(probe: &Probe) -> Duration {
    seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1))
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
}

fn count(value: Option<i32>, default: u32) -> u32 {
    value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
}
