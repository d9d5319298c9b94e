//! What is done about a pod whose shim is dead, and the end of a pod. Blocks; not for the async threads.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::process::clock::now;
use crate::process::processes::{Identity, end_leftovers, send};
use crate::process::records::{self, ExitRecord, PodRecord, RunRecord};
use crate::{ContainerPhase, ContainerState, Exit};

/// The reason recorded for a container whose shim died.
const SHIM_GONE: &str = "shim gone";

/// How long a shim may take to be gone once it is killed.
const SHIM_PATIENCE: Duration = Duration::from_secs(5);

/// How a directory that is being made is called: this and the uid.
pub(super) const NEW: &str = ".new-";
/// How a directory that is being deleted is called: this and the uid.
const OLD: &str = ".old-";

/// Ends what a dead shim has left, records how its containers ended, and tells how they are.
pub(super) fn bury(dir: &Path, record: &PodRecord) -> io::Result<Vec<ContainerState>> {
    let _lock = end_shim(dir)?;
    let killed = end_programs(dir)?;
    record.pod.containers.iter().map(|container| bury_container(dir, &container.name, &killed)).collect()
}

/// Tells how a container is that nobody looks after, and records the end of its last run if that is not. `killed` are the
/// processes that were alive until now.
pub(super) fn bury_container(dir: &Path, name: &str, killed: &[Identity]) -> io::Result<ContainerState> {
    let (mut state, run) = records::recorded(dir, name)?;
    if let Some(RunRecord { number, process, started }) = run {
        let signal = killed.contains(&process).then_some(Signal::SIGKILL as i32);
        // How one ended that was gone already is known to nobody; 137 is what others say then.
        let exit = Exit { code: 137, signal, started, finished: now(), reason: Some(SHIM_GONE.to_owned()), is_out_of_memory: false };
        let record = ExitRecord { number, exit: exit.clone(), previous: state.last_exit.clone() };
        records::write(&records::exit_file(dir, name), &record)?;
        state.phase = ContainerPhase::Exited(exit);
    }
    Ok(state)
}

/// Ends all that a pod has left and deletes its directory. One that is not there is as wished.
pub(super) fn remove(dir: &Path, uid: &str) -> io::Result<()> {
    let old = dir.with_file_name(format!("{OLD}{uid}"));
    if old.exists() {
        delete(&old)?;
    }
    if !dir.exists() {
        return Ok(());
    }
    // Held to the end: a shim that an interrupted call has started and that is late finds itself not wanted.
    let _lock = end_shim(dir)?;
    end_programs(dir)?;
    fs::rename(dir, &old)?;
    delete(&old)
}

/// Deletes what an interrupted call has half made or half deleted in a runtime's directory; the pods' directories that remain.
pub(super) fn sweep(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut pods = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        match entry.file_name().to_str() {
            Some(name) if name.starts_with(NEW) || name.starts_with(OLD) => {
                let path = entry.path();
                delete(&path).unwrap_or_else(|error| tracing::warn!(dir = %path.display(), %error, "a directory cannot be deleted"));
            }
            Some(name) if !name.starts_with('.') => pods.push(entry.path()),
            _ => {}
        }
    }
    Ok(pods)
}

/// Ends a shim that does not answer, if there is one, and takes its place.
fn end_shim(dir: &Path) -> io::Result<File> {
    let lock = File::create(dir.join(records::SHIM_LOCK))?;
    let deadline = Instant::now() + SHIM_PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => return Err(io::Error::other("its shim does not end")),
            Err(TryLockError::WouldBlock) => {}
        }
        // One that has just begun may not have recorded itself; then the next look finds it.
        if let Ok(Some(shim)) = records::read::<Option<Identity>>(&dir.join(records::SHIM)).map(Option::flatten)
            && shim.is_alive()
        {
            send(shim.pid, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Ends whatever a pod's programs are still there; those of the recorded processes that were.
fn end_programs(dir: &Path) -> io::Result<Vec<Identity>> {
    let alive: Vec<Identity> = recorded_processes(dir)?.into_iter().filter(Identity::is_alive).collect();
    match end_leftovers(dir, &alive).as_slice() {
        [] => Ok(alive),
        left => Err(io::Error::other(format!("the processes {left:?} do not end"))),
    }
}

fn recorded_processes(dir: &Path) -> io::Result<Vec<Identity>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.to_str().is_some_and(|path| path.ends_with(".run.json"))
            && let Ok(Some(RunRecord { process, .. })) = records::read(&path)
        {
            found.push(process);
        }
    }
    Ok(found)
}

/// Deletes a directory, also one in which a program has left directories that may not be written.
fn delete(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(dir)?;
            fs::remove_dir_all(dir)
        }
        outcome => outcome,
    }
}

fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_deletes_what_is_half_made_and_keeps_pods() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".new-a", ".old-b/work/deep", "c"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("lock"), "").unwrap();
        fs::set_permissions(dir.path().join(".old-b/work"), fs::Permissions::from_mode(0o555)).unwrap();
        assert_eq!(sweep(dir.path()).unwrap(), [dir.path().join("c")]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
