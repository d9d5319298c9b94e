//! A container under the shim: its one program at a time, and what became of it.
//!
//! ```text
//!            start                the program ended            nothing of it is left
//!  at rest ─────────▶ Running ───────────────────────▶ Ending ───────────────────────▶ at rest
//! ```
//!
//! Asked to stop, a run gets SIGTERM and a time at which all that is left of it is killed; a program that ends by itself sets
//! that time to its end. What a container shows of itself changes at the last step only, when its ports and files are free.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

use crate::process::burial::bury_container;
use crate::process::clock::now;
use crate::process::family::{Main, Member};
use crate::process::log_lines::Stream;
use crate::process::processes::{Identity, send};
use crate::process::protocol::Failure;
use crate::process::records::{self, ExitRecord, PodRecord, RunRecord};
use crate::process::shim::input::Input;
use crate::process::shim::launch::{NotStarted, launch, system_words};
use crate::process::shim::log_file::{LogFile, ROTATED_AT_BYTES};
use crate::process::shim::output::Output;
use crate::{Container as Spec, ContainerPhase, ContainerState, Exit, Stdin};

/// How long after the last of it a question without a line end goes to the log.
const QUESTION: Duration = Duration::from_millis(50);
/// How long what was killed may take to be gone, before the run counts as ended without it.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// A container of the pod.
#[derive(Debug)]
pub(super) struct Container {
    dir: PathBuf,
    spec: Spec,
    state: ContainerState,
    run: Option<Run>,
}

/// A program that was started and is not over.
#[derive(Debug)]
struct Run {
    child: Child,
    pid: i32,
    started: Timestamp,
    log: LogFile,
    outputs: Vec<Output>,
    /// Until somebody has taken it.
    input: Option<Input>,
    stage: Stage,
    /// When all that is left of it is killed.
    kill_at: Option<Instant>,
    /// When a line that was begun goes to the log as far as it is: a program that waits for an answer asks without a line end.
    flush_at: Option<Instant>,
}

#[derive(Debug)]
enum Stage {
    Running,
    Ending(Exit),
}

impl Container {
    /// The container as its records tell. A run without an end can only be an earlier shim's.
    pub fn open(dir: PathBuf, spec: Spec) -> io::Result<Self> {
        let state = bury_container(&dir, &spec.name, &[])?;
        Ok(Self { dir, spec, state, run: None })
    }

    /// What it shows of itself.
    pub fn state(&self) -> &ContainerState {
        &self.state
    }

    /// Whether a program of it is not over.
    pub fn has_run(&self) -> bool {
        self.run.is_some()
    }

