//! A client's connection under watch: the head of a request must arrive in time, rest has an end, and whoever does not read what is
//! sent is cut off.
//!
//! ```text
//!            request            answer sent
//! HEAD ─────────────▶ BUSY ─────────────▶ REST        FREE: HTTP/2, which looks after itself, and what was upgraded
//!   ▲                                       │
//!   └──────────────── first byte ───────────┘
//! ```

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::Response;
use http::{StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long each may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The head of a request, from its first byte, or from the beginning of the connection.
    pub head: Duration,
    /// A connection between two requests.
    pub rest: Duration,
    /// Something that is sent, until the client takes some of it.
    pub write: Duration,
}

const HEAD: u8 = 0;
const BUSY: u8 = 1;
const REST: u8 = 2;
const FREE: u8 = 3;

/// What a connection is doing.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU8>);

impl Pulse {
    /// A request's head is complete.
    pub fn busy(&self, version: Version) {
        self.0.store(if version == Version::HTTP_2 { FREE } else { BUSY }, Relaxed);
    }

    /// An answer that says when it is sent.
    pub fn until_sent(&self, response: Response) -> Response {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.0.store(FREE, Relaxed);
            return response;
        }
        let sent = Sent(self.clone());
        response.map(|body| api::body_holding(body, sent))
    }

    fn phase(&self) -> u8 {
        self.0.load(Relaxed)
    }
}

/// Held by the body of an answer, dropped when all of it is sent.
struct Sent(Pulse);

impl Drop for Sent {
    fn drop(&mut self) {
        let _ = self.0.0.compare_exchange(BUSY, REST, Relaxed, Relaxed);
    }
}

/// A connection under watch.
#[derive(Debug)]
pub struct Timed<S> {
    stream: S,
    pulse: Pulse,
    patience: Patience,
    /// Fires now and then while nothing is read.
    tick: Pin<Box<Sleep>>,
    /// The phase that was last seen, and since when it lasts.
    since: (u8, Instant),
    /// Fires when a write has waited too long; there while one waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    /// Watches over a connection that was just accepted.
    pub fn new(stream: S, pulse: Pulse, patience: Patience) -> Self {
        let tick = Box::pin(sleep(patience.head));
        Self { stream, pulse, patience, tick, since: (HEAD, Instant::now()), stalled: None }
    }

    /// Looks whether time is up: an error for a head that takes too long, ready, as at the end of input, for a rest that is over.
    fn poll_time_up(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let (phase, now) = (self.pulse.phase(), Instant::now());
            if phase != self.since.0 {
                self.since = (phase, now);
            }
            let end = match phase {
                HEAD => self.since.1 + self.patience.head,
                REST => self.since.1 + self.patience.rest,
                FREE => return Poll::Pending,
                // A body or an answer is under way; what is too slow then is told elsewhere.
                _ => now + self.patience.head,
            };
            if phase != BUSY && now >= end {
                return Poll::Ready(if phase == HEAD { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) });
            }
            // Looking again soon finds the moment at which a phase began, which nobody tells.
            let look = end.min(now + self.patience.head);
            if self.tick.deadline() <= now || self.tick.deadline() > look {
                self.tick.as_mut().reset(look);
            }
            if self.tick.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Passes on how a write went; one that waits too long is an error.
    fn poll_stalled<T>(&mut self, context: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() || self.pulse.phase() == FREE {
            self.stalled = None;
            return write;
        }
        let patience = self.patience.write;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Pending => this.poll_time_up(context),
            Poll::Ready(read) => {
                if this.pulse.0.compare_exchange(REST, HEAD, Relaxed, Relaxed).is_ok() {
                    this.since = (HEAD, Instant::now());
                }
                Poll::Ready(read)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.poll_stalled(context, write)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flush = Pin::new(&mut this.stream).poll_flush(context);
        this.poll_stalled(context, flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shutdown = Pin::new(&mut this.stream).poll_shutdown(context);
        this.poll_stalled(context, shutdown)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = Pin::new(&mut this.stream).poll_write_vectored(context, pieces);
        this.poll_stalled(context, write)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use axum::body::Body;

    use super::*;

    const PATIENCE: Patience = Patience { head: Duration::from_secs(15), rest: Duration::from_secs(120), write: Duration::from_secs(60) };

    fn seconds(since: Instant) -> u64 {
        since.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_slow_is_cut_off_however_it_trickles() {
        let (mut client, server) = duplex(64);
        let begun = Instant::now();
        let mut timed = Timed::new(server, Pulse::default(), PATIENCE);
        let trickle = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(4)).await;
            }
        });
        let mut bytes = Vec::new();
        assert_eq!(timed.read_to_end(&mut bytes).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(seconds(begun), 15);
        drop(timed);
        trickle.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn rest_lasts_long_and_the_next_head_is_timed_again() {
        let (mut client, server) = duplex(64);
        let pulse = Pulse::default();
        let mut timed = Timed::new(server, pulse.clone(), PATIENCE);
        pulse.busy(Version::HTTP_11);
        client.write_all(b"a").await.unwrap();
        let mut byte = [0];
        timed.read_exact(&mut byte).await.unwrap();
        drop(pulse.until_sent(Response::new(Body::empty())));
        let (rested, mut rest) = (Instant::now(), Vec::new());
        let feed = tokio::spawn(async move {
            sleep(Duration::from_secs(100)).await;
            client.write_all(b"b").await.unwrap();
            client
        });
        timed.read_exact(&mut byte).await.unwrap();
        assert_eq!((seconds(rested), byte), (100, *b"b"));
        let client = feed.await.unwrap();
        assert!(timed.read_to_end(&mut rest).await.is_err());
        assert_eq!(seconds(rested), 115, "a head that begins is to be finished");
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_that_is_over_ends_as_input_does() {
        let (_client, server) = duplex(64);
        let pulse = Pulse::default();
        let mut timed = Timed::new(server, pulse.clone(), PATIENCE);
        pulse.busy(Version::HTTP_11);
        drop(pulse.until_sent(Response::new(Body::empty())));
        let (begun, mut bytes) = (Instant::now(), Vec::new());
        assert_eq!(timed.read_to_end(&mut bytes).await.unwrap(), 0);
        assert_eq!(seconds(begun), 120);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_cut_off_and_a_tunnel_is_not() {
        let (_client, server) = duplex(64);
        let mut timed = Timed::new(server, Pulse::default(), PATIENCE);
        timed.pulse.busy(Version::HTTP_11);
        let begun = Instant::now();
        assert_eq!(timed.write_all(&[0; 1000]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(seconds(begun), 60);

        let (_client, server) = duplex(64);
        let mut timed = Timed::new(server, Pulse::default(), PATIENCE);
        let mut upgraded = Response::new(Body::empty());
        *upgraded.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        drop(timed.pulse.until_sent(upgraded));
        let write = tokio::time::timeout(Duration::from_secs(600), timed.write_all(&[0; 1000]));
        assert!(write.await.is_err(), "it waits");
    }
}
