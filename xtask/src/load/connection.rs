//! One kept-alive connection: it is opened when there is something to ask, and again after it broke.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Options;

/// How often one request is begun on a connection that turns out to be closed already.
const TRIES_MAX: u32 = 3;

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// An answer, whole: its status, and its `x-revision` or else the first line of its body.
    Whole(StatusCode, Bytes),
    /// No connection.
    Unreachable,
    /// The connection broke before the answer was whole.
    Reset,
    /// No whole answer in time.
    Timeout,
}

impl Answer {
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable)
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    uri: Uri,
    host: HeaderValue,
    timeout: Duration,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Connection {
    pub(super) fn new(options: &Options) -> Self {
        let host = options.host_header.as_ref().unwrap_or(&options.url.authority);
        Self {
            address: options.url.address,
            uri: options.url.path.parse().unwrap_or_default(),
            host: HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static("invalid")),
            timeout: Duration::try_from_secs_f64(options.timeout).unwrap_or(Duration::MAX),
            sender: None,
        }
    }

    /// Asks once.
    pub(super) async fn ask(&mut self) -> Answer {
        let answer = tokio::time::timeout(self.timeout, self.try_ask()).await.unwrap_or(Answer::Timeout);
        if !matches!(answer, Answer::Whole(..)) {
            self.sender = None;
        }
        answer
    }

    async fn try_ask(&mut self) -> Answer {
        let mut request = self.request();
        for _ in 0..TRIES_MAX {
            let Some(mut sender) = self.sender().await else { return Answer::Unreachable };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let status = response.status();
                    let revision = response.headers().get("x-revision").map(|value| Bytes::copy_from_slice(value.as_bytes()));
                    let Ok(body) = response.into_body().collect().await else { return Answer::Reset };
                    self.sender = Some(sender);
                    let first_line = || body.to_bytes();
                    return Answer::Whole(status, revision.unwrap_or_else(first_line));
                }
                // Closed by the server before anything was sent: no client would call that a failure.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Answer::Reset,
                },
            }
        }
        Answer::Reset
    }

    /// The kept connection if it is still good, else a new one.
    async fn sender(&mut self) -> Option<SendRequest<Empty<Bytes>>> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return Some(sender);
        }
        let stream = TcpStream::connect(self.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        self.uri.clone_into(request.uri_mut());
        request.headers_mut().insert(HOST, self.host.clone());
        request
    }
}
