//! What an idle server costs: memory, writes, the time to start.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::clients::ApiClient;
use super::peers::{Conductor, kib_to_mib, resident_kib};
use super::{Bar, Rounds, Row, count, median};

const SERVICES: usize = 20;
const IDLE: Duration = Duration::from_secs(60);
const PATH: &str = "/apis/conductor.dev/v1/namespaces/default/services";
const JSON: &str = "application/json";

/// A server with twenty Services that do nothing.
pub async fn measure(rounds: Rounds) -> Result<Vec<Row>> {
    let mut starts = Vec::new();
    for _ in 0..rounds.count {
        starts.push(Conductor::start()?.ready_after.as_secs_f64() * 1_000.0);
    }
    let conductor = Conductor::start()?;
    let mut client = ApiClient::connect(conductor.api, &conductor.data).await?;
    for number in 0..SERVICES {
        let service = json!({"apiVersion": "conductor.dev/v1", "kind": "Service", "metadata": {"name": format!("idle-{number}")}, "spec": {
            "application": "idle", "parts": [{"name": "idle", "pod": {"spec": {"terminationGracePeriodSeconds": 1,
                "containers": [{"name": "idle", "command": ["/bin/sleep", "100000"]}]}}}]}});
        client.call("POST", PATH, JSON, service.to_string()).await?;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = written(&conductor);
    tokio::time::sleep(IDLE).await;
    let after = written(&conductor);
    let server = conductor.peer.resident_kib();
    let shims = shims(&conductor.data.join("pods").to_string_lossy());
    let largest = shims.iter().map(|pid| resident_kib(*pid)).max().unwrap_or(0);
    let own = shims.iter().map(|pid| proportional_kib(*pid)).max().unwrap_or(0);
    // The server has closed the first connection, on which nothing was asked for so long.
    let mut client = ApiClient::connect(conductor.api, &conductor.data).await?;
    client.call("DELETE", PATH, JSON, "").await?;
    while !shims.iter().all(|pid| resident_kib(*pid) == 0) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let idle = format!("server's resident memory, {SERVICES} Services");
    let shim = format!("the largest of {} shims, resident", shims.len());
    Ok(vec![
        Row::new("from the first start to ready", median(starts), "ms").held_to(Bar::AtMost(150.0)),
        Row::new(idle, kib_to_mib(server), "MiB").held_to(Bar::AtMost(40.0)),
        Row::new("written in 60 idle seconds", count(after - before), "bytes").held_to(Bar::AtMost(0.0)),
        Row::new(shim, count(largest), "KiB").held_to(Bar::AtMost(3_072.0)),
        Row::new("the same, its share of shared pages", count(own), "KiB"),
    ])
}

/// Bytes that the server has caused to be written to disk.
fn written(conductor: &Conductor) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", conductor.peer.pid())).unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
}

fn shims(pods: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_shim = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("shim") && line.contains(pods)
    };
    pids.filter(is_shim).collect()
}

/// Memory of a process with each shared page counted once among its sharers, in KiB.
fn proportional_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
