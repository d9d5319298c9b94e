//! The bounded log of past changes: what a watch resumes from, and what undoes the present for an older read.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Batch, Entry, Error, Event, Limits, Result, Revision};

/// A value under some key, as it stood from one revision to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub value: Bytes,
    pub created: Revision,
    pub modified: Revision,
}

impl Slot {
    /// The same, with its key, as callers see it.
    pub fn entry(&self, key: &str) -> Entry {
        Entry { key: key.to_owned(), value: self.value.clone(), created: self.created, modified: self.modified }
    }
}

/// What one revision did to one key.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub key: Arc<str>,
    pub before: Option<Slot>,
    pub after: Option<Slot>,
}

/// All changes of one revision, shared by the log and by every watch that has yet to read it.
#[derive(Debug)]
pub(crate) struct Record {
    pub revision: Revision,
    pub changes: Vec<Change>,
}

impl Record {
    /// Whether any change lies under the prefix.
    pub fn touches(&self, prefix: &str) -> bool {
        self.changes.iter().any(|change| change.key.starts_with(prefix))
    }

    /// The changes under the prefix, as a watch reports them.
    pub fn batch(&self, prefix: &str) -> Batch {
        let under = self.changes.iter().filter(|change| change.key.starts_with(prefix));
        let events = under.map(|change| Event {
            key: change.key.to_string(),
            revision: self.revision,
            entry: change.after.as_ref().map(|slot| slot.entry(&change.key)),
            previous: change.before.as_ref().map(|slot| slot.entry(&change.key)),
        });
        Batch { revision: self.revision, events: events.collect() }
    }

    /// The bytes that only the log keeps: keys, and the values that the revision replaced.
    fn superseded_bytes(&self) -> usize {
        self.changes.iter().map(|change| change.key.len() + value_bytes(change.before.as_ref())).sum()
    }

    /// The bytes that a watch holds while it has not read this.
    pub fn bytes(&self) -> usize {
        let after: usize = self.changes.iter().map(|change| value_bytes(change.after.as_ref())).sum();
        self.superseded_bytes() + after
    }
}

fn value_bytes(slot: Option<&Slot>) -> usize {
    slot.map_or(0, |slot| slot.value.len())
}

/// The latest revisions, one record each without gaps, and the floor below which they are forgotten.
#[derive(Debug)]
pub(crate) struct History {
    records: VecDeque<Arc<Record>>,
    /// The newest forgotten revision; the record after it is the first kept.
    floor: Revision,
    /// Changes over all records.
    events: usize,
    /// Superseded bytes over all records.
    bytes: usize,
    limits: Limits,
}

impl History {
    /// A history that remembers nothing up to and including `floor`.
    pub fn new(floor: Revision, limits: Limits) -> Self {
        Self { records: VecDeque::new(), floor, events: 0, bytes: 0, limits }
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.records.back().map_or(self.floor, |record| record.revision)
    }

    /// The oldest revision that can be read at or watched from.
    #[cfg(feature = "embedded")]
    pub fn floor(&self) -> Revision {
        self.floor
    }

    /// Adds the next revision, and forgets the oldest ones beyond the limits.
    pub fn push(&mut self, record: Arc<Record>) {
        self.events += record.changes.len();
        self.bytes += record.superseded_bytes();
        self.records.push_back(record);
        while self.events > self.limits.history_events_max || self.bytes > self.limits.history_bytes_max {
            if !self.forget_oldest() {
                break;
            }
        }
    }

    /// Forgets every revision up to and including this one.
    pub fn compact(&mut self, revision: Revision) {
        while self.records.front().is_some_and(|record| record.revision <= revision) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(record) = self.records.pop_front() else { return false };
        self.floor = record.revision;
        self.events -= record.changes.len();
        self.bytes -= record.superseded_bytes();
        true
    }

    /// The records after a revision, oldest first. Errors: [`Error::Compacted`], [`Error::Future`].
    pub fn after(&self, revision: Revision) -> Result<impl Iterator<Item = &Arc<Record>>> {
        if revision < self.floor {
            return Err(Error::Compacted { asked: revision, oldest: self.floor });
        }
        if revision > self.revision() {
            return Err(Error::Future { asked: revision, current: self.revision() });
        }
        let first = self.records.partition_point(|record| record.revision <= revision);
        Ok(self.records.range(first..))
    }
}
