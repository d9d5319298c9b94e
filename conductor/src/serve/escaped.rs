//! A client's connection whose request targets are made URIs: quotes, `<` and the like are percent-encoded, which means the same to
//! whoever reads the query. hyper would refuse the request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use router::target::{Targets, percent};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The connection.
#[derive(Debug)]
pub struct Escaped<S> {
    stream: S,
    targets: Targets,
    /// Bytes that are yet to be handed on, from this position.
    unread: (Vec<u8>, usize),
}

impl<S> Escaped<S> {
    /// Of a connection that begins.
    pub fn new(stream: S) -> Self {
        Self { stream, targets: Targets::new(percent), unread: (Vec::new(), 0) }
    }

    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let (unread, from) = &mut self.unread;
        let piece = &unread[*from..unread.len().min(*from + buffer.remaining())];
        buffer.put_slice(piece);
        *from += piece.len();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Escaped<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unread.1 < this.unread.0.len() {
            this.hand_on(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        if let Some(changed) = this.targets.read(&buffer.filled()[before..]) {
            buffer.set_filled(before);
            this.unread = (changed, 0);
            this.hand_on(buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Escaped<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, pieces)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn targets_come_out_as_uris_however_small_the_buffer() {
        let (mut client, server) = duplex(256);
        client.write_all(b"GET /a?q=\"<\xe9>\" HTTP/1.1\r\nHost: \"a\"\r\n\r\n").await.unwrap();
        drop(client);
        let mut escaped = Escaped::new(server);
        let (mut piece, mut got) = ([0; 3], Vec::new());
        while let Ok(count @ 1..) = escaped.read(&mut piece).await {
            got.extend_from_slice(&piece[..count]);
        }
        assert_eq!(String::from_utf8_lossy(&got), "GET /a?q=%22%3C%E9%3E%22 HTTP/1.1\r\nHost: \"a\"\r\n\r\n");
    }
}
