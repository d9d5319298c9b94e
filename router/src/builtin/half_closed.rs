//! A client that has closed its sending side and waits for its answer, told apart from one that is gone.
//!
//! The system shows both alike until something is sent: one that is gone answers that with a reset. So it is looked for one every
//! second, and a client to which nothing could be sent for a while is taken to be gone.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How often it is looked whether the client is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Such a client.
#[derive(Debug)]
pub(super) struct HalfClosed {
    look: Pin<Box<Sleep>>,
    silent_since: Instant,
    silence_max: Duration,
}

impl HalfClosed {
    /// One that has closed its sending side by now.
    pub(super) fn new(silence_max: Duration) -> Self {
        let first = LOOK_EVERY.min(silence_max);
        Self { look: Box::pin(tokio::time::sleep(first)), silent_since: Instant::now(), silence_max }
    }

    /// Something was sent to it.
    pub(super) fn written(&mut self) {
        self.silent_since = Instant::now();
    }

    /// Ready when it is gone.
    pub(super) fn poll_gone(&mut self, stream: &TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.look.as_mut().poll(context).is_ready() {
            if let Some(error) = stream.take_error()? {
                return Poll::Ready(Err(error));
            }
            let now = Instant::now();
            if now.saturating_duration_since(self.silent_since) >= self.silence_max {
                return Poll::Ready(Ok(()));
            }
            self.look.as_mut().reset(now + LOOK_EVERY);
        }
        Poll::Pending
    }
}
