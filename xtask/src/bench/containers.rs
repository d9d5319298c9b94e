//! Four containers of an image changed under load: ours behind our router, docker-compose's behind HAProxy.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bollard::Docker;
use serde_json::{Value, json};
use tokio::process::Command;

use super::peers::{Conductor, Peer, built, free_port, wait_for};
use super::proxies::{haproxy, haproxy_settings};
use super::rollouts::{Load, Shop};
use super::{Bar, Rounds, Row, count, median};
use crate::image;

const COPIES: usize = 4;
const RATE: u32 = 1_000;
/// How long requests flow before a change, and after it.
const AROUND: Duration = Duration::from_secs(1);
const WHAT: &str = "rollouts of 4 containers under load";

/// What a side's changes came to.
#[derive(Debug, Default)]
struct Changes {
    failed: u64,
    requests: u64,
    seconds: Vec<f64>,
}

/// As many changes of each as there are rounds, by turns. Where no engine answers, a line says so.
pub async fn measure(rounds: Rounds) -> Result<Vec<Row>> {
    let engine = match image::engine().await {
        Ok(engine) => engine,
        Err(error) => return Ok(vec![Row::not_run(WHAT, format!("{error:#}"))]),
    };
    let name = format!("localhost/conductor-bench-hello:{}", std::process::id());
    image::make(&engine, &built("hello", "-p hello")?, &name).await?;
    let rows = with_image(rounds, &name).await;
    let left = left_over(&engine, &name).await;
    image::remove(&engine, &name).await;
    left.and(rows)
}

async fn with_image(rounds: Rounds, name: &str) -> Result<Vec<Row>> {
    let conductor = Conductor::start()?;
    let mut shop = Shop::create(&conductor, COPIES, &json!({"image": name})).await?;
    let changed = alternate(rounds, name, &conductor, &mut shop).await;
    shop.delete().await?;
    let (ours, compose) = changed?;
    let (asked, what) = (ours.requests, format!("failed in {} rollouts of 4 containers at {RATE} requests/s", rounds.count));
    let failed = |of: String| Row::new(format!("{what}, {of}"), count(ours.failed), "requests").held_to(Bar::AtMost(0.0));
    let took = Row::new("one rollout of 4 containers, ours with its watch window of 1 s", median(ours.seconds), "s");
    Ok(match compose {
        Ok(compose) => {
            let failed = failed(format!("of {asked} and {}", compose.requests));
            let took = took.beside("docker-compose", median(compose.seconds));
            vec![failed.beside("docker-compose", count(compose.failed)), took]
        }
        Err(error) => vec![failed(format!("of {asked}")), took, Row::not_run("the same with docker-compose", format!("{error:#}"))],
    })
}

/// Changes of ours and of docker-compose's by turns; docker-compose may not be there.
async fn alternate(rounds: Rounds, name: &str, conductor: &Conductor, shop: &mut Shop) -> Result<(Changes, Result<Changes>)> {
    let (mut ours, mut theirs) = (Changes::default(), Changes::default());
    let mut compose = Compose::start(name).await;
    for version in (2..).take(rounds.count) {
        ours.note(conductor.http, async || shop.change(version).await).await?;
        if let Ok(compose) = &mut compose {
            theirs.note(compose.entry, async || compose.project.up(version).await).await?;
        }
    }
    let ended = match compose {
        Ok(compose) => compose.project.down().await.map(|()| theirs),
        Err(error) => Err(error),
    };
    Ok((ours, ended))
}

impl Changes {
    async fn note(&mut self, entry: SocketAddr, change: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
        let load = Load::start(entry, RATE)?;
        tokio::time::sleep(AROUND).await;
        let begun = Instant::now();
        change().await?;
        self.seconds.push(begun.elapsed().as_secs_f64());
        tokio::time::sleep(AROUND).await;
        let outcome = load.stop().await?;
        eprintln!("bench: {entry}: {:?}", outcome.outcomes);
        self.failed += outcome.failures();
        self.requests += outcome.requests;
        Ok(())
    }
}

/// Containers of docker-compose, and HAProxy before them, which looks after them five times a second.
struct Compose {
    project: Project,
    entry: SocketAddr,
    _haproxy: Peer,
}

struct Project {
    dir: tempfile::TempDir,
    name: String,
    image: String,
    ports: Vec<SocketAddr>,
}

impl Compose {
    async fn start(image: &str) -> Result<Self> {
        let ports = quiet_ports();
        ensure!(ports.len() == COPIES, "no {COPIES} ports are free");
        let dir = tempfile::Builder::new().prefix("conductor-bench-").tempdir()?;
        let project = Project { dir, name: format!("conductorbench{}", std::process::id()), image: image.to_owned(), ports };
        project.up(1).await?;
        let entry = free_port()?;
        let servers = project.ports.iter().enumerate();
        let servers = servers.map(|(at, port)| format!("  server web{at} {port} check inter 200ms fall 1 rise 1\n"));
        let spread = "  option httpchk GET /ready\n  option redispatch\n  retries 3\n  retry-on conn-failure empty-response\n";
        let settings = haproxy_settings(entry, &format!("{spread}{}", servers.collect::<String>()));
        let peer = Peer::start("haproxy", |dir| haproxy(dir, &settings))?;
        for port in &project.ports {
            wait_for(*port)?;
        }
        wait_for(entry)?;
        tokio::time::sleep(AROUND).await;
        Ok(Self { project, entry, _haproxy: peer })
    }
}

/// Ports that are free and that no outgoing connection is given while a container is away from its own.
fn quiet_ports() -> Vec<SocketAddr> {
    let all = (20_000..30_000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    all.filter(|address| std::net::TcpListener::bind(address).is_ok()).take(COPIES).collect()
}

impl Project {
    /// Has all containers made again for another version.
    async fn up(&self, version: u64) -> Result<()> {
        let services = self.ports.iter().enumerate().map(|(at, port)| {
            let service = json!({"image": self.image, "ports": [format!("{port}:8080")],
                "environment": {"PORT": "8080", "VERSION": version.to_string()}});
            (format!("web{at}"), service)
        });
        let services: serde_json::Map<String, Value> = services.collect();
        std::fs::write(self.file(), json!({"version": "3", "services": services}).to_string())?;
        self.run(&["up", "-d"]).await
    }

    async fn down(&self) -> Result<()> {
        self.run(&["down", "-t", "1"]).await
    }

    fn file(&self) -> impl AsRef<Path> {
        self.dir.path().join("compose.json")
    }

    async fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("docker-compose");
        command.args(["-p", &self.name, "-f"]).arg(self.file().as_ref()).args(arguments);
        let output = command.output().await.context("cannot start docker-compose: is it installed? (apt-get install -y docker-compose)")?;
        ensure!(output.status.success(), "docker-compose {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Drop for Project {
    /// After a failure in between; where all went well there is nothing left to take down.
    fn drop(&mut self) {
        let file = self.file();
        let down = std::process::Command::new("docker-compose")
            .args(["-p", &self.name, "-f"])
            .arg(file.as_ref())
            .args(["down", "-t", "1"])
            .output();
        drop(down);
    }
}

/// Errors: containers of the image are still there.
async fn left_over(engine: &Docker, name: &str) -> Result<()> {
    let filters = [("ancestor", vec![name.to_owned()])].into();
    let options = bollard::query_parameters::ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let left: Vec<_> = engine.list_containers(Some(options)).await?.into_iter().filter_map(|found| found.id).collect();
    ensure!(left.is_empty(), "containers of {name} are left over: {left:?}");
    Ok(())
}
