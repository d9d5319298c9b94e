//! Volumes as directories of this machine.
//!
//! ```text
//! <data>/volumes/<uid>/<volume>/            what programs write, and ConfigMaps
//!                     /.parts/<container>-0 part of a volume, bound here for its container
//! <memory>/<uid>/<volume>/                  Secrets, tokens and what is told of the pod; and `medium: Memory`
//! ```
//!
//! Above the volumes nobody but the server's user may look. What is removed is unmounted first, then deleted without following a
//! link, and never while anything is mounted below it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::geteuid;
use tokio::task::spawn_blocking;

use super::{Source, SubPath, Volume, Volumes, files, mounts, node_path, sub_path};
use crate::{Error, Result};

/// Where parts of volumes are bound; no volume has this name.
const PARTS: &str = ".parts";
/// How a directory that is being made is called, before its volume's name.
const NEW: &str = ".new-";
/// Everybody in a pod may use what is empty at first.
const EMPTY_MODE: u32 = 0o777;
/// What a directory gives to its group: everything, and files made in it belong to the group too.
const GROUP_MODE: u32 = 0o2770;

/// The volumes of one server.
#[derive(Debug, Clone)]
pub struct Disk {
    places: Arc<Places>,
}

#[derive(Debug)]
struct Places {
    dir: PathBuf,
    /// Where what is private may lie; `None` where no memory of this machine can be used as a directory.
    memory: Option<PathBuf>,
}

impl Disk {
    /// Volumes that lie in `dir`, made when it is needed, and in memory.
    pub fn new(dir: &Path) -> Self {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let name = format!("conductor-{}-{:016x}", geteuid(), crate::ports::hash(&dir.display().to_string(), "volumes"));
        let memory = in_memory().map(|base| base.join(name));
        Self { places: Arc::new(Places { dir, memory }) }
    }

    async fn blocking<T: Send + 'static>(&self, tried: String, work: impl FnOnce(&Places) -> io::Result<T> + Send + 'static) -> Result<T> {
        let places = Arc::clone(&self.places);
        let done = spawn_blocking(move || work(&places)).await.map_err(io::Error::other).and_then(|done| done);
        done.map_err(|error| Error::Failed { tried, reason: error.to_string() })
    }
}

/// A directory of this machine that lies in memory.
fn in_memory() -> Option<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|_| !geteuid().is_root());
    let all = [geteuid().is_root().then(|| PathBuf::from("/run")), own, Some(PathBuf::from("/dev/shm"))];
    all.into_iter().flatten().find(|dir| dir.is_absolute() && statfs(dir).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC))
}

#[async_trait]
impl Volumes for Disk {
    fn place(&self, volume: &Volume, part: Option<&SubPath>) -> PathBuf {
        self.places.mounted_from(volume, part)
    }

    async fn set_up(&self, volume: &Volume) -> Result<bool> {
        let wanted = volume.clone();
        self.blocking(format!("set up volume {}", volume.name), move |places| places.set_up(&wanted)).await
    }

    async fn set_up_part(&self, volume: &Volume, part: &SubPath) -> Result<()> {
        let (volume, part) = (volume.clone(), part.clone());
        let tried = format!("set up {:?} of volume {}", part.path, volume.name);
        self.blocking(tried, move |places| places.set_up_part(&volume, &part)).await
    }

    async fn remove(&self, uid: &str) -> Result<()> {
        let uid = uid.to_owned();
        self.blocking(format!("remove the volumes of pod {uid}"), move |places| places.remove(&uid)).await
    }

    async fn pods(&self) -> Result<Vec<String>> {
        self.blocking("see whose volumes there are".to_owned(), Places::pods).await
    }
}

impl Places {
    fn bases(&self) -> impl Iterator<Item = &PathBuf> {
        [Some(&self.dir), self.memory.as_ref()].into_iter().flatten()
    }

    /// Where a volume's own directory is; a path of the node is that path.
    fn of(&self, volume: &Volume) -> PathBuf {
        let is_in_memory = matches!(volume.source, Source::Empty { is_memory: true, .. } | Source::Files { is_private: true, .. });
        match &volume.source {
            Source::Node { path, .. } => path.clone(),
            // Without memory it is not set up; then nothing looks at this.
            _ if is_in_memory => self.memory.as_ref().unwrap_or(&self.dir).join(&volume.uid).join(&volume.name),
            _ => self.dir.join(&volume.uid).join(&volume.name),
        }
    }

    fn mounted_from(&self, volume: &Volume, part: Option<&SubPath>) -> PathBuf {
        match (part, &volume.source) {
            (None, _) => self.of(volume),
            // Nobody but the server can put a link there.
            (Some(part), Source::Files { .. }) => self.of(volume).join(&part.path),
            (Some(part), _) => self.dir.join(&volume.uid).join(PARTS).join(format!("{}-{}", part.container, part.number)),
        }
    }

