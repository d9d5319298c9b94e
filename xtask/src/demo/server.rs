//! The demo's server: a process that outlives us, known by its pid file and its command line.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::Deserialize;

use super::home::{Home, Programs};
use super::processes;

const READY_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How much of the log is shown when the server does not start.
const LOG_LINES: usize = 15;

/// Where a server is reached.
#[derive(Debug, Deserialize)]
pub struct Addresses {
    pub http: String,
}

/// The addresses of the demo's server, if it runs.
pub fn running(home: &Home) -> Option<Addresses> {
    pid(home)?;
    serde_json::from_str(&fs::read_to_string(home.ready()).ok()?).ok()
}

/// The process of the demo's server, if it runs: the number in the pid file may meanwhile be somebody else's.
fn pid(home: &Home) -> Option<i32> {
    let pid = fs::read_to_string(home.pid()).ok()?.trim().parse().ok()?;
    let arguments = processes::arguments(pid);
    let dir = home.dir().as_os_str().as_encoded_bytes();
    let is_ours = arguments.iter().any(|argument| argument == b"serve") && arguments.iter().any(|argument| argument == dir);
    is_ours.then_some(pid)
}

/// Starts it, in the background and away from our terminal, and waits until it is ready.
pub async fn start(home: &Home, programs: &Programs) -> Result<Addresses> {
    if pid(home).is_some() {
        // It runs and is not ready: it has been stopped half way, or is about to be.
        stop(home).await?;
    }
    println!("conductor serve, in the background; its log is {}", home.log().display());
    let _ = fs::remove_file(home.ready());
    let log = File::create(home.log()).with_context(|| format!("cannot write {}", home.log().display()))?;
    let child = Command::new(&programs.conductor)
        .args(["serve", "--api", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"])
        .arg(home.dir())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", programs.conductor.display()))?;
    fs::write(home.pid(), child.id().to_string()).with_context(|| format!("cannot write {}", home.pid().display()))?;
    await_ready(home, child).await
}

async fn await_ready(home: &Home, mut child: Child) -> Result<Addresses> {
    let look = async {
        loop {
            if let Some(addresses) = running(home) {
                return Ok(addresses);
            }
            if let Some(status) = child.try_wait()? {
                bail!("the server ended at once ({status}):\n{}", end_of_log(home));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let ready = tokio::time::timeout(READY_MAX, look).await;
    ready.with_context(|| format!("the server was not ready after {} s:\n{}", READY_MAX.as_secs(), end_of_log(home)))?
}

fn end_of_log(home: &Home) -> String {
    let log = fs::read_to_string(home.log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(LOG_LINES)).map(|line| format!("  {line}\n")).collect()
}

/// Asks it to stop and waits until it has. Errors: it does not.
pub async fn stop(home: &Home) -> Result<()> {
    let Some(asked) = pid(home) else { return Ok(()) };
    processes::send(asked, Signal::SIGTERM)?;
    let gone = async {
        while pid(home).is_some() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let gone = tokio::time::timeout(STOP_MAX, gone).await;
    gone.with_context(|| format!("the server, process {asked}, has not stopped after {} s", STOP_MAX.as_secs()))
}
