//! Images, run by an engine that speaks Docker's API: Docker itself, or Podman's service.
//!
//! ```text
//!  Docker ──▶ Sandbox ──▶ Engine ═══ socket ═══ the engine ──▶ containers, one a run
//!  all pods   one pod     every call in bounded time
//! ```
//!
//! The engine's containers carry our labels, so that we find them again and touch no other. When one ends, the engine leaves it
//! alone: restarts are the agent's to decide, and each start is a new container, so that the log of the run before is kept.
//! Containers have a network each; those of one pod do not share one.

mod asked;
mod attach;
mod engine;
mod exec;
mod fault;
mod images;
mod logs;
mod probing;
mod records;
mod sandbox;
mod seen;
mod session;
mod usage;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bollard::query_parameters::StopContainerOptionsBuilder;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::changes::Changes;
use crate::check_pod::{check, refuse};
use crate::probe::{self, Target};
use crate::{
    Capabilities, Check, Class, ContainerPhase, Credential, Error, ExecAnswer, ExecOptions, LogOptions, Pod, PodState, ProbeAnswer, Result,
    Runtime, Session, Usage, ports,
};
use engine::{Engine, WORKED, lock};
use images::{Images, Sought};
use records::{Opened, Record};
use sandbox::Sandbox;

/// Where Docker listens unless somebody says otherwise.
pub const ADDRESS: &str = "unix:///var/run/docker.sock";

/// How long the engine is waited for when we begin; afterwards we go on without it.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// How many containers are removed at a time.
const REMOVED_AT_A_TIME: usize = 8;

/// A runtime whose containers are an engine's.
#[derive(Debug)]
pub struct Docker {
    pods: Arc<Pods>,
    watching: JoinHandle<()>,
    _lock: File,
}

/// The pods there are.
#[derive(Debug)]
struct Pods {
    dir: PathBuf,
    server: Arc<str>,
    engine: Arc<Engine>,
    images: Images,
    /// By uid.
    all: Mutex<BTreeMap<String, Arc<Sandbox>>>,
    /// Held while ports are chosen and a record is written.
    making: Mutex<()>,
    changes: Changes,
}

impl Docker {
    /// Opens the directory in which the pods' records are, made if it is absent, and finds what runs of them in the engine at
    /// `address` (`unix:///a/path`). An engine that is not there is no error; what needs it then says so until it is.
    /// Errors: [`Error::Failed`], when the directory cannot be used or another process of ours uses it; [`Error::Refused`] for
    /// an address that is none.
    pub async fn open(dir: impl AsRef<Path>, address: &str) -> Result<Self> {
        let engine = Arc::new(Engine::new(address)?);
        let dir = dir.as_ref().to_owned();
        let tried = format!("open the pods in {}", dir.display());
        let asked = dir.clone();
        let opened = spawn_blocking(move || records::open(&asked)).await.map_err(std::io::Error::other).and_then(|opened| opened);
        let Opened { lock, server, records } = opened.map_err(|error| Error::Failed { tried, reason: error.to_string() })?;
        let (server, changes): (Arc<str>, _) = (server.into(), Changes::new());
        let sandbox = |record: Record| {
            let file = records::file(&dir, &record.pod.uid);
            Sandbox::new(record, file, Arc::clone(&server), Arc::clone(&engine), changes.clone())
        };
        let all: BTreeMap<_, _> = records.into_iter().map(sandbox).map(|sandbox| (sandbox.uid().to_owned(), sandbox)).collect();
        let pods = Arc::new(Pods {
            dir,
            server,
            engine,
            images: Images::new(changes.clone()),
            all: Mutex::new(all),
            making: Mutex::default(),
            changes,
        });
        let first = async {
            pods.engine.connect().await?;
            watching::look(&pods).await
        };
        // Told by those who watch, who try again.
        let _ = timeout(FIRST_PATIENCE, first).await;
        let watching = tokio::spawn(watching::run(Arc::downgrade(&pods)));
        Ok(Self { pods, watching, _lock: lock })
    }

    /// The engine's name of a container that runs. `tried` is what is to be done with it.
    fn running(&self, uid: &str, container: &str, tried: impl FnOnce() -> String) -> Result<String> {
        let sandbox = self.find(uid)?;
        let (_, state) = sandbox.container(container)?;
        let runs = matches!(state.phase, ContainerPhase::Running { .. });
        sandbox.run(container, state.starts).filter(|_| runs).ok_or_else(|| {
            let tried = format!("{} container {container}", tried());
            Error::Failed { tried, reason: "the container does not run".to_owned() }
        })
    }

