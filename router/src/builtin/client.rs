//! One connection from a client, and the watch over it: a head must arrive in time, and rest has an end.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Version};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::core::Core;
use super::early::Early;
use super::forwarded::Forwarded;
use super::half_closed::HalfClosed;
use crate::places::{Place, Work};
use crate::target::{self, Targets};

/// Answers up to this size are written in one piece.
const GATHERED_BYTES_MAX: usize = 4096;

/// How long a client that still sends is listened to after its last answer.
const LINGER_MAX: Duration = Duration::from_secs(5);
/// How many times in a row a connection is read away before others have their turn.
const READS_AT_ONCE: usize = 16;
/// The most bytes that are read at once.
const PIECE_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// Where bytes are looked through before they are handed on: one for all connections of a thread, as none keeps it.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE_BYTES_MAX]);
}

/// What the requests of one connection share.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) core: Arc<Core>,
    /// Which shelf of each endpoint's idle connections this thread uses.
    pub(super) shelf: usize,
    pub(super) pulse: Pulse,
    pub(super) early: Early,
    pub(super) is_trusted: bool,
    pub(super) peer: IpAddr,
    /// The address as `X-Forwarded-For` gives it.
    pub(super) address: HeaderValue,
    /// How many of its requests were handed over to be answered.
    pub(super) begun: AtomicU64,
    /// The last `Forwarded` and the host it was made for: a connection seldom asks for two.
    pub(super) forwarded: Mutex<Option<Forwarded>>,
    /// Where there are only so many.
    pub(super) place: Option<Arc<Place>>,
}

impl Client {
    pub(super) fn new(core: Arc<Core>, shelf: usize, peer: SocketAddr, place: Option<Arc<Place>>) -> Self {
        let address = peer.ip().to_canonical();
        core.tolls.connections.fetch_add(1, Relaxed);
        Self {
            is_trusted: core.options.trusts(address),
            peer: address,
            core,
            shelf,
            pulse: Pulse::default(),
            early: Early::default(),
            address: HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("unknown")),
            begun: AtomicU64::new(0),
            forwarded: Mutex::default(),
            place,
        }
    }
}

impl Client {
    /// Marks that a request has begun, until it is dropped.
    pub(super) fn work(&self) -> Option<Work> {
        self.place.as_ref().map(Place::work)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.core.tolls.connections.fetch_sub(1, Relaxed);
    }
}

/// What a connection is doing.
///
/// ```text
///            request            answer passed on
/// HEAD ─────────────▶ BUSY ─────────────▶ REST        FREE: HTTP/2 and tunnels, which look after themselves
///   ▲                                       │
///   └──────────────── first byte ───────────┘
/// ```
#[derive(Debug, Default)]
pub(super) struct Pulse {
    phase: AtomicU8,
    was_written: AtomicBool,
}

const HEAD: u8 = 0;
const BUSY: u8 = 1;
const REST: u8 = 2;
const FREE: u8 = 3;

impl Pulse {
    /// A request's head is complete.
    pub(super) fn busy(&self, version: Version) {
        self.phase.store(if version == Version::HTTP_2 { FREE } else { BUSY }, Relaxed);
    }

    /// The answer was handed over for writing.
    pub(super) fn rest(&self) {
        let _ = self.phase.compare_exchange(BUSY, REST, Relaxed, Relaxed);
    }

    /// The connection became a tunnel.
    pub(super) fn free(&self) {
        self.phase.store(FREE, Relaxed);
    }

    fn is(&self, phase: u8) -> bool {
        self.phase.load(Relaxed) == phase
    }
}

