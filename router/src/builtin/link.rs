//! A connection to an endpoint: in HTTP/1.1 kept alive from one request to the next, in HTTP/2 shared by many at a time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::poll_fn;
use http::header::{CONNECTION, HOST};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::body::{Upload, UploadProgress};
use super::client::Client;
use super::deadline::Deadline;
use super::endpoint::{Endpoint, Seat};
use super::options::Options;
use super::stream::{Replaced, Stream};
use crate::{Protocol, target};

/// Bodies are read in pieces no larger, in bytes.
const BUFFER_BYTES_MAX: usize = 256 * 1024;
/// An endpoint that says nothing on a shared connection is asked after this long whether it is still there.
const HTTP2_ALIVE_PERIOD: Duration = Duration::from_secs(20);
/// No limit, as a moment.
const FAR: Duration = Duration::from_secs(365 * 86_400);

/// A connection; its task is driven elsewhere and ends when nothing that uses it is left.
#[derive(Debug)]
pub(super) struct Link {
    sender: Sender,
    deadline: Deadline,
    used_at: Instant,
    rest_max: Duration,
    /// Ends a connection on which a body was announced that will never be sent.
    refused: Option<AbortHandle>,
    driver: Option<AbortHandle>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Upload>, Replaced),
    Http2(Shared),
}

/// A connection that takes many requests at a time.
pub(super) type Shared = http2::SendRequest<Upload>;

/// Why a request got no answer from an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection could be had.
    Connect,
    /// No connection could be had in time.
    ConnectTimeout,
    /// The connection ended before an answer began.
    Broken,
    /// The answer's head was too large.
    TooLarge,
    /// The answer was no HTTP.
    Nonsense,
    /// The answer did not begin in time.
    ResponseTimeout,
}

/// A request that got no answer, given back when no part of it was sent.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) trouble: Trouble,
    pub(super) request: Option<Request<Upload>>,
}

/// How long an answer may take to begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the last byte of the request.
    pub(super) answer: Option<Duration>,
    /// In any case.
    pub(super) until: Option<Instant>,
}

impl Patience {
    fn end(&self, last_sent: Instant) -> Instant {
        let answer = last_sent + self.answer.unwrap_or(FAR);
        self.until.map_or(answer, |until| until.min(answer))
    }
}

impl Link {
    /// Connects to the endpoint of `seat`, in no more time than `within`.
    pub(super) async fn open(seat: &Seat, protocol: Protocol, options: &Options, within: Duration) -> Result<Self, Trouble> {
        let connect = TcpStream::connect(seat.endpoint.address);
        let stream = match tokio::time::timeout(within, connect).await {
            Err(_elapsed) => return Err(Trouble::ConnectTimeout),
            Ok(Err(_refused)) => return Err(Trouble::Connect),
            Ok(Ok(stream)) => stream,
        };
        // Without it small writes may wait for the other side's delayed acknowledgement. A socket that refuses is gone anyway.
        let _ = stream.set_nodelay(true);
        let (sender, driver) = match protocol {
            Protocol::Http1 => http_1(stream, options).await,
            Protocol::H2c => http_2(stream, seat, options).await,
        }
        .map_err(|_| Trouble::Connect)?;
        if !seat.endpoint.adopt(driver.clone(), seat.cuts()) {
            return Err(Trouble::Broken);
        }
        let driver = matches!(sender, Sender::Http1(..)).then_some(driver);
        Ok(Self { driver, ..Self::new(sender, options) })
    }

    /// One more user of a shared connection.
    pub(super) fn of(shared: Shared, options: &Options) -> Self {
        Self::new(Sender::Http2(shared), options)
    }

    fn new(sender: Sender, options: &Options) -> Self {
        let deadline = Deadline::new(options.response_timeout.min(FAR));
        Self { sender, deadline, used_at: Instant::now(), rest_max: options.link_idle, refused: None, driver: None }
    }

    /// The connection, where others may use it at the same time.
    pub(super) fn shared(&self) -> Option<&Shared> {
        if let Sender::Http2(shared) = &self.sender { Some(shared) } else { None }
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        mut request: Request<Upload>,
        sent_at: Instant,
        patience: Patience,
        early: Option<&Arc<Client>>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let progress = request.body().progress();
        let is_held = request.body().is_held();
        hear_interim(&mut request, progress.clone().filter(|_| is_held), early);
        let last_sent = || progress.as_ref().map_or(sent_at, |progress: &Arc<UploadProgress>| progress.latest().max(sent_at));
        let end = || patience.end(last_sent());
        self.deadline.fire_by(end());
        let answer = match &mut self.sender {
            Sender::Http1(sender, replaced) => {
                if !request.uri().path_and_query().is_none_or(|target| target.as_str().is_ascii()) {
                    replaced.set();
                }
                awaited(sender.try_send_request(request), &mut self.deadline, end, early).await
            }
            Sender::Http2(sender) => {
                to_http_2(&mut request);
                awaited(sender.try_send_request(request), &mut self.deadline, end, early).await
            }
        };
        if let Ok(response) = &answer {
            self.heed_keep_alive(response.headers());
            let is_refusal = response.status().as_u16() >= 400;
            if progress.as_ref().is_some_and(|progress| is_held && progress.answered(is_refusal)) {
                self.refused = self.driver.clone();
            }
        }
        answer
    }

    /// Notes how long the endpoint says it keeps the connection, and stays a second below.
    fn heed_keep_alive(&mut self, headers: &HeaderMap) {
        let Some(value) = headers.get("keep-alive").and_then(|value| value.to_str().ok()) else { return };
        let seconds = value.split(',').find_map(|word| word.trim().strip_prefix("timeout=")?.parse::<u64>().ok());
        if let Some(seconds) = seconds {
            self.rest_max = self.rest_max.min(Duration::from_secs(seconds.saturating_sub(1)));
        }
    }

