//! The start of a shim, as a process that does not end with us.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::process::{environment, records, shim};

/// How long a shim may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a shim for a pod's directory and waits until it listens. Errors: why it does not, in its own or the system's words.
pub(super) async fn start(command: &[String], dir: &Path) -> Result<(), String> {
    let mut child = spawn(command, dir)?;
    let mut said = String::new();
    let stdout = child.stdout.take().ok_or("its standard output is not ours")?;
    let waited = timeout(PATIENCE, BufReader::new(stdout).read_line(&mut said)).await;
    if said.trim_end() == shim::READY {
        // It may end before we do, and is then to be reaped; if we end first, that is the system's part.
        tokio::spawn(async move { child.wait().await });
        return Ok(());
    }
    if waited.is_err() {
        let _ = child.kill().await;
        return Err(format!("it did not listen within {PATIENCE:?}"));
    }
    let status = child.wait().await.map_err(|error| error.to_string())?;
    let words = fs::read_to_string(dir.join(records::SHIM_LOG)).unwrap_or_default();
    match words.trim_end().lines().last() {
        Some(words) => Err(words.to_owned()),
        None => Err(format!("it ended with {status}")),
    }
}

fn spawn(command: &[String], dir: &Path) -> Result<Child, String> {
    let (program, args) = command.split_first().ok_or("the command for shims is empty")?;
    let log = fs::File::create(dir.join(records::SHIM_LOG)).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(args).arg(dir).current_dir("/").env_clear();
    for name in environment::INHERITED {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    command.spawn().map_err(|error| error.to_string())
}
