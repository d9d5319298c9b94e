//! The file: making it, opening it, writing to it, and opening it again after a write failed.
//!
//! Once the disk has failed a write, nobody can say whether it is in the files. Opening them again decides that: what is in the file by then happened, although its caller was told
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
use super::files::{Files, journal_path};
use super::load::{Loaded, Unreadable, format, load};
use super::seal::Seal;
use super::{Options, frame, journal, tables};
use crate::history::Record;
use crate::state::State;
use crate::{Error, Result, Revision};

/// An open file.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    options: Options,
    seal: Arc<Seal>,
    /// `None` after a failed write, until they are opened again.
    files: Option<Files>,
}

impl Disk {
    /// Opens a file and reads it; creates it when it is missing. Errors: see [`super::Embedded::open`].
    pub fn open(path: &Path, options: &Options) -> Result<(Self, Loaded)> {
        let seal = Arc::new(Seal::open(options.sealing.clone())?);
        if !path.try_exists().map_err(|error| refused("look for", path, &error))? {
            create(path, options.cache_bytes)?;
        }
        let mut disk = Self { path: path.to_owned(), options: options.clone(), seal, files: None };
        let loaded = match disk.connect()? {
            Ok(opened) => {
                let (loaded, ready) = disk.settle(opened);
                if let Err(error) = ready {
                    tracing::error!(%error, "the store can be read, and refuses writes until this is over");
                }
                loaded
            }
            Err(format) => {
                disk.upgrade(format)?;
                disk.reopen()?
            }
        };
        // Nothing is sealed yet where no key was needed to read it.
        disk.seal.ensure_keys()?;
        if loaded.is_stale {
            disk.rewrite(&loaded)?;
            tracing::info!(path = %path.display(), "values that were plain, or sealed with an older key, are sealed anew");
        }
        Ok((disk, loaded))
    }

    /// What values are sealed with.
    pub fn seal(&self) -> &Arc<Seal> {
        &self.seal
    }

    /// Takes a new key, and seals all values anew with it; the key's id. Errors: [`Error::Key`], [`Error::Unavailable`]. What was
    /// sealed can be read just the same then, and what is not done yet is done when the file is next opened.
    pub fn rotate(&mut self) -> Result<String> {
        let id = self.seal.renew()?;
        self.files = None;
        let loaded = self.reopen()?;
        self.rewrite(&loaded)?;
        Ok(id)
    }

    /// Writes all into a new file that takes the place of this one: nothing of what was there before remains in it.
    fn rewrite(&mut self, loaded: &Loaded) -> Result<()> {
        let draft = Draft::whole(&loaded.state, &loaded.sessions, loaded.last_session);
        let fresh = fresh(&self.path)?;
        let filled =
            fill(&fresh, self.options.cache_bytes, |database| tables::fill(database, &draft, loaded.state.history().floor(), &self.seal));
        self.files = None;
        let placed = filled.and_then(|()| take_place(&fresh, &self.path));
        if placed.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        placed?;
        self.reopen().map(drop)
    }

    /// Brings an older file to the format of today, after a copy of it. Errors: [`Error::Unavailable`]; the file is then as it was.
    fn upgrade(&mut self, from: u64) -> Result<()> {
        let mut kept = OsString::from(&self.path);
        kept.push(format!(".format-{from}"));
        let kept = PathBuf::from(kept);
        copy(&self.path, &kept)?;
        let fresh = fresh(&self.path)?;
        let upgraded = copy(&self.path, &fresh).and_then(|()| {
            guarded(&fresh, || {
                let file = OpenOptions::new().read(true).write(true).open(&fresh).map_err(redb::DatabaseError::from)?;
                let database = connect(file, self.options.cache_bytes)?;
                tables::upgrade(&database, from)?;
                Ok(database.close()?)
            })
        });
        let placed = upgraded.and_then(|()| take_place(&fresh, &self.path));
        if placed.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        placed?;
        tracing::warn!(
            path = %self.path.display(), from, to = tables::FORMAT, copy = %kept.display(),
            "the store was upgraded; the copy is as it was before, Secrets included: delete it once all is well"
        );
        Ok(())
    }

