//! A small client: whole requests over hyper, and bytes over a socket where the bytes matter.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::SOON;

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// A kept-alive connection.
pub struct Kept(pub SendRequest<Full<Bytes>>);

impl Kept {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        tokio::time::timeout(SOON, async {
            self.0.ready().await?;
            let response = self.0.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned();
            Ok(Answer { status: head.status, headers: head.headers, body })
        })
        .await
        .expect("an answer comes in time")
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, hyper::Error> {
        self.ask(get_request("shop.test", path)).await
    }
}

pub fn get_request(host: &str, path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", host).body(Full::default()).unwrap()
}

pub fn post_request(path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(path).header("host", "shop.test").body(Full::from(body)).unwrap()
}

/// One request over a new connection.
pub async fn ask(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    Kept::open(address).await.ask(request).await.unwrap()
}

pub async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    ask(address, get_request(host, path)).await
}

/// Sends bytes and reads until the other side closes.
pub async fn raw(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is an end too.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection is closed in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until `end` has come.
pub async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    while !text.contains(end) {
        let count = tokio::time::timeout(SOON, stream.read(&mut piece)).await.expect("bytes come in time").unwrap();
        assert!(count > 0, "closed after {text:?}, before {end:?}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    text
}

/// A server that answers one request with these bytes.
pub async fn answers(bytes: &'static str) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
    });
    address
}
