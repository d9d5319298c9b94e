//! What an agent does about one Pod on its node, and what it says of it.
//!
//! ```text
//!  no sandbox ─▶ Create ─▶ init containers, one after the other ─▶ containers ─▶ restarts with back-off
//!  activeDeadlineSeconds ─▶ Stop each ─▶ Failed
//!  deletionTimestamp ─▶ its routes are withdrawn and its requests finished ─▶ Stop each ─▶ Remove ─▶ Forget (the object goes)
//! ```

mod deadline;
mod expansion;
mod health;
mod resource;
mod status;
pub mod template;
pub mod volumes;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};

pub use deadline::EXCEEDED;
pub use expansion::expand;
pub use health::{Health, ProbeKind, Probing, patience};
pub use resource::{Allocatable, resource_value};
pub use status::{why_ended, why_unready};

/// The wait before the first restart of a container that ended; it doubles with each further one.
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// The longest wait before a restart.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// How often it is looked whether a Pod that is being deleted still has requests.
pub const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// What of its grace a Pod that had requests keeps for its programs to end in, at least; half of the grace where that is less.
pub const GRACE_KEPT: Duration = Duration::from_secs(2);
/// A run at least this long is forgiven: the next restart waits the shortest time again.
pub const BACK_OFF_FORGIVEN: Duration = Duration::from_secs(600);

/// A container as a runtime shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// How often it was started.
    pub starts: u32,
    /// What it does.
    pub phase: Phase,
    /// How the run before ended.
    pub last_exit: Option<Exit>,
    /// The image it was last started from, with its digest.
    pub image_id: Option<String>,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It was never started.
    Created,
    /// It runs, since then.
    Running(Timestamp),
    /// It ended.
    Exited(Exit),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code.
    pub code: i32,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Why it could not be started, if so.
    pub reason: Option<String>,
    /// Whether it was ended for using more memory than it may.
    pub is_out_of_memory: bool,
}

/// Everything an agent knows of one Pod.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The object.
    pub pod: &'a Pod,
    /// The sandbox's containers; `None` when there is no sandbox.
    pub seen: Option<&'a [Seen]>,
    /// What the probes found, by container.
    pub health: &'a BTreeMap<String, Health>,
    /// The last lines that each ended container wrote.
    pub last_words: &'a BTreeMap<String, String>,
    /// What keeps the sandbox from being made or a container from being started, if something does.
    pub trouble: Option<&'a Trouble>,
    /// Whether requests may still be on their way to it, though it is being deleted.
    pub has_requests: bool,
    /// This node's address.
    pub address: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// Why a Pod cannot be started as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// A word for it: `CreateContainerConfigError`, `RunContainerError`.
    pub reason: String,
    /// What was tried, and what came of it.
    pub message: String,
}

/// What to do, and what to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to do now.
    pub acts: Vec<Act>,
    /// The Pod's status.
    pub status: PodStatus,
    /// When to look again even if nothing happens.
    pub wake_after: Option<Duration>,
}

/// One thing for the runtime to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Make the sandbox.
    Create,
    /// Start a container.
    Start(String),
    /// Stop a container, after its preStop hook when there is one.
    Stop {
        /// The container.
        container: String,
        /// How long it may take.
        grace: Duration,
        /// Why, for an event.
        reason: String,
    },
    /// Remove the sandbox.
    Remove,
    /// The Pod is gone from here: let its object go.
    Forget,
}

/// What to do next about a Pod.
pub fn plan(observed: &Observed) -> Plan {
    let status = status::status(observed);
    let (acts, wake_after) = if observed.pod.metadata.deletion_timestamp.is_some() { ending(observed) } else { running(observed) };
    Plan { acts, status, wake_after }
}

/// Whether every container of a Pod has an image, so that it is for a runtime that runs images unless it names one.
pub fn is_of_images(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    containers.all(|container| container.image.as_ref().is_some_and(|image| !image.is_empty()))
}

