//! The access log: what was asked, by whom, and how it was answered. Its lines are events of the target `access`.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request, Uri};

use super::client::Client;
use super::endpoint::locked;
use super::forwarded::client_address;
use super::options::AccessLog;
use crate::target;

/// Lines about failures in one second; who is flooded with requests need not be flooded with words.
const FAILURES_PER_SECOND: u32 = 100;

/// Bounds what is logged of failures.
#[derive(Debug, Default)]
pub(super) struct Access(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    second: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Access {
    /// Whether one more failure may be logged, and how many were not since the last one.
    pub(super) fn may_log(&self, now: Instant) -> Option<u64> {
        let mut spent = locked(&self.0);
        if spent.second.is_none_or(|second| now.saturating_duration_since(second) >= Duration::from_secs(1)) {
            (spent.second, spent.lines) = (Some(now), 0);
        }
        if spent.lines >= FAILURES_PER_SECOND {
            spent.left_out += 1;
            return None;
        }
        spent.lines += 1;
        Some(std::mem::take(&mut spent.left_out))
    }
}

/// What a request asked.
#[derive(Debug)]
pub(super) struct Asked {
    client: IpAddr,
    method: Method,
    target: Uri,
    host: HeaderValue,
}

impl Asked {
    pub(super) fn new<B>(client: &Client, request: &Request<B>, host: &HeaderValue) -> Self {
        let address = client_address(client, request.headers());
        Self { client: address, method: request.method().clone(), target: request.uri().clone(), host: host.clone() }
    }

    fn target(&self) -> std::borrow::Cow<'_, str> {
        target::as_uri(self.target.path_and_query().map_or("", |target| target.as_str()))
    }

    /// The endpoint's answer is passed on.
    pub(super) fn answered(&self, client: &Client, status: u16, arrival: Instant) {
        if client.core.options.access_log != AccessLog::All {
            return;
        }
        let (host, millis) = (self.host.to_str().unwrap_or_default(), millis_since(arrival));
        tracing::info!(target: "access", client = %self.client, method = %self.method, host, path = %self.target(), status, millis, "answered");
    }

    /// The router answered for itself.
    pub(super) fn refused(&self, client: &Client, status: u16, reason: &str, arrival: Instant) {
        let (host, millis) = (self.host.to_str().unwrap_or_default(), millis_since(arrival));
        let (of, method, path) = (self.client, &self.method, self.target());
        match client.core.options.access_log {
            AccessLog::Off => {}
            AccessLog::All => {
                tracing::info!(target: "access", client = %of, %method, host, %path, status, reason, millis, "refused");
            }
            AccessLog::Failures if status < 502 => {}
            AccessLog::Failures => {
                if let Some(left_out) = client.core.access.may_log(Instant::now()) {
                    tracing::warn!(target: "access", client = %of, %method, host, %path, status, reason, millis, left_out, "not carried");
                }
            }
        }
    }
}

fn millis_since(arrival: Instant) -> u64 {
    u64::try_from(arrival.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_logged_so_many_times_a_second_and_the_others_counted() {
        let (access, now) = (Access::default(), Instant::now());
        let logged = (0..150).filter(|_| access.may_log(now).is_some()).count();
        assert_eq!(logged, FAILURES_PER_SECOND as usize);
        assert_eq!(access.may_log(now + Duration::from_secs(1)), Some(50));
        assert_eq!(access.may_log(now + Duration::from_secs(1)), Some(0));
    }
}
