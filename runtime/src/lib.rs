//! What runs pods on one machine.
//!
//! A [`Runtime`] holds sandboxes, one a pod, each with containers that are started, stopped and started again by whoever
//! asks. It decides nothing: restarts, probes' schedules and grace are the agent's. What it runs outlives this process, and
//! [`Runtime::list`] finds it again.
//!
//! `process` runs programs of this machine, each pod under a shim of its own; `docker` runs images by way of an engine;
//! [`fake`] runs nothing and is for tests. All pass the suite in `tests/it/conformance.rs`.

mod changes;
mod check_pod;
mod confinement;
mod credential;
mod error;
mod log;
#[cfg(any(feature = "process", feature = "docker"))]
mod ports;
mod session;

#[cfg(feature = "docker")]
pub mod docker;
pub mod fake;
pub mod probe;
#[cfg(feature = "process")]
pub mod process;
pub mod volumes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use confinement::{Confinement, Dns, Names, Rule};
pub use credential::Credential;
pub use error::{Error, ImageTrouble, Result};
pub use log::LogOptions;
pub use model::pod::fields::{Capabilities, Class};
pub use probe::{Check, ProbeAnswer};
pub use session::{ExecOptions, Input, Output, Session};
pub use volumes::{Mount, Volumes};

/// A pod as a runtime is asked to hold it: everything resolved, nothing left to look up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// The object's uid; a pod is known by it here.
    pub uid: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// Its containers, init containers first. Names are unique.
    pub containers: Vec<Container>,
    /// As whom programs of the machine run.
    #[serde(default)]
    pub runs_as: RunsAs,
}

/// As whom programs of the machine run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunsAs {
    /// As the server, with all that it may do.
    #[default]
    Server,
    /// As a user of their namespace, confined to it.
    Namespace,
}

/// One program of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name within the pod.
    pub name: String,
    /// The image; empty where the runtime needs none.
    pub image: String,
    /// The program and its first arguments; empty means the image's own.
    pub command: Vec<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// The directory to start in.
    pub working_dir: Option<String>,
    /// Its environment, resolved, in order. `PORT` and `PORT_<NAME>` are added by the runtime.
    pub env: Vec<(String, String)>,
    /// Ports to publish.
    pub ports: Vec<Port>,
    /// What it may use, where the runtime can hold it to that.
    #[serde(default)]
    pub limits: Limits,
    /// When its image is fetched.
    #[serde(default)]
    pub pull: PullPolicy,
    /// As whom it runs and what it may do.
    #[serde(default)]
    pub confinement: Confinement,
    /// What it calls itself and others.
    #[serde(default)]
    pub names: Names,
    /// Whether its programs have a terminal.
    #[serde(default)]
    pub has_terminal: bool,
    /// What it reads.
    #[serde(default)]
    pub stdin: Stdin,
    /// What it sees of volumes.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// The signal that asks it to end, where that is not the one that its image names: `SIGUSR1`.
    #[serde(default)]
    pub stop_signal: Option<String>,
}

/// The standard input of a container's program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// At its end from the start.
    #[default]
    Empty,
    /// Open for whoever attaches, until the program ends.
    Open,
    /// Open until the first who attached with something to say has said it or left.
    Once,
}

/// The most that a container may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time, in thousandths of a processor.
    pub cpu_millis: Option<u64>,
}

/// When an image is fetched from its registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// When it is not on this machine.
    #[default]
    IfNotPresent,
    /// Before every start.
    Always,
    /// Never.
    Never,
}

/// A port a container listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name within the pod, unique.
    pub name: String,
    /// The port inside the container, where the runtime gives containers a network of their own.
    pub container_port: u16,
    /// A fixed port of the machine; `None` lets the runtime allot one from 20000 to 29999.
    pub host_port: Option<u16>,
}

/// A sandbox as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodState {
    /// What was asked for.
    pub pod: Pod,
    /// Where each port of the pod, by name, is reached from this machine.
    pub endpoints: BTreeMap<String, SocketAddr>,
    /// The containers, in the pod's order.
    pub containers: Vec<ContainerState>,
}

/// A container as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Its name.
    pub name: String,
    /// How often it has been started.
    pub starts: u32,
    /// What it does.
    pub phase: ContainerPhase,
    /// How its run before the current one ended.
    pub last_exit: Option<Exit>,
    /// The image it was last started from, with its digest; `None` where there is none.
    #[serde(default)]
    pub image_id: Option<String>,
}

impl ContainerState {
    /// One that was never started.
    pub(crate) fn created(container: &Container) -> Self {
        Self { name: container.name.clone(), starts: 0, phase: ContainerPhase::Created, last_exit: None, image_id: None }
    }

    /// The number of the run whose log is asked for: the current one, or the one before. Errors: there was none before.
    pub(crate) fn run_of_log(&self, previous: bool) -> Result<u32> {
        match previous {
            true if self.starts < 2 => Err(Error::NoPreviousRun(self.name.clone())),
            true => Ok(self.starts - 1),
            false => Ok(self.starts),
        }
    }
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerPhase {
    /// It was never started.
    Created,
    /// It runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It ended.
    Exited(Exit),
}

/// How a run of a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 + the signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Why, in a few words, when it could not be started or nobody saw how it ended.
    pub reason: Option<String>,
    /// Whether it was ended for using more memory than it may.
    #[serde(default)]
    pub is_out_of_memory: bool,
}

