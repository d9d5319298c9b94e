//! What every store here has in memory: the state that answers reads, the watches, the sessions.
//!
//! The lock of the hub is the writers' lock and is taken before that of the state. Whoever makes a revision true holds it
//! from before the state changes until the watchers have been told, so that a watch joins between two revisions and
//! neither misses nor repeats one. Readers take the state's lock alone, which is never held over a write to disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::StreamExt;

use crate::evaluate::evaluate;
use crate::history::Record;
use crate::hub::Hub;
use crate::sessions::Sessions;
use crate::state::State;
use crate::{Committed, Entry, Error, Limits, ListOptions, Page, Result, Revision, Transaction, Watch};

/// State, watches and sessions.
#[derive(Debug)]
pub(crate) struct Live {
    state: RwLock<State>,
    hub: Arc<Mutex<Hub>>,
    limits: Limits,
    pub sessions: Arc<Sessions>,
}

impl Live {
    /// Starts from this state and these sessions.
    pub fn new(state: State, sessions: Sessions, limits: Limits) -> Self {
        Self { state: RwLock::new(state), hub: Arc::default(), limits, sessions: Arc::new(sessions) }
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.read().history().revision()
    }

    /// See [`crate::Store::get`].
    pub fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Entry>> {
        self.read().get(key, at)
    }

    /// See [`crate::Store::list`].
    pub fn list(&self, options: &ListOptions) -> Result<Page> {
        self.read().list(options)
    }

    /// See [`crate::Store::watch`].
    pub fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        let mut hub = self.hub();
        let state = self.read();
        let later = state.history().after(after)?;
        let mut subscription = Hub::join(&self.hub, &mut hub, prefix, &self.limits);
        // The state stays as it was when the watch joined; others may join meanwhile.
        drop(hub);
        let missed = later.filter(|record| record.touches(prefix)).cloned().collect();
        drop(state);
        subscription.replay(missed);
        Ok(subscription.boxed())
    }

    /// Commits to memory alone. Errors: [`crate::Error::Conflict`].
    pub fn commit(&self, transaction: Transaction) -> Result<Committed> {
        let mut hub = self.hub();
        let mut state = self.write();
        let current = state.history().revision();
        let changes = evaluate(transaction, current + 1, |key| state.current(key).cloned())?;
        if changes.is_empty() {
            return Ok(Committed { revision: current, changed: false });
        }
        let record = Arc::new(Record { revision: current + 1, changes });
        state.apply(record.clone());
        drop(state);
        hub.publish(&record);
        Ok(Committed { revision: record.revision, changed: true })
    }

    /// Makes revisions true that are already durable, ascending from the newest.
    #[cfg(feature = "embedded")]
    pub fn publish(&self, records: &[Arc<Record>]) {
        let mut hub = self.hub();
        let mut state = self.write();
        for record in records {
            state.apply(record.clone());
        }
        drop(state);
        for record in records {
            hub.publish(record);
        }
    }

    /// See [`crate::Store::compact`].
    pub fn compact(&self, revision: Revision) -> Result<()> {
        let mut state = self.write();
        let current = state.history().revision();
        if revision > current {
            return Err(Error::Future { asked: revision, current });
        }
        state.history_mut().compact(revision);
        Ok(())
    }

    /// See [`Hub::waiting`].
    #[cfg(feature = "embedded")]
    pub fn waiting(&self) -> (usize, usize) {
        self.hub().waiting()
    }

    /// Ends every watch and every stream of expiries.
    #[cfg(feature = "embedded")]
    pub fn close(&self) {
        self.hub().clear();
        self.sessions.close();
    }

    /// The state, for reading.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
