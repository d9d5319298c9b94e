//! A store in memory: for tests, and for servers whose objects may be gone after a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::live::Live;
use crate::sessions::Sessions;
use crate::state::State;
use crate::{Committed, Entry, Limits, ListOptions, Page, Result, Revision, SessionId, Store, Transaction, Watch};

/// A store that forgets everything when it is dropped.
#[derive(Debug)]
pub struct Memory {
    live: Live,
}

impl Memory {
    /// An empty store with the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// An empty store.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        let state = State::new(BTreeMap::new(), 0, limits);
        Self { live: Live::new(state, Sessions::new(), limits) }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for Memory {
    fn revision(&self) -> Revision {
        self.live.revision()
    }

    async fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Entry>> {
        self.live.get(key, at)
    }

    async fn list(&self, options: ListOptions) -> Result<Page> {
        self.live.list(&options)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed> {
        self.live.commit(transaction)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        self.live.watch(prefix, after)
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.live.compact(revision)
    }

    async fn session(&self, ttl: Duration) -> Result<SessionId> {
        Ok(self.live.sessions.open_next(ttl))
    }

    async fn keep_alive(&self, session: SessionId) -> Result<()> {
        self.live.sessions.keep_alive(session)
    }

    async fn end_session(&self, session: SessionId) -> Result<()> {
        self.live.sessions.end(session)
    }

    fn expiries(&self) -> BoxStream<'static, SessionId> {
        self.live.sessions.expiries()
    }
}
