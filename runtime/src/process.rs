//! Programs of this machine, each pod under a shim of its own.
//!
//! ```text
//!  Process ──▶ Sandbox ──▶ Link ═══ socket ═══ shim ──▶ programs
//!  all pods    one pod     JSON lines          a process of its own, which outlives us
//! ```
//!
//! What must survive us rests in the pod's directory (`records`); what must survive a shim does too. A dead shim's programs
//! are ended, not adopted: nobody reads their output any more, and nobody would learn how they end.

mod attach;
mod burial;
mod clock;
mod confined;
mod directory;
mod environment;
mod exec;
mod family;
mod follow;
mod link;
mod log_lines;
mod log_reader;
mod processes;
mod protocol;
mod pty;
mod records;
mod sandbox;
mod session;
mod shim_start;
mod usage;
mod users;
mod view;

pub mod program;
mod shim;
mod terminal;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use nix::unistd::geteuid;
use tokio::task::spawn_blocking;

use crate::changes::Changes;
use crate::check_pod::{check, refuse};
use crate::ports;
use crate::probe::{self, Target};
use crate::{
    Capabilities, Check, Class, Container, ContainerPhase, Credential, Error, ExecAnswer, ExecOptions, LogOptions, Output, Pod, PodState,
    ProbeAnswer, Result, RunsAs, Runtime, Session, Usage,
};
use directory::Opened;
use follow::Follow;
use log_lines::Stream;
use log_reader::LogReader;
use protocol::Request;
use records::PodRecord;
use sandbox::Sandbox;

/// How many pods are adopted at a time.
const ADOPTED_AT_A_TIME: usize = 16;

/// A runtime whose containers are programs of this machine. Needs no root and no network of its own: ports are the machine's.
#[derive(Debug)]
pub struct Process {
    pods: Arc<Pods>,
    _lock: File,
}

/// The pods there are.
#[derive(Debug)]
struct Pods {
    dir: PathBuf,
    shim_command: Arc<[String]>,
    /// By uid.
    all: Mutex<BTreeMap<String, Arc<Sandbox>>>,
    /// Held while ports are chosen and a directory is made.
    making: Mutex<()>,
    changes: Changes,
}

impl Process {
    /// Opens the directory that pods live in, made if it is absent, and finds the pods that are there: with their shims where
    /// those live; where they do not, what is left of them is ended. `shim_command` is a program with arguments that calls
    /// [`shim::run`] with the directory that is added to them.
    /// Errors: [`Error::Failed`], when the directory cannot be used or another process of ours uses it.
    pub async fn open(dir: impl AsRef<Path>, shim_command: Vec<String>) -> Result<Self> {
        let tried = format!("open the pods in {}", dir.as_ref().display());
        let failed = |error: io::Error| Error::Failed { tried: tried.clone(), reason: error.to_string() };
        let asked = dir.as_ref().to_owned();
        let Opened { dir, lock, pods: found } = blocking(&tried, move || directory::open(&asked)).await?.map_err(failed)?;
        let shim_command: Arc<[String]> = shim_command.into();
        let changes = Changes::new();
        let sandboxes: BTreeMap<String, Arc<Sandbox>> = found
            .into_iter()
            .map(|(record, dir)| Sandbox::new(record, dir, shim_command.clone(), changes.clone()))
            .map(|sandbox| (sandbox.uid().to_owned(), sandbox))
            .collect();
        stream::iter(sandboxes.values()).for_each_concurrent(ADOPTED_AT_A_TIME, |sandbox| sandbox.adopt()).await;
        let pods = Pods { dir, shim_command, all: Mutex::new(sandboxes), making: Mutex::default(), changes };
        Ok(Self { pods: Arc::new(pods), _lock: lock })
    }

    fn find(&self, uid: &str) -> Result<Arc<Sandbox>> {
        self.pods.get(uid).ok_or_else(|| Error::NoSuchPod(uid.to_owned()))
    }
}

