//! The settings of the router; the defaults suit a server that faces the world.

use std::net::IpAddr;
use std::time::Duration;

/// How the router behaves. `Options::default()` is meant to be right.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads with a runtime of their own, each serving its share of the connections.
    /// Zero serves on the caller's runtime.
    pub workers: usize,
    /// How long connecting to an endpoint may take.
    pub connect_timeout: Duration,
    /// How long an endpoint may take to begin its answer, counted from the last byte of the request.
    pub response_timeout: Duration,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long a client's connection may rest between requests.
    pub idle_timeout: Duration,
    /// How long a client may take no byte of what is sent to it.
    pub write_timeout: Duration,
    /// How long a connection to an endpoint is kept for the next request.
    pub link_idle: Duration,
    /// Connections kept for each endpoint and worker.
    pub links_kept: usize,
    /// The largest head of a request in bytes, at least 8192; larger ones are answered 431.
    pub header_bytes_max: usize,
    /// The most connections from clients at a time; further ones wait in the listener's queue.
    pub connections_max: Option<usize>,
    /// Consecutive connect failures after which an endpoint is passed over.
    pub ejection_failures: u32,
    /// How long it is passed over. Ejections are ignored when every endpoint is ejected.
    pub ejection: Duration,
    /// Proxies in front of this one, whose `Forwarded` and `X-Forwarded-*` are believed and continued.
    /// Everyone else's are replaced.
    pub trusted: Vec<IpAddr>,
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
            link_idle: Duration::from_secs(30),
            links_kept: 256,
            header_bytes_max: 64 * 1024,
            connections_max: None,
            ejection_failures: 3,
            ejection: Duration::from_secs(5),
            trusted: Vec::new(),
        }
    }
}
