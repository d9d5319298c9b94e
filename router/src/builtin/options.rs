//! The settings of the router; the defaults suit a server that faces the world.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

/// How the router behaves. `Options::default()` is meant to be right.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads with a runtime of their own, each serving its share of the connections.
    /// Zero serves on the caller's runtime.
    pub workers: usize,
    /// How long connecting to an endpoint may take.
    pub connect_timeout: Duration,
    /// How long an endpoint may take to begin its answer, counted from the last byte of the request, where the route has no
    /// timeouts of its own. Zero: for ever.
    pub response_timeout: Duration,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long a client's connection may rest between requests.
    pub idle_timeout: Duration,
    /// How long a client may take no byte of what is sent to it.
    pub write_timeout: Duration,
    /// How long nothing may be sent to a client that has closed its sending side, before it is taken to be gone.
    pub silence_max: Duration,
    /// How long a connection to an endpoint is kept for the next request.
    pub link_idle: Duration,
    /// Connections kept for each endpoint and worker.
    pub links_kept: usize,
    /// The largest head of a request or an answer in bytes, at least 8192. A larger request is answered 431, a larger answer 502.
    pub header_bytes_max: usize,
    /// The most headers of a request or an answer; more are answered as above.
    pub headers_max: usize,
    /// Which requests are logged.
    pub access_log: AccessLog,
    /// The most connections from clients at a time. Beyond it, one at rest of whoever has most is closed for a new one; where all are at
    /// work, further ones wait in the listener's queue.
    pub connections_max: Option<usize>,
    /// Consecutive connect failures after which an endpoint is passed over.
    pub ejection_failures: u32,
    /// How long it is passed over. Ejections are ignored when every endpoint is ejected.
    pub ejection: Duration,
    /// Proxies in front of this one, whose `Forwarded` and `X-Forwarded-*` are believed and continued.
    /// Everyone else's are replaced.
    pub trusted: Vec<IpNet>,
}

/// Which requests are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// None.
    Off,
    /// Those that the router could not carry.
    #[default]
    Failures,
    /// All.
    All,
}

impl Options {
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 0,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            silence_max: Duration::from_secs(60),
            link_idle: Duration::from_secs(30),
            links_kept: 256,
            header_bytes_max: 64 * 1024,
            headers_max: 200,
            access_log: AccessLog::default(),
            connections_max: None,
            ejection_failures: 3,
            ejection: Duration::from_secs(5),
            trusted: Vec::new(),
        }
    }
}
