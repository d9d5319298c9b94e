//! Rollouts in a row under load with kept connections: no request may fail.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Row;
use super::clients::ApiClient;
use super::peers::{Conductor, built};
use crate::load;

const ROLLOUTS: usize = 20;
const SERVICES: &str = "/apis/conductor.dev/v1/namespaces/default/services";
const REVISIONS: &str = "/apis/conductor.dev/v1/namespaces/default/revisions";
const JSON: &str = "application/json";

/// Twenty rollouts of two copies.
pub async fn measure() -> Result<Vec<Row>> {
    // Fails only when one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let conductor = Conductor::start()?;
    let mut client = ApiClient::connect(conductor.api, &conductor.data).await?;
    client.call("POST", SERVICES, JSON, service()?.to_string()).await?;
    complete(&mut client, 1).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let options = load::Options {
        url: format!("http://{}/", conductor.http).parse().map_err(|error| anyhow::anyhow!("{error}"))?,
        host_header: Some("bench.test".into()),
        connections: 16,
        rate: 2_500,
        seconds: 600.0,
        timeout: 10.0,
        stop_file: None,
    };
    let loading = tokio::spawn(load::run(options, async {
        let _ = stopped.await;
    }));
    let begun = Instant::now();
    for number in 2..ROLLOUTS + 2 {
        let change = json!({"spec": {"config": {"VERSION": number.to_string()}}}).to_string();
        client.call("PATCH", &format!("{SERVICES}/bench"), "application/merge-patch+json", change).await?;
        complete(&mut client, number).await?;
    }
    let took = begun.elapsed();
    let _ = stop.send(());
    let outcome = loading.await?;
    client.call("DELETE", &format!("{SERVICES}/bench"), JSON, "").await?;
    let pods = "/api/v1/namespaces/default/pods";
    while !parse(&client.call("GET", pods, JSON, "").await?)?["items"].as_array().is_none_or(Vec::is_empty) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let each = took.as_secs_f64() / 20.0;
    Ok(vec![
        Row::alone(
            format!("failed requests in {ROLLOUTS} rollouts at {:.0} requests/s", outcome.rate()),
            format!("{} of {}", outcome.failures(), outcome.requests),
            "0",
        ),
        Row::alone("one rollout of 2 copies, with its watch window of 1 s", format!("{each:.2} s"), ""),
    ])
}

fn service() -> Result<Value> {
    let hello = built("hello", "-p hello")?;
    Ok(json!({"apiVersion": "conductor.dev/v1", "kind": "Service", "metadata": {"name": "bench"}, "spec": {
        "application": "bench", "config": {"VERSION": "1"},
        "parts": [{"name": "web", "replicas": 2, "pod": {"spec": {"containers": [{
            "name": "web", "command": [hello], "ports": [{"name": "http", "containerPort": 80}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}}}]}}}],
        "routes": [{"host": "bench.test", "part": "web", "port": "http"}]}}))
}

fn parse(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).context("an answer that is no JSON")
}

async fn complete(client: &mut ApiClient, number: usize) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if let Ok(body) = client.call("GET", &format!("{REVISIONS}/bench-{number}"), JSON, "").await {
            let revision = parse(&body)?;
            if revision["status"]["phase"] == "Complete" {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("bench-{number} did not complete")
}
