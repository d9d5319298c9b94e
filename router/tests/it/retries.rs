//! A request that was never processed does not fail; one that may have been is not sent twice unless that is harmless.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use router::Router;
use router::builtin::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::backend::Backend;
use crate::wire::{Kept, get, get_request, post_request};
use crate::{SOON, builtin, builtin_with, nobody, send_all_to};

/// A server that answers the first `answered` requests of a connection, reads one more, and closes without a word.
struct Fickle {
    address: SocketAddr,
    posts: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Fickle {
    async fn start(answered: usize, headers: &'static str, reads_one_more: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fickle = Self { address: listener.local_addr().unwrap(), posts: Arc::default(), connections: Arc::default() };
        let (posts, connections) = (Arc::clone(&fickle.posts), Arc::clone(&fickle.connections));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let posts = Arc::clone(&posts);
                tokio::spawn(async move {
                    for _ in 0..answered {
                        let Some(_) = read_request(&mut stream, &posts).await else { return };
                        let answer = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 2\r\n\r\nok");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                    if reads_one_more {
                        read_request(&mut stream, &posts).await;
                    }
                });
            }
        });
        fickle
    }
}

async fn read_request(stream: &mut TcpStream, posts: &AtomicUsize) -> Option<()> {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while !text.ends_with(b"\r\n\r\n") && !text.ends_with(b"hello") {
        match stream.read(&mut piece).await {
            Ok(count @ 1..) => text.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    }
    if text.starts_with(b"POST") {
        posts.fetch_add(1, Ordering::SeqCst);
    }
    Some(())
}

#[tokio::test]
async fn connections_the_endpoint_closes_behind_our_back_are_not_felt() {
    let fickle = Fickle::start(1, "", false).await;
    let router = builtin().await;
    send_all_to(&router, &[fickle.address]).await;
    let mut kept = Kept::open(router.address()).await;
    for _ in 0..100 {
        assert_eq!(kept.get("/").await.unwrap().body, "ok");
    }
    assert_eq!(router.totals().failed, 0);
}

#[tokio::test]
async fn a_harmless_request_that_was_sent_in_vain_is_sent_once_more() {
    let fickle = Fickle::start(1, "", true).await;
    let router = builtin().await;
    send_all_to(&router, &[fickle.address]).await;
    let mut kept = Kept::open(router.address()).await;
    for _ in 0..20 {
        assert_eq!(kept.get("/").await.unwrap().body, "ok");
    }
    let silent = Fickle::start(0, "", true).await;
    send_all_to(&router, &[silent.address]).await;
    assert_eq!(kept.get("/").await.unwrap().status, StatusCode::BAD_GATEWAY);
    assert_eq!(silent.connections.load(Ordering::SeqCst), 2, "once more, not for ever");
}

#[tokio::test]
async fn a_request_that_may_have_done_something_is_not_sent_twice() {
    let fickle = Fickle::start(0, "", true).await;
    let router = builtin().await;
    send_all_to(&router, &[fickle.address]).await;
    let mut kept = Kept::open(router.address()).await;
    assert_eq!(kept.ask(post_request("/", "hello")).await.unwrap().status, StatusCode::BAD_GATEWAY);
    assert_eq!(fickle.posts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_twice_does_not_trust_a_connection_that_rested() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut kept = Kept::open(router.address()).await;
    kept.get("/").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(kept.ask(post_request("/echo", "hello")).await.unwrap().body, "hello");
    assert_eq!(backend.connections(), 2);
    kept.get("/").await.unwrap();
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn a_connection_is_kept_no_longer_than_the_endpoint_says() {
    let fickle = Fickle::start(9, "Keep-Alive: timeout=1, max=9\r\n", false).await;
    let router = builtin().await;
    send_all_to(&router, &[fickle.address]).await;
    let mut kept = Kept::open(router.address()).await;
    for _ in 0..3 {
        kept.get("/").await.unwrap();
    }
    assert_eq!(fickle.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_request_with_a_body_moves_on_from_an_endpoint_that_cannot_be_reached() {
    let backend = Backend::start("shop").await;
    let router = builtin_with(Options { ejection: Duration::ZERO, ..Options::default() }).await;
    send_all_to(&router, &[nobody().await, backend.address, nobody().await]).await;
    for _ in 0..12 {
        let answer = Kept::open(router.address()).await.ask(post_request("/echo", "hello")).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "hello"));
    }
    assert_eq!(router.totals().failed, 0);
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_passed_over_for_a_while() {
    let listener = TcpSocket::new_v4().unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead = listener.local_addr().unwrap();
    let backend = Backend::start("shop").await;
    let router = builtin_with(Options { ejection: SOON, ..Options::default() }).await;
    send_all_to(&router, &[dead, backend.address]).await;
    let mut kept = Kept::open(router.address()).await;
    for _ in 0..10 {
        kept.get("/").await.unwrap();
    }
    let listener = listener.listen(16).unwrap();
    for _ in 0..10 {
        kept.get("/").await.unwrap();
    }
    assert!(tokio::time::timeout(Duration::from_millis(20), listener.accept()).await.is_err(), "it was tried while ejected");
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_in_time_is_given_up_with_504() {
    let backend = Backend::start("shop").await;
    let router = builtin_with(Options { response_timeout: Duration::from_millis(100), ..Options::default() }).await;
    send_all_to(&router, &[backend.address]).await;
    assert_eq!(get(router.address(), "shop.test", "/hang").await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(backend.requests(), 1);
    backend.open(0).await;
    assert_eq!(router.totals().in_flight, 0);
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_connected_in_time_is_given_up_with_504() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Fill the queue of connections that nobody accepts.
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
    }
    let router = builtin_with(Options { connect_timeout: Duration::from_millis(100), ..Options::default() }).await;
    send_all_to(&router, &[address]).await;
    let answer = Kept::open(router.address()).await.ask(get_request("shop.test", "/")).await.unwrap();
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
}
