//! Which sessions are open, and until when.
//!
//! The table lives in memory: keeping a session alive writes nothing. Expiry runs on tokio's clock, in a task that exists
//! only while a session is open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{Error, Result, SessionId};

/// Longer times to live end after this long: the clock cannot count to the end of time.
const TTL_MAX: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// What else happens when a session expires.
type Expired = Box<dyn Fn(SessionId) + Send + Sync>;

/// The table of open sessions.
pub(crate) struct Sessions {
    table: Mutex<Table>,
    /// Wakes the task: the next end may be nearer than it thinks.
    changed: Arc<Notify>,
    expired: Option<Expired>,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<SessionId, Session>,
    last_id: u64,
    listeners: Vec<mpsc::UnboundedSender<SessionId>>,
    task_runs: bool,
}

#[derive(Debug)]
struct Session {
    ttl: Duration,
    ends: Instant,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sessions").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Sessions {
    /// No sessions.
    pub fn new() -> Self {
        Self { table: Mutex::default(), changed: Arc::default(), expired: None }
    }

    /// Calls `expired` for each session that ends because nobody kept it alive, in addition to those who listen.
    #[cfg(feature = "embedded")]
    pub fn on_expiry(mut self, expired: impl Fn(SessionId) + Send + Sync + 'static) -> Self {
        self.expired = Some(Box::new(expired));
        self
    }

    /// Opens a session under the next free id.
    pub fn open_next(self: &Arc<Self>, ttl: Duration) -> SessionId {
        let id = {
            let mut table = self.lock();
            table.last_id += 1;
            SessionId(table.last_id)
        };
        self.open(id, ttl);
        id
    }

    /// Opens a session, with its whole time to live before it.
    pub fn open(self: &Arc<Self>, id: SessionId, ttl: Duration) {
        let ttl = ttl.min(TTL_MAX);
        self.lock().open.insert(id, Session { ttl, ends: Instant::now() + ttl });
        self.changed.notify_one();
        self.ensure_task();
    }

    /// See [`crate::Store::keep_alive`].
    pub fn keep_alive(self: &Arc<Self>, id: SessionId) -> Result<()> {
        self.ensure_task();
        let now = Instant::now();
        let mut table = self.lock();
        let session = table.open.get_mut(&id).ok_or(Error::SessionGone(id))?;
        if session.ends <= now {
            return Err(Error::SessionGone(id));
        }
        session.ends = now + session.ttl;
        Ok(())
    }

    /// Whether the session is open. Errors: [`Error::SessionGone`].
    #[cfg(feature = "embedded")]
    pub fn check(&self, id: SessionId) -> Result<()> {
        if self.lock().open.contains_key(&id) { Ok(()) } else { Err(Error::SessionGone(id)) }
    }

    /// See [`crate::Store::end_session`].
    pub fn end(&self, id: SessionId) -> Result<()> {
        let mut table = self.lock();
        table.open.remove(&id).ok_or(Error::SessionGone(id))?;
        table.tell(id);
        Ok(())
    }

    /// See [`crate::Store::expiries`].
    pub fn expiries(self: &Arc<Self>) -> BoxStream<'static, SessionId> {
        self.ensure_task();
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut table = self.lock();
        table.listeners.retain(|listener| !listener.is_closed());
        table.listeners.push(sender);
        UnboundedReceiverStream::new(receiver).boxed()
    }

    /// Forgets all sessions without reporting them, and ends every stream of expiries.
    #[cfg(feature = "embedded")]
    pub fn close(&self) {
        let mut table = self.lock();
        table.open.clear();
        table.listeners.clear();
        self.changed.notify_one();
    }

    /// Starts the task that expires sessions, unless it runs, none is open, or the caller is not on a runtime.
    pub fn ensure_task(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        {
            let mut table = self.lock();
            if table.task_runs || table.open.is_empty() {
                return;
            }
            table.task_runs = true;
        }
        // Without the lock: a runtime that is shutting down drops the task here, and dropping it takes the lock.
        runtime.spawn(expire(Running(Arc::downgrade(self)), self.changed.clone()));
    }

    /// Ends what is due; when the next one is, or `None` when no session is left.
    fn expire_due(&self, now: Instant) -> Option<Instant> {
        let mut table = self.lock();
        let due: Vec<SessionId> = table.open.iter().filter(|(_, session)| session.ends <= now).map(|(id, _)| *id).collect();
        for id in due {
            table.open.remove(&id);
            if let Some(expired) = &self.expired {
                expired(id);
            }
            table.tell(id);
        }
        let next = table.open.values().map(|session| session.ends).min();
        table.task_runs = next.is_some();
        next
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn tell(&mut self, id: SessionId) {
        self.listeners.retain(|listener| listener.send(id).is_ok());
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

async fn expire(running: Running, changed: Arc<Notify>) {
    loop {
        let next = running.0.upgrade().and_then(|sessions| sessions.expire_due(Instant::now()));
        let Some(next) = next else { return };
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = changed.notified() => {}
        }
    }
}

/// Says that the task is gone, also when its runtime was shut down under it: another runtime can then start one.
struct Running(Weak<Sessions>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(sessions) = self.0.upgrade() {
            sessions.lock().task_runs = false;
        }
    }
}
