//! The counting, and how it is told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::connection::Answer;

/// Distinct answers that are counted apart; the rest are counted together.
const DISTINCT_MAX: usize = 8;
const DISTINCT_CHARS_MAX: usize = 64;
/// Steps in each doubling of time: a latency is off by at most 1/32.
const STEPS: u64 = 16;

/// What came back.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Requests begun.
    pub requests: u64,
    /// How long requests were begun.
    pub elapsed: Duration,
    /// Requests by what became of them: a status code, `connect`, `reset` or `timeout`.
    pub outcomes: BTreeMap<String, u64>,
    /// Whole answers by their `x-revision`, or else the first line of their body; at most eight, the rest as `(others)`.
    pub answers: BTreeMap<String, u64>,
    /// From when a request was due to its whole answer, failures included: half were faster.
    pub p50: Duration,
    /// 99 of 100 were faster.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

impl Outcome {
    pub(super) fn new(tally: Tally, elapsed: Duration) -> Self {
        Self {
            requests: tally.outcomes.values().sum(),
            elapsed,
            p50: tally.percentile(50),
            p99: tally.percentile(99),
            max: tally.max,
            outcomes: tally.outcomes.iter().map(|(key, count)| (key.to_string(), *count)).collect(),
            answers: tally.answers.iter().map(|(answer, count)| (first_line(answer), *count)).collect(),
        }
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// Requests that ended in anything but 2xx and 3xx.
    pub fn failures(&self) -> u64 {
        let is_failure = |outcome: &str| !(outcome.starts_with('2') || outcome.starts_with('3'));
        self.outcomes.iter().filter(|(outcome, _)| is_failure(outcome)).map(|(_, count)| count).sum()
    }

    /// The whole as one line of JSON; latencies in microseconds.
    pub fn to_json(&self) -> Value {
        json!({
            "requests": self.requests,
            "failures": self.failures(),
            "seconds": self.elapsed.as_secs_f64(),
            "requestsPerSecond": self.rate(),
            "latencyMicros": {"p50": self.p50.as_micros() as u64, "p99": self.p99.as_micros() as u64, "max": self.max.as_micros() as u64},
            "outcomes": self.outcomes,
            "answers": self.answers,
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(formatter, "{} requests in {seconds:.1} s, {:.0} a second, {} failed", self.requests, self.rate(), self.failures())?;
        writeln!(formatter, "latency   p50 {:.1?}   p99 {:.1?}   max {:.1?}", self.p50, self.p99, self.max)?;
        for (title, counts) in [("outcome", &self.outcomes), ("answer", &self.answers)] {
            for (name, count) in counts {
                writeln!(formatter, "{title:9} {count:>10}   {name}")?;
            }
        }
        Ok(())
    }
}

/// A request's end, as a key that needs no memory of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Status(u16),
    Connect,
    Reset,
    Timeout,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "{status}"),
            Self::Connect => formatter.write_str("connect"),
            Self::Reset => formatter.write_str("reset"),
            Self::Timeout => formatter.write_str("timeout"),
        }
    }
}

/// Counts as they grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    outcomes: BTreeMap<End, u64>,
    answers: Vec<(Vec<u8>, u64)>,
    /// By bucket of time.
    latencies: BTreeMap<u64, u64>,
    max: Duration,
}

impl Tally {
    /// Counts one request.
    pub(super) fn note(&mut self, answer: &Answer, latency: Duration) {
        let end = match answer {
            Answer::Whole(status, _) => End::Status(status.as_u16()),
            Answer::Unreachable => End::Connect,
            Answer::Reset => End::Reset,
            Answer::Timeout => End::Timeout,
        };
        *self.outcomes.entry(end).or_default() += 1;
        *self.latencies.entry(bucket_of(latency)).or_default() += 1;
        self.max = self.max.max(latency);
        if let Answer::Whole(_, words) = answer {
            let line = words.split(|byte| *byte == b'\n').next().unwrap_or_default();
            self.note_answer(line.get(..DISTINCT_CHARS_MAX).unwrap_or(line), 1);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (end, count) in &other.outcomes {
            *self.outcomes.entry(*end).or_default() += count;
        }
        for (bucket, count) in &other.latencies {
            *self.latencies.entry(*bucket).or_default() += count;
        }
        for (answer, count) in &other.answers {
            self.note_answer(answer, *count);
        }
        self.max = self.max.max(other.max);
    }

    fn note_answer(&mut self, answer: &[u8], count: u64) {
        let known = self.answers.iter().any(|(known, _)| known == answer);
        let answer = if known || self.answers.len() < DISTINCT_MAX { answer } else { b"(others)" };
        match self.answers.iter_mut().find(|(known, _)| known == answer) {
            Some((_, counted)) => *counted += count,
            None => self.answers.push((answer.to_vec(), count)),
        }
    }

    fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.latencies.values().sum::<u64>() * percent).div_ceil(100);
        let mut below = 0;
        for (bucket, count) in &self.latencies {
            below += count;
            if below >= rank {
                return middle_of(*bucket).min(self.max);
            }
        }
        Duration::ZERO
    }
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

fn bucket_of(latency: Duration) -> u64 {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    if micros < STEPS {
        return micros;
    }
    let shift = u64::from(micros.ilog2() - STEPS.ilog2());
    shift * STEPS + (micros >> shift)
}

fn middle_of(bucket: u64) -> Duration {
    let shift = (bucket / STEPS).saturating_sub(1);
    let lowest = (bucket - shift * STEPS) << shift;
    Duration::from_micros(lowest + (1 << shift) / 2)
}