    /// Writes a draft durably, all or nothing. `floor` is the newest revision that memory has forgotten.
    pub fn write(&mut self, draft: &Arc<Draft>, floor: Revision) -> Result<()> {
        let Some(files) = &mut self.files else { return Err(Error::Unavailable("its file is not open".to_owned())) };
        let written = files.write(draft, floor);
        if written.is_err() {
            self.files = None;
        }
        written
    }

    /// Opens the file again when a write has failed; the records of revisions after `known` that are in it after all.
    /// Errors: [`Error::Unavailable`] while it cannot be opened, or when it is no longer the file that was open.
    pub fn recover(&mut self, known: Revision) -> Result<Vec<Arc<Record>>> {
        if self.files.is_some() {
            return Ok(Vec::new());
        }
        let loaded = self.reopen().map_err(|error| Error::Unavailable(error.to_string()))?;
        let later = loaded.state.history().after(known).map(|records| records.cloned().collect());
        later.map_err(|_| {
            self.files = None;
            let found = loaded.state.history().revision();
            Error::Unavailable(format!("{} was changed by somebody else: it is at revision {found}, not {known}", self.path.display()))
        })
    }

    /// Closes the file, so that opening it next needs no repair.
    pub fn close(&mut self) -> Result<()> {
        self.files.take().map_or(Ok(()), Files::close)
    }

    /// Forgets the open files, as a failed write does.
    #[cfg(test)]
    pub fn fail(&mut self) {
        self.files = None;
    }

    fn reopen(&mut self) -> Result<Loaded> {
        let opened = self.connect()?;
        let opened =
            opened.map_err(|format| Error::Unavailable(format!("open {}: it became a store of format {format}", self.path.display())))?;
        let (loaded, ready) = self.settle(opened);
        ready.map(|()| loaded)
    }

    /// Opens the file and reads it, with what its journal has; its format, where that is older than today's.
    fn connect(&self) -> Result<Result<Opened, u64>> {
        guarded_with(&self.path, &self.seal.key_file(), || {
            let file = OpenOptions::new().read(true).write(true).open(&self.path).map_err(redb::DatabaseError::from)?;
            if file.metadata().map_err(redb::DatabaseError::from)?.len() == 0 {
                return Err(Unreadable::Wrong("it is empty".to_owned()));
            }
            let database = connect(file, self.options.cache_bytes)?;
            match format(&database)? {
                tables::FORMAT => {}
                older => return Ok(Err(older)),
            }
            let mut loaded = load(&database, self.options.limits, &self.seal)?;
            let mut replayed = None;
            if loaded.mark.journal != 0 {
                let frames = journal::read(&journal_path(&self.path), loaded.mark.journal, loaded.mark.taken)?;
                let drafts = frames.iter().map(|frame| frame::replay(frame, &mut loaded, &self.seal).map(Arc::new));
                replayed = Some(drafts.collect::<Result<Vec<_>, Unreadable>>()?);
            }
            Ok(Ok(Opened { database, loaded, replayed }))
        })
    }

    /// Makes files that were read ready to be written.
    fn settle(&mut self, opened: Opened) -> (Loaded, Result<()>) {
        let Opened { database, loaded, replayed } = opened;
        let begun = Files::begin(&self.path, self.seal.clone(), database, replayed.as_deref(), loaded.floor);
        (loaded, begun.map(|files| self.files = Some(files)))
    }
}

/// Files that were read.
struct Opened {
    database: Database,
    loaded: Loaded,
    /// What the journal had and the database has not; `None` where there is no journal.
    replayed: Option<Vec<Arc<Draft>>>,
}

