//! What a request is about to change, noted before it is: the store that all requests write to notes it at the last moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use model::Clock;
use store::{Committed, Entry, ListOptions, Page, Result, Revision, SessionId, Store, Transaction, Watch};

use crate::User;
use crate::access;
use crate::audit::{Attempt, AuditLog};

tokio::task_local! {
    static DOING: Arc<Doing>;
}

/// A request that may change something, while it is served.
pub struct Doing {
    pub attempt: Attempt,
    log: Arc<dyn AuditLog>,
    clock: Arc<dyn Clock>,
    by: OnceLock<(User, User)>,
    intent: Mutex<Option<u64>>,
    committed: AtomicBool,
}

impl Doing {
    /// Nothing is changed yet, and nobody is known.
    pub fn new(attempt: Attempt, log: Arc<dyn AuditLog>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { attempt, log, clock, by: OnceLock::new(), intent: Mutex::default(), committed: AtomicBool::new(false) })
    }

    /// Serves the request: what it commits is noted.
    pub async fn serving<T>(self: &Arc<Self>, served: impl Future<Output = T>) -> T {
        DOING.scope(Arc::clone(self), served).await
    }

    /// Tells what came of it, and that no question is left.
    pub fn tell(&self, by: Option<&(User, User)>, response: &mut axum::response::Response) {
        let committed = self.committed.load(Ordering::Acquire);
        self.attempt.tell(self.log.as_ref(), self.clock.as_ref(), by, response, committed);
        if let Some(intent) = self.intent.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.log.settled(intent);
        }
    }

    /// The first thing that a request commits is its intent. What our own controllers write names its cause in the object instead.
    fn begin(&self) {
        let Some((user, taken_for)) = self.by.get().filter(|(user, _)| !access::is_ours(&user.name)) else { return };
        let mut intent = self.intent.lock().unwrap_or_else(PoisonError::into_inner);
        if intent.is_none() {
            *intent = Some(self.log.intend(self.attempt.intent(self.clock.as_ref(), user, taken_for)));
        }
    }
}

/// Says who the request that is being served is from, and whom they are taken for.
pub fn is_from(user: &User, taken_for: &User) {
    let _ = DOING.try_with(|doing| doing.by.set((user.clone(), taken_for.clone())));
}

/// A store that notes what requests commit.
pub struct Recorded(pub Arc<dyn Store>);

#[async_trait]
impl Store for Recorded {
    fn revision(&self) -> Revision {
        self.0.revision()
    }

    async fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Entry>> {
        self.0.get(key, at).await
    }

    async fn list(&self, options: ListOptions) -> Result<Page> {
        self.0.list(options).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed> {
        let doing = DOING.try_with(Arc::clone).ok();
        if let Some(doing) = &doing {
            doing.begin();
        }
        let committed = self.0.commit(transaction).await?;
        if let Some(doing) = doing.filter(|_| committed.changed) {
            doing.committed.store(true, Ordering::Release);
        }
        Ok(committed)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        self.0.watch(prefix, after).await
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.0.compact(revision).await
    }

    async fn session(&self, ttl: Duration) -> Result<SessionId> {
        self.0.session(ttl).await
    }

    async fn keep_alive(&self, session: SessionId) -> Result<()> {
        self.0.keep_alive(session).await
    }

    async fn end_session(&self, session: SessionId) -> Result<()> {
        self.0.end_session(session).await
    }

    fn expiries(&self) -> BoxStream<'static, SessionId> {
        self.0.expiries()
    }
}
