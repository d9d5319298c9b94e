//! Stores to test, and short ways to ask them.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
pub use store::embedded::journal_path as journal;
use store::embedded::{Embedded, Options};
use store::memory::Memory;
use store::{Batch, Committed, Error, Limits, ListOptions, Page, Revision, Store, Transaction, Watch};
use tempfile::TempDir;

/// Long enough for anything that must happen on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A store, and the directory it lives in.
pub struct Subject {
    pub store: Box<dyn Store>,
    _directory: Option<TempDir>,
}

/// One kind of store.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Memory,
    Embedded,
}

impl Kind {
    pub fn open(self) -> Subject {
        self.open_with(Limits::default())
    }

    pub fn open_with(self, limits: Limits) -> Subject {
        match self {
            Self::Memory => Subject { store: Box::new(Memory::with_limits(limits)), _directory: None },
            Self::Embedded => {
                let directory = tempfile::tempdir().unwrap();
                let store = Box::new(open_with(&directory.path().join("store.redb"), limits).unwrap());
                Subject { store, _directory: Some(directory) }
            }
        }
    }
}

pub fn open_with(path: &Path, limits: Limits) -> store::Result<Embedded> {
    Embedded::open(path, Options { limits, ..Options::default() })
}

pub fn open(path: &Path) -> store::Result<Embedded> {
    Embedded::open(path, Options::default())
}

/// Puts one value; the revision that did it.
pub async fn put(store: &dyn Store, key: &str, value: &str) -> Revision {
    commit(store, Transaction::new().put(key, value.to_owned())).await.revision
}

pub async fn commit(store: &dyn Store, transaction: Transaction) -> Committed {
    store.commit(transaction).await.unwrap()
}

/// The value under a key, as text.
pub async fn value(store: &dyn Store, key: &str, at: Option<Revision>) -> Option<String> {
    store.get(key, at).await.unwrap().map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
}

pub async fn list(store: &dyn Store, prefix: &str, at: Option<Revision>) -> Page {
    store.list(ListOptions { prefix: prefix.to_owned(), at, ..ListOptions::default() }).await.unwrap()
}

/// The keys of a page.
pub fn keys(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|entry| entry.key.as_str()).collect()
}

/// The next item of a watch, which must come.
pub async fn next(watch: &mut Watch) -> Option<Result<Batch, Error>> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("the watch says nothing")
}

/// The next batch of a watch, which must come.
pub async fn batch(watch: &mut Watch) -> Batch {
    next(watch).await.expect("the watch ended").unwrap()
}

/// Reads a watch until it reaches a revision; the batches.
pub async fn batches_until(watch: &mut Watch, revision: Revision) -> Vec<Batch> {
    let mut batches = Vec::new();
    while batches.last().is_none_or(|batch: &Batch| batch.revision < revision) {
        batches.push(batch(watch).await);
    }
    batches
}
