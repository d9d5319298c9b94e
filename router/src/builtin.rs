//! Our own router, on hyper: HTTP/1.1 and h2c from clients, either to endpoints.
//!
//! ```text
//! listener ─▶ acceptor ─▶ Client (one a connection) ─▶ exchange (one a request) ─▶ Endpoint (one an address)
//!                                                        │ choose: Core::routes        │ links: kept-alive connections
//!                                                        ▼                             ▼ seats: requests in flight
//!                                                      tally: what clients saw       drain waits for them, then cuts
//! ```
//!
//! A request takes a seat at its endpoint before it makes sure that its table is still in force. So whoever swaps the
//! table and then drains an endpoint sees every request that still goes there.

mod acceptor;
mod access;
mod body;
mod client;
mod core;
mod deadline;
mod early;
mod endpoint;
mod exchange;
mod forwarded;
mod half_closed;
mod headers;
mod link;
mod options;
mod refusal;
mod request;
mod stream;
mod tally;
mod tunnel;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{Counts, Result, Router, Table};
use acceptor::Acceptors;
use core::Core;
pub use core::Totals;
pub use options::{AccessLog, Options};
pub use tally::Lasting;

/// How often idle connections are looked through.
const SWEEP_PERIOD: Duration = Duration::from_secs(2);

/// A [`Router`] in this process. Dropping it cuts everything off; [`Builtin::shutdown`] is the gentle way.
#[derive(Debug)]
pub struct Builtin {
    address: SocketAddr,
    core: Arc<Core>,
    acceptors: Acceptors,
    sweeper: JoinHandle<()>,
}

impl Builtin {
    /// Begins to serve on `listener`, with an empty table: every request is answered 404 until [`Router::apply`].
    /// Must be called inside a tokio runtime with time and I/O; connections run on it unless `options.workers` says otherwise.
    /// Errors: [`crate::Error::Listen`] when the listener cannot be used.
    pub fn start(listener: TcpListener, options: Options) -> Result<Self> {
        let address = listener.local_addr().map_err(|source| unusable(SocketAddr::from(([0, 0, 0, 0], 0)), source))?;
        let core = Arc::new(Core::new(options));
        let acceptors = Acceptors::start(listener, &core).map_err(|source| unusable(address, source))?;
        let swept = Arc::clone(&core);
        let sweeper = tokio::spawn(async move {
            let mut period = tokio::time::interval(SWEEP_PERIOD);
            period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                period.tick().await;
                swept.sweep();
            }
        });
        Ok(Self { address, core, acceptors, sweeper })
    }

    /// What was carried since the start, over all Services.
    pub fn totals(&self) -> Totals {
        self.core.totals()
    }

    /// What the clients of each Service saw since the start, by Service.
    pub fn services(&self) -> Vec<(String, Arc<Lasting>)> {
        self.core.lasting()
    }

    /// How often the router answered for itself since the start, by reason.
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.core.tolls.refusals.counts()
    }

    /// Stops listening, lets requests and tunnels in flight end for at most `patience`, then cuts off what is left.
    /// Returns how many requests and tunnels were cut off.
    pub async fn shutdown(&self, patience: Duration) -> usize {
        self.acceptors.shutdown(&self.core, patience).await
    }
}

impl Drop for Builtin {
    fn drop(&mut self) {
        self.sweeper.abort();
        self.core.cut_all();
    }
}

fn unusable(address: SocketAddr, source: std::io::Error) -> crate::Error {
    crate::Error::Listen { address, source }
}

#[async_trait]
impl Router for Builtin {
    fn name(&self) -> &'static str {
        "builtin"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn apply(&self, table: Table) -> Result<()> {
        self.core.apply(&table)
    }

    async fn drain(&self, endpoints: &[SocketAddr], patience: Duration) -> Result<usize> {
        Ok(self.core.drain(endpoints, patience).await)
    }

    async fn start_counting(&self, service: &str) -> Result<()> {
        self.core.start_counting(service);
        Ok(())
    }

    async fn counts(&self, service: &str) -> Result<Option<Counts>> {
        Ok(Some(self.core.counts(service)))
    }
}
