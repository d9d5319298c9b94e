//! The file: making it, opening it, writing to it, and opening it again after a write failed.
//!
//! The database beneath refuses all further work once the disk has failed it, and cannot say whether the write that failed
//! is in the file. Opening it again decides that: what is in the file by then happened, although its caller was told
//! that it could not be kept.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, backends::FileBackend};

use super::draft::Draft;
use super::load::{Loaded, Unreadable, load};
use super::tables;
use crate::history::Record;
use crate::{Error, Limits, Result, Revision};

/// The file may keep this many revisions of history more than memory: forgetting many at once is cheaper.
const FORGET_AT_ONCE: Revision = 256;

/// An open file.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    cache_bytes: usize,
    limits: Limits,
    /// `None` after a failed write, until it is opened again.
    database: Option<Database>,
    /// The newest revision that the log in the file has forgotten.
    floor: Revision,
}

impl Disk {
    /// Opens a file and reads it; creates it when it is missing. Errors: see [`super::Embedded::open`].
    pub fn open(path: &Path, cache_bytes: usize, limits: Limits) -> Result<(Self, Loaded)> {
        if !path.try_exists().map_err(|error| refused("look for", path, &error))? {
            create(path, cache_bytes)?;
        }
        let mut disk = Self { path: path.to_owned(), cache_bytes, limits, database: None, floor: 0 };
        let loaded = disk.reopen()?;
        Ok((disk, loaded))
    }

    /// Writes a draft durably, all or nothing. `floor` is the newest revision that memory has forgotten.
    pub fn write(&mut self, draft: &Draft, floor: Revision) -> Result<()> {
        let Some(database) = &self.database else { return Err(Error::Unavailable("its file is not open".to_owned())) };
        let forget = draft.floor.or_else(|| (floor >= self.floor + FORGET_AT_ONCE).then_some(floor));
        let forget = forget.filter(|floor| *floor > self.floor);
        let written = guarded(&self.path, || tables::write(database, draft, forget).map_err(Unreadable::from));
        if let Err(error) = written {
            self.database = None;
            return Err(match error {
                Error::Unavailable(reason) => Error::Unavailable(reason),
                error => Error::Unavailable(error.to_string()),
            });
        }
        self.floor = forget.unwrap_or(self.floor);
        Ok(())
    }

    /// Opens the file again when a write has failed; the records of revisions after `known` that are in it after all.
    /// Errors: [`Error::Unavailable`] while it cannot be opened, or when it is no longer the file that was open.
    pub fn recover(&mut self, known: Revision) -> Result<Vec<Arc<Record>>> {
        if self.database.is_some() {
            return Ok(Vec::new());
        }
        let loaded = self.reopen().map_err(|error| Error::Unavailable(error.to_string()))?;
        let later = loaded.state.history().after(known).map(|records| records.cloned().collect());
        later.map_err(|_| {
            self.database = None;
            let found = loaded.state.history().revision();
            Error::Unavailable(format!("{} was changed by somebody else: it is at revision {found}, not {known}", self.path.display()))
        })
    }

    /// Closes the file, so that opening it next needs no repair.
    pub fn close(&mut self) -> Result<()> {
        let Some(database) = self.database.take() else { return Ok(()) };
        let closed = guarded(&self.path, || database.close().map_err(Unreadable::from));
        closed.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// Forgets the open file, as a failed write does.
    #[cfg(test)]
    pub fn fail(&mut self) {
        self.database = None;
    }

    fn reopen(&mut self) -> Result<Loaded> {
        let (database, loaded) = guarded(&self.path, || {
            let file = OpenOptions::new().read(true).write(true).open(&self.path).map_err(redb::DatabaseError::from)?;
            if file.metadata().map_err(redb::DatabaseError::from)?.len() == 0 {
                return Err(Unreadable::Wrong("it is empty".to_owned()));
            }
            let database = connect(file, self.cache_bytes)?;
            let loaded = load(&database, self.limits)?;
            Ok((database, loaded))
        })?;
        self.database = Some(database);
        self.floor = loaded.floor;
        Ok(loaded)
    }
}

/// Hands a file to the database beneath, which checks every page of it: it trusts, or panics over, what it does not check.
fn connect(file: File, cache_bytes: usize) -> Result<Database, redb::DatabaseError> {
    let backend = FileBackend::new(file)?;
    Database::builder().set_cache_size(cache_bytes).set_check_integrity_on_open(true).create_with_backend(backend)
}

/// Makes a new store under a name that nobody else uses, then gives it its own name at once: nobody sees half a store.
fn create(path: &Path, cache_bytes: usize) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| refused("create the directory of", path, &error))?;
    let mut name = OsString::from(path);
    name.push(format!(".{:016x}.new", RandomState::new().hash_one(directory)));
    let fresh = PathBuf::from(name);
    let placed = fill(&fresh, cache_bytes).and_then(|()| place(&fresh, path).map_err(|error| refused("create", path, &error)));
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound && placed.is_ok() => return Err(refused("remove", &fresh, &error)),
        _ => placed?,
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| refused("create", path, &error))
}

/// Gives a new file its name, unless somebody else has made one of that name meanwhile.
fn place(fresh: &Path, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(fresh, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Not every file system has hard links.
        Err(_) => std::fs::rename(fresh, path),
        Ok(()) => Ok(()),
    }
}

fn fill(fresh: &Path, cache_bytes: usize) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(fresh);
    let file = file.map_err(|error| refused("create", fresh, &error))?;
    guarded(fresh, || {
        let database = connect(file, cache_bytes)?;
        tables::create(&database)?;
        Ok(database.close()?)
    })
}

/// Runs something on the database and says what went wrong in our words, also when it panicked: it does so over some
/// forms of damage.
fn guarded<T>(path: &Path, run: impl FnOnce() -> Result<T, Unreadable>) -> Result<T> {
    let result = catch_unwind(AssertUnwindSafe(run));
    let damaged = |reason: String| Error::Damaged { path: path.display().to_string(), reason };
    match result {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Unreadable::Wrong(reason))) => Err(damaged(reason)),
        Ok(Err(Unreadable::Newer(found))) => Err(Error::NewerFormat { path: path.display().to_string(), found, supported: tables::FORMAT }),
        Ok(Err(Unreadable::Database(error))) => Err(match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Error::InUse { path: path.display().to_string() },
            redb::Error::Io(error) if !is_content(&error) => refused("use", path, &error),
            redb::Error::Corrupted(reason) => damaged(reason),
            redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. } => damaged(format!("it is not a store: {error}")),
            error => damaged(error.to_string()),
        }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(damaged(text.unwrap_or_else(|| "it makes no sense".to_owned())))
        }
    }
}

/// Whether an error is about what is in the file rather than about the system.
fn is_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput)
}

fn refused(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Unavailable(format!("{what} {}: {error}", path.display()))
}
