//! What every connection shares: the table in force, the endpoints and tallies it names, and the totals.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::access::Access;
use super::endpoint::{Endpoint, Seat, locked};
use super::options::Options;
use super::refusal::Refusals;
use super::tally::{Lasting, Tally};
use crate::table::{Found, Routes};
use crate::{Counts, Protocol, Result, Route, Table, Timeouts};

/// How long the counts of a Service are kept after the last table that named it.
const TALLY_KEPT: Duration = Duration::from_secs(3600);
/// How long what was cut off is given to unwind before a drain returns.
const UNWIND_MAX: Duration = Duration::from_millis(500);
/// Requests sent in vain that may be sent again in one second, so that retries cannot multiply an overload.
const RESENDS_PER_SECOND: u32 = 1000;

/// What was carried since the start, over all Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that arrived, those without a route included.
    pub requests: u64,
    /// Requests answered 502, 503 or 504 by the router itself, or broken off.
    pub failed: u64,
    /// Requests for which there was no route.
    pub unrouted: u64,
    /// Requests and tunnels in flight to endpoints.
    pub in_flight: usize,
    /// Connections open from clients.
    pub connections: usize,
}

/// The state of the router.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) options: Options,
    pub(super) tolls: Tolls,
    routes: ArcSwap<Routes<Target>>,
    /// Rises after each swap of `routes`.
    generation: AtomicU64,
    registry: Mutex<Registry>,
    resends: Mutex<(Option<Instant>, u32)>,
    pub(super) access: Access,
}

/// The counters behind [`Totals`].
#[derive(Debug, Default)]
pub(super) struct Tolls {
    pub(super) requests: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) unrouted: AtomicU64,
    pub(super) refusals: Refusals,
    pub(super) connections: AtomicUsize,
}

#[derive(Debug, Default)]
struct Registry {
    endpoints: HashMap<SocketAddr, Arc<Endpoint>>,
    tallies: HashMap<String, Counted>,
}

#[derive(Debug)]
struct Counted {
    tally: Arc<Tally>,
    named_at: Instant,
}

/// Where a route leads.
#[derive(Debug)]
struct Target {
    endpoints: Box<[Arc<Endpoint>]>,
    tally: Arc<Tally>,
    way: Way,
    turn: AtomicU32,
}

/// How requests of a route are carried.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Way {
    pub(super) protocol: Protocol,
    pub(super) timeouts: Timeouts,
}

/// What [`Core::choose`] found for a request.
#[derive(Debug)]
pub(super) enum Choice {
    /// A seat at an endpoint.
    Seat(Seat, Arc<Tally>, Way),
    /// The route has no endpoint.
    NoEndpoint(Arc<Tally>),
    /// The host has no route for this path.
    NoPath,
    /// The host has no route.
    NoHost,
}

