//! Where objects live: one revision counter for all keys, transactions, and watches that resume.
//!
//! A [`Store`] keeps bytes under keys `/<group>/<plural>/<namespace>/<name>`; it knows nothing of kinds. Every committed
//! transaction that changes something is exactly one [`Revision`]; one that changes nothing moves no revision and writes
//! nothing durable. A watch opened after revision N receives every later change once, in order, or is told that N is too
//! old and that it must list again.
//!
//! [`memory`] keeps all in memory; `embedded` adds a file on disk. Both answer every read from the same state in memory
//! (the private module `live`), and both pass the suite in `tests/it/conformance.rs`.

mod error;
mod evaluate;
mod history;
mod hub;
mod limits;
mod live;
mod sessions;
mod state;
mod transaction;

#[cfg(feature = "embedded")]
pub mod embedded;
pub mod memory;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use error::{Error, Result};
pub use limits::Limits;
pub use transaction::{Compare, Operation, Transaction};

/// A position in the store's one history. The first committed change is revision 1; 0 is the empty store.
pub type Revision = u64;

/// A value as it stood at some revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key it is kept under.
    pub key: String,
    /// The bytes last put.
    pub value: Bytes,
    /// The revision that first put the key since it was last absent.
    pub created: Revision,
    /// The revision that last changed the value.
    pub modified: Revision,
}

/// What a list asks for: keys that begin with `prefix`, in ascending byte order.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Only keys that begin with this.
    pub prefix: String,
    /// As things stood at this revision; `None` is the newest.
    pub at: Option<Revision>,
    /// At most this many entries; `None` is all.
    pub limit: Option<usize>,
    /// Only keys strictly greater than this one: the last key of the page before.
    pub after: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The entries, ascending by key.
    pub entries: Vec<Entry>,
    /// The revision at which the page is true. Ask the next page `at` it.
    pub revision: Revision,
    /// How many entries match beyond this page.
    pub remaining: usize,
}

/// What a transaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The store's revision after it: a new one when something changed, the current one otherwise.
    pub revision: Revision,
    /// Whether anything changed.
    pub changed: bool,
}

/// One change to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The key that changed.
    pub key: String,
    /// The revision that changed it.
    pub revision: Revision,
    /// What is there after the change; `None` when the key was deleted.
    pub entry: Option<Entry>,
    /// What was there before; `None` when the key was absent.
    pub previous: Option<Entry>,
}

/// All changes of one revision that a watch asked for; or the news that the store reached a revision with none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The revision.
    pub revision: Revision,
    /// The changes, in the order of the transaction.
    pub events: Vec<Event>,
}

/// The name of a session: soft state that ends by itself when nobody keeps it alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// A stream of batches, ascending by revision. It ends with an error when its reader fell too far behind.
pub type Watch = BoxStream<'static, Result<Batch>>;

/// A place where objects live.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest committed revision.
    fn revision(&self) -> Revision;

    /// The entry under `key`, or `None`; at an older revision when `at` says so.
    /// Errors: [`Error::Compacted`], [`Error::Future`].
    async fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Entry>>;

    /// The entries under a prefix. Errors: [`Error::Compacted`], [`Error::Future`].
    async fn list(&self, options: ListOptions) -> Result<Page>;

    /// Checks every comparison, then performs every operation, all or nothing, durably before it returns.
    /// Errors: [`Error::Conflict`] with the key whose comparison failed; [`Error::Unavailable`] when it could not be kept.
    async fn commit(&self, transaction: Transaction) -> Result<Committed>;

    /// Every change under `prefix` with a revision greater than `after`, then those to come.
    /// Errors: [`Error::Compacted`] when the history no longer reaches back to `after`; [`Error::Future`] when `after`
    /// has not been reached.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch>;

    /// Forgets history up to and including `revision`: reads at and watches after an older one are then refused as
    /// compacted. Errors: [`Error::Future`]; [`Error::Unavailable`] when it could not be kept.
    async fn compact(&self, revision: Revision) -> Result<()>;

    /// Opens a session that ends `ttl` after it was last kept alive. No id is ever given twice.
    /// Errors: [`Error::Unavailable`] when it could not be kept.
    async fn session(&self, ttl: Duration) -> Result<SessionId>;

    /// Puts the end of a session off by its time to live. Never a durable write. Errors: [`Error::SessionGone`].
    async fn keep_alive(&self, session: SessionId) -> Result<()>;

    /// Ends a session now; it is reported like an expiry. Errors: [`Error::SessionGone`].
    async fn end_session(&self, session: SessionId) -> Result<()>;

    /// The sessions that end from here on, each once.
    fn expiries(&self) -> BoxStream<'static, SessionId>;
}
