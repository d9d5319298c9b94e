//! One pod: its record, and its runs in the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;

use crate::changes::Changes;
use crate::docker::engine::{ASKED, Engine, Refusal, WORKED};
use crate::docker::fault::{self, StartFault};
use crate::docker::records::{self, Record};
use crate::docker::{asked, seen};
use crate::{Container, ContainerPhase, ContainerState, Error, PodState, Result, ports};

/// How many ended runs of a container are kept beside the current one, for their logs.
const KEPT_RUNS: u32 = 1;

/// What is known of a pod.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// In the pod's order.
    pub containers: Vec<ContainerState>,
    /// The engine's containers, by our container's name and attempt.
    pub runs: BTreeMap<(String, u32), String>,
    /// The image, with its digest, that each container was last to be started from.
    pub images: BTreeMap<String, String>,
    /// The pod is no more.
    pub is_removed: bool,
}

/// A pod.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub record: Record,
    file: PathBuf,
    server: Arc<str>,
    engine: Arc<Engine>,
    pub view: watch::Sender<View>,
    /// Held while a container is made and started, and while all are removed.
    pub starting: Mutex<()>,
    /// Held while the record is written.
    saving: Mutex<()>,
    changes: Changes,
}

impl Sandbox {
    pub fn new(record: Record, file: PathBuf, server: Arc<str>, engine: Arc<Engine>, changes: Changes) -> Arc<Self> {
        let view = View { containers: record.containers.clone(), runs: BTreeMap::new(), images: BTreeMap::new(), is_removed: false };
        let (starting, saving) = (Mutex::new(()), Mutex::new(()));
        Arc::new(Self { record, file, server, engine, view: watch::Sender::new(view), starting, saving, changes })
    }

    pub fn uid(&self) -> &str {
        &self.record.pod.uid
    }

    /// The pod as it is.
    pub fn state(&self) -> PodState {
        let containers = self.view.borrow().containers.clone();
        PodState { pod: self.record.pod.clone(), endpoints: self.record.endpoints(), containers }
    }

    /// A container of the pod, as asked for and as it is.
    pub fn container(&self, name: &str) -> Result<(&Container, ContainerState)> {
        let view = self.view.borrow();
        let spec = self.record.pod.containers.iter().find(|container| container.name == name);
        match (spec, view.containers.iter().find(|state| state.name == name)) {
            (Some(spec), Some(state)) => Ok((spec, state.clone())),
            _ => {
                let known: Vec<&str> = self.record.pod.containers.iter().map(|container| container.name.as_str()).collect();
                let pod = self.record.pod.name.clone();
                Err(Error::NoSuchContainer { pod, container: name.to_owned(), known: known.join(", ") })
            }
        }
    }

    /// The engine's container for one run.
    pub fn run(&self, container: &str, attempt: u32) -> Option<String> {
        self.view.borrow().runs.get(&(container.to_owned(), attempt)).cloned()
    }

    /// Makes and starts the next run of a container that does not run.
    pub async fn start(self: &Arc<Self>, spec: &Container, image_id: String, user: Option<String>) -> Result<()> {
        let _one_at_a_time = self.starting.lock().await;
        if self.view.borrow().is_removed {
            return Err(Error::NoSuchPod(self.uid().to_owned()));
        }
        let (_, state) = self.container(&spec.name)?;
        if matches!(state.phase, ContainerPhase::Running { .. }) {
            return Ok(());
        }
        let attempt = state.starts + 1;
        self.view.send_if_modified(|view| {
            view.images.insert(spec.name.clone(), image_id);
            false
        });
        let tried = format!("start container {} of pod {}", spec.name, self.record.pod.name);
        let id = self.make(spec, attempt, user).await.map_err(|refusal| missing_image(spec, refusal, &tried))?;
        let started = match self.engine.client() {
            Ok(client) => self.engine.ask(WORKED, client.start_container(&id, None::<StartContainerOptions>)).await,
            Err(refusal) => Err(refusal),
        };
        match started {
            Ok(()) => {
                self.refresh(&spec.name, attempt, &id).await.map_err(|refusal| refusal.into_error(tried))?;
                self.forget_old(&spec.name, attempt);
                Ok(())
            }
            Err(refusal) => Err(self.not_started(spec, attempt, &id, refusal, tried).await),
        }
    }

    async fn make(&self, spec: &Container, attempt: u32, user: Option<String>) -> Result<String, Refusal> {
        let client = self.engine.client()?;
        let name = asked::name(&self.server, &self.record, &spec.name, attempt);
        let body = || asked::body(&self.server, &self.record, spec, attempt, user.clone());
        let options = || Some(CreateContainerOptionsBuilder::default().name(&name).build());
        match self.engine.ask(WORKED, client.create_container(options(), body())).await {
            // An interrupted start left it; it never ran, or it would be known.
            Err(Refusal::Said { status: 409, .. }) => {
                remove(&self.engine, &name).await?;
                Ok(self.engine.ask(WORKED, client.create_container(options(), body())).await?.id)
            }
            made => Ok(made?.id),
        }
    }

