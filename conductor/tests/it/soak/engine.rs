//! A container engine that goes away at random moments, in the middle of what it was asked, and comes back: afterwards what is
//! wanted is what runs, and no container is left over. The machine's engine goes on: what comes and goes is the way to it, or an
//! engine of our own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bollard::query_parameters::RemoveContainerOptionsBuilder;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams};
use model::Service;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use super::dockerd::Dockerd;
use super::{Chance, ask, change, number, rolls_out, seed};
use crate::docker::{Engine, address_of_machine};
use crate::server::{Server, create, phase, until};

/// Something that goes away and comes back.
pub trait Goes {
    /// Ends it where it is.
    async fn kill(&mut self, chance: &mut Chance);
    /// Has it come back.
    async fn start(&mut self, chance: &mut Chance);
}

/// A socket behind which the machine's engine is while this runs.
struct Way {
    dir: tempfile::TempDir,
    running: Option<JoinHandle<()>>,
}

impl Way {
    fn open() -> Self {
        let mut way = Self { dir: tempfile::Builder::new().prefix("conductor-").tempdir().unwrap(), running: None };
        way.listen();
        way
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }

    fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn listen(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        let listener = UnixListener::bind(self.socket()).unwrap();
        self.running = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut engine) = UnixStream::connect(real()).await {
                        let _ = copy_bidirectional(&mut client, &mut engine).await;
                    }
                });
            }
        }));
    }
}

impl Goes for Way {
    /// Cuts every connection where it is. The socket is left behind as a crash leaves it, or goes, as when an engine stops.
    async fn kill(&mut self, chance: &mut Chance) {
        let running = self.running.take().unwrap();
        running.abort();
        let _ = running.await;
        if chance.below(2) != 0 {
            std::fs::remove_file(self.socket()).unwrap();
        }
    }

    async fn start(&mut self, _: &mut Chance) {
        self.listen();
    }
}

/// The socket of the machine's engine.
fn real() -> PathBuf {
    address_of_machine().trim_start_matches("unix://").into()
}

/// What was done, for the line at the end.
#[derive(Debug, Default)]
struct Deeds {
    engine_killed: usize,
    servers_killed: usize,
    containers_removed: usize,
    rollouts: usize,
}

async fn harass(server: &mut Server, engine: &Engine, way: &mut impl Goes, chance: &mut Chance, lasts: Duration) -> Deeds {
    let (begun, mut deeds) = (Instant::now(), Deeds::default());
    while begun.elapsed() < lasts {
        pause(chance, 1_200).await;
        match chance.below(10) {
            0..=3 => {
                way.kill(chance).await;
                pause(chance, 2_000).await;
                way.start(chance).await;
                deeds.engine_killed += 1;
            }
            4 => {
                server.crash_and_start();
                deeds.servers_killed += 1;
            }
            5 => {
                let containers = engine.containers().await;
                if let Some((id, _)) = containers.get(chance.below(containers.len())) {
                    let force = RemoveContainerOptionsBuilder::default().force(true).build();
                    deeds.containers_removed += usize::from(engine.client.remove_container(id, Some(force)).await.is_ok());
                }
            }
            _ => {
                let client = server.client().await;
                deeds.rollouts += usize::from(change(&client, &deeds.rollouts.to_string()).await.is_ok());
            }
        }
    }
    deeds
}

async fn pause(chance: &mut Chance, millis_max: usize) {
    tokio::time::sleep(Duration::from_millis(50 + u64::try_from(chance.below(millis_max)).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_goes_away_and_comes_back_runs_what_is_wanted_and_nothing_else() {
    let mut way = Way::open();
    let mut server = Server::start_with(&[("DOCKER_HOST", &way.address())]);
    let Some(engine) = Engine::find(&server).await else { return };
    comes_and_goes(&mut server, &engine, &mut way).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_killed_and_started_again_runs_what_is_wanted_and_nothing_else() {
    let Some(mut dockerd) = Dockerd::open() else { return };
    let mut server = Server::start_with(&[("DOCKER_HOST", &dockerd.address())]);
    let engine = Engine::at(&dockerd.address(), &server).await.unwrap();
    comes_and_goes(&mut server, &engine, &mut dockerd).await;
}

async fn comes_and_goes(server: &mut Server, engine: &Engine, way: &mut impl Goes) {
    let lasts = Duration::from_secs(number("CONDUCTOR_TEST_SOAK_SECONDS").unwrap_or(30));
    let seed = seed();
    let mut chance = Chance(seed);
    create(&server.client().await, &engine.shop(2, "first")).await;
    phase(&server.client().await, "shop-1", "Complete").await;

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let asking = tokio::spawn(ask(server.data(), Arc::clone(&stop), Arc::clone(&answered)));
    let deeds = harass(server, engine, way, &mut chance, lasts).await;
    stop.store(true, Relaxed);
    asking.await.unwrap();
    println!("{deeds:?}, {} requests answered, seed {seed}", answered.load(Relaxed));
    assert!(answered.load(Relaxed) > 0 && deeds.engine_killed > 0 && deeds.rollouts > 0, "{deeds:?}");

    let client = server.client().await;
    rolls_out(server, &client, seed).await;
    until(format!("two copies and their containers are all there is, seed {seed}"), || async {
        (pods(&client).await, engine.containers().await.len()) == (2, 2)
    })
    .await;
    Api::<Service>::default_namespaced(client.clone()).delete("shop", &DeleteParams::default()).await.unwrap();
    until(format!("no container is left, seed {seed}"), || async { (pods(&client).await, engine.containers().await.len()) == (0, 0) })
        .await;
}

async fn pods(client: &Client) -> usize {
    Api::<Pod>::default_namespaced(client.clone()).list(&ListParams::default()).await.unwrap().items.len()
}