/// The longest that a container of this Pod may take to end.
pub fn grace(pod: &Pod) -> Duration {
    let wanted = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
    let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(wanted);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// What is left of the grace of a Pod that is being deleted. Its end is a whole second, which may be up to one too early.
pub fn grace_left(pod: &Pod, now: Timestamp) -> Duration {
    let whole = grace(pod);
    let Some(end) = &pod.metadata.deletion_timestamp else { return whole };
    let end = end.0.checked_add(Duration::from_secs(1)).unwrap_or(Timestamp::MAX);
    Duration::try_from(end.duration_since(now)).unwrap_or_default().min(whole)
}

/// Whether a Pod that is being deleted may still wait for its requests.
pub fn may_finish(pod: &Pod, now: Timestamp) -> bool {
    let whole = grace(pod);
    !whole.is_zero() && grace_left(pod, now) > GRACE_KEPT.min(whole / 2)
}

fn ending(observed: &Observed) -> (Vec<Act>, Option<Duration>) {
    let Some(seen) = observed.seen else { return (vec![Act::Forget], None) };
    let running: Vec<&Seen> = seen.iter().filter(|container| matches!(container.phase, Phase::Running(_))).collect();
    if running.is_empty() {
        return (vec![Act::Remove], None);
    }
    if observed.has_requests && may_finish(observed.pod, observed.now) {
        return (Vec::new(), Some(DRAIN_LOOK));
    }
    // What it waited for its requests is part of its grace.
    let grace = grace_left(observed.pod, observed.now).max(GRACE_KEPT.min(grace(observed.pod)));
    let reason = || "the pod is being deleted".to_owned();
    let stop = |container: &&Seen| Act::Stop { container: container.name.clone(), grace, reason: reason() };
    (running.iter().map(stop).collect(), None)
}

fn running(observed: &Observed) -> (Vec<Act>, Option<Duration>) {
    let Some(spec) = &observed.pod.spec else { return (Vec::new(), None) };
    let Some(seen) = observed.seen else {
        return if is_over(observed) { (Vec::new(), None) } else { (vec![Act::Create], None) };
    };
    if deadline::is_exceeded(observed) || deadline::ended(observed.pod) {
        return (deadline::stops(observed), None);
    }
    let mut turn = Turn { observed, spec, acts: Vec::new(), wake_after: deadline::left(observed) };
    for container in spec.init_containers.iter().flatten() {
        if !turn.init(container, seen) {
            return (turn.acts, turn.wake_after);
        }
    }
    for container in &spec.containers {
        // What comes after a container with a hook is started after the hook.
        if !turn.container(container, seen) {
            break;
        }
    }
    (turn.acts, turn.wake_after)
}

/// Whether a Pod has run to its end, so that it is not started again.
fn is_over(observed: &Observed) -> bool {
    let phase = observed.pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

struct Turn<'a> {
    observed: &'a Observed<'a>,
    spec: &'a PodSpec,
    acts: Vec<Act>,
    wake_after: Option<Duration>,
}

impl Turn<'_> {
    /// Brings an init container on; whether it has done its work.
    fn init(&mut self, container: &Container, seen: &[Seen]) -> bool {
        let Some(seen) = seen.iter().find(|seen| seen.name == container.name) else { return false };
        match &seen.phase {
            Phase::Created => self.acts.push(Act::Start(container.name.clone())),
            Phase::Running(_) => {}
            Phase::Exited(exit) if exit.code == 0 => return true,
            Phase::Exited(exit) if policy(self.spec) != "Never" => self.restart(seen, exit),
            Phase::Exited(_) => {}
        }
        false
    }

    /// Brings a container on; whether those after it may be started.
    fn container(&mut self, container: &Container, seen: &[Seen]) -> bool {
        let Some(seen) = seen.iter().find(|seen| seen.name == container.name) else { return true };
        match &seen.phase {
            Phase::Created => {
                self.acts.push(Act::Start(container.name.clone()));
                return !has_hook(container);
            }
            Phase::Running(_) => {
                let health = self.observed.health.get(&container.name);
                if health.is_some_and(|health| health.awaits_hook) {
                    return false;
                }
                if let Some(reason) = health.and_then(|health| health.restart.clone()) {
                    self.acts.push(Act::Stop { container: container.name.clone(), grace: grace(self.observed.pod), reason });
                }
            }
            Phase::Exited(exit) if restarts(self.spec, exit) => self.restart(seen, exit),
            Phase::Exited(_) => {}
        }
        true
    }

    fn restart(&mut self, seen: &Seen, exit: &Exit) {
        let wait = back_off(seen.starts, exit);
        let since = Duration::try_from(self.observed.now.duration_since(exit.finished)).unwrap_or_default();
        match wait.checked_sub(since).filter(|left| !left.is_zero()) {
            None => self.acts.push(Act::Start(seen.name.clone())),
            Some(left) => self.wake_after = Some(self.wake_after.map_or(left, |other| other.min(left))),
        }
    }
}

fn has_hook(container: &Container) -> bool {
    container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.post_start.is_some())
}

fn policy(spec: &PodSpec) -> &str {
    spec.restart_policy.as_deref().unwrap_or("Always")
}

/// Whether a container that ended so is started again.
fn restarts(spec: &PodSpec, exit: &Exit) -> bool {
    match policy(spec) {
        "Never" => false,
        "OnFailure" => exit.code != 0,
        _ => true,
    }
}

/// How long after its end a container is started again.
pub fn back_off(starts: u32, exit: &Exit) -> Duration {
    let ran = Duration::try_from(exit.finished.duration_since(exit.started)).unwrap_or_default();
    if ran >= BACK_OFF_FORGIVEN {
        return BACK_OFF_FIRST;
    }
    let doublings = starts.saturating_sub(1).min(16);
    BACK_OFF_FIRST.saturating_mul(1 << doublings).min(BACK_OFF_MAX)
}

#[cfg(test)]
mod tests;
