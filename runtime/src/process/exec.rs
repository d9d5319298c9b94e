//! A program run beside a container's own: same environment, same directory.

use std::collections::VecDeque;
use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::process::records::{self, PodRecord};
use crate::process::session;
use crate::process::{confined, environment};
use crate::{Container, Error, ExecAnswer, ExecOptions, Result, Session};

/// How much of the output is kept, in bytes: the end.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// Runs a program, and kills it with its process group when `patience` is over.
pub(super) async fn run(
    record: &PodRecord,
    container: &Container,
    dir: &Path,
    shim_command: &[String],
    words: &[String],
    patience: Duration,
) -> Result<ExecAnswer> {
    let failed = |reason: String| Error::Failed { tried: format!("run {words:?} in container {}", container.name), reason };
    let (child, output) = spawn(record, container, dir, &confine(record, container, dir, shim_command, words))?;
    let mut group = Group { pid: child.id().and_then(|pid| i32::try_from(pid).ok()), child };
    match timeout(patience, follow(&mut group.child, output)).await {
        Ok(Ok(answer)) => {
            group.pid = None;
            Ok(answer)
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("it had not ended after {patience:?}"))),
    }
}

fn spawn(record: &PodRecord, container: &Container, dir: &Path, words: &[String]) -> Result<(Child, pipe::Receiver)> {
    let program = words.first().cloned().unwrap_or_default();
    let cannot = |error: io::Error| cannot_start(&program, &error);
    let (reader, writer) = io::pipe().map_err(cannot)?;
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(cannot)?;
    let mut command = prepare(record, container, dir, words);
    command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(cannot)?).stderr(writer);
    command.process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(cannot)?;
    // The command holds the writing end; without it the output ends with the program.
    drop(command);
    Ok((child, output))
}

/// Runs a program that somebody talks to. `shim_command` is ours, for what needs a terminal.
pub(super) fn open(
    record: &PodRecord,
    container: &Container,
    dir: &Path,
    shim_command: &[String],
    options: &ExecOptions,
) -> Result<Session> {
    let program = options.command.first().cloned().unwrap_or_default();
    let command = confine(record, container, dir, shim_command, &options.command);
    let options = &ExecOptions { command, ..options.clone() };
    session::start(options, shim_command, |words| prepare(record, container, dir, words)).map_err(|error| cannot_start(&program, &error))
}

/// The words that start a program where its pod is confined, or else the program's own.
fn confine(record: &PodRecord, container: &Container, dir: &Path, shim_command: &[String], words: &[String]) -> Vec<String> {
    match confined::words(record, container, dir, None) {
        Some(before) => shim_command.iter().chain(&before).chain(words).cloned().collect(),
        None => words.to_vec(),
    }
}

/// The command for a program with its arguments, in a container's environment and directory.
fn prepare(record: &PodRecord, container: &Container, dir: &Path, words: &[String]) -> Command {
    let mut command = Command::new(words.first().map_or("", String::as_str));
    command.args(words.iter().skip(1)).env_clear();
    command.envs(environment::of(record, container, dir, |name| env::var(name).ok()));
    let start_in = container.working_dir.as_ref().map_or_else(|| dir.join(records::WORK), Into::into);
    command.current_dir(if confined::has_own_view(record, container) { "/".into() } else { start_in });
    command
}

fn cannot_start(program: &str, error: &io::Error) -> Error {
    let reason = error.raw_os_error().map_or_else(|| error.to_string(), |number| Errno::from_raw(number).desc().to_owned());
    Error::CannotStart { program: program.to_owned(), reason }
}

async fn follow(child: &mut Child, mut output: pipe::Receiver) -> io::Result<ExecAnswer> {
    let mut kept = VecDeque::new();
    let mut buffer = vec![0; 8 * 1024];
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            read = output.read(&mut buffer) => match read? {
                0 => break child.wait().await?,
                length => keep(&mut kept, buffer.get(..length).unwrap_or_default()),
            },
        }
    };
    // What it had written is there; what others write that it left behind is not waited for.
    while let Ok(length @ 1..) = output.try_read(&mut buffer) {
        keep(&mut kept, buffer.get(..length).unwrap_or_default());
    }
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExecAnswer { code, output: Vec::from(kept).into() })
}

fn keep(kept: &mut VecDeque<u8>, bytes: &[u8]) {
    kept.extend(bytes);
    kept.drain(..kept.len().saturating_sub(OUTPUT_BYTES_MAX));
}

/// A running program with all of its process group, which ends when nobody waits for it any more.
struct Group {
    /// `None` once it has ended.
    pid: Option<i32>,
    child: Child,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            // The child is not reaped yet, so the group is still its own.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
