//! Who pays for what: every place and every byte is charged to a principal, and whoever is out of either is told to wait, so that the
//! others are served.
//!
//! A principal is a user, or an address where nobody is known. Members of `system:masters` are charged nothing: they must be able to
//! help. Bytes are charged before something is written down, and given back at the moment that they are gone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::status::{Result, Status};

/// How many principals are remembered before those that have been quiet are forgotten.
const PRINCIPALS_MAX: usize = 10_000;
/// Bytes are charged in units of so many: semaphores count no further than a `u32`.
const UNIT: usize = 1 << 10;
/// How long something waits for bytes to be given back.
const WAIT_MAX: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(10) };

/// How much is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests that one principal may make a second, over time.
    pub requests_per_second: u32,
    /// Requests that one principal may make at once after a quiet time.
    pub burst: u32,
    /// Requests that are worked on at a time, of all principals together. One has a place when all of it is there.
    pub in_flight_max: usize,
    /// Those of them that one principal may have.
    pub in_flight_each_max: usize,
    /// Watches and followed logs that one principal may have open.
    pub streams_each_max: usize,
    /// Bytes that wait for one principal: of bodies that are read, and of answers and events that it has not read.
    pub bytes_each_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: 200,
            burst: 600,
            in_flight_max: 400,
            in_flight_each_max: 100,
            streams_each_max: 1_000,
            bytes_each_max: 16 << 20,
        }
    }
}

/// What the principals have asked lately, and what is theirs now.
#[derive(Debug, Default)]
pub struct Load {
    limits: RwLock<Limits>,
    in_flight: Arc<AtomicUsize>,
    principals: Mutex<HashMap<String, Arc<Principal>>>,
}

/// Somebody who is charged.
#[derive(Debug)]
pub struct Principal {
    limits: Limits,
    allowance: Mutex<Allowance>,
    in_flight: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    bytes: Arc<Semaphore>,
}

/// What a principal may still ask at once, and as of when.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    requests: f64,
    at: Timestamp,
}

/// Told whose requests come over a connection, by what they are charged to; `None` for administrators. A request's extension.
#[derive(Clone)]
pub struct Owner(Arc<Told>);

type Told = dyn Fn(Option<&str>) + Send + Sync;

