//! The control API beside etcd's puts: 32 calls in flight, objects of 1 KiB, everything durable.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http_body_util::BodyExt as _;
use serde_json::json;

use super::clients::{ApiClient, Etcd, Measured, drive};
use super::peers::{Conductor, etcd, kib_to_mib};
use super::{Bar, Rounds, Row, median};

const IN_FLIGHT: usize = 32;
const LISTED: usize = 5_000;
/// How many objects there are when memory is measured.
const WORKED: usize = 5_000;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";

/// Creates, gets, merge patches, lists, and the delay from a write to its event.
pub async fn measure(rounds: Rounds) -> Result<Vec<Row>> {
    let conductor = Conductor::start()?;
    let (_etcd, etcd_address) = etcd()?;
    let (api, data) = (conductor.api, conductor.data.clone());
    let (mut creates, mut puts, mut gets, mut patches, mut put_ms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds.count {
        creates.push(create(api, &data, round, rounds.length).await?.per_second);
        puts.push(put(etcd_address, round, IN_FLIGHT, rounds.length).await?.per_second);
        patches.push(patch(api, &data, round, rounds.length).await?.per_second);
        gets.push(get(api, &data, round, rounds.length).await?.per_second);
        put_ms.push(put(etcd_address, round, 1, Duration::from_secs(1)).await?.p50_ms);
    }
    let puts = median(puts);
    let lists = list(api, &data, rounds.length).await?;
    let event_ms = events(api, &data).await?;
    let beside_puts = |what: &str, rates: Vec<f64>| Row::new(what, median(rates), "/s").beside("etcd puts", puts);
    let memory = format!("API, resident memory after {WORKED} creates, patches and gets, and 20 lists");
    Ok(vec![
        beside_puts("API creates/s, 32 in flight", creates).held_to(Bar::AtLeast(5_000.0)).held_to(Bar::RatioAtLeast(0.7)),
        beside_puts("API merge patches/s, 32 in flight", patches).held_to(Bar::RatioAtLeast(0.5)),
        beside_puts("API gets/s, 32 in flight", gets).held_to(Bar::RatioAtLeast(1.4)),
        Row::new("API lists/s of 5,000 objects", lists.per_second, "/s").held_to(Bar::AtLeast(50.0)),
        Row::new("API write to watch event, p50", event_ms, "ms").beside("one etcd put", median(put_ms)).held_to(Bar::RatioAtMost(1.3)),
        Row::new(memory, memory_mib().await?, "MiB").held_to(Bar::AtMost(60.0)),
    ])
}

/// The resident memory in MiB of a server that has done a fixed amount of work.
async fn memory_mib() -> Result<f64> {
    let conductor = Conductor::start()?;
    let mut tasks = Vec::new();
    for (number, mut client) in clients(conductor.api, &conductor.data, IN_FLIGHT).await?.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            for at in (number..WORKED).step_by(IN_FLIGHT) {
                let one = format!("{MAPS}/m-{at}");
                client.call("POST", MAPS, JSON, map(&format!("m-{at}"), "x")).await?;
                let change = json!({"data": {"payload": "y".repeat(900)}}).to_string();
                client.call("PATCH", &one, "application/merge-patch+json", change).await?;
                client.call("GET", &one, JSON, "").await?;
            }
            Ok::<_, anyhow::Error>(client)
        }));
    }
    for task in tasks {
        task.await??;
    }
    let mut client = ApiClient::connect(conductor.api, &conductor.data).await?;
    for _ in 0..20 {
        client.call("GET", MAPS, JSON, "").await?;
    }
    Ok(kib_to_mib(conductor.peer.resident_kib()))
}

async fn clients(api: SocketAddr, data: &Path, count: usize) -> Result<Vec<ApiClient>> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(ApiClient::connect(api, data).await?);
    }
    Ok(clients)
}

fn map(name: &str, letter: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"payload": letter.repeat(900)}}).to_string()
}

