//! Random histories, against a model that keeps every revision whole.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use store::embedded::{Embedded, Options, Sealing};
use store::memory::Memory;
use store::{Compare, Entry, Error, Limits, ListOptions, Revision, Store, Transaction};
use tempfile::TempDir;

use crate::support::batches_until;

const KEYS: [&str; 7] = ["/a/1", "/a/10", "/a/2", "/ab/1", "/b", "/b/1", "/ä"];
const PREFIXES: [&str; 6] = ["", "/a", "/a/", "/b", "/c", "/ä"];
const EVENTS_MAX: usize = 12;
const LIMITS: Limits =
    Limits { history_events_max: EVENTS_MAX, history_bytes_max: 1 << 20, watch_batches_max: 64, watch_bytes_max: 1 << 20 };

#[derive(Debug, Clone)]
enum Step {
    Commit { compares: Vec<(u8, &'static str, i64)>, operations: Vec<(&'static str, Option<u8>)> },
    Get { key: &'static str, at: Option<i64> },
    List { prefix: &'static str, at: Option<i64>, limit: Option<usize>, after: Option<&'static str> },
    Watch { prefix: &'static str, after: i64 },
    Compact { at: i64 },
    Reopen,
    Crash,
    Rotate,
}

/// Revisions are drawn relative to the newest: mostly known, sometimes forgotten, sometimes not reached.
fn offset() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -10..=0_i64, 1 => -40..=0_i64, 1 => Just(1)]
}

fn step() -> impl Strategy<Value = Step> {
    let key = || prop::sample::select(&KEYS[..]);
    let prefix = || prop::sample::select(&PREFIXES[..]);
    let at = || prop::option::of(offset());
    let compares = prop::collection::vec((0..3_u8, key(), -4..=0_i64), 0..2);
    let operations = prop::collection::vec((key(), prop::option::weighted(0.7, 0..4_u8)), 0..4);
    prop_oneof![
        8 => (compares, operations).prop_map(|(compares, operations)| Step::Commit { compares, operations }),
        2 => (key(), at()).prop_map(|(key, at)| Step::Get { key, at }),
        3 => (prefix(), at(), prop::option::of(0..5_usize), prop::option::of(key()))
            .prop_map(|(prefix, at, limit, after)| Step::List { prefix, at, limit, after }),
        2 => (prefix(), offset()).prop_map(|(prefix, after)| Step::Watch { prefix, after }),
        1 => (-8..=1_i64).prop_map(|at| Step::Compact { at }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
        1 => Just(Step::Rotate),
    ]
}

type Objects = BTreeMap<String, Entry>;

/// All revisions there ever were.
struct Model {
    revisions: Vec<Objects>,
    floor: Revision,
}

/// How a store refuses a revision.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    TooOld,
    NotReached,
    Conflict(String, Revision),
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::Compacted { .. } => Refusal::TooOld,
        Error::Future { .. } => Refusal::NotReached,
        Error::Conflict { key, actual } => Refusal::Conflict(key, actual),
        error => panic!("{error}"),
    }
}

impl Model {
    fn revision(&self) -> Revision {
        self.revisions.len() as Revision - 1
    }

    fn relative(&self, offset: i64) -> Revision {
        self.revision().saturating_add_signed(offset)
    }

    fn at(&self, revision: Revision) -> Result<&Objects, Refusal> {
        if revision < self.floor {
            return Err(Refusal::TooOld);
        }
        self.revisions.get(revision as usize).ok_or(Refusal::NotReached)
    }

    /// The keys that a revision changed, with what was there and what is.
    fn changes(&self, revision: Revision) -> Vec<(String, Option<Entry>, Option<Entry>)> {
        let (before, after) = (&self.revisions[revision as usize - 1], &self.revisions[revision as usize]);
        let keys = KEYS.iter().filter(|key| before.get(**key) != after.get(**key));
        keys.map(|key| ((*key).to_owned(), before.get(*key).cloned(), after.get(*key).cloned())).collect()
    }

