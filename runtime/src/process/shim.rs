//! The process above a pod's programs: it starts and stops them, keeps what they say and how they end, and stays when the
//! runtime goes.
//!
//! One thread, one `poll`, no more memory than it needs: there is a shim for each pod. It must be the only thing in its
//! process, and is meant to be begun before anything else is (no threads, no async runtime).

mod client;
mod container;
mod input;
pub(super) mod launch;
mod log_file;
mod output;

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Pid, geteuid, setsid};

use crate::process::confined;
use crate::process::family::{self, Main, Member};
use crate::process::processes::{Identity, send};
use crate::process::protocol::{Call, Failure, Message, Request};
use crate::process::records::{self, PodRecord};
use crate::{ContainerState, Error, Result};
use client::Client;
use container::Container;

/// What a shim prints when it listens.
pub(super) const READY: &str = "ready";
/// What it says when it finds itself not needed.
pub(super) const TAKEN: &str = "the pod has another shim";

/// How much is read at a time, in bytes.
const BUFFER_BYTES: usize = 16 * 1024;
/// How many may be connected.
const CLIENTS_MAX: usize = 16;
/// How long containers get to end when the shim itself is asked to.
const OWN_GRACE: Duration = Duration::from_secs(10);
/// The longest grace, which stands for any longer one.
const GRACE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long what belongs to no container may take to be gone at the end.
const STRAYS_PATIENCE: Duration = Duration::from_secs(2);

/// Looks after the pod of this directory until it is told to shut down. Prints `ready` when it listens.
/// Errors: [`Error::Failed`], when it cannot begin; another shim that looks after the pod is one cause.
pub fn run(pod_dir: &Path) -> Result<()> {
    let mut shim = Shim::begin(pod_dir).map_err(|error| failed(pod_dir, &error))?;
    shim.serve().map_err(|error| failed(pod_dir, &error))
}

fn failed(pod_dir: &Path, error: &io::Error) -> Error {
    Error::Failed { tried: format!("be the shim of {}", pod_dir.display()), reason: error.to_string() }
}

struct Shim {
    record: PodRecord,
    containers: Vec<Container>,
    /// What was last told of the containers.
    told: Vec<ContainerState>,
    clients: Vec<Client>,
    clients_ever: u64,
    waiting: Vec<Waiting>,
    listener: UnixListener,
    ours: SigSet,
    signals: SignalFd,
    buffer: Vec<u8>,
    /// A child may have ended.
    is_bereaved: bool,
    /// All is to end, and the shim with it.
    is_ending: bool,
    _lock: File,
}

/// Who waits for what to end.
struct Waiting {
    client: u64,
    call: u64,
    /// A container, by place in the pod; all of them if none.
    container: Option<usize>,
}

/// What has something to read.
#[derive(Debug, Clone, Copy)]
enum Source {
    Listener,
    Signals,
    Client(u64),
    Output { container: usize, output: usize },
}

