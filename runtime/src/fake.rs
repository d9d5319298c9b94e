//! A runtime for tests: its containers run nothing and do as they are told.
//!
//! Everything happens within the call that asks for it, and time is a counter unless the test hands in a clock, so the same
//! calls always give the same answers. A clone is the same runtime: a test keeps one and hands the other out.

mod attach;
mod follower;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::changes::Changes;
use crate::check_pod::check;
use crate::probe;
use crate::session::{ExecOptions, Input, Output, Session};
use crate::{
    Check, Container, ContainerPhase, ContainerState, Credential, Error, ExecAnswer, Exit, ImageTrouble, LogOptions, Pod, PodState,
    ProbeAnswer, Result, Runtime, Stdin, Usage,
};

use follower::Follower;

/// The first port that is allotted.
const FIRST_PORT: u16 = 20_000;

/// Answers a probe in place of the usual rule; `None` leaves it to that.
pub type ProbeRule = dyn Fn(&Pod, &Container, &Check) -> Option<ProbeAnswer> + Send + Sync;

/// The runtime. Where a method takes `matching`, it means the containers whose image or command has that in it, and those of
/// the pod that has it as its name or uid.
#[derive(Clone)]
pub struct Fake {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    changes: Changes,
    /// Counts what was done, to wake those who follow a log.
    steps: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<String, Sandbox>,
    unready: BTreeSet<String>,
    start_failures: BTreeMap<String, String>,
    image_troubles: BTreeMap<String, (ImageTrouble, String)>,
    /// Images that were started, and what their registries would have been shown.
    shown: Vec<(String, Credential)>,
    exec_answers: BTreeMap<String, ExecAnswer>,
    /// Thousandths of a processor, and memory in bytes.
    usages: BTreeMap<String, (u32, u64)>,
    rule: Option<Arc<ProbeRule>>,
    calls: Vec<String>,
}

struct Sandbox {
    state: PodState,
    logs: BTreeMap<String, Logs>,
}

/// What a container has written, in its current run and the one before.
#[derive(Default, Clone)]
struct Logs {
    current: Vec<(Timestamp, String)>,
    previous: Vec<(Timestamp, String)>,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").field("pods", &self.shared.state().pods.keys()).finish_non_exhaustive()
    }
}

impl Fake {
    /// A runtime whose time begins with 2026 and goes on by a second each time it is asked for.
    pub fn new() -> Self {
        let seconds = Mutex::new(0);
        Self::with_clock(move || {
            let mut seconds = seconds.lock().unwrap_or_else(PoisonError::into_inner);
            *seconds += 1;
            Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_767_225_600 + *seconds)
        })
    }

    /// A runtime with the test's time.
    pub fn with_clock(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::new(Shared { state: Mutex::default(), now: Box::new(now), changes: Changes::new(), steps: watch::Sender::new(0) }),
        }
    }

    /// Lets the containers `matching` pass their probes or not. At first all do.
    pub fn set_ready(&self, matching: &str, is_ready: bool) {
        let unready = &mut self.shared.state().unready;
        if is_ready {
            unready.remove(matching)
        } else {
            unready.insert(matching.to_owned())
        };
    }

    /// Has probes of running containers answered by a rule, before any other.
    pub fn set_probe_rule(&self, rule: impl Fn(&Pod, &Container, &Check) -> Option<ProbeAnswer> + Send + Sync + 'static) {
        self.shared.state().rule = Some(Arc::new(rule));
    }

    /// Lets the containers `matching` fail to start with the system's words, or start again with `None`.
    pub fn fail_start(&self, matching: &str, reason: Option<&str>) {
        let failures = &mut self.shared.state().start_failures;
        match reason {
            Some(reason) => failures.insert(matching.to_owned(), reason.to_owned()),
            None => failures.remove(matching),
        };
    }

    /// Lets the images of the containers `matching` not be had, or be had again with `None`.
    pub fn fail_image(&self, matching: &str, why: Option<(ImageTrouble, &str)>) {
        let troubles = &mut self.shared.state().image_troubles;
        match why {
            Some((trouble, said)) => troubles.insert(matching.to_owned(), (trouble, said.to_owned())),
            None => troubles.remove(matching),
        };
    }

    /// What the registry of an image would have been shown by all starts so far, in order.
    pub fn shown(&self, image: &str) -> Vec<Credential> {
        self.shared.state().shown.iter().filter(|(of, _)| of == image).map(|(_, credential)| credential.clone()).collect()
    }

    /// Has programs run inside the containers `matching` answer so. At first they end with 0 and say nothing.
    pub fn answer_exec(&self, matching: &str, code: i32, output: &str) {
        let answer = ExecAnswer { code, output: Bytes::copy_from_slice(output.as_bytes()) };
        self.shared.state().exec_answers.insert(matching.to_owned(), answer);
    }

    /// Has the containers `matching` use so many thousandths of a processor from their start on, and so much memory. At first they
    /// use nothing.
    pub fn set_usage(&self, matching: &str, cpu_millis: u32, memory_bytes: u64) {
        self.shared.state().usages.insert(matching.to_owned(), (cpu_millis, memory_bytes));
    }

    /// Ends a container's program; 128 and more mean the signal. One that does not run is left alone.
    pub fn exit(&self, uid: &str, container: &str, code: i32) {
        self.shared.end(uid, container, code);
    }

    /// Writes a line to a container's log.
    pub fn write_log(&self, uid: &str, container: &str, line: &str) {
        let now = (self.shared.now)();
        if let Some(sandbox) = self.shared.state().pods.get_mut(uid) {
            sandbox.logs.entry(container.to_owned()).or_default().current.push((now, line.to_owned()));
        }
        self.shared.steps.send_modify(|steps| *steps += 1);
    }

    /// What was asked of the runtime to change, in order: `create web-1`, `start web-1/web`, `stop web-1/web`, `remove web-1`.
    pub fn calls(&self) -> Vec<String> {
        self.shared.state().calls.clone()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, uid: &str) {
        self.steps.send_modify(|steps| *steps += 1);
        self.changes.tell(uid);
    }

    fn end(&self, uid: &str, container: &str, code: i32) {
        let now = (self.now)();
        let mut state = self.state();
        let Ok((_, container, _)) = state.find(uid, container) else { return };
        let ContainerPhase::Running { since } = container.phase else { return };
        let signal = (code > 128).then_some(code - 128);
        container.phase =
            ContainerPhase::Exited(Exit { code, signal, started: since, finished: now, reason: None, is_out_of_memory: false });
        drop(state);
        self.changed(uid);
    }
}