    fn commit(&mut self, transaction: &Transaction) -> Result<(Revision, bool), Refusal> {
        let now = &self.revisions[self.revisions.len() - 1];
        for compare in &transaction.compares {
            let (key, holds) = match compare {
                Compare::Absent(key) => (key, !now.contains_key(key)),
                Compare::Present(key) => (key, now.contains_key(key)),
                Compare::Modified(key, revision) => (key, now.get(key).map_or(0, |entry| entry.modified) == *revision),
            };
            if !holds {
                return Err(Refusal::Conflict(key.clone(), now.get(key).map_or(0, |entry| entry.modified)));
            }
        }
        let revision = self.revision() + 1;
        let mut next = now.clone();
        for operation in &transaction.operations {
            match operation {
                store::Operation::Delete(key) => drop(next.remove(key)),
                store::Operation::Put(key, value) => {
                    let created = next.get(key).map_or(revision, |entry| entry.created);
                    next.insert(key.clone(), Entry { key: key.clone(), value: value.clone(), created, modified: revision });
                }
            }
        }
        for (key, entry) in &mut next {
            if let Some(old) = now.get(key).filter(|old| (&old.value, old.created) == (&entry.value, entry.created)) {
                *entry = old.clone();
            }
        }
        if next == *now {
            return Ok((revision - 1, false));
        }
        self.revisions.push(next);
        while (self.floor + 1..=revision).map(|revision| self.changes(revision).len()).sum::<usize>() > EVENTS_MAX {
            self.floor += 1;
        }
        Ok((revision, true))
    }
}

/// The store under test.
enum Subject {
    Memory(Memory),
    /// The store, and where it is.
    Embedded(Option<Embedded>, TempDir),
}

impl Subject {
    fn new(embedded: bool) -> Self {
        if embedded {
            let directory = tempfile::tempdir().unwrap();
            Self::Embedded(Some(open(&directory)), directory)
        } else {
            Self::Memory(Memory::with_limits(LIMITS))
        }
    }

    fn reopen(&mut self) {
        if let Self::Embedded(store, directory) = self {
            *store = None;
            *store = Some(open(directory));
        }
    }

    /// Goes on with copies of the files, which nobody closed.
    fn crash(&mut self) {
        if let Self::Embedded(store, directory) = self {
            let copies = tempfile::tempdir().unwrap();
            for file in fs::read_dir(directory.path()).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), copies.path().join(file.file_name())).unwrap();
            }
            *store = Some(open(&copies));
            *directory = copies;
        }
    }

    async fn rotate(&self) {
        if let Self::Embedded(Some(store), _) = self {
            store.rotate().await.unwrap();
        }
    }

    fn store(&self) -> &dyn Store {
        match self {
            Self::Memory(store) => store,
            Self::Embedded(store, _) => store.as_ref().unwrap(),
        }
    }
}

/// Some keys are sealed.
fn open(directory: &TempDir) -> Embedded {
    let sealing = Sealing { key_file: directory.path().join("secrets.key"), prefixes: vec!["/a/".into()] };
    let options = Options { limits: LIMITS, sealing: Some(sealing), ..Options::default() };
    Embedded::open(directory.path().join("store.redb"), options).unwrap()
}

