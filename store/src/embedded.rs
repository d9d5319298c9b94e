//! A store in one file, and a journal beside it while it is open.
//!
//! Every read is answered from memory. One thread writes: it takes whatever queued while the last write reached the disk,
//! makes each transaction a revision of its own, and puts all of them durably into one frame of the journal. Only then do the
//! callers hear of it, and readers and watchers see it. The file takes over the journal bit by bit, and all of it when
//! it is closed. It holds the objects and the bounded history, so a watch resumes across a restart, and the ids of open sessions.

mod backup;
mod bytes;
mod disk;
mod draft;
mod files;
mod frame;
mod journal;
mod keys;
mod load;
mod seal;
mod tables;
mod writer;

pub use backup::{Backup, Made, Unvouched};
pub use files::journal_path;
pub use seal::Sealing;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use model::metrics::{Counter, Histogram};
use tokio::sync::{mpsc, oneshot};

use self::disk::Disk;
use self::seal::Seal;
use self::writer::{Request, Writer};
use crate::live::Live;
use crate::sessions::Sessions;
use crate::{Committed, Entry, Error, Limits, ListOptions, Page, Result, Revision, SessionId, Store, Transaction, Watch};

/// How a file is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is remembered, in memory and in the file.
    pub limits: Limits,
    /// Bytes of the file kept in memory for writing. Reads do not need it.
    pub cache_bytes: usize,
    /// What is sealed in the file; nothing when absent.
    pub sealing: Option<Sealing>,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: Limits::default(), cache_bytes: 2 << 20, sealing: None }
    }
}

/// What a store has done since it was opened, and what it has to do.
#[derive(Debug, Default)]
pub struct Work {
    /// Writes to the disk.
    pub writes: Counter,
    /// Writes that failed.
    pub failed: Counter,
    /// Requests that were part of them.
    pub requests: Counter,
    /// How long writes took.
    pub took: Histogram,
    /// Requests that were sent to the writer.
    asked: Counter,
    /// Requests that the writer took.
    taken: Counter,
}

impl Work {
    /// Requests that wait for the writer.
    pub fn queued(&self) -> u64 {
        self.asked.get().saturating_sub(self.taken.get())
    }
}

/// A store in one file. Dropping it waits for the writes that are under way.
#[derive(Debug)]
pub struct Embedded {
    live: Arc<Live>,
    seal: Arc<Seal>,
    work: Arc<Work>,
    /// `None` only while it is being dropped.
    requests: Option<mpsc::UnboundedSender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the file, after checking all of it; creates it, for its owner alone, and its directory, when they are missing.
    ///
    /// One of an older format is brought to today's, after a copy of it.
    ///
    /// Errors: [`Error::InUse`] while somebody else has it open, [`Error::NewerFormat`], [`Error::Damaged`], [`Error::Key`], and
    /// [`Error::Unavailable`] when the system refuses.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let (disk, loaded) = Disk::open(path.as_ref(), &options)?;
        let seal = disk.seal().clone();
        let (requests, queue) = mpsc::unbounded_channel();
        let expired = requests.downgrade();
        let sessions = Sessions::new().on_expiry(move |id| {
            // When it is not kept, a restart brings the session back, and it expires once more.
            if let Some(requests) = expired.upgrade() {
                let _ = requests.send(Request::Forget(id));
            }
        });
        let live = Arc::new(Live::new(loaded.state, sessions, options.limits));
        for (id, ttl) in loaded.sessions {
            live.sessions.open(id, ttl);
        }
        let work = Arc::<Work>::default();
        let writer = Writer::new(live.clone(), disk, queue, loaded.last_session, work.clone());
        let writer = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run());
        let writer = writer.map_err(|error| Error::Unavailable(format!("start its thread: {error}")))?;
        Ok(Self { live, seal, work, requests: Some(requests), writer: Some(writer) })
    }

    /// Finishes the writes that are under way and closes the file: another may open it once this returns. Watches and
    /// expiries end; reads still answer, writes are [`Error::Unavailable`]. Closing again does nothing.
    ///
    /// Errors: [`Error::Unavailable`] when the file could not be closed cleanly. No acknowledged write is lost by that.
    pub async fn close(&self) -> Result<()> {
        match self.ask(Request::Close).await {
            Err(Error::Unavailable(reason)) if reason == CLOSED => Ok(()),
            result => result,
        }
    }

    /// All objects as they are at one revision, and these files (names and contents), as one backup that says who made it: see
    /// [`Backup`].
    /// Errors: [`Error::Unavailable`] when something cannot be sealed.
    pub fn backup(&self, files: &[(String, Vec<u8>)], made: &Made) -> Result<Vec<u8>> {
        backup::write(&self.live.read(), files, made, &self.seal)
    }

    /// Seals with a new key from here on, and all that is sealed already anew; the key's id. Older keys stay in the key file, for
    /// older backups. Errors: [`Error::Key`]; [`Error::Unavailable`] when nothing is sealed, or the file cannot be written.
    pub async fn rotate(&self) -> Result<String> {
        self.ask(Request::Rotate).await
    }

    /// What has been done.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// How many watch, and how many bytes wait for them to be read.
    pub fn watchers(&self) -> (usize, usize) {
        self.live.waiting()
    }

    /// The entries under a prefix.
    pub fn under(&self, prefix: &str) -> Vec<Entry> {
        let options = ListOptions { prefix: prefix.to_owned(), ..ListOptions::default() };
        self.live.list(&options).map(|page| page.entries).unwrap_or_default()
    }

    /// How many objects there are.
    pub fn objects(&self) -> usize {
        self.live.read().all().count()
    }

    /// Sends a request to the writer and waits for its answer.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request) -> Result<T> {
        let closed = || Error::Unavailable(CLOSED.to_owned());
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(closed)?;
        requests.send(request(reply)).map_err(|_| closed())?;
        self.work.asked.add_one();
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

/// Why a closed store refuses.
const CLOSED: &str = "it is closed";

impl Drop for Embedded {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer ended early");
        }
    }
}

#[async_trait]
impl Store for Embedded {
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
        self.ask(|reply| Request::Commit(transaction, reply)).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        self.live.watch(prefix, after)
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.ask(|reply| Request::Compact(revision, reply)).await
    }

    async fn session(&self, ttl: Duration) -> Result<SessionId> {
        let session = self.ask(|reply| Request::Open(ttl, reply)).await?;
        // The writer, which opened it, is on no runtime.
        self.live.sessions.ensure_task();
        Ok(session)
    }

    async fn keep_alive(&self, session: SessionId) -> Result<()> {
        self.live.sessions.keep_alive(session)
    }

    async fn end_session(&self, session: SessionId) -> Result<()> {
        self.ask(|reply| Request::End(session, reply)).await
    }

    fn expiries(&self) -> BoxStream<'static, SessionId> {
        self.live.sessions.expiries()
    }
}