impl Core {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            tolls: Tolls::default(),
            routes: ArcSwap::default(),
            generation: AtomicU64::new(0),
            registry: Mutex::default(),
            resends: Mutex::default(),
            access: Access::default(),
        }
    }

    /// Seats a request, at another endpoint than `avoid` if there is one.
    pub(super) fn choose(&self, host: &str, path: &str, avoid: Option<SocketAddr>, now: Instant) -> Choice {
        loop {
            let generation = self.generation.load(SeqCst);
            let choice = match self.routes.load().find(host, path) {
                Found::NoHost => Choice::NoHost,
                Found::NoPath => Choice::NoPath,
                Found::Route(target) => match target.pick(avoid, now) {
                    None => Choice::NoEndpoint(Arc::clone(&target.tally)),
                    Some(endpoint) => Choice::Seat(endpoint.enter(), Arc::clone(&target.tally), target.way),
                },
            };
            // A swap between the look and the seat: a drain that followed it may have missed this seat.
            if self.generation.load(SeqCst) == generation {
                return choice;
            }
        }
    }

    /// Whether one more request that was sent may be sent again.
    pub(super) fn may_resend(&self, now: Instant) -> bool {
        let mut resends = locked(&self.resends);
        let (second, spent) = *resends;
        let is_this_second = second.is_some_and(|second| now.saturating_duration_since(second) < Duration::from_secs(1));
        *resends = if is_this_second { (second, spent.saturating_add(1)) } else { (Some(now), 1) };
        resends.1 <= RESENDS_PER_SECOND
    }

    pub(super) fn apply(&self, table: &Table) -> Result<()> {
        let mut registry = locked(&self.registry);
        let now = Instant::now();
        let shelves = self.options.workers;
        let routes = Routes::compile(table, |route| registry.target(route, shelves, now))?;
        self.routes.store(Arc::new(routes));
        self.generation.fetch_add(1, SeqCst);
        let named: HashSet<SocketAddr> = table.routes.iter().flat_map(|route| route.endpoints.iter().copied()).collect();
        for endpoint in registry.endpoints.values() {
            endpoint.set_named(named.contains(&endpoint.address));
        }
        let services: HashSet<&str> = table.routes.iter().map(|route| route.service.as_str()).collect();
        registry.tallies.retain(|service, counted| {
            if services.contains(service.as_str()) {
                counted.named_at = now;
            }
            now.saturating_duration_since(counted.named_at) < TALLY_KEPT
        });
        registry.forget_unused();
        Ok(())
    }

    pub(super) async fn drain(&self, addresses: &[SocketAddr], patience: Duration) -> usize {
        let endpoints: Vec<Arc<Endpoint>> = {
            let registry = locked(&self.registry);
            addresses.iter().filter_map(|address| registry.endpoints.get(address).cloned()).collect()
        };
        self.empty(&endpoints, patience).await
    }

    /// As [`Core::drain`], for every endpoint.
    pub(super) async fn drain_all(&self, patience: Duration) -> usize {
        let endpoints: Vec<Arc<Endpoint>> = locked(&self.registry).endpoints.values().cloned().collect();
        self.empty(&endpoints, patience).await
    }

    async fn empty(&self, endpoints: &[Arc<Endpoint>], patience: Duration) -> usize {
        let all_emptied = async {
            for endpoint in endpoints {
                endpoint.emptied().await;
            }
        };
        if tokio::time::timeout(patience, all_emptied).await.is_ok() {
            return 0;
        }
        let cut = endpoints.iter().map(|endpoint| endpoint.cut()).sum();
        let unwound = async {
            for endpoint in endpoints {
                endpoint.emptied().await;
            }
        };
        // A client that reads nothing may hold on to a dead answer; its endpoint is rid of it all the same.
        let _ = tokio::time::timeout(UNWIND_MAX, unwound).await;
        cut
    }

    pub(super) fn cut_all(&self) {
        for endpoint in locked(&self.registry).endpoints.values() {
            endpoint.cut();
        }
    }

    pub(super) fn start_counting(&self, service: &str) {
        locked(&self.registry).tally(service, Instant::now()).start_counting();
    }

    pub(super) fn counts(&self, service: &str) -> Counts {
        locked(&self.registry).tallies.get(service).map(|counted| counted.tally.counts()).unwrap_or_default()
    }

    /// What the clients of each Service saw since the start; a Service that no table names is forgotten in time.
    pub(super) fn lasting(&self) -> Vec<(String, Arc<Lasting>)> {
        let registry = locked(&self.registry);
        let mut all: Vec<_> = registry.tallies.iter().map(|(service, counted)| (service.clone(), counted.tally.lasting())).collect();
        all.sort_by(|left, right| left.0.cmp(&right.0));
        all
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            requests: self.tolls.requests.load(Relaxed),
            failed: self.tolls.failed.load(Relaxed),
            unrouted: self.tolls.unrouted.load(Relaxed),
            in_flight: locked(&self.registry).endpoints.values().map(|endpoint| endpoint.in_flight()).sum(),
            connections: self.tolls.connections.load(Relaxed),
        }
    }

    /// Closes connections that rested too long and forgets endpoints that no table names.
    pub(super) fn sweep(&self) {
        let mut registry = locked(&self.registry);
        let now = Instant::now();
        for endpoint in registry.endpoints.values() {
            endpoint.sweep(now);
        }
        registry.forget_unused();
    }
}

