//! The start of a container's program.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::SigSet;

use crate::Container;
use crate::process::records::{self, PodRecord};
use crate::process::{confined, environment};

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

/// Starts a container's program, in a process group of its own, reading the file `input`, its output going to two pipes. `ours` are
/// the signals that the shim keeps for itself; the program gets them as anybody would.
pub(super) fn launch(
    record: &PodRecord,
    container: &Container,
    dir: &Path,
    input: Option<&Path>,
    ours: &SigSet,
) -> Result<Child, NotStarted> {
    let words: Vec<&String> = container.command.iter().chain(&container.args).collect();
    let Some((program, args)) = words.split_first() else {
        return Err(NotStarted { program: "nothing".to_owned(), reason: "the container has no command".to_owned(), code: 126 });
    };
    let not_started = |reason: String, error: &io::Error| NotStarted {
        program: (*program).clone(),
        reason,
        code: if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 },
    };
    if confined::has_own_view(record, container) {
        return launch_confined(record, container, dir, input, ours, &words);
    }
    let start_in = container.working_dir.as_ref().map_or_else(|| dir.join(records::WORK), Into::into);
    if let Err(error) = check_dir(&start_in) {
        return Err(not_started(format!("working directory {}: {}", start_in.display(), system_words(&error)), &error));
    }
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(environment::of(record, container, dir, |name| env::var(name).ok()));
    command.current_dir(start_in).process_group(0);
    let stdin = match input.map(File::open).transpose() {
        Ok(file) => file.map_or_else(Stdio::null, Stdio::from),
        Err(error) => return Err(not_started(format!("standard input: {}", system_words(&error)), &error)),
    };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(&mut command, ours).map_err(|error| not_started(system_words(&error), &error))
}

/// A program inherits the signals held back here, so for the moment of its start none are. A request to end that comes just
/// then ends the shim at once, and its programs are ended as those of a dead one.
fn spawn(command: &mut Command, ours: &SigSet) -> io::Result<Child> {
    let _ = ours.thread_unblock();
    let started = command.spawn();
    let _ = ours.thread_block();
    started
}

/// As [`launch`], by way of a process of ours that gives up what is the server's and becomes the program.
fn launch_confined(
    record: &PodRecord,
    container: &Container,
    dir: &Path,
    input: Option<&Path>,
    ours: &SigSet,
    words: &[&String],
) -> Result<Child, NotStarted> {
    let program = words.first().map_or_else(String::new, |word| (*word).clone());
    let failed = |error: io::Error| NotStarted { program: program.clone(), reason: system_words(&error), code: 126 };
    let before = confined::words(record, container, dir, Some(input.unwrap_or(Path::new("/dev/null"))))
        .ok_or_else(|| failed(io::Error::other("it has no user")))?;
    // By what runs, wherever that was moved since; with the words before the pod's directory, as `shim` of `conductor shim`.
    let mut own: Vec<_> = env::args_os().skip(1).collect();
    own.pop();
    let mut command = Command::new("/proc/self/exe");
    command.args(own).args(before).args(words).current_dir("/").process_group(0);
    command.env_clear().envs(environment::of(record, container, dir, |name| env::var(name).ok()));
    let (mut reasons, waits) = io::pipe().map_err(failed)?;
    command.stdin(waits).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(&mut command, ours).map_err(failed)?;
    // The command holds an end of the pipe too.
    drop(command);
    let mut said = Vec::new();
    reasons.read_to_end(&mut said).map_err(failed)?;
    match serde_json::from_slice::<confined::Reason>(&said) {
        Ok(confined::Reason { code, words }) => {
            let _ = child.wait();
            Err(NotStarted { program, reason: words, code })
        }
        // Nothing is said by what has begun.
        Err(_) => Ok(child),
    }
}

fn check_dir(dir: &Path) -> io::Result<()> {
    if fs::metadata(dir)?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// What the system says of an error, without Rust's number behind it.
pub(in crate::process) fn system_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}
