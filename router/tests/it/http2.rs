//! HTTP/2 on either side: endpoints that speak nothing else (gRPC), and clients that do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use router::{Protocol, Route, Router};
use tokio::net::{TcpListener, TcpStream};

use crate::rfc::{Endpoint, exchange};
use crate::wire::{self, get, get_request};
use crate::{SOON, builtin, route, send_all_to, table};

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, hyper::Error>;

/// A server of HTTP/2 alone. It answers with what it was asked, or echoes frame by frame, with trailers either way.
struct Grpc {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Grpc {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc = Self { address: listener.local_addr().unwrap(), connections: Arc::default() };
        let connections = Arc::clone(&grpc.connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                tokio::spawn(serving);
            }
        });
        grpc
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let body: Body = match request.uri().path() {
        "/echo" => request.into_body().boxed_unsync(),
        "/refuse" => return Ok(Response::builder().status(413).body(full("too big")).unwrap()),
        "/hang" => std::future::pending().await,
        _ => {
            let seen = format!("{:?} {} {:?}", request.version(), request.uri(), request.headers());
            full(&seen).with_trailers(async { Some(Ok(trailers)) }).boxed_unsync()
        }
    };
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

fn full(text: &str) -> Body {
    Full::from(text.to_owned()).map_err(|never| match never {}).boxed_unsync()
}

async fn h2c_router(address: SocketAddr) -> router::builtin::Builtin {
    let router = builtin().await;
    router.apply(table([Route { protocol: Protocol::H2c, ..route("", "/", &[address]) }])).await.unwrap();
    router
}

async fn client<B>(address: SocketAddr) -> SendRequest<B>
where
    B: http_body::Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn a_call_and_its_trailers_pass_over_one_connection() {
    let grpc = Grpc::start().await;
    let router = h2c_router(grpc.address).await;
    let mut sender = client(router.address()).await;
    for _ in 0..20 {
        let request = Request::post("http://shop.test:81/p.S/M?x").header("te", "trailers").body(Full::<Bytes>::from("hello")).unwrap();
        let response = tokio::time::timeout(SOON, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
        let whole = response.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
        let seen = String::from_utf8(whole.to_bytes().to_vec()).unwrap();
        for part in [
            "HTTP/2.0 http://shop.test:81/p.S/M?x ",
            "\"te\": \"trailers\"",
            "\"via\": \"2.0 conductor\"",
            "\"x-forwarded-for\": \"127.0.0.1\"",
        ] {
            assert!(seen.contains(part), "{part} in {seen}");
        }
        for gone in ["\"connection\"", "\"transfer-encoding\"", "\"host\""] {
            assert!(!seen.contains(gone), "{gone} in {seen}");
        }
    }
    assert_eq!(grpc.connections.load(Ordering::SeqCst), 1);
    assert_eq!(router.totals().failed, 0);
}

#[tokio::test]
async fn frames_pass_both_ways_while_both_go_on() {
    let grpc = Grpc::start().await;
    let router = h2c_router(grpc.address).await;
    let (send, receive) = futures::channel::mpsc::unbounded::<Bytes>();
    let body = StreamBody::new(receive.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes))));
    let mut sender = client(router.address()).await;
    let response = sender.send_request(Request::post("http://shop.test/echo").body(body).unwrap());
    let mut echo = tokio::time::timeout(SOON, response).await.unwrap().unwrap().into_body();
    for number in 0..10 {
        send.unbounded_send(format!("frame {number}").into()).unwrap();
        let frame = tokio::time::timeout(SOON, echo.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("frame {number}"));
    }
    drop(send);
    let rest = tokio::time::timeout(SOON, echo.collect()).await.unwrap().unwrap();
    assert!(rest.to_bytes().is_empty());
}

#[tokio::test]
async fn a_client_of_http_1_reaches_it_too() {
    let grpc = Grpc::start().await;
    let router = h2c_router(grpc.address).await;
    let answer = get(router.address(), "shop.test:81", "/a/b").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.starts_with("HTTP/2.0 http://shop.test:81/a/b "), "{}", answer.body);
    // What may not be in a target of HTTP/2 is percent-encoded; an upgrade cannot pass.
    let request = b"GET /<\xe9>?\"q\" HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\n\r\n";
    let seen = exchange(router.address(), request).await;
    assert!(seen.starts_with("HTTP/1.1 200 ") && seen.contains("http://a/%3C%E9%3E?%22q%22 ") && !seen.contains("upgrade"), "{seen}");
    let asking = b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    let began = std::time::Instant::now();
    assert!(exchange(router.address(), asking).await.contains("hello"));
    assert!(began.elapsed() < std::time::Duration::from_millis(900), "nothing that is never said is waited for");
    let echoed = wire::ask(router.address(), wire::post_request("/echo", "hello")).await;
    assert_eq!(echoed.body, "hello");
}

