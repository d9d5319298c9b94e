//! The one thread that writes.
//!
//! ```text
//! requests ──▶ take all that queued ──▶ draft ──▶ one durable write ──▶ memory and watchers ──▶ answers
//!                                         │             │ failed
//!                                         └─────────────┴───────────▶ answers: unavailable; memory as it was
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::Work;
use super::disk::Disk;
use super::draft::Draft;
use crate::live::Live;
use crate::{Committed, Error, Operation, Result, Revision, SessionId, Transaction};

/// At most this many requests share a write.
const BATCH_REQUESTS_MAX: usize = 256;
/// No further request joins a write of at least this many bytes.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Where an answer goes.
type Reply<T> = oneshot::Sender<Result<T>>;

/// What the writer is asked.
#[derive(Debug)]
pub enum Request {
    /// See [`crate::Store::commit`].
    Commit(Transaction, Reply<Committed>),
    /// See [`crate::Store::compact`].
    Compact(Revision, Reply<()>),
    /// See [`crate::Store::session`].
    Open(Duration, Reply<SessionId>),
    /// See [`crate::Store::end_session`].
    End(SessionId, Reply<()>),
    /// The session expired.
    Forget(SessionId),
    /// See [`super::Embedded::rotate`].
    Rotate(Reply<String>),
    /// See [`super::Embedded::close`].
    Close(Reply<()>),
}

/// An answer that is true once the write has succeeded.
#[derive(Debug)]
enum Answer {
    Commit(Reply<Committed>, Result<Committed>),
    Compact(Reply<()>, Result<()>),
    Open(Reply<SessionId>, SessionId),
    End(Reply<()>, SessionId),
}

/// The state of the thread.
#[derive(Debug)]
pub struct Writer {
    live: Arc<Live>,
    disk: Disk,
    requests: mpsc::UnboundedReceiver<Request>,
    /// The highest session id ever given.
    last_session: u64,
    work: Arc<Work>,
    /// Whether the last write failed.
    failing: bool,
}

impl Writer {
    /// A writer that is yet to run.
    pub fn new(live: Arc<Live>, disk: Disk, requests: mpsc::UnboundedReceiver<Request>, last_session: u64, work: Arc<Work>) -> Self {
        Self { live, disk, requests, last_session, work, failing: false }
    }

    /// Writes until it is told to close, or until nobody is left to ask.
    pub fn run(mut self) {
        let mut closing = None;
        while closing.is_none() {
            let Some(first) = self.requests.blocking_recv() else { break };
            closing = self.turn(first);
        }
        self.requests.close();
        self.live.close();
        let closed = self.disk.close();
        if let Err(error) = &closed {
            tracing::warn!(%error, "the store was not closed cleanly");
        }
        if let Some(reply) = closing {
            let _ = reply.send(closed);
        }
    }

    /// Takes what has queued and writes it. The reply to a request to close, when there was one.
    fn turn(&mut self, first: Request) -> Option<Reply<()>> {
        let recovered = self.recover();
        let mut draft = Draft::new(self.last_session);
        let mut answers = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        let mut closing = None;
        let mut rotations = Vec::new();
        while let Some(request) = next {
            bytes += request_bytes(&request);
            if !matches!(request, Request::Forget(_)) {
                self.work.taken.add_one();
            }
            match request {
                Request::Close(reply) => closing = Some(reply),
                Request::Rotate(reply) => rotations.push(reply),
                request => answers.extend(self.decide(request, &mut draft)),
            }
            let full = answers.len() >= BATCH_REQUESTS_MAX || bytes >= BATCH_BYTES_MAX || closing.is_some();
            next = if full { None } else { self.requests.try_recv().ok() };
        }
        self.work.requests.add(u64::try_from(answers.len()).unwrap_or(0));
        let written = recovered.and_then(|()| self.write(&Arc::new(draft)));
        self.report(written.as_ref().err());
        for answer in answers {
            self.answer(answer, &written);
        }
        if !rotations.is_empty() {
            let rotated = self.recover().and_then(|()| self.disk.rotate());
            for reply in rotations {
                let _ = reply.send(rotated.clone());
            }
        }
        closing
    }

    /// Opens the file again after a failed write, and takes over what it kept in spite of the failure.
    fn recover(&mut self) -> Result<()> {
        let kept = self.disk.recover(self.live.revision())?;
        self.live.publish(&kept);
        Ok(())
    }

