//! Who watches what, and the queues between the writer and the watchers.
//!
//! Watchers of the same prefix form a group. A revision looks up, for each key it changed, one group for each length
//! that any prefix has: what nobody watches costs nothing, and the number of watchers of other prefixes does not matter.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::vec;

use futures::Stream;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::history::Record;
use crate::{Batch, Error, Limits, Result, Revision};

/// All live watches.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    groups: HashMap<Box<str>, Group>,
    /// How many groups have a prefix of this many bytes.
    lengths: BTreeMap<usize, usize>,
    last_id: u64,
}

/// The watchers of one prefix.
#[derive(Debug, Default)]
struct Group {
    queues: HashMap<u64, Queue>,
    /// The revision last sent, so that one with several keys under the prefix is sent once.
    sent: Revision,
}

/// The writer's end of one watch.
#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<Arc<Record>>,
    fill: Arc<Fill>,
    bytes_max: usize,
}

/// How full a queue is, and whether it overflowed.
#[derive(Debug, Default)]
struct Fill {
    bytes: AtomicUsize,
    lagged: AtomicBool,
}

impl Hub {
    /// Sends one revision to all whose prefix it touches. Watchers whose queue is full are dropped from the hub.
    pub fn publish(&mut self, record: &Arc<Record>) {
        for change in &record.changes {
            for length in self.lengths.keys() {
                let group = change.key.get(..*length).and_then(|prefix| self.groups.get_mut(prefix));
                if let Some(group) = group.filter(|group| group.sent < record.revision) {
                    group.sent = record.revision;
                    group.queues.retain(|_, queue| queue.offer(record));
                }
            }
        }
    }

    /// Adds a watcher that receives every revision published from here on.
    pub fn join(hub: &Arc<Mutex<Self>>, locked: &mut Self, prefix: &str, limits: &Limits) -> Subscription {
        let (sender, receiver) = mpsc::channel(limits.watch_batches_max.max(1));
        let fill = Arc::new(Fill::default());
        locked.last_id += 1;
        let id = locked.last_id;
        let group = locked.groups.entry(prefix.into()).or_insert_with(|| {
            *locked.lengths.entry(prefix.len()).or_default() += 1;
            Group::default()
        });
        group.queues.insert(id, Queue { sender, fill: fill.clone(), bytes_max: limits.watch_bytes_max });
        let member = Member { hub: Arc::downgrade(hub), prefix: prefix.into(), id };
        Subscription { replay: Vec::new().into_iter(), receiver, fill, member, ended: false }
    }

    /// How many watch, and how many bytes wait for them to be read.
    #[cfg(feature = "embedded")]
    pub fn waiting(&self) -> (usize, usize) {
        let queues = || self.groups.values().flat_map(|group| group.queues.values());
        (queues().count(), queues().map(|queue| queue.fill.bytes.load(Ordering::Relaxed)).sum())
    }

    /// Ends every watch.
    #[cfg(feature = "embedded")]
    pub fn clear(&mut self) {
        self.groups.clear();
        self.lengths.clear();
    }

    fn leave(&mut self, prefix: &str, id: u64) {
        let Some(group) = self.groups.get_mut(prefix) else { return };
        group.queues.remove(&id);
        if !group.queues.is_empty() {
            return;
        }
        self.groups.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }
}

impl Queue {
    /// Sends a revision without waiting; false when the watch is over.
    fn offer(&self, record: &Arc<Record>) -> bool {
        let bytes = record.bytes();
        let waiting = self.fill.bytes.fetch_add(bytes, Ordering::AcqRel);
        let sent = if waiting > 0 && waiting + bytes > self.bytes_max {
            Err(TrySendError::Full(()))
        } else {
            self.sender.try_send(record.clone()).map_err(|error| match error {
                TrySendError::Full(_) => TrySendError::Full(()),
                TrySendError::Closed(_) => TrySendError::Closed(()),
            })
        };
        if matches!(sent, Err(TrySendError::Full(()))) {
            self.fill.lagged.store(true, Ordering::Release);
        }
        sent.is_ok()
    }
}

/// The reader's end of one watch: first the replay, then what is published.
#[derive(Debug)]
pub(crate) struct Subscription {
    replay: vec::IntoIter<Arc<Record>>,
    receiver: mpsc::Receiver<Arc<Record>>,
    fill: Arc<Fill>,
    member: Member,
    ended: bool,
}

impl Subscription {
    /// Delivers these before anything that was published since the watcher joined. All touch its prefix.
    pub fn replay(&mut self, records: Vec<Arc<Record>>) {
        self.replay = records.into_iter();
    }
}

impl Stream for Subscription {
    type Item = Result<Batch>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(record) = this.replay.next() {
            return Poll::Ready(Some(Ok(record.batch(&this.member.prefix))));
        }
        if let Some(record) = ready!(this.receiver.poll_recv(context)) {
            this.fill.bytes.fetch_sub(record.bytes(), Ordering::AcqRel);
            return Poll::Ready(Some(Ok(record.batch(&this.member.prefix))));
        }
        let lagged = this.fill.lagged.load(Ordering::Acquire) && !this.ended;
        this.ended = true;
        Poll::Ready(lagged.then_some(Err(Error::Lagged)))
    }
}

/// A place in the hub, given back on drop.
#[derive(Debug)]
struct Member {
    hub: Weak<Mutex<Hub>>,
    prefix: Box<str>,
    id: u64,
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.lock().unwrap_or_else(PoisonError::into_inner).leave(&self.prefix, self.id);
        }
    }
}
