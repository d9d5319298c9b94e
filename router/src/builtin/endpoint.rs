//! One address that answers requests: who is in flight to it, its kept-alive connections, and whether it can be reached.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::link::{Link, Shared};
use super::options::Options;

/// An endpoint keeps its identity over swaps of the table, and with it its count of requests in flight.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    in_flight: AtomicUsize,
    /// How many wait for `in_flight` to become zero; nobody is notified while this is zero.
    waiting: AtomicUsize,
    emptied: Notify,
    /// How often everything in flight was cut off. What began before the latest cut must not go on.
    cuts: AtomicU64,
    /// No table names it: connections are closed after use.
    is_retired: AtomicBool,
    failures: AtomicU32,
    ejected_until: Mutex<Option<Instant>>,
    /// Mirrors `ejected_until`, so that the lock is left alone while all is well.
    is_ejected: AtomicBool,
    /// Idle connections, one shelf a worker, so that a connection is used by the thread that drives it.
    shelves: Box<[Mutex<Vec<Link>>]>,
    /// The connection that all requests of a worker share, where the endpoint speaks HTTP/2.
    shared: Box<[Mutex<Option<Shared>>]>,
    /// The tasks that drive connections and tunnels.
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, shelves: usize) -> Self {
        Self {
            address,
            in_flight: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            emptied: Notify::new(),
            cuts: AtomicU64::new(0),
            is_retired: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            ejected_until: Mutex::new(None),
            is_ejected: AtomicBool::new(false),
            shelves: (0..shelves.max(1)).map(|_| Mutex::default()).collect(),
            shared: (0..shelves.max(1)).map(|_| Mutex::default()).collect(),
            tasks: Mutex::default(),
        }
    }

    /// Takes a seat: from now until the seat is dropped a request is in flight.
    pub(super) fn enter(self: &Arc<Self>) -> Seat {
        let cuts = self.cuts.load(SeqCst);
        self.in_flight.fetch_add(1, SeqCst);
        Seat { endpoint: Arc::clone(self), cuts }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(SeqCst)
    }

    /// Waits until nothing is in flight.
    pub(super) async fn emptied(&self) {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let emptied = self.emptied.notified();
            if self.in_flight() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Ends every connection and tunnel; returns how many requests and tunnels were in flight.
    pub(super) fn cut(&self) -> usize {
        self.cuts.fetch_add(1, SeqCst);
        let in_flight = self.in_flight();
        for task in locked(&self.tasks).drain(..) {
            task.abort();
        }
        self.close_idle();
        in_flight
    }

    /// Lets `task` be ended by [`Endpoint::cut`]. False when a cut came since a seat was taken after `cuts` of them; the task is ended then.
    pub(super) fn adopt(&self, task: AbortHandle, cuts: u64) -> bool {
        let mut tasks = locked(&self.tasks);
        if self.cuts.load(SeqCst) != cuts {
            task.abort();
            return false;
        }
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task);
        true
    }

    /// Tells whether a table names it. When none does, its idle connections are closed at once.
    pub(super) fn set_named(&self, is_named: bool) {
        self.is_retired.store(!is_named, SeqCst);
        if !is_named {
            self.close_idle();
        }
    }

    /// Nothing will be sent to it any more.
    pub(super) fn is_forgettable(&self) -> bool {
        self.is_retired.load(SeqCst) && self.in_flight() == 0
    }

    /// An idle connection that rested no longer than `rested_max` (and than the endpoint itself allows).
    pub(super) fn take_link(&self, shelf: usize, rested_max: Duration, now: Instant) -> Option<Link> {
        let mut links = locked(self.shelves.get(shelf)?);
        while let Some(link) = links.pop() {
            if link.is_open() {
                if link.rested(now) <= rested_max {
                    return Some(link);
                }
                // The others have rested longer still; they may do for a request that can be sent again.
                links.push(link);
                return None;
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep_link(&self, shelf: usize, mut link: Link, options: &Options) {
        let Some(shelf) = self.shelves.get(shelf) else { return };
        link.rest();
        let mut links = locked(shelf);
        if links.len() < options.links_kept && !self.is_retired.load(SeqCst) {
            links.push(link);
        }
    }

    /// The shared connection, if there is one.
    pub(super) fn shared(&self, shelf: usize) -> Option<Shared> {
        locked(self.shared.get(shelf)?).as_ref().filter(|shared| !shared.is_closed()).cloned()
    }

    /// Lets others use a connection too.
    pub(super) fn share(&self, shelf: usize, shared: &Shared) {
        if let Some(shelf) = self.shared.get(shelf)
            && !self.is_retired.load(SeqCst)
        {
            *locked(shelf) = Some(shared.clone());
        }
    }

    /// Closes connections that rested too long or were closed from the other side.
    pub(super) fn sweep(&self, now: Instant) {
        for shelf in &self.shelves {
            locked(shelf).retain(|link| link.is_open() && !link.is_stale(now));
        }
        locked(&self.tasks).retain(|task| !task.is_finished());
    }

    fn close_idle(&self) {
        for shelf in &self.shelves {
            locked(shelf).clear();
        }
        for shared in &self.shared {
            *locked(shared) = None;
        }
    }

    /// Whether to pass it over because it could not be reached lately.
    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        if !self.is_ejected.load(Relaxed) {
            return false;
        }
        let mut until = locked(&self.ejected_until);
        if until.is_some_and(|until| now < until) {
            return true;
        }
        *until = None;
        self.is_ejected.store(false, Relaxed);
        false
    }

    pub(super) fn connected(&self) {
        self.failures.store(0, Relaxed);
    }

    pub(super) fn connect_failed(&self, now: Instant, options: &Options) {
        let failures = self.failures.fetch_add(1, Relaxed) + 1;
        if failures >= options.ejection_failures {
            *locked(&self.ejected_until) = Some(now + options.ejection);
            self.is_ejected.store(true, Relaxed);
        }
    }
}

/// A request or tunnel in flight to an endpoint.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) endpoint: Arc<Endpoint>,
    cuts: u64,
}

