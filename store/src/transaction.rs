//! What a transaction asks for.

use bytes::Bytes;

use crate::Revision;

/// A condition on one key, checked before anything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key is absent.
    Absent(String),
    /// The key is there, whatever its revision.
    Present(String),
    /// The key was last modified at exactly this revision.
    Modified(String, Revision),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Keep these bytes under this key. No change when they are there already.
    Put(String, Bytes),
    /// Remove the key. No change when it is absent.
    Delete(String),
}

/// Comparisons and operations that succeed or fail as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Performed in order. A key may occur once.
    pub operations: Vec<Operation>,
}

impl Transaction {
    /// A transaction that does nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.operations.push(Operation::Put(key.into(), value.into()));
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.operations.push(Operation::Delete(key.into()));
        self
    }
}
