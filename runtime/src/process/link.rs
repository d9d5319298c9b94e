//! The runtime's end of the connection to a shim.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::ContainerState;
use crate::process::protocol::{Call, Failure, LINE_BYTES_MAX, Message, Request};
use crate::process::records;

/// How long a shim may take to greet.
const GREETING_PATIENCE: Duration = Duration::from_secs(5);

/// How often to look whether a shim is gone.
const CLOSED_PAUSE: Duration = Duration::from_millis(10);

/// A connection to a living shim.
#[derive(Debug)]
pub(super) struct Link {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    next_id: AtomicU64,
    /// Who waits for an answer; `None` once the shim is gone.
    waiting: Mutex<Option<Answers>>,
}

type Answers = BTreeMap<u64, oneshot::Sender<Result<(), Failure>>>;

/// The shim went away before it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl Link {
    /// Connects to the shim of a pod's directory: the link, what it says from now on, and how the containers are.
    pub async fn connect(dir: &Path) -> io::Result<(Self, Listening, Vec<ContainerState>)> {
        // By way of the directory's descriptor: the system takes no more than 108 bytes of a socket's path.
        let held = File::open(dir)?;
        let path = format!("/proc/self/fd/{}/{}", held.as_raw_fd(), records::SOCKET);
        let stream = UnixStream::connect(path).await?;
        if stream.peer_cred()?.uid() != geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "what listens there runs as another user"));
        }
        let (reader, writer) = stream.into_split();
        let mut listening = Listening { reader: BufReader::with_capacity(4096, reader), line: Vec::new() };
        let greeting = timeout(GREETING_PATIENCE, listening.next()).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let Some(Message::State { containers }) = greeting else { return Err(io::ErrorKind::InvalidData.into()) };
        let waiting = Mutex::new(Some(Answers::new()));
        Ok((Self { writer: tokio::sync::Mutex::new(writer), next_id: AtomicU64::new(1), waiting }, listening, containers))
    }

    /// Asks, and waits for the answer.
    pub async fn call(&self, request: Request) -> Result<Result<(), Failure>, Gone> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting().as_mut().ok_or(Gone)?.insert(id, sender);
        let mut line = serde_json::to_vec(&Call { id, request }).map_err(|_| Gone)?;
        line.push(b'\n');
        self.writer.lock().await.write_all(&line).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// Hands an answer to who waits for it.
    pub fn answered(&self, id: u64, answer: Result<(), Failure>) {
        if let Some(sender) = self.waiting().as_mut().and_then(|waiting| waiting.remove(&id)) {
            // One who does not wait any more is not missed.
            let _ = sender.send(answer);
        }
    }

    /// Notes that the shim is gone: who waits is told, who asks later too.
    pub fn close(&self) {
        *self.waiting() = None;
    }

    /// Waits until the shim is gone.
    pub async fn closed(&self) {
        while !self.is_closed() {
            sleep(CLOSED_PAUSE).await;
        }
    }

    /// Whether the shim is gone.
    pub fn is_closed(&self) -> bool {
        self.waiting().is_none()
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Answers>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a shim says.
#[derive(Debug)]
pub(super) struct Listening {
    reader: BufReader<OwnedReadHalf>,
    line: Vec<u8>,
}

impl Listening {
    /// The next message; `None` when the shim is gone.
    pub async fn next(&mut self) -> io::Result<Option<Message>> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX as u64);
        match limited.read_until(b'\n', &mut self.line).await? {
            0 => Ok(None),
            _ => Ok(Some(serde_json::from_slice(&self.line)?)),
        }
    }
}
