//! The open files: the database, and the journal before it.
//!
//! ```text
//! draft ──▶ journal: one frame, one wait for the disk ──▶ durable
//!             │ a segment is full
//!             └──▶ a thread writes all drafts of the segment into the database at once; meanwhile the other segment is written
//! ```
//!
//! A segment is written again only once the database has what it held. Where there is no room for a journal, the database
//! is written at once: slower, and just as durable.

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use redb::Database;

use super::disk::{guarded, refused, sync_directory};
use super::draft::Draft;
use super::frame;
use super::journal::{self, Journal};
use super::load::Unreadable;
use super::seal::Seal;
use super::tables::{self, Mark};
use crate::{Error, Result, Revision};

/// The file may keep this many revisions of history more than memory: forgetting many at once is cheaper.
const FORGET_AT_ONCE: Revision = 256;

/// Where the journal of a store is.
pub fn journal_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".journal");
    PathBuf::from(name)
}

/// A path, and the file that was there.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    /// Whether the same file is there.
    fn is_held(&self) -> bool {
        Self::of(&self.path).is_ok_and(|found| (found.device, found.inode) == (self.device, self.inode))
    }
}

/// The files of a store that is open.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    /// What was at the path, and at the journal's, when they were opened.
    places: Vec<Place>,
    seal: Arc<Seal>,
    database: Arc<Database>,
    journal: Option<Journal>,
    /// What the segment that is written holds.
    pending: Vec<Arc<Draft>>,
    /// Writes what the other segment holds into the database.
    taking_over: TakingOver,
    /// The newest revision that the database forgets, and the newest that memory has forgotten.
    floor: Revision,
    memory_floor: Revision,
}

impl Files {
    /// Has the database take over what an older journal held, where there is one, and begins a new one.
    /// Errors: [`Error::Unavailable`].
    pub fn begin(path: &Path, seal: Arc<Seal>, database: Database, replayed: Option<&[Arc<Draft>]>, floor: Revision) -> Result<Self> {
        let database = Arc::new(database);
        let mut files = Self {
            path: path.to_owned(),
            places: vec![Place::of(path).map_err(|error| refused("look at", path, &error))?],
            seal,
            database,
            journal: None,
            pending: Vec::new(),
            taking_over: TakingOver::default(),
            floor,
            memory_floor: floor,
        };
        if let Some(replayed) = replayed {
            files.take_over_now(replayed)?;
        }
        let journal = journal_path(path);
        // Whoever was killed here left an empty one, which nothing refers to.
        let created = remove(&journal).and_then(|()| Journal::create(&journal, RandomState::new().hash_one(path).max(1)));
        match created.and_then(|created| sync_directory(path).map(|()| created)) {
            Ok(created) => {
                files.places.push(Place::of(&journal).map_err(|error| refused("look at", &journal, &error))?);
                files.journal = Some(created);
                files.take_over_now(&[])?;
            }
            Err(error) => {
                tracing::warn!(path = %journal.display(), %error, "there is no room for a journal: writes take longer");
                remove(&journal).map_err(|error| refused("remove", &journal, &error))?;
            }
        }
        Ok(files)
    }

    /// Makes a draft durable, all or nothing. `floor` is the newest revision that memory has forgotten.
    /// Errors: [`Error::Unavailable`]; the files must be opened anew then, which tells what is in them.
    pub fn write(&mut self, draft: &Arc<Draft>, floor: Revision) -> Result<()> {
        // What is written into a file that was deleted is gone when it is closed, however often it was synced.
        if let Some(lost) = self.places.iter().find(|place| !place.is_held()) {
            return Err(Error::Unavailable(format!("{} was deleted or replaced by somebody else", lost.path.display())));
        }
        self.memory_floor = floor;
        let journal = journal_path(&self.path);
        let refused = |error: io::Error| refused("write", &journal, &error);
        let mut content = Vec::new();
        frame::encode(draft, &self.seal, &mut content).map_err(refused)?;
        let has_room = self.journal.as_ref().map(|journal| journal.has_room(content.len()));
        if has_room.is_none() || content.len() > journal::CONTENT_MAX {
            let mut drafts = std::mem::take(&mut self.pending);
            drafts.push(draft.clone());
            self.taking_over.join()?;
            return self.take_over_now(&drafts);
        }
        if has_room == Some(false) {
            self.turn()?;
        }
        if let Some(journal) = &mut self.journal {
            journal.append(&content).map_err(refused)?;
        }
        self.pending.push(draft.clone());
        Ok(())
    }