#[tokio::test]
async fn an_endpoint_that_speaks_only_http_1_is_told_apart_with_502() {
    let endpoint = Endpoint::start("\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
    let router = h2c_router(endpoint.address).await;
    let answer = get(router.address(), "shop.test", "/").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn what_is_in_flight_to_it_is_drained_and_cut_like_the_rest() {
    let grpc = Grpc::start().await;
    let router = h2c_router(grpc.address).await;
    let address = router.address();
    let asked = tokio::spawn(async move { get(address, "shop.test", "/hang").await });
    crate::backend::until(|| router.totals().in_flight == 1).await;
    router.apply(table([])).await.unwrap();
    assert_eq!(router.drain(&[grpc.address], std::time::Duration::from_millis(50)).await.unwrap(), 1);
    assert_eq!(asked.await.unwrap().status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_client_of_http_2_is_understood_as_rfc_9113_says() {
    let endpoint =
        Endpoint::start("\r\n\r\n", b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n")
            .await;
    let router = builtin().await;
    send_all_to(&router, &[endpoint.address]).await;
    let mut sender = client(router.address()).await;
    // 8.2.3: pieces of a cookie are one header in HTTP/1.1; 8.3.1: the authority is the host.
    let request = Request::get("http://shop.test:81/a%20b?ü").header("cookie", "a=1").header("cookie", "b=2");
    let response = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    // 8.2.2: no header of a connection.
    assert_eq!(
        (response.status(), response.headers().get("upgrade"), response.headers().get("connection")),
        (StatusCode::UPGRADE_REQUIRED, None, None)
    );
    let seen = endpoint.seen();
    for line in ["GET /a%20b?\u{c3}\u{bc} HTTP/1.1\r\n", "cookie: a=1; b=2\r\n", "host: shop.test:81\r\n", "via: 2.0 conductor\r\n"] {
        assert!(seen.contains(line), "{line:?} in {seen:?}");
    }
    // 8.3.1: a Host that is another is no request.
    let request = Request::get("http://shop.test/").header("host", "other.test").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_early_refusal_reaches_a_client_of_http_2() {
    let refusal = b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntoo big";
    let endpoint = Endpoint::start("\r\n\r\n", refusal).await;
    let grpc = Grpc::start().await;
    for (path, address, protocol) in [("/", endpoint.address, Protocol::Http1), ("/refuse", grpc.address, Protocol::H2c)] {
        let router = builtin().await;
        router.apply(table([Route { protocol, ..route("", "/", &[address]) }])).await.unwrap();
        let mut sender = client(router.address()).await;
        let pieces = futures::stream::iter((0..200).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; 16384])))));
        let request = Request::post(format!("http://shop.test{path}")).body(StreamBody::new(pieces)).unwrap();
        let response = tokio::time::timeout(SOON, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), 413, "{protocol:?}");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "too big");
    }
}

#[tokio::test]
async fn too_many_headers_are_431_and_of_an_answer_502() {
    let endpoint = Endpoint::start("\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let router = builtin().await;
    send_all_to(&router, &[endpoint.address]).await;
    let with = |count: usize| (0..count).fold(String::new(), |text, number| format!("{text}X-{number}: 1\r\n"));
    for (count, status) in [(198, "200"), (199, "431")] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n", with(count));
        let answer = exchange(router.address(), request.as_bytes()).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{count}: {answer:?}");
        let mut request = get_request("a", "http://a/");
        request.headers_mut().remove("host");
        for number in 0..=count + 1 {
            request.headers_mut().insert(http::HeaderName::try_from(format!("x-{number}")).unwrap(), "1".parse().unwrap());
        }
        let answer = client(router.address()).await.send_request(request).await.unwrap();
        assert_eq!(answer.status().as_str(), status, "{count} over HTTP/2");
    }
    for (count, status) in [(199, "200"), (200, "502")] {
        let answer: &'static str = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", with(count)).leak();
        send_all_to(&router, &[wire::answers(answer).await]).await;
        let got = exchange(router.address(), b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert_eq!(got.split(' ').nth(1), Some(status), "{count}");
        assert_eq!(got.contains("proxy-status: conductor; error=http_response_header_section_size"), status == "502");
    }
    let count = |reason: &str| router.refusals().iter().find(|(name, _)| *name == reason).unwrap().1;
    assert_eq!((count("head_too_large"), count("answer_head_too_large")), (2, 1));
}
