//! The machine's processes, as `/proc` shows them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What marks every process of a pod with the pod's directory.
const MARK: &str = "CONDUCTOR_POD_DIR=";
const END_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The command line of a process; nothing when it is gone.
pub fn arguments(pid: i32) -> Vec<Vec<u8>> {
    fields(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default())
}

/// Sends a signal. A process that is gone is no error.
pub fn send(pid: i32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot send {signal} to process {pid}")),
    }
}

/// Ends every process of a pod below `dir`, and waits until they are gone; how many there were.
pub async fn end_pods(dir: &Path) -> Result<usize> {
    let found = of_pods(dir);
    let gone = async {
        loop {
            let left = of_pods(dir);
            if left.is_empty() {
                return Ok(());
            }
            for pid in left {
                send(pid, Signal::SIGKILL)?;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(END_MAX, gone).await {
        Ok(ended) => ended.map(|()| found.len()),
        Err(_) => bail!("processes {:?} do not end", of_pods(dir)),
    }
}

/// The processes of pods below a directory.
fn of_pods(dir: &Path) -> Vec<i32> {
    let mark = [MARK.as_bytes(), dir.as_os_str().as_encoded_bytes(), b"/"].concat();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_marked = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        fields(&environment).iter().any(|variable| variable.starts_with(&mark))
    };
    pids.filter(is_marked).collect()
}

fn fields(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split(|byte| *byte == 0).filter(|field| !field.is_empty()).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn sleeper(dir: &Path) -> Child {
        let mut command = Command::new("sleep");
        command.arg("600").env("CONDUCTOR_POD_DIR", dir).stdin(Stdio::null()).spawn().unwrap()
    }

    #[tokio::test]
    async fn processes_of_pods_below_the_directory_are_ended_and_no_others() {
        let dir = std::env::temp_dir().join(format!("xtask-demo-{}", std::process::id()));
        let (inside, outside) = (dir.join("pods/a"), dir.with_extension("other"));
        let (mut ours, mut other) = (sleeper(&inside), sleeper(&outside));
        // The environment is there once the program runs.
        while of_pods(&dir).is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        assert_eq!(arguments(ours.id().cast_signed()), [b"sleep".to_vec(), b"600".to_vec()]);
        // A process that ended is a zombie without environment until its parent asks.
        assert_eq!(end_pods(&dir).await.unwrap(), 1);
        assert!(!ours.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none(), "the other runs");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
