//! Bodies and tunnels pass through piece by piece, in both directions.

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use router::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::io::ReaderStream;

use crate::backend::{Backend, until};
use crate::wire::{Kept, get_request, raw, read_until};
use crate::{SOON, builtin, send_all_to};

#[tokio::test]
async fn each_piece_of_an_answer_is_passed_on_at_once() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut client = TcpStream::connect(router.address()).await.unwrap();
    client.write_all(b"GET /stream HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    read_until(&mut client, "one").await;
    backend.waiting(1).await;
    backend.release();
    read_until(&mut client, "two").await;
}

#[tokio::test]
async fn each_piece_of_a_request_is_passed_on_at_once() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut client = TcpStream::connect(router.address()).await.unwrap();
    client.write_all(b"POST /echo HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    for piece in ["first", "other"] {
        client.write_all(format!("5\r\n{piece}\r\n").as_bytes()).await.unwrap();
        read_until(&mut client, piece).await;
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    read_until(&mut client, "0\r\n\r\n").await;
}

#[tokio::test]
async fn a_get_with_a_chunked_body_keeps_it() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let request = "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert!(raw(router.address(), request).await.contains("hello"));
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut client = TcpStream::connect(router.address()).await.unwrap();
    let head = b"POST /echo HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.write_all(head).await.unwrap();
    // Told by the word for it, or by an answer that begins and wants the rest.
    read_until(&mut client, "\r\n\r\n").await;
    client.write_all(b"hello").await.unwrap();
    read_until(&mut client, "hello").await;
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut tunnel = TcpStream::connect(router.address()).await.unwrap();
    let wish = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly";
    tunnel.write_all(wish.as_bytes()).await.unwrap();
    let head = read_until(&mut tunnel, "shopearly").await.to_lowercase();
    for line in ["http/1.1 101 ", "upgrade: websocket\r\n", "connection: upgrade\r\n", "x-accept: yes\r\n"] {
        assert!(head.contains(line), "{line} not in {head}");
    }
    for words in ["hello", "again"] {
        tunnel.write_all(words.as_bytes()).await.unwrap();
        read_until(&mut tunnel, words).await;
    }
    drop(tunnel);
    until(|| router.totals().in_flight == 0).await;
}

#[tokio::test]
async fn an_upgrade_that_is_not_granted_is_a_plain_answer() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut request = get_request("shop.test", "/");
    request.headers_mut().insert("connection", "upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    let mut kept = Kept::open(router.address()).await;
    let answer = kept.ask(request).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "shop"));
    assert_eq!(kept.get("/").await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn an_http_2_client_is_served_over_one_connection() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let stream = TcpStream::connect(router.address()).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let asking = (0..20).map(|number| {
        let mut sender = sender.clone();
        async move {
            let uri = format!("http://shop.test:81/echo?{number}");
            let body: Full<Bytes> = Full::from(Bytes::from(format!("body {number}")));
            let response = sender.send_request(Request::post(uri).body(body).unwrap()).await.unwrap();
            assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, format!("body {number}"));
        }
    });
    tokio::time::timeout(SOON, futures::future::join_all(asking)).await.unwrap();
    let mut sender = sender;
    let request = Request::get("http://shop.test:81/headers").body(Full::default()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let seen = String::from_utf8_lossy(&body).into_owned();
    assert!(seen.contains("uri: /headers\n") && seen.contains("host: shop.test:81\n"), "{seen}");
    assert_eq!(router.totals().connections, 1);
}

#[tokio::test]
async fn a_slow_reader_gets_everything_and_holds_nobody_up() {
    const BYTES: usize = 8 << 20;
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut slow = TcpStream::connect(router.address()).await.unwrap();
    let request = format!("GET /big?{BYTES} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut kept = Kept::open(router.address()).await;
    for _ in 0..20 {
        assert_eq!(kept.get("/").await.unwrap().body, "shop");
    }
    let mut piece = vec![0; 256 * 1024];
    let mut letters = 0;
    let reading = async {
        while let Ok(count @ 1..) = slow.read(&mut piece).await {
            letters += piece[..count].iter().filter(|byte| **byte == b'x').count();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, reading).await.unwrap();
    assert_eq!(letters, BYTES);
}

#[tokio::test]
async fn a_large_upload_arrives_whole() {
    const BYTES: u64 = 8 << 20;
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let stream = TcpStream::connect(router.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let pieces = ReaderStream::new(tokio::io::repeat(b'y').take(BYTES));
    let body = StreamBody::new(futures::StreamExt::map(pieces, |piece| piece.map(Frame::data)));
    let request = Request::post("/echo").header("host", "shop.test").body(body).unwrap();
    let echo = async {
        let mut body = sender.send_request(request).await.unwrap().into_body();
        let mut count = 0;
        while let Some(frame) = body.frame().await {
            count += frame.unwrap().data_ref().map_or(0, Bytes::len) as u64;
        }
        count
    };
    assert_eq!(tokio::time::timeout(SOON, echo).await.unwrap(), BYTES);
}