    /// Logs the first failure of a row, and the end of the row.
    fn report(&mut self, error: Option<&Error>) {
        match error {
            Some(error) if !self.failing => tracing::error!(%error, "a write to the store failed"),
            None if self.failing => tracing::info!("the store can write again"),
            _ => {}
        }
        self.failing = error.is_some();
    }

    /// Decides one request on top of the draft.
    fn decide(&self, request: Request, draft: &mut Draft) -> Option<Answer> {
        match request {
            Request::Commit(transaction, reply) => {
                let committed = draft.commit(transaction, &self.live.read());
                Some(Answer::Commit(reply, committed))
            }
            Request::Compact(revision, reply) => {
                let compacted = draft.compact(revision, &self.live.read());
                Some(Answer::Compact(reply, compacted))
            }
            Request::Open(ttl, reply) => Some(Answer::Open(reply, draft.open_session(ttl))),
            Request::End(id, reply) => match self.live.sessions.check(id) {
                Ok(()) => {
                    draft.end_session(id);
                    Some(Answer::End(reply, id))
                }
                Err(gone) => {
                    let _ = reply.send(Err(gone));
                    None
                }
            },
            Request::Forget(id) => {
                draft.end_session(id);
                None
            }
            Request::Close(_) | Request::Rotate(_) => None,
        }
    }

    /// Makes the draft durable, then true.
    fn write(&mut self, draft: &Arc<Draft>) -> Result<()> {
        if draft.is_empty() {
            return Ok(());
        }
        let (floor, begun) = (self.live.read().history().floor(), Instant::now());
        let written = self.disk.write(draft, floor);
        self.work.took.observe(begun.elapsed());
        self.work.writes.add_one();
        self.work.failed.add(u64::from(written.is_err()));
        written?;
        self.last_session = draft.last_session;
        self.live.publish(&draft.records);
        if let Some(floor) = draft.floor {
            self.live.compact(floor)?;
        }
        for (id, ttl) in &draft.sessions {
            if let Some(ttl) = ttl {
                self.live.sessions.open(*id, *ttl);
            }
        }
        Ok(())
    }

    /// Tells one caller how it went.
    fn answer(&self, answer: Answer, written: &Result<()>) {
        let failed = written.clone().err();
        match answer {
            Answer::Commit(reply, committed) => drop(reply.send(failed.map_or(committed, Err))),
            Answer::Compact(reply, compacted) => drop(reply.send(failed.map_or(compacted, Err))),
            Answer::Open(reply, id) => drop(reply.send(failed.map_or(Ok(id), Err))),
            Answer::End(reply, id) => drop(reply.send(failed.map_or_else(|| self.live.sessions.end(id), Err))),
        }
    }
}

/// About how many bytes a request adds to a write.
fn request_bytes(request: &Request) -> usize {
    let Request::Commit(transaction, _) = request else { return 0 };
    let bytes = transaction.operations.iter().map(|operation| match operation {
        Operation::Put(key, value) => key.len() + value.len(),
        Operation::Delete(key) => key.len(),
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::Limits;
    use crate::embedded::Options;
    use crate::sessions::Sessions;

    #[test]
    fn a_write_that_is_in_the_file_although_it_failed_becomes_true_with_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits::default();
        let options = Options { limits, ..Options::default() };
        let (disk, loaded) = Disk::open(&directory.path().join("store.redb"), &options).unwrap();
        let live = Arc::new(Live::new(loaded.state, Sessions::new(), limits));
        let (_requests, queue) = mpsc::unbounded_channel();
        let mut writer = Writer::new(live.clone(), disk, queue, 0, Arc::default());
        let watch = live.watch("", 0).unwrap();

        let mut draft = Draft::new(0);
        draft.commit(Transaction::new().put("/a", "1"), &live.read()).unwrap();
        let draft = Arc::new(draft);
        writer.disk.write(&draft, 0).unwrap();
        writer.disk.fail();
        assert!(matches!(writer.disk.write(&draft, 0), Err(Error::Unavailable(_))));
        assert_eq!(live.revision(), 0);

        let (reply, answer) = oneshot::channel();
        writer.turn(Request::Commit(Transaction::new().put("/b", "1"), reply));
        assert_eq!(answer.blocking_recv().unwrap().unwrap(), Committed { revision: 2, changed: true });
        assert!(live.get("/a", None).unwrap().is_some());
        let seen: Vec<Revision> = futures::executor::block_on(watch.take(2).map(|batch| batch.unwrap().revision).collect());
        assert_eq!(seen, [1, 2]);
    }
}
