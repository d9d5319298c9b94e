//! A connection to an endpoint, kept alive from one request to the next.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::poll_fn;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::{Upload, UploadProgress};
use super::deadline::Deadline;
use super::endpoint::Seat;
use super::options::Options;

/// How long an answer's head may be, in bytes; bodies are read in pieces no larger.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// One HTTP/1.1 connection; its task is driven elsewhere and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Link {
    sender: SendRequest<Upload>,
    deadline: Deadline,
    used_at: Instant,
    rest_max: Duration,
}

/// Why a request got no answer from an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection could be had.
    Connect,
    /// No connection could be had in time.
    ConnectTimeout,
    /// The connection ended before an answer began.
    Broken,
    /// The answer did not begin in time.
    ResponseTimeout,
}

/// A request that got no answer, given back when no part of it was sent.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) trouble: Trouble,
    pub(super) request: Option<Request<Upload>>,
}

impl Link {
    /// Connects to the endpoint of `seat`.
    pub(super) async fn open(seat: &Seat, options: &Options) -> Result<Self, Trouble> {
        let connect = TcpStream::connect(seat.endpoint.address);
        let stream = match tokio::time::timeout(options.connect_timeout, connect).await {
            Err(_elapsed) => return Err(Trouble::ConnectTimeout),
            Ok(Err(_refused)) => return Err(Trouble::Connect),
            Ok(Ok(stream)) => stream,
        };
        // Without it small writes may wait for the other side's delayed acknowledgement. A socket that refuses is gone anyway.
        let _ = stream.set_nodelay(true);
        let handshake = Builder::new().writev(false).max_buf_size(BUFFER_BYTES_MAX).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|_| Trouble::Connect)?;
        let driver = tokio::spawn(async move {
            // How it ended reaches whoever waits for an answer.
            let _ = connection.with_upgrades().await;
        });
        if !seat.endpoint.adopt(driver.abort_handle(), seat.cuts()) {
            return Err(Trouble::Broken);
        }
        let deadline = Deadline::new(options.response_timeout);
        Ok(Self { sender, deadline, used_at: Instant::now(), rest_max: options.link_idle })
    }

    /// Sends a request and waits for the head of its answer, `patience` from `sent_at` or from the last byte of its body.
    pub(super) async fn send(
        &mut self,
        request: Request<Upload>,
        sent_at: Instant,
        patience: Duration,
    ) -> Result<Response<Incoming>, Unanswered> {
        let progress = request.body().progress();
        let last_sent = || progress.as_ref().map_or(sent_at, |progress: &Arc<UploadProgress>| progress.latest().max(sent_at));
        let mut answer = pin!(self.sender.try_send_request(request));
        let deadline = &mut self.deadline;
        let answer = poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            deadline.poll_passed(context, || last_sent() + patience).map(|()| None)
        });
        match answer.await {
            None => Err(Unanswered { trouble: Trouble::ResponseTimeout, request: None }),
            Some(Err(mut error)) => Err(Unanswered { trouble: Trouble::Broken, request: error.take_message() }),
            Some(Ok(response)) => {
                self.heed_keep_alive(response.headers());
                Ok(response)
            }
        }
    }

    /// Notes how long the endpoint says it keeps the connection, and stays a second below.
    fn heed_keep_alive(&mut self, headers: &HeaderMap) {
        let Some(value) = headers.get("keep-alive").and_then(|value| value.to_str().ok()) else { return };
        let seconds = value.split(',').find_map(|word| word.trim().strip_prefix("timeout=")?.parse::<u64>().ok());
        if let Some(seconds) = seconds {
            self.rest_max = self.rest_max.min(Duration::from_secs(seconds.saturating_sub(1)));
        }
    }

    /// Whether the next request can be sent at once.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until the next request can be sent; false when the connection is over.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Notes that it rests from now on.
    pub(super) fn rest(&mut self) {
        self.used_at = Instant::now();
    }

    /// How long it has rested; the longest time there is when that is more than it may.
    pub(super) fn rested(&self, now: Instant) -> Duration {
        let rested = now.saturating_duration_since(self.used_at);
        if rested <= self.rest_max { rested } else { Duration::MAX }
    }

    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.rested(now) == Duration::MAX
    }
}
