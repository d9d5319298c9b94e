//! A program's own view of the machine, with its volumes in it. Nothing of it is seen outside, or made there.
//!
//! A volume hides what the machine has at its place. Where the machine has nothing, the directory above is shown through a
//! stand-in in memory: everything that is in it as the program begins, and the place of the volume beside it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::pivot_root;

use crate::Mount;
use crate::process::shim::launch::system_words;

const NOTHING: Option<&str> = None;
/// Where a new root is put together: there on every machine, and hidden by nothing of ours.
const NEW_ROOT: &str = "/dev/shm";
/// Where the machine's own root is until all volumes are mounted, which are held by way of it.
const OLD_ROOT: &str = ".conductor-root";

/// Begins a view of its own: what is mounted from now on is seen by nobody else.
pub(super) fn begin() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_SLAVE, NOTHING)?;
    Ok(())
}

/// Takes part in the view of another process.
pub(super) fn join(pid: i32) -> io::Result<()> {
    setns(File::open(format!("/proc/{pid}/ns/mnt"))?, CloneFlags::CLONE_NEWNS).map_err(io::Error::from)
}

/// The volumes that are to be in a view.
pub(super) struct View<'a> {
    /// Those above others first.
    mounts: Vec<(&'a Mount, OwnedFd)>,
    /// Directories in memory, in which a place can be made.
    made: BTreeSet<PathBuf>,
    /// Volumes that can be written to, in which one can be made too.
    shown: Vec<PathBuf>,
}

impl<'a> View<'a> {
    /// Takes hold of volumes.
    pub fn of(mounts: &'a [Mount]) -> io::Result<Self> {
        let held = |mount: &'a Mount| {
            let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH).open(&mount.source);
            opened.map(|file| (mount, OwnedFd::from(file))).map_err(|error| failed(mount, &error))
        };
        let mut mounts = mounts.iter().map(held).collect::<io::Result<Vec<_>>>()?;
        mounts.sort_by_key(|(mount, _)| Path::new(&mount.target).components().count());
        Ok(Self { mounts, made: BTreeSet::new(), shown: Vec::new() })
    }

    /// Makes the places of volumes that are to be below a directory of the program's own. One that cannot be made, for a link is in
    /// the way, is shown otherwise.
    pub fn make_in(&self, own_dir: &str, user: u32) {
        for (mount, held) in &self.mounts {
            if let Ok(below) = Path::new(&mount.target).strip_prefix(own_dir) {
                let _ = make_below(own_dir.as_ref(), below, is_dir(held), user);
            }
        }
    }

    /// Mounts all.
    pub fn mount(&mut self) -> io::Result<()> {
        for (mount, held) in std::mem::take(&mut self.mounts) {
            self.show(mount, &held).map_err(|error| failed(mount, &error))?;
        }
        if self.made.contains(Path::new("/")) {
            let old = Path::new("/").join(OLD_ROOT);
            umount2(&old, MntFlags::MNT_DETACH)?;
            fs::remove_dir(old)?;
        }
        Ok(())
    }

    fn show(&mut self, wanted: &Mount, held: &OwnedFd) -> io::Result<()> {
        let place = self.place(Path::new(&wanted.target), is_dir(held))?;
        let source = format!("/proc/self/fd/{}", held.as_raw_fd());
        mount(Some(source.as_str()), &place, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)?;
        if wanted.is_read_only {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | kept(&place)?;
            mount(NOTHING, &place, NOTHING, flags, NOTHING)?;
        } else if is_dir(held) {
            self.shown.push(place);
        }
        Ok(())
    }

    /// A place that is there and can be mounted on, without links.
    fn place(&mut self, target: &Path, is_dir: bool) -> io::Result<PathBuf> {
        let (mut found, mut missing) = (PathBuf::from("/"), Vec::new());
        for step in target.components().filter(|step| matches!(step, Component::Normal(_))) {
            match fs::canonicalize(found.join(step)) {
                Ok(real) if missing.is_empty() => found = real,
                Err(error) if missing.is_empty() && error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => missing.push(step.as_os_str()),
            }
        }
        if missing.is_empty() {
            return match (fs::metadata(&found)?.is_dir(), is_dir) {
                (true, false) => Err(io::Error::other("the volume is a file, and a directory is there")),
                (false, true) => Err(io::Error::other("the volume is a directory, and a file is there")),
                _ => Ok(found),
            };
        }
        // Nothing is made in a directory of the machine, which others would see.
        let is_in_volume = self.shown.iter().any(|volume| found.starts_with(volume));
        if !is_in_volume && !self.made.contains(&found) {
            if found == Path::new("/") {
                replace_root()?
            } else {
                stand_in(&found)?
            };
            self.made.insert(found.clone());
        }
        let last = missing.len() - 1;
        for (at, step) in missing.into_iter().enumerate() {
            found.push(step);
            if at < last || is_dir {
                fs::create_dir(&found)?
            } else {
                OpenOptions::new().write(true).create_new(true).open(&found).map(drop)?
            }
        }
        Ok(found)
    }
}

