//! One Pod on this node: looks, asks `logic::pod` what follows, has the runtime do it, and writes the Pod's status.

mod starting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Because, Objects, Result};
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use kube::ResourceExt as _;
use logic::pod::{Act, EXCEEDED, Health, Observed, Plan, ProbeKind, Probing, Seen, Trouble, patience, plan};
use runtime::{ContainerPhase, PodState, ProbeAnswer, Runtime};
use tokio::sync::mpsc::UnboundedReceiver;

use super::hooks::{Ended, Hooks};
use super::translated::seen;
use super::volumes::{self, Filling};
use super::{Shared, drain, probed, sandbox, stop};
use crate::controllers::BackOff;
use crate::status::difference_of;

const ACTOR: &str = "agent";
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What a worker is told.
#[derive(Debug)]
pub enum News {
    /// The object changed.
    Object(Box<Pod>),
    /// The object is gone.
    Gone,
    /// Something about the sandbox may have changed.
    Sandbox,
    /// Something that its volumes or variables are filled from has changed, come or gone.
    References,
}

/// Works until the Pod is gone.
pub async fn work(shared: Arc<Shared>, pod: Pod, news: UnboundedReceiver<News>) {
    let runtime = shared.runtime(&pod).cloned();
    let mut worker = Worker {
        shared,
        runtime,
        pod,
        news,
        state: None,
        health: BTreeMap::new(),
        probings: BTreeMap::new(),
        hooks: Hooks::default(),
        last_words: BTreeMap::new(),
        trouble: None,
        pull_problem: String::new(),
        filling: Filling::default(),
        unheeded: None,
        failures: 0,
        back_off: BackOff::default(),
        problem: String::new(),
        has_requests: false,
        gone: false,
    };
    worker.run().await;
}

struct Worker {
    shared: Arc<Shared>,
    runtime: Option<Arc<dyn Runtime>>,
    pod: Pod,
    news: UnboundedReceiver<News>,
    state: Option<PodState>,
    health: BTreeMap<String, Health>,
    /// The probes of each container, with the start of the run that they watch.
    probings: BTreeMap<String, (Timestamp, Vec<Probing>)>,
    /// The postStart hooks that have yet to end.
    hooks: Hooks,
    last_words: BTreeMap<String, String>,
    trouble: Option<Trouble>,
    /// What was last told to be wrong with the Secrets for its registries.
    pull_problem: String,
    /// What its volumes are filled with.
    filling: Filling,
    /// What the status still lacked after the last write of it: the server does not keep it, so it is not sent again by itself.
    unheeded: Option<serde_json::Value>,
    /// Failures in a row, for the pause before the next try.
    failures: u32,
    /// Turns in a row that ended with an error, for the pause before the next.
    back_off: BackOff,
    /// What was last told to have gone wrong with a turn.
    problem: String,
    /// Whether requests may still be on their way, though it is being deleted.
    has_requests: bool,
    gone: bool,
}

type Probed = (String, ProbeKind, ProbeAnswer);

impl Worker {
    async fn run(&mut self) {
        let mut probes = FuturesUnordered::new();
        loop {
            let turned = self.turn().await;
            crate::controllers::looked("pod", &turned);
            let pause = match turned {
                Ok(Some(pause)) => {
                    self.back_off.went_well("");
                    pause
                }
                Ok(None) => return,
                Err(error) => Some(self.not_brought_on(&error.to_string()).await),
            };
            let due = self.due_probes();
            let pause = [pause, due].into_iter().flatten().min().unwrap_or(Duration::from_secs(3_600));
            tokio::select! {
                news = self.news.recv() => match news {
                    Some(news) => self.take(news),
                    None => return,
                },
                Some(answer) = probes.next() => self.answered(answer).await,
                Some(ended) = self.hooks.next() => self.hook_ended(ended).await,
                () = tokio::time::sleep(pause) => self.start_probes(&mut probes),
            }
            while let Ok(news) = self.news.try_recv() {
                self.take(news);
            }
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Object(pod) => {
                self.filling.is_old |= volumes::is_told_otherwise(&self.pod, &pod);
                self.pod = *pod;
            }
            News::References => self.filling.is_old = true,
            News::Gone => self.gone = true,
            News::Sandbox => {}
        }
    }

    /// A turn ended with an error: tells, and says how long to wait before the next.
    async fn not_brought_on(&mut self, error: &str) -> Duration {
        tracing::warn!(pod = %self.pod.name_any(), %error, "a pod could not be brought on");
        if self.problem != error {
            self.problem = error.to_owned();
            self.shared.events.warning(&self.pod, "FailedSync", error).await;
        }
        self.back_off.failed("")
    }

