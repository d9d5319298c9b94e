//! Clients that close their sending side once they have asked, and those that are gone.

use std::time::Duration;

use http::StatusCode;
use router::Router as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::rfc::Endpoint;
use crate::wire::{get, read_to_end};
use crate::{SOON, backend, builtin, send_all_to};

/// An endpoint that answers a while after it was asked, in two pieces.
async fn slow() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut piece = [0; 4096];
                while let Ok(1..) = stream.read(&mut piece).await {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await.unwrap();
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    stream.write_all(b"world").await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_gets_its_answer() {
    let router = builtin().await;
    send_all_to(&router, &[slow().await]).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "GET /<b> HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        // At once with the request, and while the answer is awaited.
        for pause in [Duration::ZERO, Duration::from_millis(100)] {
            let mut stream = TcpStream::connect(router.address()).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            tokio::time::sleep(pause).await;
            stream.shutdown().await.unwrap();
            let answer = read_to_end(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK") || answer.starts_with("HTTP/1.0 200 OK"), "{request:?}: {answer:?}");
            assert!(answer.ends_with("helloworld"), "{request:?} {pause:?}: {answer:?}");
        }
    }
    assert_eq!((router.totals().failed, router.totals().in_flight), (0, 0));
    backend::until(|| router.totals().connections == 0).await;
}

#[tokio::test]
async fn two_requests_before_the_end_are_both_answered() {
    let endpoint = Endpoint::start("\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let router = builtin().await;
    send_all_to(&router, &[endpoint.address]).await;
    let mut stream = TcpStream::connect(router.address()).await.unwrap();
    stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer:?}");
}

#[tokio::test]
async fn a_request_that_is_cut_short_is_none() {
    let endpoint = Endpoint::start("never", b"").await;
    let router = builtin().await;
    send_all_to(&router, &[endpoint.address]).await;
    for request in ["GET / HTTP/1.1\r\nHo", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhi"] {
        let mut stream = TcpStream::connect(router.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(!answer.contains(" 200 "), "{answer:?}");
    }
    backend::until(|| router.totals().in_flight == 0).await;
}

#[tokio::test]
async fn a_client_that_is_gone_is_let_go_of() {
    let endpoint = Endpoint::start("never", b"").await;
    let router = builtin().await;
    send_all_to(&router, &[endpoint.address]).await;
    let mut stream = TcpStream::connect(router.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    backend::until(|| router.totals().in_flight == 1).await;
    // As the system does for a program that ends with bytes unread, or whose machine is told that nobody is there.
    stream.set_zero_linger().unwrap();
    drop(stream);
    tokio::time::timeout(SOON, backend::until(|| router.totals().in_flight == 0)).await.unwrap();
    let idle = TcpStream::connect(router.address()).await.unwrap();
    backend::until(|| router.totals().connections == 1).await;
    drop(idle);
    backend::until(|| router.totals().connections == 0).await;
    send_all_to(&router, &[slow().await]).await;
    assert_eq!(get(router.address(), "a", "/").await.status, StatusCode::OK);
}