#[async_trait]
impl Runtime for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::of(Class::Process)
    }

    async fn owner_of_files(&self, namespace: &str, runs_as: RunsAs) -> Result<Option<u32>> {
        let (pods, namespace) = (self.pods.clone(), namespace.to_owned());
        match runs_as {
            RunsAs::Server => Ok(None),
            RunsAs::Namespace => blocking("find the user of a namespace", move || pods.user_of(&namespace)).await?.map(Some),
        }
    }

    async fn create(&self, pod: &Pod) -> Result<PodState> {
        check(pod)?;
        if let Some(at) = pod.containers.iter().position(|container| container.command.is_empty()) {
            return refuse(format!("spec.containers[{at}].command"), "the program to run; there is no image to take it from");
        }
        if let Some(at) = pod.containers.iter().position(|container| !container.mounts.is_empty())
            && !geteuid().is_root()
        {
            let expected = "a server that runs as root, for no other can mount volumes for programs; use an image";
            return refuse(format!("spec.containers[{at}].volumeMounts"), expected);
        }
        loop {
            let sandbox = match self.pods.get(&pod.uid) {
                Some(sandbox) => sandbox,
                None => {
                    let (pods, wanted) = (self.pods.clone(), pod.clone());
                    blocking(&format!("make pod {}", pod.name), move || pods.make(wanted)).await??
                }
            };
            match sandbox.living_shim().await {
                Ok(_) => return Ok(sandbox.state()),
                // It was being removed; the next one is new.
                Err(Error::NoSuchPod(_)) => tokio::task::yield_now().await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn start(&self, uid: &str, container: &str, _credentials: &[Credential]) -> Result<()> {
        let sandbox = self.find(uid)?;
        sandbox.container(container)?;
        sandbox.call(Request::Start { container: container.to_owned() }).await
    }

    async fn stop(&self, uid: &str, container: &str, grace: Duration) -> Result<()> {
        let sandbox = self.find(uid)?;
        let (_, state) = sandbox.container(container)?;
        if !matches!(state.phase, ContainerPhase::Running { .. }) {
            return Ok(());
        }
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        sandbox.call_if_alive(Request::Stop { container: container.to_owned(), grace_ms }).await
    }

    async fn remove(&self, uid: &str) -> Result<()> {
        let Some(sandbox) = self.pods.get(uid) else { return Ok(()) };
        let (pods, tried) = (self.pods.clone(), format!("remove pod {}", sandbox.record.pod.name));
        // A task, so that it is done even if nobody waits for it any more.
        let removed = tokio::spawn(async move {
            sandbox.remove().await?;
            pods.forget(&sandbox);
            Ok(())
        });
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
        read(&sandbox, container, options, None).await
    }

    async fn exec(&self, uid: &str, container: &str, command: &[String], patience: Duration) -> Result<ExecAnswer> {
        let sandbox = self.find(uid)?;
        let spec = running(&sandbox, container, || format!("run {command:?} in"))?;
        exec::run(&sandbox.record, spec, &sandbox.dir, &self.pods.shim_command, command, patience).await
    }

    async fn usage(&self, uid: &str) -> Result<BTreeMap<String, Usage>> {
        let sandbox = self.find(uid)?;
        blocking(&format!("see what pod {} uses", sandbox.record.pod.name), move || usage::of(&sandbox)).await?
    }

    async fn open(&self, uid: &str, container: &str, options: ExecOptions) -> Result<Session> {
        let sandbox = self.find(uid)?;
        let spec = running(&sandbox, container, || format!("run {:?} in", options.command))?;
        exec::open(&sandbox.record, spec, &sandbox.dir, &self.pods.shim_command, &options)
    }

    async fn attach(&self, uid: &str, container: &str, stdin: bool) -> Result<Session> {
        let sandbox = self.find(uid)?;
        let spec = running(&sandbox, container, || "attach to".to_owned())?;
        let from_now_on = LogOptions { follow: true, tail: Some(0), ..LogOptions::default() };
        let out = read(&sandbox, container, from_now_on.clone(), Some(Stream::Stdout)).await?;
        let error = read(&sandbox, container, from_now_on, Some(Stream::Stderr)).await?;
        let written = stream::select(out.map(Output::Out), error.map(Output::Err)).boxed();
        Ok(attach::open(&sandbox, spec, written, stdin).await)
    }

    async fn probe(&self, uid: &str, container: &str, check: &Check, patience: Duration) -> Result<ProbeAnswer> {
        let sandbox = self.find(uid)?;
        let (spec, state) = sandbox.container(container)?;
        if !matches!(state.phase, ContainerPhase::Running { .. }) {
            return Ok(ProbeAnswer::no(format!("container {container} does not run")));
        }
        let target = |port: &str| {
            let address = sandbox.record.endpoints().get(port).copied();
            let no_port = || probe::no_port(port, sandbox.record.ports.keys());
            let told_by = Some(environment::told_by(&sandbox.record, spec, port));
            address.map(|address| Target { address, told_by }).ok_or_else(no_port)
        };
        Ok(match check {
            Check::Tcp { port } => match target(port) {
                Ok(target) => probe::tcp(&target, patience).await,
                Err(answer) => answer,
            },
            Check::Http { port, path, headers } => match target(port) {
                Ok(target) => probe::http(&target, path, headers, patience).await,
                Err(answer) => answer,
            },
            Check::Exec { command } => {
                let shim = &self.pods.shim_command;
                probe::program(command, exec::run(&sandbox.record, spec, &sandbox.dir, shim, command, patience).await)
            }
        })
    }
}

impl Pods {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Sandbox>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, uid: &str) -> Option<Arc<Sandbox>> {
        self.all().get(uid).cloned()
    }

    /// The user of a namespace's programs. Blocks.
    fn user_of(&self, namespace: &str) -> Result<u32> {
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        user_of(&self.dir, namespace)
    }

    /// Makes a pod, unless it is there. Blocks; done in one piece, so that a pod whose directory is there is known.
    fn make(&self, pod: Pod) -> Result<Arc<Sandbox>> {
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = self.get(&pod.uid) {
            return Ok(found);
        }
        let held: BTreeSet<u16> = self.all().values().flat_map(|sandbox| sandbox.record.ports.values().copied()).collect();
        let user = match pod.runs_as {
            RunsAs::Server => None,
            RunsAs::Namespace => Some(user_of(&self.dir, &pod.namespace)?),
        };
        let record = PodRecord { ports: ports::allot(&pod, &held, ports::try_bind)?, user, pod };
        let dir = directory::add(&self.dir, &record)
            .map_err(|error| Error::Failed { tried: format!("make a directory in {}", self.dir.display()), reason: error.to_string() })?;
        let sandbox = Sandbox::new(record, dir, self.shim_command.clone(), self.changes.clone());
        self.all().insert(sandbox.uid().to_owned(), sandbox.clone());
        self.changes.tell(sandbox.uid());
        Ok(sandbox)
    }

    /// Forgets a pod that was removed; one that was made anew since stays.
    fn forget(&self, sandbox: &Arc<Sandbox>) {
        let mut all = self.all();
        if all.get(sandbox.uid()).is_some_and(|there| Arc::ptr_eq(there, sandbox)) {
            all.remove(sandbox.uid());
            drop(all);
            self.changes.tell(sandbox.uid());
        }
    }
}

/// The user that a namespace's programs run as. Errors: only root can run them as another.
fn user_of(dir: &Path, namespace: &str) -> Result<u32> {
    let tried = format!("run programs as a user of namespace {namespace}");
    if !geteuid().is_root() {
        let reason = "the server does not run as root; use an image, or label the namespace pod-security.kubernetes.io/enforce=privileged";
        return Err(Error::Failed { tried, reason: reason.to_owned() });
    }
    users::of(dir, namespace).map_err(|error| Error::Failed { tried, reason: error.to_string() })
}

/// A container that runs. `tried` is what is to be done with it.
fn running<'a>(sandbox: &'a Sandbox, container: &str, tried: impl FnOnce() -> String) -> Result<&'a Container> {
    let (spec, state) = sandbox.container(container)?;
    if matches!(state.phase, ContainerPhase::Running { .. }) {
        return Ok(spec);
    }
    let tried = format!("{} container {container}", tried());
    Err(Error::Failed { tried, reason: "the container does not run".to_owned() })
}

/// The log of a container, or what it wrote to one stream.
async fn read(sandbox: &Sandbox, container: &str, options: LogOptions, only: Option<Stream>) -> Result<BoxStream<'static, Bytes>> {
    let (_, state) = sandbox.container(container)?;
    let number = state.run_of_log(options.previous)?;
    let tried = format!("read the log of container {container} in pod {}", sandbox.record.pod.name);
    let (dir, name, follow) = (sandbox.dir.clone(), container.to_owned(), options.follow);
    let reader = blocking(&tried, move || LogReader::open(&dir, &name, number, &options)).await?;
    let reader = reader.map_err(|error| Error::Failed { tried, reason: error.to_string() })?;
    let reader = if let Some(stream) = only { reader.only(stream) } else { reader };
    let run = follow.then(|| follow::Run { view: sandbox.watch(), container: container.to_owned(), number });
    Ok(stream::unfold(Follow { reader, run }, follow::next).boxed())
}

async fn blocking<T: Send + 'static>(tried: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|error| Error::Failed { tried: tried.to_owned(), reason: error.to_string() })
}