    /// Looks, decides and acts once. `None` ends the worker; otherwise when to look again at the latest.
    async fn turn(&mut self) -> Result<Option<Option<Duration>>> {
        let Some(runtime) = self.runtime.clone() else { return self.without_runtime().await };
        let uid = self.pod.uid().unwrap_or_default();
        if self.gone {
            return Ok(if self.remove(&runtime, &uid).await && self.remove_volumes(&uid).await { None } else { Some(Some(RETRY)) });
        }
        self.look(&runtime, &uid).await;
        self.has_requests = self.state.is_some() && drain::has_requests(&self.shared, &self.pod).await;
        let Plan { acts, status, wake_after } = self.plan();
        let renewal = self.refill(&runtime).await?;
        let mut pause = [wake_after, renewal].into_iter().flatten().min();
        self.tell_deadline(&status).await;
        self.write_status(&status).await?;
        if acts.iter().any(|act| matches!(act, Act::Stop { .. })) {
            self.stop(&runtime, acts).await;
            return Ok(Some(Some(Duration::ZERO)));
        }
        for act in acts {
            match act {
                Act::Create => pause = self.create(&runtime).await?,
                Act::Start(container) => pause = self.start(&runtime, &uid, &container).await?,
                Act::Remove => pause = if self.remove(&runtime, &uid).await { Some(Duration::ZERO) } else { Some(RETRY) },
                Act::Forget if !self.remove_volumes(&uid).await => pause = Some(RETRY),
                Act::Forget => {
                    self.forget().await?;
                    return Ok(None);
                }
                Act::Stop { .. } => {}
            }
        }
        Ok(Some(pause))
    }

