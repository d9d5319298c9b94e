//! Servers, shims and programs killed at random moments, during rollouts and under load: nothing that was promised is lost, and
//! nothing is left over. A minute long; `make soak` makes it ten. The seed is printed, and `CONDUCTOR_TEST_SEED` gives it back.

mod dockerd;
mod engine;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use model::{Revision, Service};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::load::get;
use crate::server::{Server, create, phase, shop, until};

/// Numbers that follow from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The seed that was asked for, or one of this moment; it is printed.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let seed = number("CONDUCTOR_TEST_SEED").unwrap_or(u64::try_from(now & 0xffff_ffff).unwrap() | 1);
    println!("CONDUCTOR_TEST_SEED={seed}");
    seed
}

/// A client of whichever server runs on a data directory now.
async fn client(data: &Path) -> Option<Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(data.join("kubeconfig")).ok()?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.ok()?;
    config.connect_timeout = Some(Duration::from_secs(2));
    config.read_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).ok()
}

/// Writes ConfigMaps one after the other; the numbers of those whose writing was acknowledged.
async fn write(data: PathBuf, stop: Arc<AtomicBool>, written: Arc<Mutex<BTreeSet<usize>>>) {
    let mut at = 0;
    while !stop.load(Relaxed) {
        let Some(client) = client(&data).await else { continue };
        let maps = Api::<ConfigMap>::default_namespaced(client);
        loop {
            let mut map = ConfigMap::default();
            map.metadata.name = Some(format!("written-{at}"));
            at += 1;
            if stop.load(Relaxed) || maps.create(&PostParams::default(), &map).await.is_err() {
                break;
            }
            written.lock().unwrap().insert(at - 1);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks the Service again and again, wherever it is.
async fn ask(data: PathBuf, stop: Arc<AtomicBool>, answered: Arc<AtomicUsize>) {
    while !stop.load(Relaxed) {
        let ready: Option<Value> = std::fs::read(data.join("ready.json")).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let address: Option<SocketAddr> = ready.and_then(|ready| ready["http"].as_str()?.strip_prefix("http://")?.parse().ok());
        let once = async {
            let mut stream = tokio::net::TcpStream::connect(address?).await.ok()?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").await.ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.ok()?;
            text.starts_with("HTTP/1.1 200").then_some(())
        };
        if let Ok(Some(())) = tokio::time::timeout(Duration::from_secs(2), once).await {
            answered.fetch_add(1, Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The receipts of the Revisions that are complete, by name. Errors: no server answers now.
async fn receipts(client: &Client) -> kube::Result<BTreeMap<String, Option<Value>>> {
    let all = Api::<Revision>::default_namespaced(client.clone()).list(&ListParams::default()).await?;
    let complete = all.items.into_iter().filter_map(|revision| {
        let status = revision.status?;
        let receipt = status.receipt.map(|receipt| serde_json::to_value(receipt).unwrap());
        (format!("{:?}", status.phase) == "Complete").then_some((revision.metadata.name?, receipt))
    });
    Ok(complete.collect())
}

async fn change(client: &Client, version: &str) -> kube::Result<Service> {
    let patch = json!({"spec": {"config": {"VERSION": version}}});
    Api::<Service>::default_namespaced(client.clone()).patch("shop", &PatchParams::default(), &Patch::Merge(patch)).await
}

/// What was done, for the line at the end.
#[derive(Debug, Default)]
struct Deeds {
    servers_killed: usize,
    programs_killed: usize,
    rollouts: usize,
}

/// Kills and changes until the time is over; the receipts that were seen meanwhile.
async fn harass(server: &mut Server, chance: &mut Chance, lasts: Duration) -> (Deeds, BTreeMap<String, Value>) {
    let (begun, mut deeds, mut seen) = (Instant::now(), Deeds::default(), BTreeMap::new());
    while begun.elapsed() < lasts {
        tokio::time::sleep(Duration::from_millis(50 + u64::try_from(chance.below(1200)).unwrap())).await;
        match chance.below(10) {
            0..=3 => {
                server.crash_and_start();
                deeds.servers_killed += 1;
            }
            4..=5 => {
                let processes = server.processes();
                if let Some(pid) = processes.get(chance.below(processes.len())) {
                    let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
                    deeds.programs_killed += 1;
                }
            }
            _ => {
                let client = server.client().await;
                deeds.rollouts += usize::from(change(&client, &format!("{}", deeds.rollouts)).await.is_ok());
                for (name, receipt) in receipts(&client).await.unwrap_or_default() {
                    seen.entry(name).or_insert_with(|| receipt.unwrap_or_default());
                }
            }
        }
    }
    (deeds, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_what_was_promised_is_kept_and_nothing_is_left_over() {
    let lasts = Duration::from_secs(number("CONDUCTOR_TEST_SOAK_SECONDS").unwrap_or(60));
    let seed = seed();
    let mut chance = Chance(seed);
    let mut server = Server::start();
    create(&server.client().await, &shop(2, "first")).await;
    phase(&server.client().await, "shop-1", "Complete").await;

    let stop = Arc::new(AtomicBool::new(false));
    let (written, answered) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicUsize::new(0)));
    let mut others = vec![tokio::spawn(write(server.data(), Arc::clone(&stop), Arc::clone(&written)))];
    others.extend((0..4).map(|_| tokio::spawn(ask(server.data(), Arc::clone(&stop), Arc::clone(&answered)))));
    let (deeds, seen) = harass(&mut server, &mut chance, lasts).await;
    stop.store(true, Relaxed);
    for other in others {
        other.await.unwrap();
    }
    let written = written.lock().unwrap().clone();
    println!("{deeds:?}, {} writes acknowledged, {} requests answered, seed {seed}", written.len(), answered.load(Relaxed));
    assert!(!written.is_empty() && answered.load(Relaxed) > 0 && deeds.rollouts > 0, "{deeds:?}");

    let client = server.client().await;
    let kept = Api::<ConfigMap>::default_namespaced(client.clone()).list(&ListParams::default()).await.unwrap();
    let kept: BTreeSet<usize> =
        kept.items.iter().filter_map(|map| map.metadata.name.as_deref()?.strip_prefix("written-")?.parse().ok()).collect();
    let lost: Vec<_> = written.difference(&kept).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}, seed {seed}");
    settles(&server, &client, seen, seed).await;
    goes(&server, &client, seed).await;
}

/// One more version is rolled out and serves.
async fn rolls_out(server: &Server, client: &Client, seed: u64) {
    change(client, "last").await.unwrap();
    until(format!("the last version answers, seed {seed}"), || async {
        let (code, text) = get(server.http(), "shop.test", "/").await;
        code == 200 && text.contains("version last")
    })
    .await;
    until(format!("the last rollout is complete, seed {seed}"), || async {
        let all = Api::<Revision>::default_namespaced(client.clone()).list(&ListParams::default()).await.unwrap();
        let newest = all.items.into_iter().max_by_key(|revision| number_of(revision.metadata.name.as_deref()));
        newest.is_some_and(|revision| format!("{:?}", revision.status.unwrap_or_default().phase) == "Complete")
    })
    .await;
}

/// What is wanted is what runs, and every receipt is there.
async fn settles(server: &Server, client: &Client, seen: BTreeMap<String, Value>, seed: u64) {
    rolls_out(server, client, seed).await;
    until(format!("two copies, their shims and directories are all there is, seed {seed}"), || async {
        let pods = Api::<Pod>::default_namespaced(client.clone()).list(&ListParams::default()).await.unwrap().items.len();
        (server.processes().len(), pods, directories(&server.data().join("pods"))) == (4, 2, 2)
    })
    .await;
    let receipts = receipts(client).await.unwrap();
    for (name, receipt) in &receipts {
        let receipt = receipt.as_ref().unwrap_or_else(|| panic!("{name} is complete and has no receipt, seed {seed}"));
        assert!(seen.get(name).is_none_or(|before| before == receipt), "the receipt of {name} changed, seed {seed}");
    }
}

/// What is deleted is gone, with all that belonged to it.
async fn goes(server: &Server, client: &Client, seed: u64) {
    Api::<Service>::default_namespaced(client.clone()).delete("shop", &DeleteParams::default()).await.unwrap();
    until(format!("no process is left, seed {seed}"), || async { server.processes().is_empty() }).await;
    until(format!("no directory is left, seed {seed}"), || async { directories(&server.data().join("pods")) == 0 }).await;
    let halves = std::fs::read_dir(server.data()).unwrap().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let halves: Vec<String> = halves.filter(|name| name.ends_with(".new")).collect();
    assert!(halves.is_empty(), "{halves:?}, seed {seed}");
}

fn directories(of: &Path) -> usize {
    std::fs::read_dir(of).unwrap().flatten().filter(|entry| entry.path().is_dir()).count()
}

fn number_of(name: Option<&str>) -> u64 {
    name.and_then(|name| name.strip_prefix("shop-")?.parse().ok()).unwrap_or(0)
}
