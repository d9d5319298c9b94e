//! Part of a volume that programs write to: found, and made, without being led out of the volume by a link that one of them made.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};

/// Opens what is at a path within a volume; directories that are not there are made, and are as open as the volume is.
pub(super) fn open(volume: &Path, path: &Path) -> io::Result<OwnedFd> {
    let root: OwnedFd = OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH | nix::libc::O_DIRECTORY).open(volume)?.into();
    let of_volume = fs::metadata(volume)?;
    let (mut found, mut done) = (root.try_clone()?, PathBuf::new());
    for step in path.components() {
        done.push(step);
        found = match within(&root, &done) {
            Ok(next) => next,
            Err(Errno::ENOENT) => {
                mkdirat(found.as_fd(), step.as_os_str(), Mode::S_IRWXU)?;
                let made = within(&root, &done).map_err(|error| refused(&done, error))?;
                let through = format!("/proc/self/fd/{}", made.as_raw_fd());
                chown(&through, Some(of_volume.uid()), Some(of_volume.gid()))?;
                fs::set_permissions(&through, Permissions::from_mode(of_volume.mode() & 0o7777))?;
                made
            }
            Err(error) => return Err(refused(&done, error)),
        };
    }
    Ok(found)
}

fn within(root: &OwnedFd, path: &Path) -> nix::Result<OwnedFd> {
    let how =
        OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

fn refused(path: &Path, error: Errno) -> io::Error {
    match error {
        Errno::EXDEV | Errno::ELOOP => io::Error::other(format!("{} leads out of the volume", path.display())),
        error => io::Error::other(format!("{}: {}", path.display(), error.desc())),
    }
}

/// Makes a directory, or a file, on which what is open can be mounted.
pub(super) fn make_like(place: &Path, found: &OwnedFd) -> io::Result<()> {
    let is_dir = fs::metadata(format!("/proc/self/fd/{}", found.as_raw_fd()))?.is_dir();
    match fs::symlink_metadata(place) {
        Ok(there) if there.is_dir() == is_dir => return Ok(()),
        Ok(there) if there.is_dir() => fs::remove_dir(place)?,
        Ok(_) => fs::remove_file(place)?,
        Err(_) => {}
    }
    if is_dir { fs::create_dir(place) } else { OpenOptions::new().write(true).create_new(true).open(place).map(drop) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out_of_a_volume() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        fs::create_dir(&volume).unwrap();
        fs::set_permissions(&volume, Permissions::from_mode(0o777)).unwrap();
        let seen =
            |path: &str| open(&volume, Path::new(path)).map(|found| fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).unwrap());
        assert_eq!(seen("a/b").unwrap(), fs::canonicalize(&volume).unwrap().join("a/b"));
        assert_eq!(fs::metadata(volume.join("a")).unwrap().permissions().mode() & 0o777, 0o777);
        symlink("a", volume.join("within")).unwrap();
        assert_eq!(seen("within/b").unwrap(), fs::canonicalize(&volume).unwrap().join("a/b"));
        symlink("/etc", volume.join("absolute")).unwrap();
        symlink("../..", volume.join("up")).unwrap();
        symlink("nowhere", volume.join("dangling")).unwrap();
        for path in ["absolute", "absolute/new", "up", "up/new", "dangling/x"] {
            let refusal = seen(path).unwrap_err().to_string();
            assert!(refusal.contains("leads out of the volume") || path.starts_with("dangling"), "{path}: {refusal}");
        }
        assert!(!dir.path().join("new").exists() && !Path::new("/etc/new").exists());
    }
}