    fn find(&self, uid: &str) -> Result<Arc<Sandbox>> {
        self.pods.get(uid).ok_or_else(|| Error::NoSuchPod(uid.to_owned()))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

#[async_trait]
impl Runtime for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn runs_images(&self) -> bool {
        true
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::of(Class::Docker)
    }

    async fn create(&self, pod: &Pod) -> Result<PodState> {
        check(pod)?;
        if let Some(at) = pod.containers.iter().position(|container| container.image.is_empty()) {
            return refuse(format!("spec.containers[{at}].image"), "the image to run");
        }
        if let Some(found) = self.pods.get(&pod.uid) {
            return Ok(found.state());
        }
        self.pods.engine.check().await?;
        let (pods, wanted, tried) = (Arc::clone(&self.pods), pod.clone(), format!("make pod {}", pod.name));
        let made = spawn_blocking(move || pods.make(wanted)).await;
        Ok(made.map_err(|error| Error::Failed { tried, reason: error.to_string() })??.state())
    }

    async fn start(&self, uid: &str, container: &str, credentials: &[Credential]) -> Result<()> {
        let sandbox = self.find(uid)?;
        let (spec, state) = sandbox.container(container)?;
        if matches!(state.phase, ContainerPhase::Running { .. }) {
            return Ok(());
        }
        let image_id = self.pods.images.ensure(&self.pods.engine, &Sought::new(&spec.image, credentials), spec.pull, uid).await?;
        let of_image = match spec.confinement.asks_for_image_user() {
            true => self.pods.images.user(&self.pods.engine, &spec.image).await?,
            false => String::new(),
        };
        let user = match spec.confinement.user(&of_image) {
            Ok(user) => user,
            Err(expected) => return refuse(format!("container {container}: securityContext"), expected),
        };
        // A task, so that a run that was made is known even if nobody waits for it any more.
        let (spec, tried) = (spec.clone(), format!("start container {container} of pod {}", sandbox.record.pod.name));
        let started = tokio::spawn(async move { sandbox.start(&spec, image_id, user).await }).await;
        started.unwrap_or_else(|error| Err(Error::Failed { tried, reason: error.to_string() }))
    }

    async fn stop(&self, uid: &str, container: &str, grace: Duration) -> Result<()> {
        let sandbox = self.find(uid)?;
        let (_, state) = sandbox.container(container)?;
        if !matches!(state.phase, ContainerPhase::Running { .. }) {
            return Ok(());
        }
        let tried = || format!("stop container {container} of pod {}", sandbox.record.pod.name);
        let Some(id) = sandbox.run(container, state.starts) else {
            return Err(Error::Failed { tried: tried(), reason: "the engine has not shown it yet".into() });
        };
        // The engine counts in whole seconds.
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let engine = &self.pods.engine;
        let client = engine.streaming().map_err(|refusal| refusal.into_error(tried()))?;
        match engine.ask(grace.saturating_add(WORKED), client.stop_container(&id, Some(options))).await {
            Err(refusal) if !refusal.is_not_found() => return Err(refusal.into_error(tried())),
            _ => {}
        }
        sandbox.refresh(container, state.starts, &id).await.map_err(|refusal| refusal.into_error(tried()))
    }

    async fn remove(&self, uid: &str) -> Result<()> {
        let Some(sandbox) = self.pods.get(uid) else { return Ok(()) };
        let (pods, tried) = (Arc::clone(&self.pods), format!("remove pod {}", sandbox.record.pod.name));
        let removed = tokio::spawn(async move { pods.remove(&sandbox).await });
        removed.await.unwrap_or_else(|error| Err(Error::Failed { tried, reason: error.to_string() }))
    }

    async fn list(&self) -> Result<Vec<PodState>> {
        Ok(self.pods.all().values().map(|sandbox| sandbox.state()).collect())
    }

    fn changes(&self) -> BoxStream<'static, String> {
        let pods = Arc::downgrade(&self.pods);
        self.pods.changes.stream(move || Some(pods.upgrade()?.all().keys().cloned().collect()))
    }

