//! Servers to route to, in this process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::SOON;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A server that does what the path says.
pub struct Backend {
    pub address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    name: &'static str,
    requests: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
    waiting: AtomicUsize,
    released: Semaphore,
}

impl Backend {
    pub async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            name,
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            released: Semaphore::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, task }
    }

    /// Requests that arrived.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Lets one `/hold`, `/stream` or `/break` go on.
    pub fn release(&self) {
        self.state.released.add_permits(1);
    }

    /// Waits until so many requests wait for [`Backend::release`].
    pub async fn waiting(&self, count: usize) {
        until(|| self.state.waiting.load(Ordering::SeqCst) == count).await;
    }

    /// Waits until so many connections are open.
    pub async fn open(&self, count: usize) {
        until(|| self.state.open.load(Ordering::SeqCst) == count).await;
    }

    /// Ends at once, with all connections, as if killed.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Waits until `is_so` holds; looks often, for a bounded time.
pub async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.expect("it happens in time");
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Dropped, and so ended, together with this task.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        state.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(serve(stream, Arc::clone(&state)));
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    struct Open(Arc<State>);
    impl Drop for Open {
        fn drop(&mut self) {
            self.0.open.fetch_sub(1, Ordering::SeqCst);
        }
    }
    state.open.fetch_add(1, Ordering::SeqCst);
    let _open = Open(Arc::clone(&state));
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { answer(state, request).await }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn answer(state: Arc<State>, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    state.requests.fetch_add(1, Ordering::SeqCst);
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/echo" => {
            let headers = request.headers().clone();
            let body = request.into_body().map_err(std::io::Error::other).boxed_unsync();
            let mut response = Response::new(body);
            if let Some(length) = headers.get("content-length") {
                response.headers_mut().insert("content-length", length.clone());
            }
            response
        }
        "/headers" => text(&headers_as_text(request.uri().to_string(), request.headers())),
        "/hop" => Response::builder()
            .header("connection", "x-gone")
            .header("keep-alive", "timeout=5")
            .header("x-gone", "1")
            .header("x-kept", "1")
            .body(full(state.name))
            .unwrap(),
        "/hold" => {
            hold(&state).await;
            text(state.name)
        }
        "/stream" => Response::new(two_pieces(state, Ok(Frame::data(Bytes::from_static(b"two"))))),
        "/break" => Response::new(two_pieces(state, Err(std::io::Error::other("broken off")))),
        "/hang" => std::future::pending().await,
        "/big" => Response::new(big_body(request.uri().query().unwrap().parse().unwrap())),
        "/upgrade" => upgrade(state, &mut request),
        "/503" => Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).body(full("of its own")).unwrap(),
        _ => text(state.name),
    })
}

async fn hold(state: &State) {
    state.waiting.fetch_add(1, Ordering::SeqCst);
    state.released.acquire().await.unwrap().forget();
    state.waiting.fetch_sub(1, Ordering::SeqCst);
}

fn two_pieces(state: Arc<State>, second: Result<Frame<Bytes>, std::io::Error>) -> Body {
    let first = futures::stream::once(async { Ok(Frame::data(Bytes::from_static(b"one"))) });
    let second = futures::stream::once(async move {
        hold(&state).await;
        second
    });
    BodyExt::boxed_unsync(StreamBody::new(first.chain(second)))
}

fn big_body(bytes: usize) -> Body {
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let pieces = (0..bytes.div_ceil(piece.len())).map(move |_| Ok(Frame::data(piece.clone())));
    BodyExt::boxed_unsync(StreamBody::new(futures::stream::iter(pieces)))
}

fn upgrade(state: Arc<State>, request: &mut Request<Incoming>) -> Response<Body> {
    let protocol = request.headers().get("upgrade").cloned();
    let Some(protocol) = protocol else { return text("no upgrade asked for") };
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgraded.await.unwrap());
        io.write_all(state.name.as_bytes()).await.unwrap();
        let mut piece = [0; 1024];
        while let Ok(count @ 1..) = io.read(&mut piece).await {
            if io.write_all(&piece[..count]).await.is_err() {
                return;
            }
        }
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    response.header("connection", "upgrade").header("upgrade", protocol).header("x-accept", "yes").body(full("")).unwrap()
}

fn headers_as_text(uri: String, headers: &HeaderMap) -> String {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| format!("{name}: {}\n", value.to_str().unwrap());
    format!("uri: {uri}\n{}", headers.iter().map(line).collect::<String>())
}

fn text(words: &str) -> Response<Body> {
    Response::new(full(words))
}

fn full(words: &str) -> Body {
    Full::from(words.to_owned()).map_err(|never| match never {}).boxed_unsync()
}