    /// The answer is here whole: if its request's body will never be sent, the connection is of no more use.
    pub(super) fn finish(&mut self) {
        if let Some(driver) = self.refused.take() {
            driver.abort();
        }
    }

    /// Whether the next request can be sent at once.
    pub(super) fn is_ready(&self) -> bool {
        matches!(&self.sender, Sender::Http1(sender, _) if sender.is_ready())
    }

    /// Waits until the next request can be sent; false when the connection is over.
    pub(super) async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender, _) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender, _) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
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

type Opened = Result<(Sender, AbortHandle), hyper::Error>;

async fn http_1(stream: TcpStream, options: &Options) -> Opened {
    let (stream, replaced) = Stream::new(stream);
    let mut builder = http1::Builder::new();
    builder.writev(false).max_buf_size(BUFFER_BYTES_MAX.max(options.header_bytes_max)).max_headers(options.headers_max);
    // What a proxy must or may mend in an answer (RFC 9112, 5.1 and 5.2).
    builder.allow_spaces_after_header_name_in_responses(true).allow_obsolete_multiline_headers_in_responses(true);
    builder.max_header_size(options.header_bytes_max.max(8192));
    let (sender, connection) = builder.handshake(stream).await?;
    // How it ended reaches whoever waits for an answer.
    let driver = tokio::spawn(async move { connection.with_upgrades().await.unwrap_or_default() });
    Ok((Sender::Http1(sender, replaced), driver.abort_handle()))
}

/// Runs the tasks of a shared connection, hyper's own among them, so that a cut of the endpoint ends them.
#[derive(Debug, Clone)]
struct Cuttable {
    endpoint: Arc<Endpoint>,
    cuts: u64,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Cuttable {
    fn execute(&self, task: F) {
        self.endpoint.adopt(tokio::spawn(task).abort_handle(), self.cuts);
    }
}

async fn http_2(stream: TcpStream, seat: &Seat, options: &Options) -> Opened {
    let mut builder = http2::Builder::new(Cuttable { endpoint: Arc::clone(&seat.endpoint), cuts: seat.cuts() });
    builder.timer(TokioTimer::new()).keep_alive_interval(HTTP2_ALIVE_PERIOD);
    builder.max_header_list_size(u32::try_from(options.header_bytes_max.max(8192)).unwrap_or(u32::MAX));
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move { connection.await.unwrap_or_default() });
    Ok((Sender::Http2(sender), driver.abort_handle()))
}

type Answered = Result<Response<Incoming>, hyper::client::conn::TrySendError<Request<Upload>>>;

/// Waits for an answer until `end()`. Interim answers go first: the client's connection, whose task this is, writes them when it is
/// polled again.
async fn awaited(
    answer: impl Future<Output = Answered>,
    deadline: &mut Deadline,
    end: impl Fn() -> Instant,
    early: Option<&Arc<Client>>,
) -> Result<Response<Incoming>, Unanswered> {
    let mut answer = pin!(answer);
    let mut held = None;
    let answered = poll_fn(|context| {
        if let Some(held) = held.take() {
            return Poll::Ready(Some(held));
        }
        if let Some(client) = early {
            client.early.register(context);
        }
        match answer.as_mut().poll(context) {
            Poll::Pending => deadline.poll_passed(context, &end).map(|()| None),
            Poll::Ready(answer) if early.is_some_and(|client| client.early.is_waiting()) => {
                held = Some(answer);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
        }
    });
    match answered.await {
        None => Err(Unanswered { trouble: Trouble::ResponseTimeout, request: None }),
        Some(answer) => answer.map_err(unanswered),
    }
}

/// Has what an endpoint says before its answer heard: that it wants the body, and what is for the client.
fn hear_interim(request: &mut Request<Upload>, held: Option<Arc<UploadProgress>>, early: Option<&Arc<Client>>) {
    if held.is_none() && early.is_none() {
        return;
    }
    let early = early.cloned();
    hyper::ext::on_informational(request, move |answer| {
        if let Some(held) = held.as_ref().filter(|_| answer.status() == StatusCode::CONTINUE) {
            held.go_on();
        }
        if let Some(client) = &early {
            client.early.add(answer.status(), answer.headers());
        }
    });
}

/// Says in the way of HTTP/2 what a request says in that of HTTP/1.1: the host is in the target, which must be a URI, and no header
/// is of the connection (RFC 9113, 8.2.2 and 8.3.1). A request that is so already stays it.
fn to_http_2(request: &mut Request<Upload>) {
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(CONNECTION);
    request.headers_mut().remove(http::header::TRANSFER_ENCODING);
    let Some(host) = request.headers_mut().remove(HOST) else { return };
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let path = PathAndQuery::try_from(&*target::as_uri(path)).unwrap_or_else(|_| PathAndQuery::from_static("/"));
    let authority = Authority::try_from(host.as_bytes()).unwrap_or_else(|_| Authority::from_static("localhost"));
    let made = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build();
    if let Ok(uri) = made {
        *request.uri_mut() = uri;
    }
}

fn unanswered(mut error: hyper::client::conn::TrySendError<Request<Upload>>) -> Unanswered {
    let trouble = match error.error() {
        error if error.is_parse_too_large() => Trouble::TooLarge,
        error if error.is_parse() => Trouble::Nonsense,
        _ => Trouble::Broken,
    };
    Unanswered { trouble, request: error.take_message() }
}