    /// Closes both, so that the database alone has everything, and opening it next needs no repair.
    /// Errors: [`Error::Unavailable`]; nothing is lost then.
    pub fn close(mut self) -> Result<()> {
        self.taking_over.join()?;
        if self.journal.take().is_some() {
            let drafts = std::mem::take(&mut self.pending);
            self.take_over_now(&drafts)?;
        }
        let Self { path, database, .. } = self;
        let Some(database) = Arc::into_inner(database) else { return Err(Error::Unavailable("somebody still uses the file".to_owned())) };
        guarded(&path, || database.close().map_err(Unreadable::from)).map_err(unavailable)?;
        let journal = journal_path(&path);
        remove(&journal).and_then(|()| sync_directory(&path)).map_err(|error| refused("remove", &journal, &error))
    }

    /// Goes on with the other segment once the database has what it held, and has a thread take over the one that is full.
    fn turn(&mut self) -> Result<()> {
        self.taking_over.join()?;
        let drafts = std::mem::take(&mut self.pending);
        let (mark, forget) = (self.mark(), self.forget(&drafts));
        let (path, database, seal) = (self.path.clone(), self.database.clone(), self.seal.clone());
        let run = move || take_over(&path, &database, &drafts, forget, &seal, mark);
        let thread = std::thread::Builder::new().name("store-database".to_owned()).spawn(run);
        self.taking_over.0 = Some(thread.map_err(|error| Error::Unavailable(format!("start a thread: {error}")))?);
        if let Some(journal) = &mut self.journal {
            journal.turn();
        }
        Ok(())
    }

    /// Has the database take over these drafts, which follow all that it has, before it returns.
    fn take_over_now(&mut self, drafts: &[Arc<Draft>]) -> Result<()> {
        let (mark, forget) = (self.mark(), self.forget(drafts));
        take_over(&self.path, &self.database, drafts, forget, &self.seal, mark)
    }

    /// What is said of the journal once the database has all that is in it.
    fn mark(&self) -> Mark {
        self.journal.as_ref().map_or(Mark::default(), |journal| Mark { journal: journal.id(), taken: journal.sequence() })
    }

    /// The revision up to which the database forgets now.
    fn forget(&mut self, drafts: &[Arc<Draft>]) -> Option<Revision> {
        let (asked, floor) = (drafts.iter().filter_map(|draft| draft.floor).max(), self.memory_floor);
        let forget = asked.max((floor >= self.floor + FORGET_AT_ONCE).then_some(floor)).filter(|floor| *floor > self.floor);
        self.floor = forget.unwrap_or(self.floor);
        forget
    }
}

/// The thread that writes into the database, while there is one.
#[derive(Debug, Default)]
struct TakingOver(Option<JoinHandle<Result<()>>>);

impl TakingOver {
    /// Waits for it; how it went.
    fn join(&mut self) -> Result<()> {
        let Some(thread) = self.0.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(Error::Unavailable("the thread that writes the database ended early".to_owned())))
    }
}

impl Drop for TakingOver {
    /// Nobody opens the file anew while it is written.
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            tracing::warn!(%error, "the database did not take over its journal");
        }
    }
}

/// Writes drafts into the database as one, and up to which frame of the journal it has them.
fn take_over(path: &Path, database: &Database, drafts: &[Arc<Draft>], forget: Option<Revision>, seal: &Seal, mark: Mark) -> Result<()> {
    let draft = Draft::merged(drafts);
    guarded(path, || tables::write(database, &draft, forget, seal, mark).map_err(Unreadable::from)).map_err(unavailable)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A write that failed, however it did, is one that could not be kept.
fn unavailable(error: Error) -> Error {
    match error {
        Error::Unavailable(reason) => Error::Unavailable(reason),
        error => Error::Unavailable(error.to_string()),
    }
}