    /// Tells a program that cannot be run, which counts as a start, from what was not the program's fault.
    async fn not_started(self: &Arc<Self>, spec: &Container, attempt: u32, id: &str, refusal: Refusal, tried: String) -> Error {
        let Refusal::Said { message, .. } = &refusal else { return refusal.into_error(tried) };
        let fault = fault::of_start(message);
        let shown = self.inspect(id).await.ok();
        if let Err(refusal) = remove(&self.engine, id).await {
            tracing::debug!(%refusal, "a container that did not start is left");
        }
        match fault {
            StartFault::Program(code, reason) => {
                let program = spec.command.first().unwrap_or(&spec.image).clone();
                let error = Error::CannotStart { program, reason };
                let exit = seen::unstarted(code, error.to_string(), shown.as_ref());
                let image_id = shown.and_then(|shown| shown.image);
                self.apply(&spec.name, &seen::Run { attempt, phase: ContainerPhase::Exited(exit), image_id }).await;
                error
            }
            StartFault::PortTaken => match self.record.ports.values().find(|port| ports::try_bind(**port).is_err()) {
                Some(port) => Error::PortTaken { port: *port },
                None => refusal.into_error(tried),
            },
            StartFault::Other => refusal.into_error(tried),
        }
    }

    async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, Refusal> {
        let client = self.engine.client()?;
        self.engine.ask(ASKED, client.inspect_container(id, None::<InspectContainerOptions>)).await
    }

    /// Looks at a run, and takes in what it is.
    pub async fn refresh(self: &Arc<Self>, container: &str, attempt: u32, id: &str) -> Result<(), Refusal> {
        match self.inspect(id).await {
            Ok(shown) => {
                self.view.send_if_modified(|view| {
                    view.runs.insert((container.to_owned(), attempt), id.to_owned());
                    false
                });
                let mut run = seen::run(attempt, &shown);
                run.image_id = self.view.borrow().images.get(container).cloned().or(run.image_id);
                self.apply(container, &run).await;
                Ok(())
            }
            Err(refusal) if refusal.is_not_found() => {
                self.lost(container, attempt).await;
                Ok(())
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Somebody removed a run.
    async fn lost(self: &Arc<Self>, container: &str, attempt: u32) {
        let Ok((_, state)) = self.container(container) else { return };
        self.view.send_if_modified(|view| {
            view.runs.remove(&(container.to_owned(), attempt));
            false
        });
        if let ContainerPhase::Running { since } = state.phase
            && state.starts == attempt
        {
            let phase = ContainerPhase::Exited(seen::lost(since));
            self.apply(container, &seen::Run { attempt, phase, image_id: None }).await;
        }
    }

    /// Takes in what is known of a run.
    async fn apply(self: &Arc<Self>, container: &str, run: &seen::Run) {
        self.update(container, |state| seen::fold(state, run)).await;
    }

    /// The engine's word that memory was what ended a run. It may come after the run's end, of which the engine then says nothing.
    pub async fn ran_out_of_memory(self: &Arc<Self>, container: &str, attempt: u32) {
        self.update(container, |state| seen::out_of_memory(state, attempt)).await;
    }

    /// A change of a container is written down and told.
    async fn update(self: &Arc<Self>, container: &str, change: impl Fn(&ContainerState) -> ContainerState) {
        let is_new = self.view.send_if_modified(|view| {
            let Some(state) = view.containers.iter_mut().find(|state| state.name == container) else { return false };
            let next = change(state);
            let is_new = next != *state;
            *state = next;
            is_new
        });
        if is_new {
            self.save().await;
            self.changes.tell(self.uid());
        }
    }

    /// Writes down how the containers are. A record that cannot be written costs memory of past runs, not the pod.
    async fn save(self: &Arc<Self>) {
        let _one_at_a_time = self.saving.lock().await;
        let (record, file) = {
            let view = self.view.borrow();
            if view.is_removed {
                return;
            }
            (Record { containers: view.containers.clone(), ..self.record.clone() }, self.file.clone())
        };
        match spawn_blocking(move || records::write(&file, &record)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(pod = %self.record.pod.name, %error, "a pod's record cannot be written"),
            Err(error) => tracing::warn!(pod = %self.record.pod.name, %error, "a pod's record was not written"),
        }
    }

    /// Removes runs that nobody asks for any more.
    fn forget_old(self: &Arc<Self>, container: &str, attempt: u32) {
        let mut old = Vec::new();
        self.view.send_if_modified(|view| {
            view.runs.retain(|(name, number), id| {
                let is_old = name == container && number + KEPT_RUNS < attempt;
                if is_old {
                    old.push(id.clone());
                }
                !is_old
            });
            false
        });
        for id in old {
            let engine = Arc::clone(&self.engine);
            tokio::spawn(async move {
                if let Err(refusal) = remove(&engine, &id).await {
                    tracing::debug!(%refusal, "an old run could not be removed");
                }
            });
        }
    }

    /// Deletes the record; nothing of the pod is in the engine any more.
    pub async fn bury(&self) -> std::io::Result<()> {
        let _saved = self.saving.lock().await;
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.view.send_modify(|view| view.is_removed = true);
        Ok(())
    }
}

/// Removes a container of the engine, ending it at once if it runs. One that is not there is as wished.
pub(super) async fn remove(engine: &Engine, id: &str) -> Result<(), Refusal> {
    let client = engine.client()?;
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match engine.ask(WORKED, client.remove_container(id, Some(options))).await {
        // Gone, or just being removed by somebody else.
        Err(Refusal::Said { status: 404 | 409, .. }) | Ok(()) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

fn missing_image(spec: &Container, refusal: Refusal, tried: &str) -> Error {
    match refusal {
        Refusal::Said { status: 404, message } => {
            Error::Image { image: spec.image.clone(), trouble: fault::of_image(&message), said: message }
        }
        // Podman looks for the program before it makes a container.
        refusal => refusal.into_error(tried),
    }
}
