//! A program run inside a container, by the engine.

use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures::StreamExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;

use crate::docker::engine::{ASKED, Engine, Refusal};
use crate::docker::fault::{self, StartFault};
use crate::{Error, ExecAnswer, Result};

/// How much of the output is kept, in bytes: the end.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// How often the engine is asked for the code of a program that has ended.
const CODE_TRIES: u32 = 100;
const CODE_PAUSE: Duration = Duration::from_millis(20);

/// Runs a program in the container `id`, called `container`, and kills it when `patience` is over.
pub(super) async fn run(engine: &Engine, id: &str, container: &str, command: &[String], patience: Duration) -> Result<ExecAnswer> {
    let tried = || format!("run {command:?} in container {container}");
    let failed = |refusal: Refusal| refusal.into_error(tried());
    let client = engine.client().map_err(failed)?;
    let options = CreateExecOptions::<String> {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.to_vec()),
        ..CreateExecOptions::default()
    };
    let exec = engine.ask(ASKED, client.create_exec(id, options)).await.map_err(|refusal| unstarted(command, refusal, &tried()))?.id;
    match timeout(patience, follow(engine, &exec)).await {
        Ok(Ok((code, output))) => answer(command, code, output),
        Ok(Err(refusal)) => Err(unstarted(command, refusal, &tried())),
        Err(_) => {
            let how = if end(engine, &exec, id).await { "" } else { ", and goes on in the container, for the engine cannot end it" };
            Err(Error::Failed { tried: tried(), reason: format!("it had not ended after {patience:?}{how}") })
        }
    }
}

async fn follow(engine: &Engine, exec: &str) -> std::result::Result<(Option<i64>, Vec<u8>), Refusal> {
    let client = engine.streaming()?;
    let mut kept = VecDeque::new();
    // The caller's patience is the limit.
    let started = client.start_exec(exec, None::<StartExecOptions>).await.map_err(|error| engine.refusal(error))?;
    if let StartExecResults::Attached { mut output, .. } = started {
        while let Some(piece) = output.next().await {
            kept.extend(piece.map_err(|error| engine.refusal(error))?.as_ref());
            kept.drain(..kept.len().saturating_sub(OUTPUT_BYTES_MAX));
        }
    }
    Ok((ended(engine, exec).await?, kept.into()))
}

/// The code of a program whose output has ended; `None` when the engine does not come to say it.
async fn ended(engine: &Engine, exec: &str) -> std::result::Result<Option<i64>, Refusal> {
    let client = engine.client()?;
    for _ in 0..CODE_TRIES {
        let seen = engine.ask(ASKED, client.inspect_exec(exec)).await?;
        if seen.running != Some(true) {
            return Ok(seen.exit_code);
        }
        tokio::time::sleep(CODE_PAUSE).await;
    }
    Ok(None)
}

/// As `ended`, for who only wants the code.
pub(super) async fn code(engine: &Engine, exec: &str) -> Option<i32> {
    i32::try_from(ended(engine, exec).await.ok()??).ok()
}

fn answer(command: &[String], code: Option<i64>, output: Vec<u8>) -> Result<ExecAnswer> {
    let code = code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1);
    // Engines tell of a program that is not there in its output.
    if [126, 127].contains(&code)
        && let said = String::from_utf8_lossy(&output)
        && said.contains("exec failed: ")
        && let StartFault::Program(_, reason) = fault::of_start(&said)
    {
        return Err(Error::CannotStart { program: command.first().cloned().unwrap_or_default(), reason });
    }
    Ok(ExecAnswer { code, output: output.into() })
}

pub(super) fn unstarted(command: &[String], refusal: Refusal, tried: &str) -> Error {
    if let Refusal::Said { message, .. } = &refusal
        && let StartFault::Program(_, reason) = fault::of_start(message)
    {
        return Error::CannotStart { program: command.first().cloned().unwrap_or_default(), reason };
    }
    refusal.into_error(tried)
}

/// Ends a program that had its time. Engines have no call for that, so it is done by the system, where its process is the
/// system's to see and really the container's.
pub(super) async fn end(engine: &Engine, exec: &str, id: &str) -> bool {
    let Ok(client) = engine.client() else { return false };
    let Ok(seen) = engine.ask(ASKED, client.inspect_exec(exec)).await else { return false };
    let Some(pid) = seen.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1) else { return false };
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.contains(id) && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}
