//! Our router beside HAProxy: one core each, the same backend, the same load.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::peers::{Peer, built, free_port, wait_for};
use super::{Rounds, Row, median};

/// Requests a second of both; the proxy has core 0, the backend and the load core 1.
pub fn measure(rounds: Rounds) -> Result<Vec<Row>> {
    let (backend, backend_address) = backend()?;
    let (ours, our_address) = ours(backend_address)?;
    let (haproxy, haproxy_address) = haproxy(backend_address)?;
    let (mut our_rates, mut haproxy_rates) = (Vec::new(), Vec::new());
    for _ in 0..rounds.count {
        our_rates.push(load(our_address, rounds)?);
        haproxy_rates.push(load(haproxy_address, rounds)?);
    }
    let memory = [&ours, &haproxy].map(|peer| kib_to_mib(peer.resident_kib()));
    drop(backend);
    Ok(vec![
        Row::beside("router, requests/s on one core (HAProxy)", median(our_rates), median(haproxy_rates), "/s", "≥ 0.8"),
        Row::beside("router, resident memory after that (HAProxy)", memory[0], memory[1], "MiB", ""),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "memory of one process is far below 2^52 KiB")]
fn kib_to_mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn pinned(core: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
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

fn ours(backend: SocketAddr) -> Result<(Peer, SocketAddr)> {
    let address = free_port()?;
    let serve = built("examples/serve", "-p router --features builtin --example serve")?;
    let peer = Peer::start("serve", |_| {
        let mut command = pinned("0", serve);
        command.arg(address.to_string()).arg(backend.to_string());
        Ok(command)
    })?;
    wait_for(address)?;
    Ok((peer, address))
}

fn haproxy(backend: SocketAddr) -> Result<(Peer, SocketAddr)> {
    let address = free_port()?;
    let peer = Peer::start("haproxy", |dir| {
        let file = dir.join("haproxy.cfg");
        let text = format!(
            "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  option http-keep-alive\n  http-reuse always\n  timeout client 60s\n  \
             timeout server 60s\n  timeout connect 1s\nlisten all\n  bind {address}\n  option forwardfor\n  server one {backend}\n"
        );
        fs::write(&file, text)?;
        let mut command = pinned("0", "haproxy");
        command.arg("-db").arg("-f").arg(file);
        Ok(command)
    })?;
    wait_for(address)?;
    Ok((peer, address))
}

fn load(address: SocketAddr, rounds: Rounds) -> Result<f64> {
    let duration = format!("{}s", rounds.length.as_secs());
    let output = pinned("1", "wrk").args(["-t", "1", "-c", "64", "-d", &duration, &format!("http://{address}/")]).output();
    let output = output.context("cannot start wrk: is it installed? (apt-get install -y wrk)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "requests failed: {text}");
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok()).with_context(|| format!("wrk said no rate: {text}"))
}