async fn perform(step: &Step, subject: &mut Subject, model: &mut Model) {
    let store = subject.store();
    match step.clone() {
        Step::Reopen => subject.reopen(),
        Step::Crash => subject.crash(),
        Step::Rotate => subject.rotate().await,
        Step::Compact { at } => {
            let at = model.relative(at);
            let expected = if at > model.revision() { Err(Refusal::NotReached) } else { Ok(()) };
            model.floor = if expected.is_ok() { model.floor.max(at) } else { model.floor };
            assert_eq!(store.compact(at).await.map_err(refusal), expected);
        }
        Step::Commit { compares, operations } => {
            let transaction = transaction(model, &compares, &operations);
            let committed = store.commit(transaction.clone()).await.map_err(refusal);
            assert_eq!(committed.map(|committed| (committed.revision, committed.changed)), model.commit(&transaction));
        }
        Step::Get { key, at } => {
            let at = at.map(|at| model.relative(at));
            let expected = model.at(at.unwrap_or(model.revision())).map(|objects| objects.get(key).cloned());
            assert_eq!(store.get(key, at).await.map_err(refusal), expected);
        }
        Step::List { prefix, at, limit, after } => {
            let at = at.map(|at| model.relative(at));
            let options = ListOptions { prefix: prefix.to_owned(), at, limit, after: after.map(str::to_owned) };
            let page = store.list(options).await.map_err(refusal);
            let expected = model.at(at.unwrap_or(model.revision())).map(|objects| {
                let mut all: Vec<Entry> = objects.values().filter(|entry| entry.key.starts_with(prefix)).cloned().collect();
                all.retain(|entry| after.is_none_or(|after| entry.key.as_str() > after));
                let rest = all.split_off(limit.unwrap_or(usize::MAX).min(all.len()));
                (all, at.unwrap_or(model.revision()), rest.len())
            });
            assert_eq!(page.map(|page| (page.entries, page.revision, page.remaining)), expected);
        }
        Step::Watch { prefix, after } => watch(store, model, prefix, model.relative(after)).await,
    }
    assert_eq!(subject.store().revision(), model.revision());
}

fn transaction(model: &Model, compares: &[(u8, &str, i64)], operations: &[(&str, Option<u8>)]) -> Transaction {
    let mut transaction = Transaction::new();
    for (kind, key, offset) in compares {
        transaction = transaction.when(match kind {
            0 => Compare::Absent((*key).to_owned()),
            1 => Compare::Present((*key).to_owned()),
            _ => Compare::Modified((*key).to_owned(), model.relative(*offset)),
        });
    }
    for (key, value) in operations {
        transaction = match value {
            Some(value) => transaction.put(*key, vec![*value; 3]),
            None => transaction.delete(*key),
        };
    }
    transaction
}

async fn watch(store: &dyn Store, model: &Model, prefix: &str, after: Revision) {
    let watch = store.watch(prefix, after).await.map_err(refusal);
    let mut watch = match (watch, model.at(after)) {
        (Ok(watch), Ok(_)) => watch,
        (watch, expected) => return assert_eq!(watch.err(), expected.err()),
    };
    let mut expected: Vec<(Revision, Vec<_>)> = Vec::new();
    for revision in after + 1..=model.revision() {
        let mut changes = model.changes(revision);
        changes.retain(|(key, ..)| key.starts_with(prefix));
        if !changes.is_empty() {
            expected.push((revision, changes));
        }
    }
    let Some((last, _)) = expected.last() else { return };
    let mut seen = Vec::new();
    for batch in batches_until(&mut watch, *last).await {
        let mut changes: Vec<_> = batch.events.into_iter().map(|event| (event.key, event.previous, event.entry)).collect();
        changes.sort_by(|left, right| left.0.cmp(&right.0));
        seen.push((batch.revision, changes));
    }
    assert_eq!(seen, expected);
}

fn check(embedded: bool, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let steps = prop::collection::vec(step(), 1..60);
    let result = TestRunner::new(config).run(&steps, |steps| {
        let mut subject = Subject::new(embedded);
        let mut model = Model { revisions: vec![Objects::new()], floor: 0 };
        runtime.block_on(async {
            for step in &steps {
                perform(step, &mut subject, &mut model).await;
            }
        });
        Ok(())
    });
    result.unwrap();
}

#[test]
fn any_history_in_memory_agrees_with_the_model() {
    check(false, 400);
}

#[test]
fn any_history_in_a_file_agrees_with_the_model_also_across_restarts_crashes_and_new_keys() {
    check(true, 40);
}
