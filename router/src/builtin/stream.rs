//! The socket to an endpoint: the target of a request is written as its client sent it, and an answer is read even when no
//! more can be written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::target;

/// Whether the target of the next request has replaced bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Replaced(Arc<AtomicBool>);

impl Replaced {
    /// To be called before the request is handed to hyper.
    pub(super) fn set(&self) {
        self.0.store(true, Relaxed);
    }
}

/// A connection's socket.
#[derive(Debug)]
pub(super) struct Stream {
    io: TokioIo<TcpStream>,
    replaced: Replaced,
    /// A request line that is being written: its bytes, how many are, and how many of hyper's bytes it stands for.
    line: Option<(Vec<u8>, usize, usize)>,
    /// Nothing can be written any more.
    is_broken: bool,
}

impl Stream {
    pub(super) fn new(stream: TcpStream) -> (Self, Replaced) {
        let replaced = Replaced::default();
        (Self { io: TokioIo::new(stream), replaced: replaced.clone(), line: None, is_broken: false }, replaced)
    }

    fn poll_write_bytes(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.replaced.0.load(Relaxed) && self.replaced.0.swap(false, Relaxed) {
            self.line = request_line(bytes);
        }
        let Some((line, written, stands_for)) = &mut self.line else { return Pin::new(&mut self.io).poll_write(context, bytes) };
        while *written < line.len() {
            *written += ready!(Pin::new(&mut self.io).poll_write(context, &line[*written..]))?;
        }
        let stands_for = *stands_for;
        self.line = None;
        Poll::Ready(Ok(stands_for))
    }
}

/// The request line at the beginning as it is to be written. hyper hands over a head as one piece.
fn request_line(bytes: &[u8]) -> Option<(Vec<u8>, usize, usize)> {
    let end = memchr::memchr(b'\n', bytes)? + 1;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    Some((target::restore(line).into_owned(), 0, end))
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(context, buffer)
    }
}

impl Write for Stream {
    /// An endpoint that refuses an upload answers, closes, and lets what is still sent be reset. The answer may be here all the
    /// same; hyper would not look for it after an error. So writing waits for ever then, and reading says how it ends.
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_broken {
            return Poll::Pending;
        }
        match ready!(this.poll_write_bytes(context, bytes)) {
            Ok(count) => Poll::Ready(Ok(count)),
            Err(error) => {
                tracing::trace!(%error, "no more can be written to an endpoint");
                this.is_broken = true;
                Poll::Pending
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}
