//! Rollouts in a row under load with kept connections: no request may fail.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::clients::ApiClient;
use super::peers::{Conductor, built};
use super::{Bar, Row, count};
use crate::load;

const ROLLOUTS: u64 = 20;
const SERVICES: &str = "/apis/conductor.dev/v1/namespaces/default/services";
const REVISIONS: &str = "/apis/conductor.dev/v1/namespaces/default/revisions";
const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON: &str = "application/json";

/// Twenty rollouts of two copies.
pub async fn measure() -> Result<Vec<Row>> {
    let conductor = Conductor::start()?;
    let program = json!({"command": [built("hello", "-p hello")?]});
    let mut shop = Shop::create(&conductor, 2, &program).await?;
    let load = Load::start(conductor.http, 2_500)?;
    let begun = Instant::now();
    for version in 2..ROLLOUTS + 2 {
        shop.change(version).await?;
    }
    let took = begun.elapsed();
    let outcome = load.stop().await?;
    shop.delete().await?;
    let failed = format!("failed requests in {ROLLOUTS} rollouts of 2 programs at {:.0} requests/s", outcome.rate());
    Ok(vec![
        Row::new(failed, count(outcome.failures()), format!("of {}", outcome.requests)).held_to(Bar::AtMost(0.0)),
        Row::new("one rollout of 2 programs, with its watch window of 1 s", took.as_secs_f64() / count(ROLLOUTS), "s"),
    ])
}

/// A Service `bench` behind the router, whose versions are numbered from 1 as its Revisions are.
pub struct Shop {
    client: ApiClient,
}

impl Shop {
    /// The first version: so many copies of a container that says its program or image.
    pub async fn create(conductor: &Conductor, replicas: usize, program: &Value) -> Result<Self> {
        let mut shop = Self { client: ApiClient::connect(conductor.api, &conductor.data).await? };
        let mut container = json!({"name": "web", "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}}});
        for (field, value) in program.as_object().into_iter().flatten() {
            container[field] = value.clone();
        }
        let service = json!({"apiVersion": "conductor.dev/v1", "kind": "Service", "metadata": {"name": "bench"}, "spec": {
            "application": "bench", "config": {"VERSION": "1"},
            "parts": [{"name": "web", "replicas": replicas, "pod": {"spec": {"containers": [container]}}}],
            "routes": [{"host": "bench.test", "part": "web", "port": "http"}]}});
        shop.client.call("POST", SERVICES, JSON, service.to_string()).await?;
        shop.complete(1).await?;
        Ok(shop)
    }

    /// Changes to another version, and waits until it is complete.
    pub async fn change(&mut self, version: u64) -> Result<()> {
        let change = json!({"spec": {"config": {"VERSION": version.to_string()}}}).to_string();
        self.client.call("PATCH", &format!("{SERVICES}/bench"), "application/merge-patch+json", change).await?;
        self.complete(version).await
    }

    async fn complete(&mut self, version: u64) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if let Ok(body) = self.client.call("GET", &format!("{REVISIONS}/bench-{version}"), JSON, "").await {
                let revision = parse(&body)?;
                match revision["status"]["phase"].as_str() {
                    Some("Complete") => return Ok(()),
                    Some("Failed") => bail!("bench-{version} failed: {}", revision["status"]["failure"]),
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("bench-{version} did not complete")
    }

    /// Deletes it and waits until its copies are gone. Errors: they are still there after a minute.
    pub async fn delete(&mut self) -> Result<()> {
        self.client.call("DELETE", &format!("{SERVICES}/bench"), JSON, "").await?;
        let begun = Instant::now();
        while !parse(&self.client.call("GET", PODS, JSON, "").await?)?["items"].as_array().is_none_or(Vec::is_empty) {
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("the copies of bench are still there");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// Requests to `bench.test` that flow until they are told to stop.
pub struct Load {
    stop: oneshot::Sender<()>,
    running: JoinHandle<load::Outcome>,
}

impl Load {
    /// So many requests a second to an address, over 16 kept connections.
    pub fn start(address: SocketAddr, rate: u32) -> Result<Self> {
        let options = load::Options {
            url: format!("http://{address}/").parse()?,
            host_header: Some("bench.test".into()),
            connections: 16,
            rate,
            seconds: 600.0,
            timeout: 10.0,
            stop_file: None,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(load::run(options, async {
            let _ = stopped.await;
        }));
        Ok(Self { stop, running })
    }

    /// What came back.
    pub async fn stop(self) -> Result<load::Outcome> {
        let _ = self.stop.send(());
        Ok(self.running.await?)
    }
}

fn parse(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).context("an answer that is no JSON")
}
