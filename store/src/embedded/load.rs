//! Reading a whole file into memory.
//!
//! The database beneath has checked its own pages by then. What is checked here is that the tables agree with each other:
//! a state that could not have come about by commits is refused, rather than served.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};

use super::seal::Seal;
use super::tables::{
    FORMAT, LOG, META, META_FLOOR, META_FORMAT, META_JOURNAL, META_REVISION, META_SESSION, META_TAKEN, Mark, OBJECTS, SESSIONS,
};
use crate::history::{Change, Record, Slot};
use crate::state::State;
use crate::{Limits, Revision, SessionId};

/// Why a file could not be read.
#[derive(Debug)]
pub enum Unreadable {
    /// The database beneath said so.
    Database(redb::Error),
    /// Its format number is higher than [`FORMAT`].
    Newer(u64),
    /// The keys that values are sealed with are missing or wrong.
    Key(String),
    /// The tables contradict each other, or are not ours.
    Wrong(String),
}

impl<E: Into<redb::Error>> From<E> for Unreadable {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// A file, read.
#[derive(Debug)]
pub struct Loaded {
    /// Objects and history.
    pub state: State,
    /// The open sessions and their times to live.
    pub sessions: Vec<(SessionId, Duration)>,
    /// The highest session id ever given.
    pub last_session: u64,
    /// The newest revision that the log in the file has forgotten.
    pub floor: Revision,
    /// Whether values are plain that should be sealed, or sealed with an older key.
    pub is_stale: bool,
    /// How far the journal is in the file.
    pub mark: Mark,
}

/// The format number of a file. Errors: it has none; it is newer than [`FORMAT`].
pub fn format(database: &Database) -> Result<u64, Unreadable> {
    let found = database.begin_read()?.open_table(META)?.get(META_FORMAT)?.map(|number| number.value());
    match found.ok_or_else(|| Unreadable::Wrong("it has no format number".to_owned()))? {
        0 => Err(Unreadable::Wrong("its format number is 0".to_owned())),
        newer if newer > FORMAT => Err(Unreadable::Newer(newer)),
        known => Ok(known),
    }
}

/// Reads everything, and checks that it agrees with itself.
pub fn load(database: &Database, limits: Limits, seal: &Seal) -> Result<Loaded, Unreadable> {
    let transaction = database.begin_read()?;
    let [revision, floor, last_session, journal, taken] = read_meta(&transaction)?;
    let mut opener = Opener { seal, is_stale: false };
    let objects = read_objects(&transaction, revision, &mut opener)?;
    let records = read_log(&transaction, &objects, (floor, revision), &mut opener)?;
    let mut sessions = Vec::new();
    for row in transaction.open_table(SESSIONS)?.iter()? {
        let (id, ttl) = row?;
        if id.value() > last_session {
            return Err(Unreadable::Wrong(format!("session {} was never given", id.value())));
        }
        sessions.push((SessionId(id.value()), Duration::from_millis(ttl.value())));
    }
    let mut state = State::new(objects, floor, limits);
    for record in records.into_iter().rev() {
        state.history_mut().push(Arc::new(record));
    }
    Ok(Loaded { state, sessions, last_session, floor, is_stale: opener.is_stale, mark: Mark { journal, taken } })
}

fn read_meta(transaction: &ReadTransaction) -> Result<[u64; 5], Unreadable> {
    let meta = transaction.open_table(META)?;
    let number = |name: &str| -> Result<u64, Unreadable> {
        let found = meta.get(name)?.map(|number| number.value());
        found.ok_or_else(|| Unreadable::Wrong(format!("it has no {name} number")))
    };
    Ok([number(META_REVISION)?, number(META_FLOOR)?, number(META_SESSION)?, number(META_JOURNAL)?, number(META_TAKEN)?])
}

fn read_objects(transaction: &ReadTransaction, revision: Revision, opener: &mut Opener) -> Result<BTreeMap<Arc<str>, Slot>, Unreadable> {
    let mut objects = BTreeMap::new();
    for row in transaction.open_table(OBJECTS)?.iter()? {
        let (key, slot) = row?;
        let (created, modified, value) = slot.value();
        if created == 0 || created > modified || modified > revision {
            let key = key.value();
            return Err(Unreadable::Wrong(format!("{key} is of revisions {created} to {modified} in a store at {revision}")));
        }
        objects.insert(Arc::from(key.value()), Slot { value: opener.open(key.value(), modified, value)?, created, modified });
    }
    Ok(objects)
}

/// The records after the floor, newest first.
fn read_log(
    transaction: &ReadTransaction,
    objects: &BTreeMap<Arc<str>, Slot>,
    (floor, revision): (Revision, Revision),
    opener: &mut Opener,
) -> Result<Vec<Record>, Unreadable> {
    let broken = |at: Revision| Unreadable::Wrong(format!("its history is broken at revision {at}"));
    let mut rewind = Rewind { objects, later: HashMap::new(), records: Vec::new(), next: (revision, None) };
    for row in transaction.open_table(LOG)?.range((floor.saturating_add(1), 0)..)?.rev() {
        let (place, before) = row?;
        let (key, created, modified, value) = before.value();
        let before = match created {
            0 => None,
            _ => Some(Slot { value: opener.open(key, modified, value)?, created, modified }),
        };
        rewind.step(place.value(), key, before).ok_or_else(|| broken(place.value().0))?;
    }
    if rewind.next != (floor, None) {
        return Err(broken(rewind.next.0));
    }
    for record in &mut rewind.records {
        record.changes.reverse();
    }
    Ok(rewind.records)
}

/// Opens what is sealed, and remembers whether all of it was sealed as it should be.
struct Opener<'a> {
    seal: &'a Seal,
    is_stale: bool,
}