/// What a container's current run has used since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time.
    pub cpu: Duration,
    /// Memory that it holds now, in bytes, without what the system could take back from it at once.
    pub memory_bytes: u64,
}

/// What a program run inside a container answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecAnswer {
    /// Its exit code.
    pub code: i32,
    /// Its standard output and error, interleaved; at most 64 KiB, the end of it.
    pub output: Bytes,
}

/// Something that runs pods.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// The runtime class it serves: `process`, `docker`, `fake`.
    fn name(&self) -> &'static str;

    /// Whether it runs images, so that it is the one for pods whose containers all have one.
    fn runs_images(&self) -> bool {
        false
    }

    /// What of a pod it can do. Admission refuses by the same table what this does not have; an agent publishes it on its Node.
    fn capabilities(&self) -> Capabilities {
        Capabilities::All
    }

    /// The user that files made for programs of a namespace must belong to, where that is not the server's own.
    /// Errors: the server may not run them as another.
    async fn owner_of_files(&self, _namespace: &str, _runs_as: RunsAs) -> Result<Option<u32>> {
        Ok(None)
    }

    /// Makes a sandbox for a pod and allots its ports; starts nothing. The same pod again changes nothing.
    /// Errors: [`Error::Refused`] for a pod it cannot hold (named field and expectation), [`Error::PortTaken`].
    async fn create(&self, pod: &Pod) -> Result<PodState>;

    /// Starts a container that does not run. One that runs is left alone. A start that fails counts, as a run that ended at
    /// once with code 127 (no such program) or 126 and a reason. `credentials` are what the registry of its image is shown
    /// where that must be fetched, tried in this order; they are asked for anew at each start, so that none is ever stored
    /// here and a Secret that was mended counts at once.
    /// Errors: [`Error::NoSuchPod`], [`Error::NoSuchContainer`], [`Error::CannotStart`] with the system's words, and, which do
    /// not count as starts, [`Error::Image`] and [`Error::Unavailable`].
    async fn start(&self, uid: &str, container: &str, credentials: &[Credential]) -> Result<()>;

    /// Asks a container to end (SIGTERM to it and what it started), and makes it after `grace`. Returns when it has ended.
    /// One that does not run is left alone.
    async fn stop(&self, uid: &str, container: &str, grace: Duration) -> Result<()>;

    /// Removes a sandbox and all that belongs to it, ending at once what still runs. An absent one is no error.
    async fn remove(&self, uid: &str) -> Result<()>;

    /// Every sandbox that this runtime holds, also those made before this process began.
    async fn list(&self) -> Result<Vec<PodState>>;

    /// The uid of a sandbox each time something about it may have changed.
    fn changes(&self) -> BoxStream<'static, String>;

    /// What a container wrote, as [`LogOptions`] ask. Ends at the end of the log, or of the container when following.
    /// Errors: [`Error::NoSuchPod`], [`Error::NoSuchContainer`], [`Error::NoPreviousRun`].
    async fn logs(&self, uid: &str, container: &str, options: LogOptions) -> Result<BoxStream<'static, Bytes>>;

    /// What the containers of a pod that run have used, by name. Programs run inside them by [`Runtime::exec`] may be left out.
    /// Errors: [`Error::NoSuchPod`], [`Error::Unavailable`].
    async fn usage(&self, uid: &str) -> Result<BTreeMap<String, Usage>>;

    /// Runs a program inside a container that runs, at most `patience` long; then it is killed, and that is an error.
    /// Errors: [`Error::NoSuchPod`], [`Error::NoSuchContainer`], [`Error::CannotStart`].
    async fn exec(&self, uid: &str, container: &str, command: &[String], patience: Duration) -> Result<ExecAnswer>;

    /// Runs a program inside a container that runs, and lets the caller talk to it. It ends when the session is dropped.
    /// Errors: [`Error::NoSuchPod`], [`Error::NoSuchContainer`], [`Error::CannotStart`].
    async fn open(&self, uid: &str, container: &str, options: ExecOptions) -> Result<Session> {
        let tried = format!("run {:?} in container {container} of pod {uid}", options.command);
        Err(Error::Failed { tried, reason: format!("the runtime {} lets nobody talk to programs", self.name()) })
    }

    /// Lets the caller hear what a container that runs writes from now on and, with `stdin`, say what it reads. What is said to one
    /// whose input is [`Stdin::Empty`] is passed over. The session ends with the container's run, without [`Output::Ended`]: how it
    /// ended is its state. It ends as well after [`Input::End`] where the input stays [`Stdin::Open`]. Dropping it ends nothing but
    /// the input of a container that has [`Stdin::Once`].
    /// Errors: [`Error::NoSuchPod`], [`Error::NoSuchContainer`], [`Error::Failed`] for one that does not run.
    async fn attach(&self, uid: &str, container: &str, stdin: bool) -> Result<Session>;

    /// Tries a check against a container once, at most `patience` long. A failed check is an answer, not an error.
    async fn probe(&self, uid: &str, container: &str, check: &Check, patience: Duration) -> Result<ProbeAnswer>;
}
