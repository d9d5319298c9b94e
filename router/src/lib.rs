//! What carries requests from clients to the copies of a Service.
//!
//! A [`Router`] is handed one whole [`Table`] at a time and swaps it in atomically: a request sees the old table or the new
//! one, never a mixture. It counts what clients saw, for the receipts of rollouts.
//!
//! `builtin` is our own on hyper; [`fake`] is for tests. Both pass the suite in `tests/it`.

mod error;

#[cfg(feature = "builtin")]
pub mod builtin;
pub mod fake;
#[cfg(feature = "builtin")]
pub mod places;
pub mod table;
pub mod target;

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;

pub use error::{Error, Result};

/// Everything a router needs to know, at one moment: the merged routes of all Services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The routes; at most one for each host and path.
    pub routes: Vec<Route>,
}

/// Where the requests for one host and path prefix go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// `namespace/name` of the Service, under which requests are counted.
    pub service: String,
    /// Lower-case host name without port; empty matches every host that no other route names.
    /// `*.example.org` matches one or more labels in front.
    pub host: String,
    /// Path prefix, beginning with `/`; `/a` matches `/a` and `/a/b`, not `/ab`. The longest match wins.
    pub path: String,
    /// The copies that may answer. Empty answers 503.
    pub endpoints: Vec<SocketAddr>,
    /// What the copies speak.
    pub protocol: Protocol,
    /// How long requests may take.
    pub timeouts: Timeouts,
}

/// What an endpoint speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, known beforehand (RFC 9113, 3.3).
    H2c,
}

/// How long requests of a route may take, as in Kubernetes' Gateway API. Zero is for ever. Where neither is given, a router's own
/// limit holds, which is on the beginning of an answer only. Tunnels (WebSocket) are not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the arrival of a request to the end of its answer.
    pub request: Option<Duration>,
    /// The same for each try at an endpoint, from when it is sent there.
    pub backend_request: Option<Duration>,
}

/// What clients of one Service saw since its counting began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests answered or given up.
    pub requests: u64,
    /// Of these: answered 502, 503 or 504 by the router itself, or broken off before the whole answer was passed on.
    /// A client that goes away is no failure, nor is a tunnel (WebSocket) that is cut: its answer was the upgrade.
    pub failed: u64,
    /// The longest time from a request's arrival to the first byte of its answer.
    pub longest_stall: Duration,
    /// The 99th percentile of that time (within 5 %).
    pub p99: Duration,
}

/// Something that carries requests.
#[async_trait]
pub trait Router: Send + Sync + 'static {
    /// A word for it in status and messages: `builtin`, `caddy`, `fake`.
    fn name(&self) -> &'static str;

    /// The address at which it takes plain HTTP requests.
    fn address(&self) -> SocketAddr;

    /// Makes `table` the one in force. When this returns, every request that arrives from now on sees it.
    /// Errors: [`Error::Refused`] when the table cannot be used; the old one then stays.
    async fn apply(&self, table: Table) -> Result<()>;

    /// Waits until no request or upgraded connection is in flight to any of `endpoints`, at most `patience`;
    /// what is left then is cut off. Returns how many were cut off.
    async fn drain(&self, endpoints: &[SocketAddr], patience: Duration) -> Result<usize>;

    /// Begins counting afresh for a Service (`namespace/name`).
    async fn start_counting(&self, service: &str) -> Result<()>;

    /// What was counted since [`Router::start_counting`], or `None` where this router cannot count.
    async fn counts(&self, service: &str) -> Result<Option<Counts>>;
}
