//! How much one client may ask at a time: whoever asks more is told to wait, so that the others are served.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use jiff::Timestamp;

use crate::status::{Result, Status};

/// How many clients are remembered before those that have been quiet are forgotten.
const CLIENTS_MAX: usize = 10_000;

/// How much is served. Members of `system:masters` are not limited: they must be able to help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests that one user may make a second, over time.
    pub requests_per_second: u32,
    /// Requests that one user may make at once after a quiet time.
    pub burst: u32,
    /// Requests that are worked on at a time, of all users together; a watch counts until it begins.
    pub in_flight_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_per_second: 200, burst: 600, in_flight_max: 400 }
    }
}

/// What the clients have asked lately.
#[derive(Debug, Default)]
pub struct Load {
    limits: RwLock<Limits>,
    in_flight: AtomicUsize,
    clients: Mutex<HashMap<String, Allowance>>,
}

/// What a user may still ask at once, and as of when.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    requests: f64,
    at: Timestamp,
}

/// A request that is worked on, until this is dropped.
#[derive(Debug)]
pub struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Load {
    /// Serves this much from here on.
    pub fn limit(&self, limits: Limits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Takes in a request of a user. Errors: 429, to be tried again in a second.
    pub fn take(&self, user: &str, now: Timestamp) -> Result<InFlight<'_>> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let taken = InFlight(&self.in_flight);
        let limits = *self.limits.read().unwrap_or_else(PoisonError::into_inner);
        if before >= limits.in_flight_max || !self.is_allowed(user, now, limits) {
            return Err(Status::too_many_requests());
        }
        Ok(taken)
    }

    fn is_allowed(&self, user: &str, now: Timestamp, limits: Limits) -> bool {
        let (rate, burst) = (f64::from(limits.requests_per_second), f64::from(limits.burst));
        let refilled = |allowance: &Allowance| {
            let seconds = now.duration_since(allowance.at).as_secs_f64().max(0.0);
            (allowance.requests + seconds * rate).min(burst)
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(user) {
            clients.retain(|_, allowance| refilled(allowance) < burst);
        }
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(user) {
            return false;
        }
        let allowance = clients.entry(user.to_owned()).or_insert(Allowance { requests: burst, at: now });
        *allowance = Allowance { requests: refilled(allowance), at: now };
        let is_allowed = allowance.requests >= 1.0;
        if is_allowed {
            allowance.requests -= 1.0;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_burst_is_served_and_then_a_rate() {
        let load = Load::default();
        load.limit(Limits { requests_per_second: 2, burst: 3, in_flight_max: 100 });
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let at = |milliseconds: i64| start + SignedDuration::from_millis(milliseconds);
        let served = |user: &str, milliseconds: i64| load.take(user, at(milliseconds)).is_ok();
        assert_eq!([0; 5].map(|_| served("a", 0)), [true, true, true, false, false]);
        assert!(served("b", 0), "another user is not held up");
        assert!(!served("a", 400) && served("a", 500) && !served("a", 600));
        assert_eq!([0; 4].map(|_| served("a", 60_000)), [true, true, true, false]);
        let refusal = load.take("a", at(60_000)).unwrap_err();
        assert_eq!((refusal.code, refusal.retry_after), (429, Some(1)));
    }

    #[test]
    fn what_is_worked_on_at_a_time_is_bounded() {
        let load = Load::default();
        load.limit(Limits { in_flight_max: 2, ..Limits::default() });
        let now = Timestamp::UNIX_EPOCH;
        let first = load.take("a", now).unwrap();
        let _second = load.take("b", now).unwrap();
        assert_eq!(load.take("c", now).unwrap_err().code, 429);
        drop(first);
        assert!(load.take("c", now).is_ok());
    }
}