impl Opener<'_> {
    fn open(&mut self, key: &str, modified: Revision, value: &[u8]) -> Result<Bytes, Unreadable> {
        let (plain, is_stale) = self.seal.unclose(key, modified, value)?;
        self.is_stale |= is_stale;
        Ok(plain)
    }
}

/// The way back from the objects to the floor.
struct Rewind<'a> {
    objects: &'a BTreeMap<Arc<str>, Slot>,
    /// What is under a key once the steps so far are undone; keys not here are as in the objects.
    later: HashMap<Arc<str>, Option<Slot>>,
    /// Newest first, and the changes of each last first.
    records: Vec<Record>,
    /// The revision and place that come next; a revision that is yet to begin may have any last place.
    next: (Revision, Option<u32>),
}

impl Rewind<'_> {
    /// Undoes one change; `None` when it does not follow from what came after it.
    fn step(&mut self, (revision, place): (Revision, u32), key: &str, before: Option<Slot>) -> Option<()> {
        let (key, after) = match self.later.get_key_value(key) {
            Some((key, slot)) => (key.clone(), slot.clone()),
            None => match self.objects.get_key_value(key) {
                Some((key, slot)) => (key.clone(), Some(slot.clone())),
                None => (Arc::from(key), None),
            },
        };
        let ends_here = after.as_ref().map_or(before.is_some(), |slot| slot.modified == revision);
        let began_earlier = before.as_ref().is_none_or(|slot| slot.created <= slot.modified && slot.modified < revision);
        let in_order = self.next.0 == revision && self.next.1.is_none_or(|next| next == place);
        if !(ends_here && began_earlier && in_order) {
            return None;
        }
        self.later.insert(key.clone(), before.clone());
        let change = Change { key, before, after };
        match self.records.last_mut() {
            Some(record) if record.revision == revision => record.changes.push(change),
            _ => self.records.push(Record { revision, changes: vec![change] }),
        }
        self.next = if place == 0 { (revision.checked_sub(1)?, None) } else { (revision, Some(place - 1)) };
        Some(())
    }
}
