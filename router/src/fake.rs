//! A router for tests: it keeps the table it was given and carries nothing.
//!
//! A test plays the part of the clients: it says how many requests are in flight to an endpoint and what they saw.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::table::Routes;
use crate::{Counts, Result, Router, Table};

/// A [`Router`] without a network.
#[derive(Debug)]
pub struct Fake {
    address: SocketAddr,
    seen: Mutex<Seen>,
    in_flight: watch::Sender<HashMap<SocketAddr, usize>>,
}

#[derive(Debug, Default)]
struct Seen {
    applied: Vec<Table>,
    drained: Vec<SocketAddr>,
    counts: HashMap<String, Counts>,
    refusal: Option<String>,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new((Ipv4Addr::LOCALHOST, 80).into())
    }
}

impl Fake {
    /// A router that claims to listen on `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, seen: Mutex::default(), in_flight: watch::Sender::default() }
    }

    /// The table in force: empty before the first one.
    pub fn table(&self) -> Table {
        self.seen().applied.last().cloned().unwrap_or_default()
    }

    /// Every table that was accepted, oldest first.
    pub fn applied(&self) -> Vec<Table> {
        self.seen().applied.clone()
    }

    /// Every endpoint that was asked to be drained, in order.
    pub fn drained(&self) -> Vec<SocketAddr> {
        self.seen().drained.clone()
    }

    /// Makes every coming [`Router::apply`] fail with this reason, until `None`.
    pub fn refuse(&self, reason: Option<&str>) {
        self.seen().refusal = reason.map(str::to_owned);
    }

    /// Says how many requests are in flight to an endpoint; draining waits until that is zero.
    pub fn set_in_flight(&self, endpoint: SocketAddr, requests: usize) {
        self.in_flight.send_modify(|all| {
            all.insert(endpoint, requests);
        });
    }

    /// Says what the clients of a Service (`namespace/name`) saw since its counting began.
    pub fn set_counts(&self, service: &str, counts: Counts) {
        self.seen().counts.insert(service.to_owned(), counts);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Router for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn apply(&self, table: Table) -> Result<()> {
        Routes::compile(&table, |_| ())?;
        let mut seen = self.seen();
        if let Some(reason) = &seen.refusal {
            return Err(crate::Error::Refused(reason.clone()));
        }
        seen.applied.push(table);
        Ok(())
    }

    async fn drain(&self, endpoints: &[SocketAddr], patience: Duration) -> Result<usize> {
        self.seen().drained.extend_from_slice(endpoints);
        let busy = |all: &HashMap<SocketAddr, usize>| endpoints.iter().filter_map(|endpoint| all.get(endpoint)).sum::<usize>();
        let mut in_flight = self.in_flight.subscribe();
        let emptied = in_flight.wait_for(|all| busy(all) == 0);
        if tokio::time::timeout(patience, emptied).await.is_ok() {
            return Ok(0);
        }
        let mut cut = 0;
        self.in_flight.send_modify(|all| {
            cut = busy(all);
            all.retain(|endpoint, _| !endpoints.contains(endpoint));
        });
        Ok(cut)
    }

    async fn start_counting(&self, service: &str) -> Result<()> {
        self.seen().counts.insert(service.to_owned(), Counts::default());
        Ok(())
    }

    async fn counts(&self, service: &str) -> Result<Option<Counts>> {
        Ok(Some(self.seen().counts.get(service).copied().unwrap_or_default()))
    }
}