    /// Its main process, whether ending or not.
    pub fn main(&self, at: usize) -> Option<Main<'_>> {
        self.run.as_ref().map(|run| Main { at, name: &self.state.name, pid: run.pid })
    }

    /// When it wants to be looked at, if nothing happens before.
    pub fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let run = self.run.as_ref()?;
        // What is being killed is asked again soon: it may have had a child meanwhile.
        let kill_at = run.kill_at.map(|at| if at > now { at } else { now + Duration::from_millis(20) });
        [kill_at, run.flush_at].into_iter().flatten().min()
    }

    /// Whether [`Container::settle`] has something to decide.
    pub fn is_unsettled(&self, now: Instant) -> bool {
        self.run.as_ref().is_some_and(|run| matches!(run.stage, Stage::Ending(_)) || run.kill_at.is_some_and(|at| at <= now))
    }

    /// Starts its program unless it runs.
    pub fn start(&mut self, record: &PodRecord, signals: &SigSet) -> Result<(), Failure> {
        match &self.run {
            Some(Run { stage: Stage::Running, kill_at: None, .. }) => return Ok(()),
            Some(_) => return Err(self.failure("its last run is being ended")),
            None => {}
        }
        let number = self.state.starts + 1;
        let log = LogFile::create(&self.dir, &self.spec.name, number, ROTATED_AT_BYTES).map_err(|error| self.failed(&error))?;
        let started = now();
        let (input, _reader) = match self.spec.stdin {
            Stdin::Empty => (None, None),
            Stdin::Open | Stdin::Once => {
                let (input, reader) = Input::open(&self.dir, &self.spec.name).map_err(|error| self.failed(&error))?;
                (Some(input), Some(reader))
            }
        };
        match launch(record, &self.spec, &self.dir, input.as_ref().map(Input::path), signals) {
            Ok(child) => self.began(child, number, started, log, input),
            Err(why) => Err(self.never_began(number, started, why)),
        }
    }

    fn began(&mut self, mut child: Child, number: u32, started: Timestamp, log: LogFile, input: Option<Input>) -> Result<(), Failure> {
        let pid = i32::try_from(child.id()).unwrap_or(0);
        let pipes = [(child.stdout.take().map(OwnedFd::from), Stream::Stdout), (child.stderr.take().map(OwnedFd::from), Stream::Stderr)];
        let outputs = pipes.into_iter().filter_map(|(pipe, stream)| Output::new(pipe?, stream).ok()).collect();
        // The child is not reaped yet, so its pid is its own even if it has ended.
        if let Some(process) = Identity::of(pid) {
            let record = RunRecord { number, process, started };
            records::write(&records::run_file(&self.dir, &self.spec.name), &record).unwrap_or_else(|error| complain(&error));
        }
        self.state.starts = number;
        if let ContainerPhase::Exited(exit) = &self.state.phase {
            self.state.last_exit = Some(exit.clone());
        }
        self.state.phase = ContainerPhase::Running { since: started };
        self.run = Some(Run { child, pid, started, log, outputs, input, stage: Stage::Running, kill_at: None, flush_at: None });
        Ok(())
    }

    fn never_began(&mut self, number: u32, started: Timestamp, why: NotStarted) -> Failure {
        if let ContainerPhase::Exited(exit) = &self.state.phase {
            self.state.last_exit = Some(exit.clone());
        }
        let NotStarted { program, reason, code } = why;
        let told = Some(format!("cannot start {program}: {reason}"));
        let exit = Exit { code, signal: None, started, finished: now(), reason: told, is_out_of_memory: false };
        self.state.starts = number;
        self.record_exit(&exit);
        self.state.phase = ContainerPhase::Exited(exit);
        Failure::CannotStart { program, reason }
    }

    /// Asks what runs to end, and has it killed after `grace`. A second call can only bring that time nearer.
    pub fn stop(&mut self, grace: Duration, members: &[Member]) {
        let Some(run) = &mut self.run else { return };
        let kill_at = Instant::now() + grace;
        if run.kill_at.is_some() {
            run.kill_at = run.kill_at.map(|at| at.min(kill_at));
            return;
        }
        run.kill_at = Some(kill_at);
        if grace.is_zero() {
            return;
        }
        // The group at once, so that none is missed; then those that have left it. Nobody gets the signal twice.
        let _ = killpg(Pid::from_raw(run.pid), Signal::SIGTERM);
        for member in members.iter().filter(|member| member.group != run.pid) {
            send(member.pid, Signal::SIGTERM);
        }
    }

    /// Notices that the program has ended.
    pub fn reap(&mut self) {
        let Some(run) = &mut self.run else { return };
        if !matches!(run.stage, Stage::Running) {
            return;
        }
        let Ok(Some(status)) = run.child.try_wait() else { return };
        let exit = exit(status, run.started);
        run.stage = Stage::Ending(exit.clone());
        run.kill_at.get_or_insert_with(Instant::now);
        // Recorded before anything else is done, in case the shim does not live to see the rest.
        self.record_exit(&exit);
    }

    /// Kills what is due, and lets go of the run when nothing is left of it.
    pub fn settle(&mut self, now: Instant, members: &[i32], buffer: &mut [u8]) {
        let Some(run) = &mut self.run else { return };
        let is_due = run.kill_at.is_some_and(|at| at <= now);
        if is_due {
            for pid in members {
                send(*pid, Signal::SIGKILL);
            }
        }
        let is_late = run.kill_at.is_some_and(|at| at + KILL_PATIENCE <= now);
        if let Stage::Ending(exit) = &run.stage
            && (members.is_empty() || is_late)
        {
            for output in &mut run.outputs {
                output.finish(&mut run.log, buffer);
            }
            self.state.phase = ContainerPhase::Exited(exit.clone());
            self.run = None;
        }
    }

    /// The streams that are open, by number.
    pub fn outputs(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let outputs = self.run.iter().flat_map(|run| run.outputs.iter().enumerate());
        outputs.filter(|(_, output)| output.is_open()).map(|(number, output)| (number, output.as_fd()))
    }

    /// Takes what came on a stream to the log.
    pub fn carry(&mut self, output: usize, buffer: &mut [u8]) {
        if let Some(run) = &mut self.run
            && let Some(output) = run.outputs.get_mut(output)
        {
            output.carry(&mut run.log, buffer);
            let asks = self.spec.stdin != Stdin::Empty && run.outputs.iter().any(Output::is_begun);
            run.flush_at = asks.then(|| Instant::now() + QUESTION);
        }
    }

    /// Takes to the log what has waited long enough for the end of its line.
    pub fn flush(&mut self, now: Instant) {
        let Some(run) = self.run.as_mut().filter(|run| run.flush_at.is_some_and(|at| at <= now)) else { return };
        run.flush_at = None;
        for output in &mut run.outputs {
            output.flush(&mut run.log);
        }
    }

    /// Lets go of the program's input, whose end then comes when the one who takes it lets go too. Only one can.
    pub fn take_input(&mut self) -> Result<(), Failure> {
        let taken = self.run.as_mut().and_then(|run| run.input.take());
        let tried = format!("take the standard input of container {}", self.spec.name);
        taken.map(drop).ok_or_else(|| Failure::Other { tried, reason: "it is not open any more".to_owned() })
    }

    fn record_exit(&self, exit: &Exit) {
        let record = ExitRecord { number: self.state.starts, exit: exit.clone(), previous: self.state.last_exit.clone() };
        records::write(&records::exit_file(&self.dir, &self.spec.name), &record).unwrap_or_else(|error| complain(&error));
    }

    fn failed(&self, error: &io::Error) -> Failure {
        self.failure(&system_words(error))
    }

    fn failure(&self, reason: &str) -> Failure {
        Failure::Other { tried: format!("start container {}", self.spec.name), reason: reason.to_owned() }
    }
}

fn exit(status: ExitStatus, started: Timestamp) -> Exit {
    let signal = status.signal();
    let code = status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0));
    Exit { code, signal, started, finished: now(), reason: None, is_out_of_memory: false }
}

/// For `shim.log`: a record that could not be written is missed only if the shim dies too.
fn complain(error: &io::Error) {
    eprintln!("cannot write a record: {error}");
}