/// A client's socket under the watch of its [`Pulse`].
#[derive(Debug)]
pub(super) struct Watched {
    io: TokioIo<TcpStream>,
    client: Arc<Client>,
    /// Fires every `period` for as long as the connection lasts, so that no request touches the timer wheel.
    tick: Pin<Box<Sleep>>,
    head_since: Instant,
    rest_ticks: u32,
    gathered: Vec<u8>,
    targets: Targets,
    /// Bytes read that are yet to be handed on, from this position.
    unread: (Vec<u8>, usize),
    /// What is left of an interim answer; nothing else is written before it.
    interim: Vec<u8>,
    /// Fires when a client that still sends after the last answer was listened to for long enough.
    lingering: Option<Pin<Box<Sleep>>>,
    /// Fires when a write has waited too long; there while one waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// There once the client has closed its sending side while it waits for an answer.
    half_closed: Option<HalfClosed>,
}

/// What a read came to.
enum Input {
    Bytes,
    /// No more will come.
    End,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, client: Arc<Client>) -> Self {
        let tick = Box::pin(tokio::time::sleep(period(&client)));
        Self {
            io: TokioIo::new(stream),
            client,
            tick,
            head_since: Instant::now(),
            rest_ticks: 0,
            gathered: Vec::new(),
            targets: Targets::new(target::private),
            unread: (Vec::new(), 0),
            interim: Vec::new(),
            lingering: None,
            stalled: None,
            half_closed: None,
        }
    }

    /// Looks whether time is up: an error for a head that takes too long, ready for a rest that has lasted long enough.
    fn poll_time_up(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.client.pulse.is(FREE) {
            return Poll::Pending;
        }
        while self.tick.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let options = &self.client.core.options;
            let period = period(&self.client);
            if self.client.pulse.is(HEAD) && now.saturating_duration_since(self.head_since) >= options.header_timeout {
                self.tell_late();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let rests = self.client.pulse.is(REST) && !self.client.pulse.was_written.swap(false, Relaxed);
            self.rest_ticks = if rests { self.rest_ticks.saturating_add(1) } else { 0 };
            if period * self.rest_ticks >= options.idle_timeout && rests {
                return Poll::Ready(Ok(()));
            }
            self.tick.as_mut().reset(now + period);
        }
        Poll::Pending
    }

    /// Says why the connection is closed to a client that began a request (RFC 9110, 15.5.9). No answer is under way: its request is
    /// not here yet. What the socket does not take at once is not worth waiting for.
    fn tell_late(&self) {
        const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        if !self.targets.is_between() && !self.targets.is_off() {
            let _ = self.io.inner().try_write(LATE);
        }
    }

    /// Passes on how a write went; one that waits too long is an error, except in a tunnel.
    fn poll_stalled<T>(&mut self, context: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() || self.client.pulse.is(FREE) {
            self.stalled = None;
            return write;
        }
        let patience = self.client.core.options.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Reads, with request targets made such that hyper takes them.
    fn poll_input(&mut self, context: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<Input>> {
        if self.client.pulse.is(REST) {
            self.targets.resume();
        }
        if self.client.early.is_waiting() {
            self.write_early();
        }
        let (unread, from) = &mut self.unread;
        if *from < unread.len() {
            let piece = &unread[*from..unread.len().min(*from + buffer.remaining())];
            buffer.put_slice(piece);
            *from += piece.len();
            return Poll::Ready(Ok(Input::Bytes));
        }
        if self.targets.is_off() {
            return Pin::new(&mut self.io).poll_read(context, buffer).map_ok(|()| Input::Bytes);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let room = scratch.len().min(buffer.remaining());
            let mut piece = ReadBuf::new(&mut scratch[..room]);
            ready!(Pin::new(&mut self.io).poll_read(context, piece.unfilled()))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(Input::End));
            }
            match self.targets.read(piece.filled()) {
                None => buffer.put_slice(piece.filled()),
                Some(changed) => {
                    let now = changed.len().min(buffer.remaining());
                    buffer.put_slice(&changed[..now]);
                    self.unread = (changed, now);
                }
            }
            Poll::Ready(Ok(Input::Bytes))
        })
    }

    /// The end of input is kept back while an answer to a whole request is owed: the client may have closed its sending side alone
    /// (RFC 9112, 9.6), and hyper would take it to be gone. Ready when nothing is owed any more, or the client is gone.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A request that hyper has read and not yet handed over is owed an answer, too.
        let is_waiting = self.targets.requests() > self.client.begun.load(Relaxed);
        let is_owed = self.targets.is_between() && !self.client.pulse.is(FREE) && (is_waiting || self.client.pulse.is(BUSY));
        if !is_owed {
            return Poll::Ready(Ok(()));
        }
        let silence_max = self.client.core.options.silence_max;
        self.half_closed.get_or_insert_with(|| HalfClosed::new(silence_max)).poll_gone(self.io.inner(), context)
    }

    /// Writes interim answers; see [`Early`].
    fn write_early(&mut self) {
        if !self.client.pulse.is(BUSY) || self.stalled.is_some() || !self.interim.is_empty() {
            return;
        }
        let mut bytes = self.client.early.take();
        if let Ok(written) = self.io.inner().try_write(&bytes) {
            bytes.drain(..written);
            self.interim = bytes;
        }
    }

    /// Ready once no interim answer is left half written.
    fn poll_interim(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(context, &self.interim))?;
            self.interim.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once the client has closed, or time is up.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let until = self.lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_MAX)));
        if until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            for _ in 0..READS_AT_ONCE {
                let mut piece = ReadBuf::new(scratch);
                match ready!(Pin::new(&mut self.io).poll_read(context, piece.unfilled())) {
                    Ok(()) if !piece.filled().is_empty() => {}
                    Ok(()) | Err(_) => return Poll::Ready(Ok(())),
                }
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn note_write(&mut self) {
        if let Some(half_closed) = &mut self.half_closed {
            half_closed.written();
        }
        if self.client.pulse.is(REST) {
            self.client.pulse.was_written.store(true, Relaxed);
        }
    }
}