async fn create(api: SocketAddr, data: &Path, round: usize, length: Duration) -> Result<Measured> {
    drive(clients(api, data, IN_FLIGHT).await?, length, move |mut client: ApiClient, number, call| async move {
        client.call("POST", MAPS, JSON, map(&format!("c-{round}-{number}-{call}"), "x")).await?;
        Ok(client)
    })
    .await
}

async fn patch(api: SocketAddr, data: &Path, round: usize, length: Duration) -> Result<Measured> {
    drive(clients(api, data, IN_FLIGHT).await?, length, move |mut client: ApiClient, number, call| async move {
        let change = json!({"data": {"payload": format!("{call}").repeat(200)}}).to_string();
        client.call("PATCH", &format!("{MAPS}/c-{round}-{number}-0"), "application/merge-patch+json", change).await?;
        Ok(client)
    })
    .await
}

async fn get(api: SocketAddr, data: &Path, round: usize, length: Duration) -> Result<Measured> {
    drive(clients(api, data, IN_FLIGHT).await?, length, move |mut client: ApiClient, number, _| async move {
        client.call("GET", &format!("{MAPS}/c-{round}-{number}-0"), JSON, "").await?;
        Ok(client)
    })
    .await
}

/// Puts of 1 KiB into etcd.
pub async fn put(etcd: SocketAddr, round: usize, in_flight: usize, length: Duration) -> Result<Measured> {
    let mut connections = Vec::new();
    for _ in 0..in_flight.div_ceil(8) {
        connections.push(Etcd::connect(etcd).await?);
    }
    let clients = (0..in_flight).map(|at| connections[at % connections.len()].clone()).collect();
    let value = vec![b'x'; 1_024];
    drive(clients, length, move |mut client: Etcd, number, call| {
        let value = value.clone();
        async move {
            client.put(&format!("/bench/{round}/{number}/{call}"), &value).await?;
            Ok(client)
        }
    })
    .await
}

/// Lists of a namespace that holds so many objects and no others.
async fn list(api: SocketAddr, data: &Path, length: Duration) -> Result<Measured> {
    let mut client = ApiClient::connect(api, data).await?;
    client.call("POST", "/api/v1/namespaces", JSON, json!({"metadata": {"name": "many"}}).to_string()).await?;
    let maps = "/api/v1/namespaces/many/configmaps";
    for at in 0..LISTED {
        client.call("POST", maps, JSON, map(&format!("m-{at}"), "y")).await?;
    }
    drive(clients(api, data, 2).await?, length, move |mut client: ApiClient, _, _| async move {
        let body = client.call("GET", maps, JSON, "").await?;
        ensure!(body.len() > LISTED * 900, "the list is short: {} bytes", body.len());
        Ok(client)
    })
    .await
}

/// The median time from sending a write to receiving its event.
async fn events(api: SocketAddr, data: &Path) -> Result<f64> {
    let mut watcher = ApiClient::connect(api, data).await?;
    let mut writer = ApiClient::connect(api, data).await?;
    writer.call("POST", "/api/v1/namespaces", JSON, json!({"metadata": {"name": "watched"}}).to_string()).await?;
    let maps = "/api/v1/namespaces/watched/configmaps";
    let mut stream = watcher.open("GET", &format!("{maps}?watch=true"), JSON, "").await?.into_body();
    let mut times = Vec::new();
    for at in 0..200 {
        let sent = Instant::now();
        let name = format!("w-{at}");
        let (written, seen) = tokio::join!(writer.call("POST", maps, JSON, map(&name, "z")), async {
            let frame = stream.frame().await.ok_or_else(|| anyhow::anyhow!("the watch ended"))??;
            ensure!(frame.data_ref().is_some_and(|bytes| String::from_utf8_lossy(bytes).contains(&name)), "another event came");
            Ok(sent.elapsed().as_secs_f64() * 1_000.0)
        });
        written?;
        times.push(seen?);
    }
    Ok(median(times))
}
