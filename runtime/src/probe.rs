//! Checks whether a container answers, and how to ask by HTTP and TCP.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{self, Either};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{ExecAnswer, Result};

/// A question put to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// An HTTP GET; 200 to 399 is a yes.
    Http {
        /// The port's name within the pod.
        port: String,
        /// The path, beginning with `/`.
        path: String,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// A TCP connection; being accepted is a yes.
    Tcp {
        /// The port's name within the pod.
        port: String,
    },
    /// A program run inside the container; exit code 0 is a yes.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
    },
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// Whether the container said yes.
    pub passed: bool,
    /// What it said, in a sentence with the address or program asked, for people to read.
    pub detail: String,
}

impl ProbeAnswer {
    /// A yes.
    pub fn yes(detail: impl Into<String>) -> Self {
        Self { passed: true, detail: detail.into() }
    }

    /// A no.
    pub fn no(detail: impl Into<String>) -> Self {
        Self { passed: false, detail: detail.into() }
    }
}

/// How much of a refusal is told.
const TOLD_BYTES: usize = 200;
/// How long it is waited for.
const BODY_PATIENCE: Duration = Duration::from_millis(200);

/// Where a container is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The address.
    pub address: SocketAddr,
    /// Where the program was told of its port, such as `$PORT`; for the sentence said when nothing listens.
    pub told_by: Option<String>,
}

impl Target {
    fn not_listening(&self, why: &std::io::Error) -> String {
        if why.kind() != std::io::ErrorKind::ConnectionRefused {
            return format!("cannot connect to {}: {why}", self.address);
        }
        format!("did not listen on {}{}", self.address.port(), told_where(self))
    }
}

/// Where the program was told of its port, in brackets.
pub(crate) fn told_where(target: &Target) -> String {
    target.told_by.as_ref().map(|name| format!(" (from {name})")).unwrap_or_default()
}

/// Asks for a TCP connection, at most `patience` long.
pub async fn tcp(target: &Target, patience: Duration) -> ProbeAnswer {
    match timeout(patience, TcpStream::connect(target.address)).await {
        Ok(Ok(_)) => ProbeAnswer::yes(format!("{} accepted a connection", target.address)),
        Ok(Err(why)) => ProbeAnswer::no(target.not_listening(&why)),
        Err(_) => ProbeAnswer::no(format!("no answer from {} within {patience:?}", target.address)),
    }
}

/// Asks by an HTTP GET on a connection of its own, at most `patience` long. Redirects are a yes and are not followed.
pub async fn http(target: &Target, path: &str, headers: &[(String, String)], patience: Duration) -> ProbeAnswer {
    let url = format!("http://{}{path}", target.address);
    let request = match request(target, path, headers) {
        Ok(request) => request,
        Err(why) => return ProbeAnswer::no(format!("cannot ask {url}: {why}")),
    };
    timeout(patience, ask(target, &url, request))
        .await
        .unwrap_or_else(|_| ProbeAnswer::no(format!("no answer from {url} within {patience:?}")))
}

/// Makes an answer of what a program run inside a container came to.
pub fn program(command: &[String], outcome: Result<ExecAnswer>) -> ProbeAnswer {
    let words = command.join(" ");
    match outcome {
        Ok(ExecAnswer { code: 0, .. }) => ProbeAnswer::yes(format!("{words} ended with 0")),
        Ok(ExecAnswer { code, output }) if output.is_empty() => ProbeAnswer::no(format!("{words} ended with {code}")),
        Ok(ExecAnswer { code, output }) => ProbeAnswer::no(format!("{words} ended with {code}: {:?}", told(&output))),
        Err(error) => ProbeAnswer::no(error.to_string()),
    }
}

/// The answer to a check of a port that the pod does not have.
pub fn no_port<'a>(port: &str, known: impl Iterator<Item = &'a String>) -> ProbeAnswer {
    let known: Vec<&str> = known.map(String::as_str).collect();
    ProbeAnswer::no(format!("the pod has no port {port}, it has {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") }))
}

fn request(target: &Target, path: &str, headers: &[(String, String)]) -> http::Result<Request<Empty<Bytes>>> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(Empty::new())?;
    let headers = request.headers_mut();
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, HeaderValue::try_from(target.address.to_string())?);
    }
    if !headers.contains_key(header::USER_AGENT) {
        headers.insert(header::USER_AGENT, HeaderValue::from_static("conductor-probe"));
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

async fn ask(target: &Target, url: &str, request: Request<Empty<Bytes>>) -> ProbeAnswer {
    let stream = match TcpStream::connect(target.address).await {
        Ok(stream) => stream,
        Err(why) => return ProbeAnswer::no(target.not_listening(&why)),
    };
    match exchange(stream, request).await {
        Ok((status, said)) if (200..400).contains(&status) => {
            drop(said);
            ProbeAnswer::yes(format!("GET {url} answered {status}"))
        }
        Ok((status, said)) if said.is_empty() => ProbeAnswer::no(format!("GET {url} answered {status}")),
        Ok((status, said)) => ProbeAnswer::no(format!("GET {url} answered {status}: {said:?}")),
        Err(why) => ProbeAnswer::no(format!("GET {url} failed: {}", with_source(&why))),
    }
}

/// Status, and the beginning of the body of a refusal.
async fn exchange(stream: TcpStream, request: Request<Empty<Bytes>>) -> hyper::Result<(u16, String)> {
    // A socket that does not take the option still carries the request.
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = std::pin::pin!(async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let said = if (200..400).contains(&status) { String::new() } else { beginning(response).await };
        Ok((status, said))
    });
    match future::select(exchange, std::pin::pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, exchange)) => exchange.await,
    }
}

async fn beginning(mut response: Response<Incoming>) -> String {
    let mut body = Vec::new();
    let read = async {
        while body.len() < TOLD_BYTES {
            match response.body_mut().frame().await {
                Some(Ok(frame)) => body.extend_from_slice(frame.data_ref().map_or(&[][..], |part| part.as_ref())),
                Some(Err(_)) | None => break,
            }
        }
    };
    // A body that does not come is not waited for: the status has said enough.
    let _ = timeout(BODY_PATIENCE, read).await;
    told(&body)
}

/// The beginning of what was said, as text.
fn told(said: &[u8]) -> String {
    String::from_utf8_lossy(said.get(..TOLD_BYTES).unwrap_or(said)).trim_end().to_owned()
}

fn with_source(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