impl Registry {
    fn target(&mut self, route: &Route, shelves: usize, now: Instant) -> Target {
        let mut seat = |address: &SocketAddr| {
            let endpoint = self.endpoints.entry(*address).or_insert_with(|| Arc::new(Endpoint::new(*address, shelves)));
            Arc::clone(endpoint)
        };
        let endpoints = route.endpoints.iter().map(&mut seat).collect();
        let way = Way { protocol: route.protocol, timeouts: route.timeouts };
        Target { endpoints, tally: self.tally(&route.service, now), way, turn: AtomicU32::new(0) }
    }

    fn tally(&mut self, service: &str, now: Instant) -> Arc<Tally> {
        let new = || Counted { tally: Arc::default(), named_at: now };
        let counted = self.tallies.entry(service.to_owned()).or_insert_with(new);
        Arc::clone(&counted.tally)
    }

    fn forget_unused(&mut self) {
        self.endpoints.retain(|_, endpoint| !endpoint.is_forgettable());
    }
}

impl Target {
    /// The less busy of two candidates; ejected ones and `avoid` only when there is nothing else.
    fn pick(&self, avoid: Option<SocketAddr>, now: Instant) -> Option<&Arc<Endpoint>> {
        let [first, _, ..] = &*self.endpoints else { return self.endpoints.first() };
        let turn = self.turn.fetch_add(1, Relaxed) as usize;
        let count = self.endpoints.len();
        let is_good = |endpoint: &&Arc<Endpoint>| Some(endpoint.address) != avoid && !endpoint.is_ejected(now);
        let from = |start: usize| self.endpoints.iter().cycle().skip(start % count).take(count);
        let one = from(turn).find(is_good).or_else(|| from(turn).find(|endpoint| Some(endpoint.address) != avoid)).unwrap_or(first);
        // A second start that is never the first and wanders over all the others.
        let stride = 1 + (turn / count) % (count - 1);
        let other = from(turn + stride).find(is_good).unwrap_or(one);
        Some(if other.in_flight() < one.in_flight() { other } else { one })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(count: u16) -> Target {
        let endpoints = (1..=count).map(|port| Arc::new(Endpoint::new(([127, 0, 0, 1], port).into(), 1))).collect();
        Target { endpoints, tally: Arc::default(), way: Way::default(), turn: AtomicU32::new(0) }
    }

    fn picks(target: &Target, avoid: Option<SocketAddr>, now: Instant) -> Vec<usize> {
        let mut picks = vec![0; target.endpoints.len() + 1];
        for _ in 0..120 {
            picks[target.pick(avoid, now).expect("there are endpoints").address.port() as usize] += 1;
        }
        picks
    }

    #[test]
    fn idle_endpoints_share_evenly_and_a_busy_one_gets_less() {
        let now = Instant::now();
        assert_eq!(picks(&target(3), None, now), [0, 40, 40, 40]);
        let target = target(3);
        let _busy: Vec<Seat> = (0..5).map(|_| target.endpoints[0].enter()).collect();
        assert_eq!(picks(&target, None, now)[1], 0);
    }

    #[test]
    fn an_ejected_endpoint_is_passed_over_until_its_time_is_up_or_nothing_else_is_left() {
        let now = Instant::now();
        let options = Options::default();
        let target = target(2);
        for _ in 0..options.ejection_failures {
            target.endpoints[0].connect_failed(now, &options);
        }
        assert_eq!(picks(&target, None, now), [0, 0, 120]);
        assert_eq!(picks(&target, Some(target.endpoints[1].address), now), [0, 120, 0]);
        assert_eq!(picks(&target, None, now + options.ejection), [0, 60, 60]);
    }

    #[test]
    fn resends_are_bounded_within_a_second_and_allowed_again_after_it() {
        let core = Core::new(Options::default());
        let now = Instant::now();
        let allowed = (0..RESENDS_PER_SECOND + 50).filter(|_| core.may_resend(now)).count();
        assert_eq!(allowed, RESENDS_PER_SECOND as usize);
        assert!(core.may_resend(now + Duration::from_secs(1)));
    }
}
