//! What rests on disk of a pod: what was asked for, its ports, and how its containers were when that last changed.
//!
//! The engine knows what runs; but its ended containers may be pruned by anybody, and then how often a container was started
//! and how it ended must not be forgotten.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{ContainerState, Pod};

/// A pod's file, `<uid>.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub pod: Pod,
    /// The port of this machine for each port of the pod, by name.
    pub ports: BTreeMap<String, u16>,
    /// The containers as they were, in the pod's order.
    pub containers: Vec<ContainerState>,
}

impl Record {
    /// A pod of which nothing was started.
    pub fn new(pod: Pod, ports: BTreeMap<String, u16>) -> Self {
        Self { containers: pod.containers.iter().map(ContainerState::created).collect(), pod, ports }
    }

    /// Where each port is reached.
    pub fn endpoints(&self) -> BTreeMap<String, SocketAddr> {
        self.ports.iter().map(|(name, port)| (name.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))).collect()
    }
}

/// The directory, as it was found.
pub(super) struct Opened {
    /// Nobody else uses it while this is open.
    pub lock: File,
    /// What our containers are known by in the engine.
    pub server: String,
    /// The pods in it.
    pub records: Vec<Record>,
}

/// Makes and locks a directory, and reads what is in it.
pub(super) fn open(dir: &Path) -> io::Result<Opened> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let lock = File::create(dir.join(".lock"))?;
    lock.try_lock().map_err(|_| io::Error::other("another process of ours has it"))?;
    let server = server(&dir.join("server-id"))?;
    let mut records = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match serde_json::from_slice::<Record>(&fs::read(&path)?) {
            Ok(record) if file(dir, &record.pod.uid) == path => records.push(record),
            // Renamed into its place whole, so it was lost with the machine; what ran for it is an orphan.
            _ => {
                tracing::warn!(file = %path.display(), "a pod's file that cannot be read is deleted");
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(Opened { lock, server, records })
}

/// Where a pod's record is.
pub(super) fn file(dir: &Path, uid: &str) -> PathBuf {
    dir.join(format!("{uid}.json"))
}

/// Writes a record, whole or not at all; only its owner may read it, for environments hold secrets.
pub(super) fn write(path: &Path, record: &Record) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(&serde_json::to_vec(record)?)?;
    drop(file);
    fs::rename(&beside, path)
}

/// The name of this directory's server, made up at the first start.
fn server(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(found) if !found.trim().is_empty() => return Ok(found.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut random = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let made = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    fs::write(path, &made)?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_name_and_its_pods_and_is_used_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path()).unwrap();
        assert!(open(dir.path()).is_err_and(|error| error.to_string().contains("another process")));
        let pod = Pod {
            uid: "a.b".into(),
            namespace: "n".into(),
            name: "p".into(),
            containers: vec![crate::Container::default()],
            runs_as: crate::RunsAs::Server,
        };
        write(&file(dir.path(), "a.b"), &Record::new(pod.clone(), BTreeMap::new())).unwrap();
        fs::write(dir.path().join("torn.json"), "{").unwrap();
        drop(first.lock);
        let second = open(dir.path()).unwrap();
        assert_eq!(second.server, first.server);
        assert_eq!(second.records.iter().map(|record| &record.pod).collect::<Vec<_>>(), [&pod]);
        assert!(!dir.path().join("torn.json").exists());
        assert_eq!(fs::metadata(file(dir.path(), "a.b")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
