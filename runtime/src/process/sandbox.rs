//! One pod, as the runtime knows it: its directory, its shim while that lives, and how its containers are.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::{sleep, timeout};

use crate::changes::Changes;
use crate::process::blocking;
use crate::process::burial;
use crate::process::link::{Gone, Link, Listening};
use crate::process::protocol::{Failure, Message, Request};
use crate::process::records::PodRecord;
use crate::process::shim::TAKEN;
use crate::process::shim_start;
use crate::{Container, ContainerState, Error, PodState, Result};

/// How long a shim may take to end all it has.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);
/// How many shims are asked the same before it is given up.
const CALL_TRIES: u32 = 3;
/// How long a shim that is about to end is waited for.
const ENDING_PATIENCE: Duration = Duration::from_secs(15);
/// How often a shim that is being started by somebody else is tried.
const CONNECT_TRIES: u32 = 250;
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// What is known of a pod's containers.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// In the pod's order.
    pub containers: Vec<ContainerState>,
    /// The pod is no more.
    pub is_removed: bool,
}

/// A pod.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub record: PodRecord,
    pub dir: PathBuf,
    view: watch::Sender<View>,
    /// Held while a shim is started, buried or shut down.
    shim: Mutex<Option<Arc<Link>>>,
    shim_command: Arc<[String]>,
    changes: Changes,
}

impl Sandbox {
    /// A pod whose directory is there and whose shim may be.
    pub fn new(record: PodRecord, dir: PathBuf, shim_command: Arc<[String]>, changes: Changes) -> Arc<Self> {
        let containers = record.pod.containers.iter().map(ContainerState::created).collect();
        let view = watch::Sender::new(View { containers, is_removed: false });
        Arc::new(Self { record, dir, view, shim: Mutex::new(None), shim_command, changes })
    }

    pub fn uid(&self) -> &str {
        &self.record.pod.uid
    }

    /// The pod as it is.
    pub fn state(&self) -> PodState {
        let containers = self.view.borrow().containers.clone();
        PodState { pod: self.record.pod.clone(), endpoints: self.record.endpoints(), containers }
    }

    /// What is known of the containers, from now on.
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// A container of the pod, as asked for and as it is.
    pub fn container(&self, name: &str) -> Result<(&Container, ContainerState)> {
        let states = self.view.borrow();
        let spec = self.record.pod.containers.iter().find(|container| container.name == name);
        match (spec, states.containers.iter().find(|state| state.name == name)) {
            (Some(spec), Some(state)) => Ok((spec, state.clone())),
            _ => {
                let known: Vec<&str> = self.record.pod.containers.iter().map(|container| container.name.as_str()).collect();
                let pod = self.record.pod.name.clone();
                Err(Error::NoSuchContainer { pod, container: name.to_owned(), known: known.join(", ") })
            }
        }
    }

    /// Finds the shim of an earlier process of ours, or, where there is none, ends and records what it left.
    pub async fn adopt(self: &Arc<Self>) {
        let mut shim = self.shim.lock().await;
        if !self.connect(&mut shim).await {
            self.bury().await;
        }
    }

    /// Asks the shim, starting one if there is none. One that is about to end or ends meanwhile is followed by another.
    pub async fn call(self: &Arc<Self>, request: Request) -> Result<()> {
        for _ in 0..CALL_TRIES {
            let link = self.living_shim().await?;
            match link.call(request.clone()).await {
                Ok(Err(Failure::Ending)) => {
                    // It goes when the last of its programs has ended, and they have their grace.
                    let _ = timeout(ENDING_PATIENCE, link.closed()).await;
                }
                Ok(answer) => return answer.map_err(Error::from),
                Err(Gone) => link.close(),
            }
        }
        let tried = format!("{request} in pod {}", self.record.pod.name);
        Err(Error::Failed { tried, reason: format!("its shim ended meanwhile, {CALL_TRIES} times") })
    }

    /// Asks the shim if it lives. If it does not, or not to the end of the call, nothing of the pod runs when this returns.
    pub async fn call_if_alive(self: &Arc<Self>, request: Request) -> Result<()> {
        loop {
            let shim = self.settled().await.clone();
            let Some(link) = shim else { return Ok(()) };
            match link.call(request.clone()).await {
                Ok(answer) => return answer.map_err(Error::from),
                Err(Gone) => link.close(),
            }
        }
    }

