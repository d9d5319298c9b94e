//! What can go wrong in a store.

use crate::{Revision, SessionId};

/// The result of a call on a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a store refused or failed a call.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A comparison of the transaction did not hold; nothing was changed.
    #[error("conflict on {key}: it is at revision {actual}")]
    Conflict {
        /// The key whose comparison failed.
        key: String,
        /// The revision it was last modified at; 0 when it is absent.
        actual: Revision,
    },
    /// The asked revision lies before the kept history: list again.
    #[error("revision {asked} is too old, history begins after {oldest}: list again")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can still be read or watched from.
        oldest: Revision,
    },
    /// The asked revision has not been reached.
    #[error("revision {asked} is not reached yet, the store is at {current}")]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The newest revision.
        current: Revision,
    },
    /// No such session: it ended or never was.
    #[error("session {0:?} has ended")]
    SessionGone(SessionId),
    /// The reader of a watch fell so far behind that events would have to be kept without bound: list again.
    #[error("the watch fell too far behind: list again")]
    Lagged,
    /// Another process holds the file.
    #[error("the store {path} is in use by another process: stop it first, or name another directory")]
    InUse {
        /// The file.
        path: String,
    },
    /// The file was written by a newer version of this program.
    #[error("the store {path} has format {found}, this program reads up to {supported}: use a newer version")]
    NewerFormat {
        /// The file.
        path: String,
        /// The format number found.
        found: u64,
        /// The newest format that this program knows.
        supported: u64,
    },
    /// The file is not a store, or is damaged.
    #[error("the store {path} cannot be read: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The keys that values are sealed with are missing, wrong, or kept where others may read them.
    #[error("the key file {path}: {reason}")]
    Key {
        /// The key file.
        path: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A backup is whole, and anybody could have written it.
    #[error("the backup cannot be used: nobody vouches for it: it was made by an older version, or by whoever could write the file")]
    Unvouched,
    /// A backup is not one, or is damaged.
    #[error("the backup cannot be used: {0}")]
    Backup(String),
    /// The store could not keep the change (disk full, read-only, shutting down).
    #[error("the store cannot write: {0}")]
    Unavailable(String),
}