    fn set_up(&self, volume: &Volume) -> io::Result<bool> {
        let place = self.of(volume);
        match &volume.source {
            Source::Node { path, kind } => node_path::check(path, *kind).map(|()| false),
            Source::Empty { is_memory: false, .. } => self.make(volume, &place, EMPTY_MODE),
            Source::Empty { is_memory: true, bytes_max } => self.make_in_memory(volume, &place, *bytes_max),
            Source::Files { files, is_private } => {
                if *is_private && self.memory.is_none() {
                    return Err(io::Error::other(
                        "this machine has no directory in memory (/run or /dev/shm), and it must not be on a disk",
                    ));
                }
                self.make(volume, &place, 0o755)?;
                files::write(&place, files, volume.owner, volume.group)
            }
        }
    }

    /// Makes a volume's directory, unless it is there: then it is its programs' own.
    fn make(&self, volume: &Volume, place: &Path, mode: u32) -> io::Result<bool> {
        if fs::symlink_metadata(place).is_ok_and(|found| found.is_dir()) {
            return Ok(false);
        }
        self.make_private(place.parent().unwrap_or(place))?;
        // Beside its place until it is as it should be: one that is there is not touched again.
        let new = place.with_file_name(format!("{NEW}{}", volume.name));
        match fs::create_dir(&new) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        open_to(&new, volume, mode)?;
        fs::rename(&new, place)?;
        Ok(true)
    }

    fn make_in_memory(&self, volume: &Volume, place: &Path, bytes_max: Option<u64>) -> io::Result<bool> {
        if self.memory.is_none() {
            return Err(io::Error::other("this machine has no directory in memory (/run or /dev/shm)"));
        }
        if geteuid().is_root() {
            self.make(volume, place, EMPTY_MODE)?;
            if mounts::is_mounted(place)? {
                return Ok(false);
            }
            mounts::mount_memory(place, bytes_max)?;
            open_to(place, volume, EMPTY_MODE)?;
            return Ok(true);
        }
        if bytes_max.is_some() {
            return Err(io::Error::other("only a server that runs as root can hold what is in memory to a sizeLimit"));
        }
        self.make(volume, place, EMPTY_MODE)
    }

    /// Makes directories that only we look into. One that is there must be ours: others may write where memory lies.
    fn make_private(&self, dir: &Path) -> io::Result<()> {
        let base = self.bases().find(|base| dir.starts_with(base)).unwrap_or(&self.dir);
        if let Some(above) = base.parent().filter(|above| !above.exists()) {
            DirBuilder::new().recursive(true).mode(0o700).create(above)?;
        }
        for dir in [base.as_path(), dir] {
            match DirBuilder::new().mode(0o700).create(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let found = fs::symlink_metadata(dir)?;
            if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
                return Err(io::Error::other(format!("{} is not this server's own", dir.display())));
            }
        }
        Ok(())
    }

    fn set_up_part(&self, volume: &Volume, part: &SubPath) -> io::Result<()> {
        let (place, from) = (self.of(volume), self.mounted_from(volume, Some(part)));
        if matches!(volume.source, Source::Files { .. }) {
            return match fs::metadata(&from) {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(io::Error::other("the volume has no such file")),
                Err(error) => Err(error),
            };
        }
        if !geteuid().is_root() {
            let reason = "only a server that runs as root can mount part of what programs write, for links in it might lead out of it";
            return Err(io::Error::other(reason));
        }
        let found = sub_path::open(&place, Path::new(&part.path))?;
        let parts = self.dir.join(&volume.uid).join(PARTS);
        self.make_private(&self.dir.join(&volume.uid))?;
        self.make_private(&parts)?;
        mounts::unmount_below(&from)?;
        sub_path::make_like(&from, &found)?;
        mounts::bind(&found, &from)
    }

    fn remove(&self, uid: &str) -> io::Result<()> {
        for base in self.bases() {
            let dir = base.join(uid);
            if !is_name(uid) || fs::symlink_metadata(&dir).is_err() {
                continue;
            }
            mounts::unmount_below(&dir)?;
            fs::remove_dir_all(&dir)?;
        }
        // Where nothing of ours is left, no trace is either.
        if let Some(memory) = &self.memory {
            let _ = fs::remove_dir(memory);
        }
        Ok(())
    }

    fn pods(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for base in self.bases() {
            let entries = match fs::read_dir(base) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                found.extend(entry?.file_name().to_str().filter(|name| is_name(name)).map(str::to_owned));
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// Whether a uid can be a directory's name and is no other directory.
fn is_name(uid: &str) -> bool {
    !uid.is_empty() && !uid.contains('/') && !uid.starts_with('.')
}

/// Hands a directory to the user and the group that a volume is for, and lets them and others use it.
fn open_to(place: &Path, volume: &Volume, mode: u32) -> io::Result<()> {
    if volume.owner.is_some() || volume.group.is_some() {
        chown(place, volume.owner, volume.group.or(volume.owner)).map_err(files::not_given)?;
    }
    let of_group = volume.group.map_or(0, |_| GROUP_MODE);
    fs::set_permissions(place, Permissions::from_mode(mode | of_group))
}
