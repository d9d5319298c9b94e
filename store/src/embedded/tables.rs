//! What is in the file, format 3: four tables, and how they are written.
//!
//! The log keeps what each change replaced, never what it put: that is in the objects, or in the log of the next change
//! to the same key. So no value is stored twice, and reading the log backwards from the objects restores every step.

use std::borrow::Cow;
use std::time::Duration;

use redb::{Database, TableDefinition, WriteTransaction};

use super::draft::Draft;
use super::seal::Seal;
use crate::Revision;

/// The newest format that this program knows, and the one it writes.
pub const FORMAT: u64 = 3;

/// The way from one format to the next.
type Upgrade = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// The upgrades in order, from format 1 on. A file is read only once it has come to [`FORMAT`].
const UPGRADES: &[Upgrade] = &[from_1_to_2, from_2_to_3];

/// Format 2 may hold sealed values, which a program that knows format 1 alone would take for objects. What is plain is sealed when the
/// file is next written whole.
#[expect(clippy::unnecessary_wraps, reason = "the form of all upgrades")]
fn from_1_to_2(_: &WriteTransaction) -> Result<(), redb::Error> {
    Ok(())
}

/// Format 3 may have a journal beside the file, without which it is not whole.
fn from_2_to_3(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    mark(transaction, Mark::default())
}

/// Key → created, modified, value.
pub const OBJECTS: TableDefinition<&str, (u64, u64, &[u8])> = TableDefinition::new("objects");
/// A key, and what was under it: created (0 when it was absent), modified, value.
type Before = (&'static str, u64, u64, &'static [u8]);

/// Revision, place in it → what was there before.
pub const LOG: TableDefinition<(u64, u32), Before> = TableDefinition::new("log");
/// One number under each of the names below.
pub const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Id → time to live, in milliseconds.
pub const SESSIONS: TableDefinition<u64, u64> = TableDefinition::new("sessions");

/// The format number.
pub const META_FORMAT: &str = "format";
/// The newest revision.
pub const META_REVISION: &str = "revision";
/// The newest revision that the log has forgotten.
pub const META_FLOOR: &str = "floor";
/// The highest session id ever given.
pub const META_SESSION: &str = "session";

/// The id of the journal that has what this file lacks; 0 when there is none.
pub const META_JOURNAL: &str = "journal";
/// The number of the last frame of the journal that is in this file.
pub const META_TAKEN: &str = "taken";

/// How far a journal is in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// See [`META_JOURNAL`].
    pub journal: u64,
    /// See [`META_TAKEN`].
    pub taken: u64,
}

fn mark(transaction: &WriteTransaction, mark: Mark) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    meta.insert(META_JOURNAL, mark.journal)?;
    meta.insert(META_TAKEN, mark.taken)?;
    Ok(())
}

/// Makes an empty database a store at revision 0.
pub fn create(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT)?;
        for name in [META_REVISION, META_FLOOR, META_SESSION, META_JOURNAL, META_TAKEN] {
            meta.insert(name, 0)?;
        }
        transaction.open_table(OBJECTS)?;
        transaction.open_table(LOG)?;
        transaction.open_table(SESSIONS)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Brings an older file to [`FORMAT`], all or nothing.
pub fn upgrade(database: &Database, from: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let first = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
    for step in UPGRADES.get(first..).unwrap_or_default() {
        step(&transaction)?;
    }
    transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
    transaction.commit()?;
    Ok(())
}

/// Makes an empty database a store that holds a whole draft, and whose history is forgotten up to and including `floor`.
pub fn fill(database: &Database, draft: &Draft, floor: Revision, seal: &Seal) -> Result<(), redb::Error> {
    create(database)?;
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        for (name, number) in [(META_REVISION, floor), (META_FLOOR, floor), (META_SESSION, draft.last_session)] {
            meta.insert(name, number)?;
        }
    }
    transaction.commit()?;
    write(database, draft, None, seal, Mark::default())
}

/// Writes all that a draft changes, and forgets the log up to and including `floor`. Nothing is kept on an error, as far
/// as the database can tell.
pub fn write(database: &Database, draft: &Draft, floor: Option<Revision>, seal: &Seal, taken: Mark) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    write_objects(&transaction, draft, seal)?;
    write_log(&transaction, draft, floor.unwrap_or(0), seal)?;
    write_sessions(&transaction, draft)?;
    mark(&transaction, taken)?;
    {
        let mut meta = transaction.open_table(META)?;
        if let Some(record) = draft.records.last() {
            meta.insert(META_REVISION, record.revision)?;
        }
        if let Some(floor) = floor {
            meta.insert(META_FLOOR, floor)?;
            transaction.open_table(LOG)?.retain_in(..=(floor, u32::MAX), |_, _| false)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn write_objects(transaction: &WriteTransaction, draft: &Draft, seal: &Seal) -> Result<(), redb::Error> {
    let mut objects = transaction.open_table(OBJECTS)?;
    for (key, slot) in &draft.objects {
        match slot {
            Some(slot) => objects.insert(&**key, (slot.created, slot.modified, &*seal.close(key, slot.modified, &slot.value)?))?,
            None => objects.remove(&**key)?,
        };
    }
    Ok(())
}

/// What is forgotten at once is not written.
fn write_log(transaction: &WriteTransaction, draft: &Draft, floor: Revision, seal: &Seal) -> Result<(), redb::Error> {
    let mut log = transaction.open_table(LOG)?;
    for record in draft.records.iter().filter(|record| record.revision > floor) {
        for (place, change) in (0..).zip(&record.changes) {
            let (created, modified, value) = match &change.before {
                Some(slot) => (slot.created, slot.modified, seal.close(&change.key, slot.modified, &slot.value)?),
                None => (0, 0, Cow::Borrowed(&[][..])),
            };
            log.insert((record.revision, place), (&*change.key, created, modified, &*value))?;
        }
    }
    Ok(())
}

fn write_sessions(transaction: &WriteTransaction, draft: &Draft) -> Result<(), redb::Error> {
    if draft.sessions.is_empty() {
        return Ok(());
    }
    let mut sessions = transaction.open_table(SESSIONS)?;
    for (id, ttl) in &draft.sessions {
        match ttl {
            Some(ttl) => sessions.insert(id.0, milliseconds(*ttl))?,
            None => sessions.remove(id.0)?,
        };
    }
    let mut meta = transaction.open_table(META)?;
    meta.insert(META_SESSION, draft.last_session)?;
    Ok(())
}

/// Rounded up: a session never ends early.
pub fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