fn failed(mount: &Mount, error: &io::Error) -> io::Error {
    io::Error::other(format!("a volume cannot be mounted at {}: {}", mount.target, system_words(error)))
}

fn is_dir(held: &OwnedFd) -> bool {
    fs::metadata(format!("/proc/self/fd/{}", held.as_raw_fd())).is_ok_and(|found| found.is_dir())
}

/// What else is said of a mount, which must be said again.
fn kept(place: &Path) -> io::Result<MsFlags> {
    let said = statvfs(place)?.flags();
    let all = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    Ok(all.into_iter().filter(|(is_said, _)| said.contains(*is_said)).map(|(_, flag)| flag).collect())
}

/// Puts a directory of memory in the place of another, with all that is in that.
fn stand_in(dir: &Path) -> io::Result<()> {
    let held: OwnedFd = OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECTORY).open(dir)?.into();
    mount(Some("view"), dir, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("size=1m"))?;
    fill(dir, &held)
}

/// Puts a root of memory in the place of the machine's, with all that is in that.
fn replace_root() -> io::Result<()> {
    let held: OwnedFd = OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECTORY).open("/")?.into();
    let new = Path::new(NEW_ROOT);
    mount(Some("view"), new, Some("tmpfs"), MsFlags::MS_NOSUID, Some("size=1m"))?;
    fill(new, &held)?;
    // It holds itself, in the copy of what it lies in.
    umount2(&new.join("dev/shm"), MntFlags::MNT_DETACH)?;
    let old = new.join(OLD_ROOT);
    fs::create_dir(&old)?;
    pivot_root(new, &old)?;
    std::env::set_current_dir("/")
}

/// Shows everything that is in one directory in another, which is as open as the first.
fn fill(dir: &Path, from: &OwnedFd) -> io::Result<()> {
    let source = PathBuf::from(format!("/proc/self/fd/{}", from.as_raw_fd()));
    let said = fs::metadata(&source)?;
    for entry in fs::read_dir(&source)? {
        let entry = entry?;
        let (kind, place) = (entry.file_type()?, dir.join(entry.file_name()));
        if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &place)?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&place)?
        } else {
            File::create(&place).map(drop)?
        }
        match mount(Some(&entry.path()), &place, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING) {
            // Gone meanwhile, which happens where many work.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    chown(dir, Some(said.uid()), Some(said.gid()))?;
    fs::set_permissions(dir, Permissions::from_mode(said.mode() & 0o7777))
}

/// Makes directories, and at last a directory or a file, below one that is a program's own, which may have put links there.
fn make_below(dir: &Path, below: &Path, is_dir: bool, user: u32) -> io::Result<()> {
    let no_links = nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW;
    let open = |path: &Path| OpenOptions::new().read(true).custom_flags(no_links).open(path);
    let within = |held: &File, step: &OsStr| PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())).join(step);
    let mut held = open(dir)?;
    let steps: Vec<&OsStr> = below.iter().collect();
    for (at, step) in steps.iter().enumerate() {
        if at + 1 == steps.len() && !is_dir {
            let new = OpenOptions::new().write(true).create_new(true).custom_flags(nix::libc::O_NOFOLLOW).open(within(&held, step))?;
            return std::os::unix::fs::fchown(&new, Some(user), Some(user));
        }
        let is_new = match mkdirat(&held, *step, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(error) => return Err(error.into()),
        };
        held = open(&within(&held, step))?;
        if is_new {
            std::os::unix::fs::fchown(&held, Some(user), Some(user))?;
        }
    }
    Ok(())
}
