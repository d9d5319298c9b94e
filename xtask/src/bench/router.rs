//! Our router beside HAProxy, nginx and Caddy: one core each, the same backend, the same load.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use super::peers::{Peer, built, free_port, kib_to_mib, wait_for};
use super::proxies::{Proxy, pinned};
use super::{Bar, Rounds, Row, median};

const CONNECTIONS: &str = "64";

/// What one round says of a proxy.
#[derive(Debug, Clone, Copy)]
struct Sample {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_micros: f64,
}

/// Each proxy has core 0 while it is asked, the backend and the load have core 1.
pub fn measure(rounds: Rounds) -> Result<Vec<Row>> {
    let (_backend, backend) = backend()?;
    let ours = Proxy::ours(backend)?;
    let (mut peers, mut missing) = (Vec::new(), Vec::new());
    for (name, peer) in [("HAProxy", Proxy::haproxy(backend)), ("nginx", Proxy::nginx(backend)), ("Caddy", Proxy::caddy(backend))] {
        match peer {
            Ok(peer) => peers.push(peer),
            Err(error) => missing.push(Row::not_run(format!("router beside {name}"), format!("{error:#}"))),
        }
    }
    let mut our_samples = Vec::new();
    let mut samples = vec![Vec::new(); peers.len()];
    for _ in 0..rounds.count {
        our_samples.push(load(&ours, rounds)?);
        for (peer, samples) in peers.iter().zip(&mut samples) {
            samples.push(load(peer, rounds)?);
        }
    }
    let mut rows = Vec::new();
    for (peer, samples) in peers.iter().zip(&samples) {
        rows.extend(compared(peer.name, &our_samples, samples));
        let row = Row::new("router, resident memory after that", kib_to_mib(ours.peer.resident_kib()), "MiB");
        rows.push(row.beside(peer.name, kib_to_mib(peer.peer.resident_kib())));
    }
    rows.extend(missing);
    Ok(rows)
}

fn compared(name: &str, ours: &[Sample], peer: &[Sample]) -> Vec<Row> {
    let row = |what: &str, unit: &str, of: fn(&Sample) -> f64| {
        let middle = |samples: &[Sample]| median(samples.iter().map(of).collect());
        Row::new(format!("router, {what}"), middle(ours), unit).beside(name, middle(peer))
    };
    let rate = row("requests/s on one core", "/s", |sample| sample.per_second);
    let rate = match name {
        "HAProxy" => rate.held_to(Bar::RatioAtLeast(0.8)),
        "nginx" => rate.held_to(Bar::RatioAtLeast(0.7)),
        _ => rate.held_to(Bar::RatioAtLeast(2.0)),
    };
    vec![
        rate,
        row("p50 with 64 connections", "ms", |sample| sample.p50_ms),
        row("p99 with 64 connections", "ms", |sample| sample.p99_ms),
        row("processor time a request", "µs", |sample| sample.cpu_micros),
    ]
}

fn backend() -> Result<(Peer, SocketAddr)> {
    let address = free_port()?;
    let hello = built("hello", "-p hello")?;
    let peer = Peer::start("hello", |_| {
        let mut command = pinned("1", hello);
        command.env("PORT", address.port().to_string());
        Ok(command)
    })?;
    wait_for(address)?;
    Ok((peer, address))
}

fn load(proxy: &Proxy, rounds: Rounds) -> Result<Sample> {
    let before = proxy.peer.processor_time();
    let duration = format!("{}s", rounds.length.as_secs());
    let url = format!("http://{}/", proxy.address);
    let output = pinned("1", "wrk").args(["-t", "1", "-c", CONNECTIONS, "--latency", "-d", &duration, &url]).output();
    let output = output.context("cannot start wrk: is it installed? (apt-get install -y wrk)")?;
    let spent = proxy.peer.processor_time().saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "requests to {} failed: {text}", proxy.name);
    sample(&text, spent.as_secs_f64() * 1e6).with_context(|| format!("wrk said nothing of {}: {text}", proxy.name))
}

/// What wrk wrote: the rate, two percentiles, and the count by which the time of the processor is divided.
fn sample(text: &str, cpu_micros: f64) -> Option<Sample> {
    let lines = || text.lines().map(str::trim);
    let after = |prefix: &str| lines().find_map(|line| line.strip_prefix(prefix)).map(str::trim);
    let requests: f64 = lines().find_map(|line| line.split_once(" requests in "))?.0.parse().ok()?;
    Some(Sample {
        per_second: after("Requests/sec:")?.parse().ok()?,
        p50_ms: millis(after("50%")?)?,
        p99_ms: millis(after("99%")?)?,
        cpu_micros: cpu_micros / requests.max(1.0),
    })
}

/// `812.00us`, `1.20ms` or `2.10s` in milliseconds.
fn millis(text: &str) -> Option<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1_000.0)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_writes_is_read() {
        let text = "Running 4s test @ http://127.0.0.1:1/\n  Latency Distribution\n     50%  812.00us\n     75%    1.00ms\n     90%    2.00ms\n\
                    \x20    99%    4.50ms\n  2000 requests in 4.00s, 1.00MB read\nRequests/sec:    500.25\nTransfer/sec:      0.25MB\n";
        let sample = sample(text, 60_000.0).unwrap();
        assert_eq!((sample.per_second, sample.p50_ms, sample.p99_ms, sample.cpu_micros), (500.25, 0.812, 4.5, 30.0));
        assert_eq!((millis("2.10s"), millis("2.10m"), millis("fast")), (Some(2_100.0), None, None));
    }
}
