//! The start of a container's program.

use std::env;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::SigSet;

use crate::Container;
use crate::process::environment;
use crate::process::records::{self, PodRecord};

/// Why a program did not start.
#[derive(Debug)]
pub(super) struct NotStarted {
    /// The program.
    pub program: String,
    /// The system's words.
    pub reason: String,
    /// What a shell would exit with: 127 when there is no such program, 126 otherwise.
    pub code: i32,
}

/// Starts a container's program, in a process group of its own, its output going to two pipes. `ours` are the signals that the
/// shim keeps for itself; the program gets them as anybody would.
pub(super) fn launch(record: &PodRecord, container: &Container, dir: &Path, ours: &SigSet) -> Result<Child, NotStarted> {
    let words: Vec<&String> = container.command.iter().chain(&container.args).collect();
    let Some((program, args)) = words.split_first() else {
        return Err(NotStarted { program: "nothing".to_owned(), reason: "the container has no command".to_owned(), code: 126 });
    };
    let not_started = |reason: String, error: &io::Error| NotStarted {
        program: (*program).clone(),
        reason,
        code: if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 },
    };
    let start_in = container.working_dir.as_ref().map_or_else(|| dir.join(records::WORK), Into::into);
    if let Err(error) = check_dir(&start_in) {
        return Err(not_started(format!("working directory {}: {}", start_in.display(), system_words(&error)), &error));
    }
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(environment::of(record, container, dir, |name| env::var(name).ok()));
    command.current_dir(start_in).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A program inherits the signals held back here, so for the moment of its start none are. A request to end that comes just
    // then ends the shim at once, and its programs are ended as those of a dead one.
    let _ = ours.thread_unblock();
    let started = command.spawn();
    let _ = ours.thread_block();
    started.map_err(|error| not_started(system_words(&error), &error))
}

fn check_dir(dir: &Path) -> io::Result<()> {
    if fs::metadata(dir)?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// What the system says of an error, without Rust's number behind it.
pub(super) fn system_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}
