//! The objects as they are, and as they were at any revision that the history still reaches.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::history::{History, Record, Slot};
use crate::{Entry, Limits, ListOptions, Page, Result, Revision};

/// Current objects and the history that undoes them.
#[derive(Debug)]
pub(crate) struct State {
    objects: BTreeMap<Arc<str>, Slot>,
    history: History,
}

impl State {
    /// Objects whose history is forgotten up to and including `floor`.
    pub fn new(objects: BTreeMap<Arc<str>, Slot>, floor: Revision, limits: Limits) -> Self {
        Self { objects, history: History::new(floor, limits) }
    }

    /// The log of past changes.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The log of past changes, to add a revision whose objects are there already, or to forget some.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// All current objects, in order.
    #[cfg(feature = "embedded")]
    pub fn all(&self) -> impl Iterator<Item = (&str, &Slot)> {
        self.objects.iter().map(|(key, slot)| (&**key, slot))
    }

    /// What is under a key now.
    pub fn current(&self, key: &str) -> Option<&Slot> {
        self.objects.get(key)
    }

    /// Makes the next revision true.
    pub fn apply(&mut self, record: Arc<Record>) {
        for change in &record.changes {
            match &change.after {
                Some(slot) => self.objects.insert(change.key.clone(), slot.clone()),
                None => self.objects.remove(&*change.key),
            };
        }
        self.history.push(record);
    }

    /// What is or was under a key. Errors: [`crate::Error::Compacted`], [`crate::Error::Future`].
    pub fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Entry>> {
        let mut slot = self.objects.get(key);
        if let Some(at) = at {
            let mut later = self.history.after(at)?.flat_map(|record| &record.changes);
            if let Some(change) = later.find(|change| &*change.key == key) {
                slot = change.before.as_ref();
            }
        }
        Ok(slot.map(|slot| slot.entry(key)))
    }

    /// What is or was under a prefix. Errors: [`crate::Error::Compacted`], [`crate::Error::Future`].
    pub fn list(&self, options: &ListOptions) -> Result<Page> {
        let revision = options.at.unwrap_or_else(|| self.history.revision());
        let undo = self.undo(options, revision)?;
        if undo.is_empty() {
            return Ok(page(self.matching(options), options.limit, revision));
        }
        let kept = self.matching(options).filter(|(key, _)| !undo.contains_key(*key));
        let undone = undo.iter().filter_map(|(key, slot)| Some((*key, (*slot)?)));
        let mut then: Vec<(&str, &Slot)> = kept.chain(undone).collect();
        then.sort_by_key(|(key, _)| *key);
        Ok(page(then.into_iter(), options.limit, revision))
    }

    /// The keys of a list that changed after the revision, with what was there at it.
    fn undo(&self, options: &ListOptions, revision: Revision) -> Result<BTreeMap<&str, Option<&Slot>>> {
        let mut undo = BTreeMap::new();
        for change in self.history.after(revision)?.flat_map(|record| &record.changes) {
            let beyond = options.after.as_deref().is_none_or(|after| *change.key > *after);
            if beyond && change.key.starts_with(&options.prefix) {
                undo.entry(&*change.key).or_insert(change.before.as_ref());
            }
        }
        Ok(undo)
    }

    /// The current entries of a list, in order.
    fn matching<'a>(&'a self, options: &'a ListOptions) -> impl Iterator<Item = (&'a str, &'a Slot)> {
        let prefix = options.prefix.as_str();
        let start = match options.after.as_deref() {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = self.objects.range::<str, _>((start, Bound::Unbounded));
        range.map(|(key, slot)| (&**key, slot)).take_while(move |(key, _)| key.starts_with(prefix))
    }
}

fn page<'a>(mut all: impl Iterator<Item = (&'a str, &'a Slot)>, limit: Option<usize>, revision: Revision) -> Page {
    let entries = all.by_ref().take(limit.unwrap_or(usize::MAX)).map(|(key, slot)| slot.entry(key)).collect();
    Page { entries, revision, remaining: all.count() }
}
