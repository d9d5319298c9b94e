//! The directory that pods live in.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::burial;
use crate::process::records::{self, PodRecord};

/// How long to wait for somebody who uses the directory.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The directory, as it was found.
pub(super) struct Opened {
    /// Its path, without links.
    pub dir: PathBuf,
    /// Nobody else uses it while this is open.
    pub lock: File,
    /// The pods in it and where they are.
    pub pods: Vec<(PodRecord, PathBuf)>,
}

/// Makes and locks the directory, and clears it of what is half made.
pub(super) fn open(asked: &Path) -> io::Result<Opened> {
    DirBuilder::new().recursive(true).mode(0o700).create(asked)?;
    let dir = fs::canonicalize(asked)?;
    let lock = lock(&dir.join(".lock"))?;
    let mut pods = Vec::new();
    for dir in burial::sweep(&dir)? {
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match records::read::<PodRecord>(&dir.join(records::POD)) {
            Ok(Some(record)) if record.pod.uid == name => pods.push((record, dir)),
            // A record is renamed into its place whole, so this one was lost with the machine, and all that ran with it.
            _ => {
                tracing::warn!(dir = %dir.display(), "a pod's directory without a readable pod is deleted");
                burial::remove(&dir, name).unwrap_or_else(|error| tracing::warn!(dir = %dir.display(), %error, "it cannot be deleted"));
            }
        }
    }
    Ok(Opened { dir, lock, pods })
}

/// Locks a file, with patience: a shim that is being started holds our locks until its program is loaded, also when we die.
fn lock(path: &Path) -> io::Result<File> {
    let file = File::create(path)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => return Err(io::Error::other("another process of ours has it")),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Makes a pod's directory, whole or not at all.
pub(super) fn add(dir: &Path, record: &PodRecord) -> io::Result<PathBuf> {
    let new = dir.join(format!("{}{}", burial::NEW, record.pod.uid));
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    DirBuilder::new().mode(0o700).create(&new)?;
    let work = new.join(records::WORK);
    fs::create_dir(&work)?;
    if let Some(user) = record.user {
        fs::set_permissions(&work, Permissions::from_mode(0o700))?;
        chown(&work, Some(user), Some(user))?;
    }
    records::write(&new.join(records::POD), record)?;
    let made = dir.join(&record.pod.uid);
    fs::rename(&new, &made)?;
    Ok(made)
}