impl State {
    /// A container: as asked for, as it is, and what it has written.
    fn find(&mut self, uid: &str, name: &str) -> Result<(&Pod, &mut ContainerState, &mut Logs)> {
        let Sandbox { state, logs } = self.pods.get_mut(uid).ok_or_else(|| Error::NoSuchPod(uid.to_owned()))?;
        let PodState { pod, containers, .. } = state;
        let known: Vec<String> = containers.iter().map(|container| container.name.clone()).collect();
        match containers.iter_mut().find(|container| container.name == name) {
            Some(container) => Ok((pod, container, logs.entry(name.to_owned()).or_default())),
            None => Err(Error::NoSuchContainer { pod: pod.name.clone(), container: name.to_owned(), known: known.join(", ") }),
        }
    }

    fn spec(&mut self, uid: &str, name: &str) -> Result<(Pod, Container)> {
        let pod = self.find(uid, name)?.0.clone();
        let container = pod.containers.iter().find(|container| container.name == name).cloned().unwrap_or_default();
        Ok((pod, container))
    }

    fn answer_on_port(&self, uid: &str, port: &str, is_unready: bool) -> ProbeAnswer {
        let Some(Sandbox { state, .. }) = self.pods.get(uid) else { return ProbeAnswer::no("the pod is gone") };
        match state.endpoints.get(port) {
            None => probe::no_port(port, state.endpoints.keys()),
            Some(address) if is_unready => ProbeAnswer::no(format!("did not listen on {} (from $PORT)", address.port())),
            Some(address) => ProbeAnswer::yes(format!("{address} accepted a connection")),
        }
    }

    fn allot(&self, pod: &Pod) -> Result<BTreeMap<String, SocketAddr>> {
        let mut held: BTreeSet<u16> =
            self.pods.values().flat_map(|sandbox| sandbox.state.endpoints.values().map(SocketAddr::port)).collect();
        let ports = || pod.containers.iter().flat_map(|container| &container.ports);
        for port in ports().filter_map(|port| port.host_port) {
            if !held.insert(port) {
                return Err(Error::PortTaken { port });
            }
        }
        let endpoint = |port: &crate::Port| {
            let number = port.host_port.or_else(|| (FIRST_PORT..=u16::MAX).find(|number| !held.contains(number)))?;
            held.insert(number);
            Some((port.name.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, number))))
        };
        Ok(ports().filter_map(endpoint).collect())
    }
}