/// A head ends at most this much later than it may; a rest is measured in these.
fn period(client: &Client) -> Duration {
    (client.core.options.header_timeout / 2).max(Duration::from_millis(10))
}

/// The pieces in one, if they are small: one plain write is cheaper for the system than a gathering one.
fn gathered<'a>(pieces: &[io::IoSlice<'_>], into: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > GATHERED_BYTES_MAX {
        return None;
    }
    into.clear();
    for piece in pieces {
        into.extend_from_slice(piece);
    }
    Some(into)
}

impl Read for Watched {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let input = match this.poll_input(context, buffer) {
            Poll::Ready(Ok(Input::End)) => this.poll_end(context),
            other => other.map_ok(|_| ()),
        };
        match input {
            // Ready without a byte means the end of input, which closes a resting connection in good order.
            Poll::Pending => this.poll_time_up(context),
            Poll::Ready(read) => {
                if this.client.pulse.phase.compare_exchange(REST, HEAD, Relaxed, Relaxed).is_ok() {
                    this.head_since = Instant::now();
                }
                Poll::Ready(read)
            }
        }
    }
}

impl Write for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.note_write();
        let write = match this.poll_interim(context) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.io).poll_write(context, bytes),
            other => other.map_ok(|()| 0),
        };
        this.poll_stalled(context, write)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    /// A client that is in the middle of sending would be told by a reset, and lose the answer to it, if the socket were closed at
    /// once (RFC 9112, 9.6). So its input is read away for a while.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(context))?;
            if this.client.pulse.is(REST) {
                this.targets.resume();
            }
            if this.targets.is_between() || this.targets.is_off() {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_linger(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.note_write();
        let interim = this.poll_interim(context);
        let write = match gathered(pieces, &mut this.gathered) {
            _ if !matches!(interim, Poll::Ready(Ok(()))) => interim.map_ok(|()| 0),
            None => Pin::new(&mut this.io).poll_write_vectored(context, pieces),
            Some(text) => Pin::new(&mut this.io).poll_write(context, text),
        };
        this.poll_stalled(context, write)
    }
}