impl Seat {
    /// Whether everything in flight was cut off since the seat was taken.
    pub(super) fn is_cut(&self) -> bool {
        self.endpoint.cuts.load(SeqCst) != self.cuts
    }

    /// How often the endpoint had been cut when the seat was taken.
    pub(super) fn cuts(&self) -> u64 {
        self.cuts
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let was = self.endpoint.in_flight.fetch_sub(1, SeqCst);
        if was == 1 && self.endpoint.waiting.load(SeqCst) > 0 {
            self.endpoint.emptied.notify_waiters();
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// The guarded value; a panic elsewhere leaves these values whole, so poisoning does not matter.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Arc<Endpoint> {
        Arc::new(Endpoint::new(([127, 0, 0, 1], 1).into(), 1))
    }

    #[tokio::test]
    async fn a_connection_that_comes_up_after_a_cut_is_ended_when_its_request_began_before() {
        let endpoint = endpoint();
        let before = endpoint.enter();
        assert_eq!(endpoint.cut(), 1);
        let task = tokio::spawn(std::future::pending::<()>());
        assert!(before.is_cut());
        assert!(!endpoint.adopt(task.abort_handle(), before.cuts()));
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
        let after = endpoint.enter();
        let task = tokio::spawn(async {});
        assert!(endpoint.adopt(task.abort_handle(), after.cuts()));
    }

    #[tokio::test]
    async fn whoever_waits_for_emptiness_is_told_when_the_last_seat_is_free() {
        let endpoint = endpoint();
        let seats = [endpoint.enter(), endpoint.enter()];
        let waiting = {
            let endpoint = Arc::clone(&endpoint);
            tokio::spawn(async move { endpoint.emptied().await })
        };
        tokio::task::yield_now().await;
        drop(seats);
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it is told").expect("it does not panic");
        assert!(!endpoint.is_forgettable());
        endpoint.set_named(false);
        assert!(endpoint.is_forgettable());
    }
}