#[async_trait]
impl Runtime for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn create(&self, pod: &Pod) -> Result<PodState> {
        check(pod)?;
        let mut state = self.shared.state();
        if let Some(there) = state.pods.get(&pod.uid) {
            return Ok(there.state.clone());
        }
        let endpoints = state.allot(pod)?;
        let made = PodState { pod: pod.clone(), endpoints, containers: pod.containers.iter().map(ContainerState::created).collect() };
        state.pods.insert(pod.uid.clone(), Sandbox { state: made.clone(), logs: BTreeMap::new() });
        state.calls.push(format!("create {}", pod.name));
        drop(state);
        self.shared.changed(&pod.uid);
        Ok(made)
    }

    async fn start(&self, uid: &str, container: &str, credentials: &[Credential]) -> Result<()> {
        let now = (self.shared.now)();
        let mut state = self.shared.state();
        let (pod, spec) = state.spec(uid, container)?;
        let shown = credentials.iter().map(|credential| (spec.image.clone(), credential.clone()));
        state.shown.extend(shown);
        if let Some((_, (trouble, said))) = state.image_troubles.iter().find(|(matching, _)| matches(&pod, &spec, matching)) {
            return Err(Error::Image { image: spec.image.clone(), trouble: *trouble, said: said.clone() });
        }
        let failure = state.start_failures.iter().find(|(matching, _)| matches(&pod, &spec, matching)).map(|(_, why)| why.clone());
        let (_, there, logs) = state.find(uid, container)?;
        if let ContainerPhase::Running { .. } = there.phase {
            return Ok(());
        }
        if let ContainerPhase::Exited(exit) = &there.phase {
            there.last_exit = Some(exit.clone());
        }
        there.starts += 1;
        logs.previous = std::mem::take(&mut logs.current);
        let program = spec.command.first().unwrap_or(&spec.image).clone();
        there.phase = match &failure {
            None => ContainerPhase::Running { since: now },
            Some(why) => {
                let reason = Some(format!("cannot start {program}: {why}"));
                ContainerPhase::Exited(Exit { code: 127, signal: None, started: now, finished: now, reason, is_out_of_memory: false })
            }
        };
        state.calls.push(format!("start {}/{container}", pod.name));
        drop(state);
        self.shared.changed(uid);
        failure.map_or(Ok(()), |reason| Err(Error::CannotStart { program, reason }))
    }

    async fn stop(&self, uid: &str, container: &str, _grace: Duration) -> Result<()> {
        let mut state = self.shared.state();
        let (pod, there, _) = state.find(uid, container)?;
        if let ContainerPhase::Running { .. } = there.phase {
            let call = format!("stop {}/{container}", pod.name);
            state.calls.push(call);
            drop(state);
            self.shared.end(uid, container, 143);
        }
        Ok(())
    }

    async fn remove(&self, uid: &str) -> Result<()> {
        let mut state = self.shared.state();
        if let Some(gone) = state.pods.remove(uid) {
            state.calls.push(format!("remove {}", gone.state.pod.name));
            drop(state);
            self.shared.changed(uid);
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<PodState>> {
        Ok(self.shared.state().pods.values().map(|sandbox| sandbox.state.clone()).collect())
    }

    fn changes(&self) -> BoxStream<'static, String> {
        let shared = Arc::downgrade(&self.shared);
        self.shared.changes.stream(move || Some(shared.upgrade()?.state().pods.keys().cloned().collect()))
    }

    async fn logs(&self, uid: &str, container: &str, options: LogOptions) -> Result<BoxStream<'static, Bytes>> {
        let mut state = self.shared.state();
        let (_, there, logs) = state.find(uid, container)?;
        let starts = there.starts;
        there.run_of_log(options.previous)?;
        let lines = if options.previous { &logs.previous } else { &logs.current };
        let tail = options.tail.map_or(lines.len(), |tail| usize::try_from(tail).unwrap_or(usize::MAX).min(lines.len()));
        let follower = Follower {
            shared: self.shared.clone(),
            steps: self.shared.steps.subscribe(),
            uid: uid.to_owned(),
            container: container.to_owned(),
            run: starts,
            next_line: lines.len() - tail,
            left_bytes: options.limit_bytes.unwrap_or(u64::MAX),
            options,
        };
        Ok(stream::unfold(follower, |mut follower| async { Some((follower.next().await?, follower)) }).boxed())
    }

    async fn exec(&self, uid: &str, container: &str, command: &[String], _patience: Duration) -> Result<ExecAnswer> {
        let mut state = self.shared.state();
        let (pod, spec) = state.spec(uid, container)?;
        if !matches!(state.find(uid, container)?.1.phase, ContainerPhase::Running { .. }) {
            let tried = format!("run {command:?} in container {container}");
            return Err(Error::Failed { tried, reason: "the container does not run".to_owned() });
        }
        let answer = state.exec_answers.iter().find(|(matching, _)| matches(&pod, &spec, matching)).map(|(_, answer)| answer.clone());
        Ok(answer.unwrap_or(ExecAnswer { code: 0, output: Bytes::new() }))
    }

    async fn usage(&self, uid: &str) -> Result<BTreeMap<String, Usage>> {
        let now = (self.shared.now)();
        let state = self.shared.state();
        let PodState { pod, containers, .. } = &state.pods.get(uid).ok_or_else(|| Error::NoSuchPod(uid.to_owned()))?.state;
        let usage = |(container, there): (&Container, &ContainerState)| {
            let ContainerPhase::Running { since } = there.phase else { return None };
            let ran = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            let set = state.usages.iter().find(|(matching, _)| matches(pod, container, matching)).map(|(_, set)| *set);
            let (cpu_millis, memory_bytes) = set.unwrap_or_default();
            Some((container.name.clone(), Usage { cpu: ran * cpu_millis / 1_000, memory_bytes }))
        };
        Ok(pod.containers.iter().zip(containers).filter_map(usage).collect())
    }

    async fn open(&self, uid: &str, container: &str, options: ExecOptions) -> Result<Session> {
        let answer = self.exec(uid, container, &options.command, Duration::ZERO).await?;
        let (session, mut told, says) = Session::new();
        // Says its answer, then what it is told, and ends when that ends.
        tokio::spawn(async move {
            let mut open = says.send(Output::Out(answer.output)).await.is_ok() && options.stdin;
            while open {
                open = match told.recv().await {
                    Some(Input::Bytes(bytes)) => says.send(Output::Out(bytes)).await.is_ok(),
                    Some(Input::Resize { .. }) => true,
                    Some(Input::End) | None => false,
                };
            }
            let _ = says.send(Output::Ended(answer.code)).await;
        });
        Ok(session)
    }

    async fn attach(&self, uid: &str, container: &str, stdin: bool) -> Result<Session> {
        let (_, spec) = self.shared.state().spec(uid, container)?;
        if !matches!(self.shared.state().find(uid, container)?.1.phase, ContainerPhase::Running { .. }) {
            return Err(Error::Failed {
                tried: format!("attach to container {container}"),
                reason: "the container does not run".to_owned(),
            });
        }
        let written = self.logs(uid, container, LogOptions { follow: true, tail: Some(0), ..LogOptions::default() }).await?;
        let stdin = if stdin { spec.stdin } else { Stdin::Empty };
        Ok(attach::open(self.clone(), (uid, container), stdin, written))
    }

    async fn probe(&self, uid: &str, container: &str, check: &Check, patience: Duration) -> Result<ProbeAnswer> {
        let (rule, pod, spec, is_running) = {
            let mut state = self.shared.state();
            let (pod, spec) = state.spec(uid, container)?;
            let is_running = matches!(state.find(uid, container)?.1.phase, ContainerPhase::Running { .. });
            (state.rule.clone(), pod, spec, is_running)
        };
        if !is_running {
            return Ok(ProbeAnswer::no(format!("container {container} does not run")));
        }
        if let Some(answer) = rule.and_then(|rule| rule(&pod, &spec, check)) {
            return Ok(answer);
        }
        let is_unready = self.shared.state().unready.iter().any(|matching| matches(&pod, &spec, matching));
        Ok(match check {
            Check::Exec { command } if is_unready => ProbeAnswer::no(format!("{} ended with 1", command.join(" "))),
            Check::Exec { command } => probe::program(command, self.exec(uid, container, command, patience).await),
            Check::Http { port, .. } | Check::Tcp { port } => self.shared.state().answer_on_port(uid, port, is_unready),
        })
    }
}

fn matches(pod: &Pod, container: &Container, matching: &str) -> bool {
    pod.name == matching
        || pod.uid == matching
        || container.image.contains(matching)
        || container.command.iter().any(|word| word.contains(matching))
}