    async fn logs(&self, uid: &str, container: &str, options: LogOptions) -> Result<BoxStream<'static, Bytes>> {
        let sandbox = self.find(uid)?;
        let (_, state) = sandbox.container(container)?;
        let attempt = state.run_of_log(options.previous)?;
        // One that was never started, or could not be, has said nothing.
        let Some(id) = sandbox.run(container, attempt) else { return Ok(stream::empty().boxed()) };
        let tried = || format!("read the log of container {container} in pod {}", sandbox.record.pod.name);
        let client = self.pods.engine.streaming().map_err(|refusal| refusal.into_error(tried()))?;
        Ok(logs::read(&client, &id, &options))
    }

    async fn exec(&self, uid: &str, container: &str, command: &[String], patience: Duration) -> Result<ExecAnswer> {
        let id = self.running(uid, container, || format!("run {command:?} in"))?;
        exec::run(&self.pods.engine, &id, container, command, patience).await
    }

    async fn usage(&self, uid: &str) -> Result<BTreeMap<String, Usage>> {
        usage::of(&self.pods.engine, self.find(uid)?.as_ref()).await
    }

    async fn open(&self, uid: &str, container: &str, options: ExecOptions) -> Result<Session> {
        let id = self.running(uid, container, || format!("run {:?} in", options.command))?;
        session::open(&self.pods.engine, &id, container, &options).await
    }

    async fn attach(&self, uid: &str, container: &str, stdin: bool) -> Result<Session> {
        let id = self.running(uid, container, || "attach to".to_owned())?;
        let (spec, _) = self.find(uid)?.container(container).map(|(spec, state)| (spec.clone(), state))?;
        attach::open(&self.pods.engine, &id, &spec, stdin).await
    }

    async fn probe(&self, uid: &str, container: &str, check: &Check, patience: Duration) -> Result<ProbeAnswer> {
        let sandbox = self.find(uid)?;
        let (_, state) = sandbox.container(container)?;
        if !matches!(state.phase, ContainerPhase::Running { .. }) {
            return Ok(ProbeAnswer::no(format!("container {container} does not run")));
        }
        Ok(match check {
            Check::Tcp { port } => match target(&sandbox, port) {
                Ok((target, inside)) => probing::tcp(&target, inside, patience).await,
                Err(answer) => answer,
            },
            Check::Http { port, path, headers } => match target(&sandbox, port) {
                Ok((target, inside)) => probing::http(&target, inside, path, headers, patience).await,
                Err(answer) => answer,
            },
            Check::Exec { command } => probe::program(command, self.exec(uid, container, command, patience).await),
        })
    }
}

/// Where a port is reached, and which it is inside.
fn target(sandbox: &Sandbox, port: &str) -> Result<(Target, u16), ProbeAnswer> {
    let record = &sandbox.record;
    let address = record.endpoints().get(port).copied().ok_or_else(|| probe::no_port(port, record.ports.keys()))?;
    let owner = record.pod.containers.iter().find_map(|container| {
        let at = container.ports.iter().position(|declared| declared.name == port)?;
        Some((at, container.ports.get(at)?.container_port))
    });
    let (at, inside) = owner.unwrap_or((0, address.port()));
    let told_by = if at == 0 { "$PORT".to_owned() } else { format!("${}", ports::variable(port)) };
    Ok((Target { address, told_by: Some(told_by) }, inside))
}

impl Pods {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Sandbox>>> {
        lock(&self.all)
    }

    fn get(&self, uid: &str) -> Option<Arc<Sandbox>> {
        self.all().get(uid).cloned()
    }

    /// Makes a pod, unless it is there. Blocks.
    fn make(&self, pod: Pod) -> Result<Arc<Sandbox>> {
        let _one_at_a_time = lock(&self.making);
        if let Some(found) = self.get(&pod.uid) {
            return Ok(found);
        }
        let held: BTreeSet<u16> = self.all().values().flat_map(|sandbox| sandbox.record.ports.values().copied()).collect();
        let ports = ports::allot(&pod, &held, ports::try_bind)?;
        let (file, record) = (records::file(&self.dir, &pod.uid), Record::new(pod, ports));
        records::write(&file, &record)
            .map_err(|error| Error::Failed { tried: format!("write {}", file.display()), reason: error.to_string() })?;
        let sandbox = Sandbox::new(record, file, Arc::clone(&self.server), Arc::clone(&self.engine), self.changes.clone());
        self.all().insert(sandbox.uid().to_owned(), Arc::clone(&sandbox));
        self.changes.tell(sandbox.uid());
        Ok(sandbox)
    }

    /// Ends all of a pod, and forgets it.
    async fn remove(&self, sandbox: &Arc<Sandbox>) -> Result<()> {
        let _nothing_starts = sandbox.starting.lock().await;
        if sandbox.view.borrow().is_removed {
            return Ok(());
        }
        let tried = || format!("remove pod {}", sandbox.record.pod.name);
        let failed = |refusal: engine::Refusal| refusal.into_error(tried());
        let found = watching::list(self, Some(sandbox.uid())).await.map_err(failed)?;
        stream::iter(found.into_iter().filter_map(|summary| summary.id).map(Ok))
            .try_for_each_concurrent(REMOVED_AT_A_TIME, async |id: String| sandbox::remove(&self.engine, &id).await)
            .await
            .map_err(failed)?;
        sandbox.bury().await.map_err(|error| Error::Failed { tried: tried(), reason: error.to_string() })?;
        let mut all = self.all();
        if all.get(sandbox.uid()).is_some_and(|there| Arc::ptr_eq(there, sandbox)) {
            all.remove(sandbox.uid());
            drop(all);
            self.changes.tell(sandbox.uid());
        }
        Ok(())
    }
}