/// Puts a store that holds a state in the place of the one at `path`, which is kept beside it. Errors: see [`super::Backup::restore`].
pub fn replace(path: &Path, options: &Options, state: &State, last_session: u64) -> Result<()> {
    let seal = Seal::open(options.sealing.clone())?;
    seal.ensure_keys()?;
    let exists = path.try_exists().map_err(|error| refused("look for", path, &error))?;
    if exists {
        let opened = guarded(path, || {
            let file = OpenOptions::new().read(true).write(true).open(path).map_err(redb::DatabaseError::from)?;
            connect(file, options.cache_bytes)?;
            Ok(())
        });
        // Whatever else is wrong with it, it is to be replaced.
        if let Err(error @ Error::InUse { .. }) = opened {
            return Err(error);
        }
    }
    let draft = Draft::whole(state, &[], last_session);
    let fresh = fresh(path)?;
    let filled = fill(&fresh, options.cache_bytes, |database| tables::fill(database, &draft, state.history().floor(), &seal));
    let mut before = OsString::from(path);
    before.push(".before-restore");
    let keep = || if exists { std::fs::rename(path, &before).map_err(|error| refused("set aside", path, &error)) } else { Ok(()) };
    let keep_journal = || match std::fs::rename(journal_path(path), journal_path(Path::new(&before))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused("set aside", &journal_path(path), &error)),
        _ => Ok(()),
    };
    let placed = filled.and_then(|()| keep()).and_then(|()| keep_journal()).and_then(|()| take_place(&fresh, path));
    if placed.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    placed
}

/// A copy that is on the disk when this returns, for its owner alone.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> io::Result<()> {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
        io::copy(&mut File::open(from)?, &mut out)?;
        out.sync_all()
    };
    copy().map_err(|error| refused("copy to", to, &error))
}

/// Gives a new file the name of an older one, and makes sure of it.
fn take_place(fresh: &Path, path: &Path) -> Result<()> {
    let named = std::fs::rename(fresh, path).and_then(|()| sync_directory(path));
    named.map_err(|error| refused("replace", path, &error))
}

/// Makes sure of the names in the directory of a file.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A name beside a store's that nobody else uses; its directory is made where it is missing.
fn fresh(path: &Path) -> Result<PathBuf> {
    let directory = directory(path);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| refused("create the directory of", path, &error))?;
    let mut name = OsString::from(path);
    name.push(format!(".{:016x}.new", RandomState::new().hash_one(directory)));
    Ok(PathBuf::from(name))
}

/// Hands a file to the database beneath, which checks every page of it: it trusts, or panics over, what it does not check.
fn connect(file: File, cache_bytes: usize) -> Result<Database, redb::DatabaseError> {
    let backend = FileBackend::new(file)?;
    Database::builder().set_cache_size(cache_bytes).set_check_integrity_on_open(true).create_with_backend(backend)
}

/// Makes a new store under a name that nobody else uses, then gives it its own name at once: nobody sees half a store.
fn create(path: &Path, cache_bytes: usize) -> Result<()> {
    let fresh = fresh(path)?;
    let placed =
        fill(&fresh, cache_bytes, tables::create).and_then(|()| place(&fresh, path).map_err(|error| refused("create", path, &error)));
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound && placed.is_ok() => return Err(refused("remove", &fresh, &error)),
        _ => placed?,
    }
    sync_directory(path).map_err(|error| refused("create", path, &error))
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

fn fill(fresh: &Path, cache_bytes: usize, fill: impl FnOnce(&Database) -> Result<(), redb::Error>) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(fresh);
    let file = file.map_err(|error| refused("create", fresh, &error))?;
    guarded(fresh, || {
        let database = connect(file, cache_bytes)?;
        fill(&database)?;
        Ok(database.close()?)
    })
}

/// Runs something on the database and says what went wrong in our words, also when it panicked: it does so over some
/// forms of damage.
pub fn guarded<T>(path: &Path, run: impl FnOnce() -> Result<T, Unreadable>) -> Result<T> {
    guarded_with(path, "", run)
}

/// The same, with the key file that may be to blame.
fn guarded_with<T>(path: &Path, key_file: &str, run: impl FnOnce() -> Result<T, Unreadable>) -> Result<T> {
    let result = catch_unwind(AssertUnwindSafe(run));
    let damaged = |reason: String| Error::Damaged { path: path.display().to_string(), reason };
    match result {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Unreadable::Wrong(reason))) => Err(damaged(reason)),
        Ok(Err(Unreadable::Key(reason))) => Err(Error::Key { path: key_file.to_owned(), reason }),
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

pub fn refused(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Unavailable(format!("{what} {}: {error}", path.display()))
}
