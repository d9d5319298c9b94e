//! Changes that are decided but not durable yet: all that goes into one write to the disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::evaluate::evaluate;
use crate::history::{Record, Slot};
use crate::state::State;
use crate::{Committed, Error, Result, Revision, SessionId, Transaction};

/// What the next write makes true, on top of a state.
#[derive(Debug)]
pub struct Draft {
    /// The new revisions, ascending.
    pub records: Vec<Arc<Record>>,
    /// What is under each changed key after all of them.
    pub objects: BTreeMap<Arc<str>, Option<Slot>>,
    /// The sessions that open, with their times to live, and those that end.
    pub sessions: BTreeMap<SessionId, Option<Duration>>,
    /// The highest session id given.
    pub last_session: u64,
    /// Forget history up to and including this revision.
    pub floor: Option<Revision>,
}

impl Draft {
    /// No change yet.
    pub fn new(last_session: u64) -> Self {
        Self { records: Vec::new(), objects: BTreeMap::new(), sessions: BTreeMap::new(), last_session, floor: None }
    }

    /// All of a state, with the sessions that are open.
    pub fn whole(state: &State, sessions: &[(SessionId, Duration)], last_session: u64) -> Self {
        let objects = state.all().map(|(key, slot)| (Arc::from(key), Some(slot.clone()))).collect();
        let records = state.history().after(state.history().floor()).map(|records| records.cloned().collect()).unwrap_or_default();
        let sessions = sessions.iter().map(|(id, ttl)| (*id, Some(*ttl))).collect();
        Self { records, objects, sessions, last_session, floor: None }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.sessions.is_empty() && self.floor.is_none()
    }

    /// Adds a transaction, as if all before it were durable. Errors: [`Error::Conflict`].
    pub fn commit(&mut self, transaction: Transaction, state: &State) -> Result<Committed> {
        let revision = self.revision(state);
        let changes = evaluate(transaction, revision + 1, |key| match self.objects.get(key) {
            Some(slot) => slot.clone(),
            None => state.current(key).cloned(),
        })?;
        if changes.is_empty() {
            return Ok(Committed { revision, changed: false });
        }
        self.add(Arc::new(Record { revision: revision + 1, changes }));
        Ok(Committed { revision: revision + 1, changed: true })
    }

    /// Adds the next revision.
    pub fn add(&mut self, record: Arc<Record>) {
        for change in &record.changes {
            self.objects.insert(change.key.clone(), change.after.clone());
        }
        self.records.push(record);
    }

    /// Drafts that follow one another, as one.
    pub fn merged(drafts: &[Arc<Self>]) -> Self {
        let mut merged = Self::new(drafts.last().map_or(0, |draft| draft.last_session));
        for draft in drafts {
            merged.records.extend(draft.records.iter().cloned());
            merged.objects.extend(draft.objects.iter().map(|(key, slot)| (key.clone(), slot.clone())));
            merged.sessions.extend(draft.sessions.iter().map(|(id, ttl)| (*id, *ttl)));
            merged.floor = merged.floor.max(draft.floor);
        }
        merged
    }

    /// Adds a compaction. Errors: [`Error::Future`].
    pub fn compact(&mut self, revision: Revision, state: &State) -> Result<()> {
        let current = self.revision(state);
        if revision > current {
            return Err(Error::Future { asked: revision, current });
        }
        let floor = self.floor.unwrap_or(state.history().floor());
        if revision > floor {
            self.floor = Some(revision);
        }
        Ok(())
    }

    /// Adds a session under the next free id.
    pub fn open_session(&mut self, ttl: Duration) -> SessionId {
        self.last_session += 1;
        let id = SessionId(self.last_session);
        self.sessions.insert(id, Some(ttl));
        id
    }

    /// Adds the end of a session.
    pub fn end_session(&mut self, id: SessionId) {
        self.sessions.insert(id, None);
    }

    fn revision(&self, state: &State) -> Revision {
        self.records.last().map_or_else(|| state.history().revision(), |record| record.revision)
    }
}