impl Owner {
    /// Calls `told` for each request.
    pub fn new(told: impl Fn(Option<&str>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub(crate) fn is(&self, principal: Option<&str>) {
        (self.0)(principal);
    }
}

/// Places that are taken, until this is dropped.
#[derive(Debug)]
pub struct Taken(Vec<Arc<AtomicUsize>>);

/// Bytes that are charged, until this is dropped.
#[derive(Debug)]
pub struct Charge(OwnedSemaphorePermit);

impl Drop for Taken {
    fn drop(&mut self) {
        for count in &self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Load {
    /// Serves this much from here on.
    pub fn limit(&self, limits: Limits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
        self.principals.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes in a request of somebody. Errors: 429, to be tried again in a second.
    pub fn admit(&self, name: &str, now: Timestamp) -> Result<Arc<Principal>> {
        let limits = *self.limits.read().unwrap_or_else(PoisonError::into_inner);
        let mut principals = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
        if principals.len() >= PRINCIPALS_MAX && !principals.contains_key(name) {
            principals.retain(|_, principal| Arc::strong_count(principal) > 1 || !principal.is_rested(now));
        }
        // Where there are too many even so, the newest share.
        let name = if principals.len() >= PRINCIPALS_MAX && !principals.contains_key(name) { "" } else { name };
        let principal = principals.entry(name.to_owned()).or_insert_with(|| Arc::new(Principal::new(limits, now)));
        let principal = Arc::clone(principal);
        drop(principals);
        if principal.is_allowed(now) { Ok(principal) } else { Err(Status::too_many_requests()) }
    }

    /// A place for a request that is all there. Errors: 429.
    pub fn place(&self, principal: &Principal) -> Result<Taken> {
        let limits = principal.limits;
        take(&[(&principal.in_flight, limits.in_flight_each_max), (&self.in_flight, limits.in_flight_max)])
    }
}

/// Takes a place of each, or none.
fn take(counts: &[(&Arc<AtomicUsize>, usize)]) -> Result<Taken> {
    let mut taken = Taken(Vec::with_capacity(counts.len()));
    for (count, most) in counts {
        let before = count.fetch_add(1, Ordering::Relaxed);
        taken.0.push(Arc::clone(count));
        if before >= *most {
            return Err(Status::too_many_requests());
        }
    }
    Ok(taken)
}

impl Principal {
    fn new(limits: Limits, now: Timestamp) -> Self {
        let allowance = Mutex::new(Allowance { requests: f64::from(limits.burst), at: now });
        let bytes = Arc::new(Semaphore::new((limits.bytes_each_max / UNIT).max(1)));
        Self { limits, allowance, in_flight: Arc::default(), streams: Arc::default(), bytes }
    }

    fn refilled(&self, allowance: Allowance, now: Timestamp) -> f64 {
        let seconds = now.duration_since(allowance.at).as_secs_f64().max(0.0);
        (allowance.requests + seconds * f64::from(self.limits.requests_per_second)).min(f64::from(self.limits.burst))
    }

    fn is_rested(&self, now: Timestamp) -> bool {
        let allowance = *self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        self.refilled(allowance, now) >= f64::from(self.limits.burst)
    }

    fn is_allowed(&self, now: Timestamp) -> bool {
        let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = self.refilled(*allowance, now);
        let is_allowed = requests >= 1.0;
        *allowance = Allowance { requests: if is_allowed { requests - 1.0 } else { requests }, at: now };
        is_allowed
    }

    /// A place for a watch or another answer that goes on. Errors: 429.
    pub fn stream(&self) -> Result<Taken> {
        take(&[(&self.streams, self.limits.streams_each_max)])
    }

    /// Charges bytes, once there are so many to spend; more than a principal may ever have is all that it may have.
    /// Errors: 429 where they are not given back in time.
    pub async fn charge(&self, bytes: usize) -> Result<Charge> {
        let most = (self.limits.bytes_each_max / UNIT).max(1);
        let units = u32::try_from(bytes.div_ceil(UNIT).clamp(1, most)).unwrap_or(u32::MAX);
        let waiting = Arc::clone(&self.bytes).acquire_many_owned(units);
        match tokio::time::timeout(WAIT_MAX, waiting).await {
            Ok(Ok(permit)) => Ok(Charge(permit)),
            _ => Err(Status::too_many_requests()),
        }
    }
}

impl Charge {
    /// Gives back what is beyond so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let beyond = self.0.num_permits().saturating_sub(bytes.div_ceil(UNIT).max(1));
        drop(self.0.split(beyond));
    }

    /// Bytes that carry their charge: it is given back when the last of them is gone, wherever they wait until then.
    pub fn of(mut self, bytes: Vec<u8>) -> Bytes {
        self.shrink(bytes.len());
        Bytes::from_owner(Charged { bytes, _charge: self })
    }
}

struct Charged {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_burst_is_served_and_then_a_rate() {
        let load = Load::default();
        load.limit(Limits { requests_per_second: 2, burst: 3, ..Limits::default() });
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let at = |milliseconds: i64| start + SignedDuration::from_millis(milliseconds);
        let served = |user: &str, milliseconds: i64| load.admit(user, at(milliseconds)).is_ok();
        assert_eq!([0; 5].map(|_| served("a", 0)), [true, true, true, false, false]);
        assert!(served("b", 0), "another user is not held up");
        assert!(!served("a", 400) && served("a", 500) && !served("a", 600));
        assert_eq!([0; 4].map(|_| served("a", 60_000)), [true, true, true, false]);
        let refusal = load.admit("a", at(60_000)).unwrap_err();
        assert_eq!((refusal.code, refusal.retry_after), (429, Some(1)));
    }

    #[test]
    fn what_is_worked_on_at_a_time_is_bounded_for_each_and_for_all() {
        let load = Load::default();
        load.limit(Limits { in_flight_max: 3, in_flight_each_max: 2, ..Limits::default() });
        let [a, b] = ["a", "b"].map(|name| load.admit(name, Timestamp::UNIX_EPOCH).unwrap());
        let first = load.place(&a).unwrap();
        let _second = load.place(&a).unwrap();
        assert_eq!(load.place(&a).unwrap_err().code, 429, "one principal does not take all places");
        let _third = load.place(&b).unwrap();
        assert_eq!(load.place(&b).unwrap_err().code, 429, "there are so many in all");
        drop(first);
        assert!(load.place(&b).is_ok());
    }

    #[tokio::test]
    async fn bytes_are_charged_until_they_are_gone() {
        let load = Load::default();
        load.limit(Limits { bytes_each_max: 4 * UNIT, ..Limits::default() });
        let [a, b] = ["a", "b"].map(|name| load.admit(name, Timestamp::UNIX_EPOCH).unwrap());
        let mut bytes = a.charge(1 << 30).await.unwrap().of(vec![0; 3 * UNIT]);
        assert_eq!(a.charge(2 * UNIT).await.unwrap_err().code, 429, "it waits, and is told to wait longer");
        let _small = a.charge(1).await.unwrap();
        let part = bytes.split_to(10);
        drop(bytes);
        assert!(a.charge(2 * UNIT).await.is_err(), "some of them are still there");
        drop(part);
        assert!(a.charge(2 * UNIT).await.is_ok());
        assert!(b.charge(4 * UNIT).await.is_ok(), "another has its own");
    }
}