    /// The shim, started if there is none. Errors: [`Error::NoSuchPod`] when the pod was removed meanwhile.
    pub async fn living_shim(self: &Arc<Self>) -> Result<Arc<Link>> {
        let mut shim = self.settled().await;
        if self.view.borrow().is_removed {
            return Err(Error::NoSuchPod(self.uid().to_owned()));
        }
        // One that an interrupted call has started may be there.
        if shim.is_none() && !self.connect(&mut shim).await {
            self.start_shim(&mut shim).await?;
        }
        let gone = || Error::Failed { tried: self.starting(), reason: "it was gone at once".to_owned() };
        shim.clone().ok_or_else(gone)
    }

    /// Ends all, deletes all. Not to be given up halfway: run it as a task of its own.
    pub async fn remove(&self) -> Result<()> {
        let mut shim = self.shim.lock().await;
        if self.view.borrow().is_removed {
            return Ok(());
        }
        if let Some(link) = shim.take() {
            // One that does not answer is killed below.
            let _ = timeout(SHUTDOWN_PATIENCE, link.call(Request::Shutdown)).await;
        }
        let (dir, uid) = (self.dir.clone(), self.uid().to_owned());
        let tried = format!("remove pod {}", self.record.pod.name);
        let removed = blocking(&tried, move || burial::remove(&dir, &uid)).await?;
        removed.map_err(|error| Error::Failed { tried, reason: error.to_string() })?;
        self.view.send_modify(|view| view.is_removed = true);
        Ok(())
    }

    /// The shim, once what is to be done about a dead one is done.
    async fn settled(self: &Arc<Self>) -> MutexGuard<'_, Option<Arc<Link>>> {
        let mut shim = self.shim.lock().await;
        if shim.as_ref().is_some_and(|link| link.is_closed()) {
            *shim = None;
            if !self.connect(&mut shim).await {
                self.bury().await;
            }
        }
        shim
    }

    async fn bury(&self) {
        let (dir, record) = (self.dir.clone(), self.record.clone());
        let pod = &self.record.pod.name;
        match blocking("end what a shim left", move || burial::bury(&dir, &record)).await {
            Ok(Ok(containers)) => self.apply(containers),
            Ok(Err(error)) => tracing::warn!(pod, %error, "the records of a pod cannot be read"),
            Err(error) => tracing::warn!(pod, %error, "a pod without a shim is left as it is"),
        }
    }

    fn apply(&self, containers: Vec<ContainerState>) {
        let is_new = self.view.send_if_modified(|view| {
            let is_new = view.containers != containers;
            view.containers = containers;
            is_new
        });
        if is_new {
            self.changes.tell(self.uid());
        }
    }

    /// Whether there is a shim to connect to.
    async fn connect(self: &Arc<Self>, shim: &mut Option<Arc<Link>>) -> bool {
        let Ok((link, listening, containers)) = Link::connect(&self.dir).await else { return false };
        let link = Arc::new(link);
        self.apply(containers);
        tokio::spawn(listen(Arc::downgrade(self), Arc::downgrade(&link), listening));
        *shim = Some(link);
        true
    }

    async fn start_shim(self: &Arc<Self>, shim: &mut Option<Arc<Link>>) -> Result<()> {
        let reason = match shim_start::start(&self.shim_command, &self.dir).await {
            Ok(()) if self.connect(shim).await => return Ok(()),
            Ok(()) => "it does not answer".to_owned(),
            Err(reason) => reason,
        };
        // One that an interrupted call has begun may have been first, and is about to listen.
        for _ in 0..if reason.contains(TAKEN) { CONNECT_TRIES } else { 0 } {
            if self.connect(shim).await {
                return Ok(());
            }
            sleep(CONNECT_PAUSE).await;
        }
        Err(Error::Failed { tried: self.starting(), reason })
    }

    fn starting(&self) -> String {
        format!("start a shim for pod {} ({})", self.record.pod.name, self.shim_command.join(" "))
    }
}

/// Takes in what a shim says, until it or the runtime is gone. Keeps neither the pod nor the link.
fn listen(sandbox: Weak<Sandbox>, link: Weak<Link>, mut listening: Listening) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        while let Ok(Some(message)) = listening.next().await {
            let (Some(sandbox), Some(link)) = (sandbox.upgrade(), link.upgrade()) else { return };
            match message {
                Message::State { containers } => sandbox.apply(containers),
                Message::Done { id } => link.answered(id, Ok(())),
                Message::Failed { id, failure } => link.answered(id, Err(failure)),
            }
        }
        if let Some(link) = link.upgrade() {
            link.close();
        }
        if let Some(sandbox) = sandbox.upgrade() {
            drop(sandbox.settled().await);
        }
    })
}