impl Shim {
    fn begin(pod_dir: &Path) -> io::Result<Self> {
        // What whoever started the server had open is none of ours, nor of our programs.
        confined::close_others(confined::FIRST_OTHER, None)?;
        let dir = fs::canonicalize(pod_dir)?;
        // The socket is bound by a short name: the system takes no more than 108 bytes.
        env::set_current_dir(&dir)?;
        // Refused to the leader of a group only, who then has a session or a terminal that it was meant to have.
        let _ = setsid();
        let lock = lock()?;
        prctl::set_child_subreaper(true)?;
        let ours: SigSet = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
        ours.thread_block()?;
        let signals = SignalFd::with_flags(&ours, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let record: PodRecord = records::read(Path::new(records::POD))?.ok_or(io::ErrorKind::NotFound)?;
        fs::create_dir_all(records::WORK)?;
        let open = |spec: &crate::Container| Container::open(dir.clone(), spec.clone());
        let containers = record.pod.containers.iter().map(open).collect::<io::Result<Vec<_>>>()?;
        records::write(Path::new(records::SHIM), &Identity::of(Pid::this().as_raw()))?;
        let listener = listen()?;
        // Who began this may not wait any more; whoever needs it connects.
        let _ = writeln!(io::stdout(), "{READY}");
        Ok(Self {
            record,
            told: containers.iter().map(|container| container.state().clone()).collect(),
            containers,
            clients: Vec::new(),
            clients_ever: 0,
            waiting: Vec::new(),
            listener,
            ours,
            signals,
            buffer: vec![0; BUFFER_BYTES],
            is_bereaved: false,
            is_ending: false,
            _lock: lock,
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            for source in self.wait()? {
                self.take(source)?;
            }
            self.settle();
            self.tell();
            if self.is_ending && !self.containers.iter().any(Container::has_run) {
                return Ok(());
            }
        }
    }

    /// Sleeps until something has come or is due.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut watched = vec![(Source::Listener, self.listener.as_fd(), PollFlags::POLLIN)];
        watched.push((Source::Signals, self.signals.as_fd(), PollFlags::POLLIN));
        for client in &self.clients {
            let wants = if client.has_outgoing() { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
            watched.push((Source::Client(client.id), client.as_fd(), wants));
        }
        for (container, one) in self.containers.iter().enumerate() {
            watched.extend(one.outputs().map(|(output, fd)| (Source::Output { container, output }, fd, PollFlags::POLLIN)));
        }
        let mut fds: Vec<PollFd<'_>> = watched.iter().map(|(_, fd, wants): &(_, BorrowedFd<'_>, _)| PollFd::new(*fd, *wants)).collect();
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = watched.iter().zip(&fds).filter(|(_, fd)| fd.any().unwrap_or(false));
        Ok(ready.map(|((source, ..), _)| *source).collect())
    }

    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let Some(wake_at) = self.containers.iter().filter_map(|container| container.wakes_at(now)).min() else {
            return PollTimeout::NONE;
        };
        // A whole millisecond more, or it would wake just before the time and spin.
        let wait = wake_at.saturating_duration_since(now) + Duration::from_millis(1);
        PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
    }

    fn take(&mut self, source: Source) -> io::Result<()> {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.take_signals()?,
            Source::Client(id) => {
                let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else { return Ok(()) };
                for call in client.receive(&mut self.buffer) {
                    self.answer(id, call);
                }
            }
            Source::Output { container, output } => {
                if let Some(container) = self.containers.get_mut(container) {
                    container.carry(output, &mut self.buffer);
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        let is_ours = getsockopt(&stream, PeerCredentials).is_ok_and(|peer| peer.uid() == geteuid().as_raw());
        if !is_ours || self.clients.len() >= CLIENTS_MAX {
            return;
        }
        self.clients_ever += 1;
        if let Ok(mut client) = Client::new(self.clients_ever, stream) {
            client.say(&Message::State { containers: self.told.clone() });
            self.clients.push(client);
        }
    }

    fn take_signals(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.read_signal()? {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            match Signal::try_from(number) {
                Ok(Signal::SIGCHLD) => self.is_bereaved = true,
                Ok(Signal::SIGTERM | Signal::SIGINT) => self.end(OWN_GRACE),
                // A terminal that hangs up is none of ours.
                _ => {}
            }
        }
        Ok(())
    }

    fn answer(&mut self, client: u64, call: Call) {
        let outcome = match call.request {
            Request::Start { container } => self.start(&container),
            Request::Stop { container, grace_ms } => self.find(&container).map(|at| {
                self.stop(at, Duration::from_millis(grace_ms).min(GRACE_MAX));
                self.waiting.push(Waiting { client, call: call.id, container: Some(at) });
                false
            }),
            Request::TakeInput { container } => self.take_input(&container),
            Request::Shutdown => {
                self.end(Duration::ZERO);
                self.waiting.push(Waiting { client, call: call.id, container: None });
                Ok(false)
            }
        };
        let message = match outcome {
            Ok(true) => Message::Done { id: call.id },
            Ok(false) => return,
            Err(failure) => Message::Failed { id: call.id, failure },
        };
        self.tell_state();
        self.say(client, &message);
    }

    /// Whether it is done, which it is.
    fn start(&mut self, name: &str) -> Result<bool, Failure> {
        let at = self.find(name)?;
        if self.is_ending {
            return Err(Failure::Ending);
        }
        // The signal of a child that ended just now is lost while a program is started.
        self.is_bereaved = true;
        let Some(container) = self.containers.get_mut(at) else { return Ok(true) };
        container.start(&self.record, &self.ours).map(|()| true)
    }

    fn take_input(&mut self, name: &str) -> Result<bool, Failure> {
        let at = self.find(name)?;
        self.containers.get_mut(at).map_or(Ok(true), |container| container.take_input().map(|()| true))
    }

    fn stop(&mut self, at: usize, grace: Duration) {
        let members = family::members(&mains(&self.containers));
        let own: Vec<Member> = members.into_iter().filter(|member| member.owner == Some(at)).collect();
        if let Some(container) = self.containers.get_mut(at) {
            container.stop(grace, &own);
        }
    }

    fn end(&mut self, grace: Duration) {
        self.is_ending = true;
        for at in 0..self.containers.len() {
            self.stop(at, grace);
        }
    }

    fn find(&self, name: &str) -> Result<usize, Failure> {
        self.containers
            .iter()
            .position(|container| container.state().name == name)
            .ok_or_else(|| Failure::Other { tried: format!("find container {name}"), reason: "the pod has none of that name".to_owned() })
    }

    /// Notices ends and brings them about.
    fn settle(&mut self) {
        if std::mem::take(&mut self.is_bereaved) {
            self.containers.iter_mut().for_each(Container::reap);
            family::reap_strays(&mains(&self.containers));
        }
        let now = Instant::now();
        self.containers.iter_mut().for_each(|container| container.flush(now));
        if !self.containers.iter().any(|container| container.is_unsettled(now)) {
            return;
        }
        let members = family::members(&mains(&self.containers));
        for (at, container) in self.containers.iter_mut().enumerate() {
            let own: Vec<i32> = members.iter().filter(|member| member.owner == Some(at)).map(|member| member.pid).collect();
            container.settle(now, &own, &mut self.buffer);
        }
    }

    /// Says what has changed and answers those who waited for it.
    fn tell(&mut self) {
        self.tell_state();
        let is_at_rest = !self.containers.iter().any(Container::has_run);
        if self.is_ending && is_at_rest {
            end_strays();
        }
        let containers = &self.containers;
        let over = |waiting: &mut Waiting| match waiting.container {
            Some(at) => !containers.get(at).is_some_and(Container::has_run),
            None => is_at_rest,
        };
        let answered: Vec<Waiting> = self.waiting.extract_if(.., over).collect();
        for Waiting { client, call, .. } in answered {
            self.say(client, &Message::Done { id: call });
        }
        self.clients.iter_mut().for_each(Client::send);
        self.clients.retain(|client| !client.is_broken());
    }

    fn tell_state(&mut self) {
        if self.containers.iter().map(Container::state).eq(&self.told) {
            return;
        }
        self.told = self.containers.iter().map(|container| container.state().clone()).collect();
        let message = Message::State { containers: self.told.clone() };
        self.clients.iter_mut().for_each(|client| client.say(&message));
    }

    fn say(&mut self, client: u64, message: &Message) {
        if let Some(client) = self.clients.iter_mut().find(|one| one.id == client) {
            client.say(message);
        }
    }
}

fn lock() -> io::Result<File> {
    let file = File::create(records::SHIM_LOCK)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(io::ErrorKind::AlreadyExists, TAKEN)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Under the lock, a socket that is there is a dead shim's.
fn listen() -> io::Result<UnixListener> {
    match fs::remove_file(records::SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(records::SOCKET)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn mains(containers: &[Container]) -> Vec<Main<'_>> {
    containers.iter().enumerate().filter_map(|(at, container)| container.main(at)).collect()
}

/// Ends what hid so well that no container owns it.
fn end_strays() {
    let deadline = Instant::now() + STRAYS_PATIENCE;
    while !family::is_childless() && Instant::now() < deadline {
        for member in family::members(&[]) {
            send(member.pid, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(2));
        family::reap_strays(&[]);
    }
}