    async fn without_runtime(&mut self) -> Result<Option<Option<Duration>>> {
        if self.gone {
            return Ok(None);
        }
        let class = self.pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.clone()).unwrap_or_default();
        let names: Vec<&str> = self.shared.runtimes.iter().map(|runtime| runtime.name()).collect();
        let message = format!("this node has no runtime {class:?}, it has {}", names.join(", "));
        self.trouble = Some(Trouble { reason: "NoRuntime".into(), message });
        let plan = self.plan();
        self.write_status(&plan.status).await?;
        if plan.acts.contains(&Act::Forget) {
            self.forget().await?;
            return Ok(None);
        }
        Ok(Some(None))
    }

    async fn look(&mut self, runtime: &Arc<dyn Runtime>, uid: &str) {
        match runtime.list().await {
            Ok(states) => self.state = states.into_iter().find(|state| state.pod.uid == uid),
            Err(error) => {
                self.trouble = Some(Trouble { reason: "RuntimeUnavailable".into(), message: error.to_string() });
            }
        }
        let containers = self.state.as_ref().map(|state| state.containers.clone()).unwrap_or_default();
        for container in containers {
            match container.phase {
                ContainerPhase::Running { since } => self.follow_run(&container.name, since),
                ContainerPhase::Exited(_) => {
                    let was_running = self.probings.remove(&container.name).is_some();
                    self.health.remove(&container.name);
                    self.hooks.forget(&container.name);
                    if was_running || !self.last_words.contains_key(&container.name) {
                        let words = stop::last_words(runtime, uid, &container.name).await;
                        self.last_words.insert(container.name.clone(), words);
                    }
                }
                ContainerPhase::Created => {}
            }
        }
    }

    /// Begins to probe a run that was not known. One that the Pod's status calls ready is taken to be so until a probe
    /// says otherwise: our own restart must not take copies out of the routes.
    fn follow_run(&mut self, name: &str, since: Timestamp) {
        if self.probings.get(name).is_some_and(|(known, _)| *known == since) {
            return;
        }
        let Some(container) = self.container(name).cloned() else { return };
        // A run that was told to be running had its hook before that.
        let told = self.told_of(name, since);
        let was_ready = told == Some(true);
        let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()).filter(|_| told.is_none());
        let is_begun = match (hook, &self.runtime) {
            (Some(hook), Some(runtime)) => {
                self.hooks.begin(runtime, &self.pod.uid().unwrap_or_default(), &container, hook, since);
                true
            }
            _ => false,
        };
        let started = was_ready || container.startup_probe.is_none();
        self.health.insert(name.to_owned(), Health { ready: was_ready, started, awaits_hook: is_begun, ..Health::default() });
        let probings = if is_begun { Vec::new() } else { probed::probings(&container, since, was_ready) };
        self.probings.insert(name.to_owned(), (since, probings));
        self.last_words.remove(name);
    }

    /// Whether the Pod's status tells of a run, and then whether it calls it ready.
    fn told_of(&self, name: &str, since: Timestamp) -> Option<bool> {
        let statuses = self.pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let status = statuses.into_iter().find(|status| status.name == name)?;
        let started = status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?;
        (started.0.as_second() == since.as_second()).then_some(status.ready)
    }

    /// A hook has ended: the container is told to run and is probed from here on, or it is ended.
    async fn hook_ended(&mut self, Ended { container, since, failure }: Ended) {
        if self.probings.get(&container).is_none_or(|(known, _)| *known != since) {
            return;
        }
        let Some(spec) = self.container(&container).cloned() else { return };
        let Some(health) = self.health.get_mut(&container) else { return };
        health.awaits_hook = false;
        if let Some(failure) = failure {
            health.restart = Some("FailedPostStartHook".into());
            self.shared.events.warning(&self.pod, "FailedPostStartHook", format!("{container}: {failure}")).await;
            return;
        }
        self.probings.insert(container, (since, probed::probings(&spec, since, false)));
    }

    async fn tell_deadline(&self, status: &PodStatus) {
        let reason = |status: &PodStatus| status.reason.clone();
        if reason(status).as_deref() == Some(EXCEEDED) && self.pod.status.as_ref().and_then(reason) != reason(status) {
            self.shared.events.normal(&self.pod, EXCEEDED, status.message.clone().unwrap_or_default()).await;
        }
    }

    fn container(&self, name: &str) -> Option<&Container> {
        let spec = self.pod.spec.as_ref()?;
        spec.init_containers.iter().flatten().chain(&spec.containers).find(|container| container.name == name)
    }

    fn plan(&self) -> Plan {
        let seen: Option<Vec<Seen>> = self.state.as_ref().map(|state| state.containers.iter().map(seen).collect());
        plan(&Observed {
            pod: &self.pod,
            seen: seen.as_deref(),
            health: &self.health,
            last_words: &self.last_words,
            trouble: self.trouble.as_ref(),
            has_requests: self.has_requests,
            address: &self.shared.facts.address,
            now: self.shared.clock.now(),
        })
    }

    /// Something could not be done: tells, and says how long to wait before trying again.
    async fn failed(&mut self, trouble: Trouble) -> Duration {
        if self.trouble.as_ref() != Some(&trouble) {
            match trouble.reason.as_str() {
                // Not a failure, and the next word for a container that is being made.
                "ContainerCreating" => self.shared.events.normal(&self.pod, "Pulling", trouble.message.clone()).await,
                reason => self.shared.events.warning(&self.pod, reason, trouble.message.clone()).await,
            }
        }
        self.delayed(trouble).await
    }

    /// Something that was told could not be done: says how long to wait before trying again.
    async fn delayed(&mut self, trouble: Trouble) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.trouble = Some(trouble);
        let plan = self.plan();
        if let Err(error) = self.write_status(&plan.status).await {
            tracing::debug!(%error, "trouble could not be written");
        }
        RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(8)).min(RETRY_MAX)
    }

    /// Stops containers together. A Pod whose object goes, or whose grace is cut, meanwhile is not waited for.
    async fn stop(&mut self, runtime: &Arc<dyn Runtime>, acts: Vec<Act>) {
        let uid = self.pod.uid().unwrap_or_default();
        let mut stops = Vec::new();
        for act in acts {
            let Act::Stop { container, grace, reason } = act else { continue };
            self.shared.events.normal(&self.pod, "Killing", format!("stopping container {container}: {reason}")).await;
            if let Some(health) = self.health.get_mut(&container) {
                health.restart = None;
            }
            stops.push(stop::container(Arc::clone(runtime), uid.clone(), self.container(&container).cloned(), container, grace));
        }
        let mut stopping = std::pin::pin!(join_all(stops));
        loop {
            tokio::select! {
                problems = &mut stopping => {
                    for (reason, message) in problems.into_iter().flatten() {
                        self.shared.events.warning(&self.pod, reason, message).await;
                    }
                    return;
                }
                news = self.news.recv() => match news {
                    Some(news) => {
                        self.take(news);
                        if self.gone || (self.pod.metadata.deletion_timestamp.is_some() && logic::pod::grace(&self.pod).is_zero()) {
                            return;
                        }
                    }
                    None => return,
                },
            }
        }
    }

    /// Removes the sandbox; whether that succeeded.
    async fn remove(&mut self, runtime: &Arc<dyn Runtime>, uid: &str) -> bool {
        match runtime.remove(uid).await {
            Ok(()) => {
                self.state = None;
                true
            }
            Err(error) => self.not_removed(format!("its sandbox could not be removed: {error}")).await,
        }
    }

    async fn not_removed(&mut self, message: String) -> bool {
        if self.problem != message {
            self.shared.events.warning(&self.pod, "FailedKillPod", message.clone()).await;
            self.problem = message;
        }
        false
    }

    async fn forget(&self) -> Result<()> {
        let cause = Because::of(ACTOR, &self.pod).reason("nothing of it runs any more");
        self.pods().delete(&self.pod.name_any(), self.pod.uid().as_deref(), Some(0), &cause).await
    }

    fn pods(&self) -> Objects<Pod> {
        Objects::namespaced(&self.shared.client, &self.pod.namespace().unwrap_or_default())
    }

    async fn write_status(&mut self, status: &PodStatus) -> Result<()> {
        let old = self.pod.status.clone().unwrap_or_default();
        let Some(patch) = difference_of("core.PodStatus", &old, status).filter(|patch| self.unheeded.as_ref() != Some(patch)) else {
            return Ok(());
        };
        let cause = Because::of(ACTOR, &self.pod).reason("what is so has changed");
        match self.pods().merge_status(&self.pod.name_any(), &patch, None, &cause).await {
            Ok(pod) if pod.uid() == self.pod.uid() => {
                self.pod = pod;
                self.unheeded = difference_of("core.PodStatus", &self.pod.status.clone().unwrap_or_default(), status);
                if let Some(lacking) = &self.unheeded {
                    tracing::warn!(pod = %self.pod.name_any(), %lacking, "the server does not keep all of a pod's status");
                }
            }
            Ok(_) => self.gone = true,
            Err(error) if error.is_not_found() => self.gone = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// How long until the next probe is due.
    fn due_probes(&self) -> Option<Duration> {
        let now = self.shared.clock.now();
        let next = self.probings.values().flat_map(|(_, probings)| probings).map(Probing::next).min()?;
        Some(Duration::try_from(next.duration_since(now)).unwrap_or_default())
    }

    fn start_probes(&mut self, probes: &mut FuturesUnordered<tokio::task::JoinHandle<Option<Probed>>>) {
        let (now, uid) = (self.shared.clock.now(), self.pod.uid().unwrap_or_default());
        let Some(runtime) = self.runtime.clone() else { return };
        let spec = self.pod.spec.clone().unwrap_or_default();
        for (name, (_, probings)) in &mut self.probings {
            let started = self.health.get(name).is_some_and(|health| health.started);
            let Some(container) = spec.containers.iter().find(|container| container.name == *name) else { continue };
            for probing in probings.iter_mut().filter(|probing| probing.next() <= now) {
                let kind = probing.kind();
                let Some(probe) = probed::probe(container, kind).filter(|_| started != (kind == ProbeKind::Startup)) else {
                    probing.put_off(now, RETRY);
                    continue;
                };
                let Some(check) = sandbox::check(probe, container) else { continue };
                let patience = patience(probe);
                probing.put_off(now, patience + RETRY);
                let (runtime, uid, name) = (Arc::clone(&runtime), uid.clone(), name.clone());
                probes.push(tokio::spawn(async move {
                    let answer = runtime.probe(&uid, &name, &check, patience).await.ok()?;
                    Some((name, kind, answer))
                }));
            }
        }
    }

    async fn answered(&mut self, answer: std::result::Result<Option<Probed>, tokio::task::JoinError>) {
        let Ok(Some((name, kind, answer))) = answer else { return };
        let Some(probe) = self.container(&name).and_then(|container| probed::probe(container, kind)).cloned() else { return };
        let now = self.shared.clock.now();
        let (Some((_, probings)), Some(health)) = (self.probings.get_mut(&name), self.health.get_mut(&name)) else { return };
        let Some(probing) = probings.iter_mut().find(|probing| probing.kind() == kind) else { return };
        let before = health.clone();
        probing.answer(&probe, answer.passed, &answer.detail, now, health);
        let unwell = (before.ready && !health.ready) || (before.restart.is_none() && health.restart.is_some());
        if unwell {
            self.shared.events.warning(&self.pod, "Unhealthy", format!("{name}: {} probe: {}", kind.word(), answer.detail)).await;
        }
    }
}
