//! What rests in a pod's directory: enough to know, after any death, what was asked for and what became of it.
//!
//! ```text
//! <uid>/pod.json            the pod and its ports; there before anything runs
//!       shim.json           which process the shim is
//!       shim.lock           held by the living shim
//!       shim.log            what the shim said when it failed
//!       sock                where the shim listens
//!       work/               where containers start that name no directory
//!       web.run.json        the last start of `web`
//!       web.exit.json       the last end of `web`
//!       web.stdin           a pipe that `web` reads, while it runs and has an input that can be attached to
//!       web.3.log           what its third run wrote; web.3.log.1 is the older part
//! ```
//!
//! Each record is written beside its place and renamed into it, so it is whole or absent.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::process::processes::Identity;
use crate::{ContainerPhase, ContainerState, Exit, Pod};

pub(super) const POD: &str = "pod.json";
pub(super) const SHIM: &str = "shim.json";
pub(super) const SHIM_LOCK: &str = "shim.lock";
pub(super) const SHIM_LOG: &str = "shim.log";
pub(super) const SOCKET: &str = "sock";
pub(super) const WORK: &str = "work";

/// `pod.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PodRecord {
    pub pod: Pod,
    /// The port of this machine for each port of the pod, by name.
    pub ports: BTreeMap<String, u16>,
    /// The user of its namespace, where its programs are confined to that.
    #[serde(default)]
    pub user: Option<u32>,
}

impl PodRecord {
    /// Where each port is reached.
    pub fn endpoints(&self) -> BTreeMap<String, SocketAddr> {
        self.ports.iter().map(|(name, port)| (name.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))).collect()
    }
}

/// `<container>.run.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RunRecord {
    /// 1 for the first start.
    pub number: u32,
    pub process: Identity,
    pub started: Timestamp,
}

/// `<container>.exit.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ExitRecord {
    /// Of which run.
    pub number: u32,
    pub exit: Exit,
    /// How the run before ended.
    pub previous: Option<Exit>,
}

/// Where a container's last start is recorded.
pub(super) fn run_file(dir: &Path, container: &str) -> PathBuf {
    dir.join(format!("{container}.run.json"))
}

/// Where a container's last end is recorded.
pub(super) fn exit_file(dir: &Path, container: &str) -> PathBuf {
    dir.join(format!("{container}.exit.json"))
}

/// The pipe that a container reads.
pub(super) fn input_file(dir: &Path, container: &str) -> PathBuf {
    dir.join(format!("{container}.stdin"))
}

/// Where a run's output is, the newer part.
pub(super) fn log_file(dir: &Path, container: &str, number: u32) -> PathBuf {
    dir.join(format!("{container}.{number}.log"))
}

/// Where a run's output is, the older part, once it was rotated.
pub(super) fn rotated_log_file(dir: &Path, container: &str, number: u32) -> PathBuf {
    dir.join(format!("{container}.{number}.log.1"))
}

/// Reads a record; `None` where there is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a record, whole or not at all.
pub(super) fn write<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, serde_json::to_vec(record)?)?;
    fs::rename(&beside, path)
}

/// A container as its records tell, and the run that has no recorded end.
pub(super) fn recorded(dir: &Path, container: &str) -> io::Result<(ContainerState, Option<RunRecord>)> {
    let run: Option<RunRecord> = read(&run_file(dir, container))?;
    let end: Option<ExitRecord> = read(&exit_file(dir, container))?;
    let begun = run.filter(|run| end.as_ref().is_none_or(|end| end.number < run.number));
    let (starts, phase, last_exit) = match (&begun, end) {
        (Some(run), end) => (run.number, ContainerPhase::Running { since: run.started }, end.map(|end| end.exit)),
        (None, Some(end)) => (end.number, ContainerPhase::Exited(end.exit), end.previous),
        (None, None) => (0, ContainerPhase::Created, None),
    };
    Ok((ContainerState { name: container.to_owned(), starts, phase, last_exit, image_id: None }, begun))
}
