//! What RFC 9110, 9112 and 9113 ask of a proxy, a row a rule: what a client sends, what the endpoint answers, and what must be
//! seen at either.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use router::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{SOON, builtin, send_all_to};

/// An endpoint that keeps the bytes it is sent, and answers with bytes.
pub struct Endpoint {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Endpoint {
    /// Answers each time that `until` has come on a connection, until the other side closes.
    pub async fn start(until: &'static str, answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = Arc::clone(&endpoint.seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, until, answer, Arc::clone(&seen)));
            }
        });
        endpoint
    }

    pub fn seen(&self) -> String {
        self.seen.lock().unwrap().iter().copied().map(char::from).collect()
    }
}

async fn serve(mut stream: TcpStream, until: &str, answer: &[u8], seen: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 4096];
    let mut got = Vec::new();
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        got.extend_from_slice(&piece[..count]);
        seen.lock().unwrap().extend_from_slice(&piece[..count]);
        if String::from_utf8_lossy(&got).contains(until) {
            got.clear();
            if stream.write_all(answer).await.is_err() {
                return;
            }
            if answer.windows(5).any(|bytes| bytes == b"close") {
                let _ = stream.shutdown().await;
            }
        }
    }
}

/// Sends bytes, and returns what comes back: each byte is one character.
pub async fn exchange(address: SocketAddr, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end too.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection is closed in time");
    answer.iter().copied().map(char::from).collect()
}

/// One rule. In `endpoint` and `client` stand what must be seen there; after a `!`, what must not. An empty list for the
/// endpoint: it must see nothing.
struct Row {
    rule: &'static str,
    sent: &'static [u8],
    until: &'static str,
    answer: &'static [u8],
    endpoint: &'static [&'static str],
    client: &'static [&'static str],
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const HEAD: &str = "\r\n\r\n";

const fn row(
    rule: &'static str,
    sent: &'static [u8],
    answer: &'static [u8],
    endpoint: &'static [&'static str],
    client: &'static [&'static str],
) -> Row {
    Row { rule, sent, until: HEAD, answer, endpoint, client }
}

const ROWS: &[Row] = &[
    // Targets and hosts.
    row(
        "9112 3.2.1: the origin form is passed on byte for byte",
        b"GET /a//b/../%7e%c3?q={\"a\":1}&x=<b>`|^\\[] HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        OK,
        &["GET /a//b/../%7e%c3?q={\"a\":1}&x=<b>`|^\\[] HTTP/1.1\r\n"],
        &["HTTP/1.1 200 OK\r\n"],
    ),
    row(
        "9112 3.2.1: bytes that are no UTF-8, and characters that a URI may not have in a path",
        b"GET /caf\xe9/`<>\"{}|^\xc3\xbc?caf\xe9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        OK,
        &["GET /caf\u{e9}/`<>\"{}|^\u{c3}\u{bc}?caf\u{e9} HTTP/1.1\r\n"],
        &["HTTP/1.1 200 OK\r\n"],
    ),
    row(
        "9112 3.2: a fragment is no part of a target",
        b"GET /a#b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        OK,
        &[],
        &["HTTP/1.1 400 "],
    ),
    row(
        "9112 3.2.2: the absolute form names the host, whatever Host says",
        b"GET http://b.test:81/x?y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        OK,
        &["GET /x?y HTTP/1.1\r\n", "host: b.test:81\r\n", "!host: a\r\n"],
        &["HTTP/1.1 200 OK\r\n"],
    ),
    row("9112 3.2: HTTP/1.1 without Host", b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", OK, &[], &["HTTP/1.1 400 "]),
    row(
        "9112 3.2: HTTP/1.1 without Host, in the absolute form too",
        b"GET http://a/ HTTP/1.1\r\nConnection: close\r\n\r\n",
        OK,
        &[],
        &["HTTP/1.1 400 "],
    ),
    row("9112 3.2: two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\n\r\n", OK, &[], &["HTTP/1.1 400 "]),
    row("9112 3.2: a Host that is none", b"GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", OK, &[], &["HTTP/1.1 400 "]),
    row(
        "9110 4.2.4: no user in a host",
        b"GET http://me@a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        OK,
        &[],
        &["HTTP/1.1 400 "],
    ),
    row("9110 7.2: an empty Host", b"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", OK, &["host: \r\n"], &["HTTP/1.1 200 OK"]),
    row(
        "9112 3.2.4: the asterisk form is for OPTIONS",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        OK,
        &["OPTIONS * HTTP/1.1\r\n"],
        &["HTTP/1.1 200 OK"],
    ),
    row("9112 3.2.4: and for nothing else", b"GET * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", OK, &[], &["HTTP/1.1 400 "]),
    row(
        "9112 3.2.3: the authority form is for CONNECT",
        b"GET a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n",
        OK,
        &[],
        &["HTTP/1.1 400 "],
    ),
    row(
        "9110 9.3.6 and 15.5.6: CONNECT is not offered, and what is",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n",
        OK,
        &[],
        &["HTTP/1.1 405 ", "allow: GET, HEAD"],
    ),
    // Framing.
    row(
        "9112 6.3: a length beside chunks is taken out",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 90\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        OK,
        &["transfer-encoding: chunked\r\n", "!content-length"],
        &["HTTP/1.1 200 OK"],
    ),
    row(
        "9112 6.3: two lengths",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        OK,
        &[],
        &["HTTP/1.1 400 "],
    ),
    row("9112 6.3: a length that is none", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nab", OK, &[], &["HTTP/1.1 400 "]),
    row("9112 6.3: a list of lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nab", OK, &[], &["HTTP/1.1 400 "]),
    row(
        "9112 6.1: a coding that is not known",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK,
        &[],
        &["HTTP/1.1 501 "],
    ),
    row(
        "9112 6.1: chunked twice",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK,
        &[],
        &["HTTP/1.1 501 "],
    ),
    row(
        "9112 6.1: a coding that does not end in chunks",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        OK,
        &[],
        &["HTTP/1.1 400 "],
    ),
    row(
        "9112 6.1: chunks in HTTP/1.0",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK,
        &[],
        &["HTTP/1.1 400 "],
    ),
    Row {
        rule: "9112 7.1.1: extensions of chunks are left behind",
        sent: b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2;x=\"y\"\r\nab\r\n0\r\n\r\n",
        until: "0\r\n\r\n",
        answer: OK,
        endpoint: &["2\r\nab\r\n0\r\n\r\n", "!x=\"y\""],
        client: &["HTTP/1.1 200 OK"],
    },
    Row {
        rule: "9112 7.1.2: trailers of a request, where they were announced",
        sent: b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 7\r\n\r\n",
        until: "x-sum: 7",
        answer: OK,
        endpoint: &["trailer: X-Sum\r\n", "0\r\nx-sum: 7\r\n\r\n"],
        client: &["HTTP/1.1 200 OK"],
    },
    row(
        "9112 7.1.2: trailers of an answer",
        b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 7\r\n\r\n",
        &["te: trailers\r\n"],
        &["2\r\nab\r\n0\r\nx-sum: 7\r\n\r\n"],
    ),
    row("9112 5.1: a space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", OK, &[], &["HTTP/1.1 400 "]),
    row("9112 5.2: a folded header", b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", OK, &[], &["HTTP/1.1 400 "]),
    row(
        "9112 5.1 and 5.2: what is to be mended in an answer",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Space : 1\r\nX-Fold: 2\r\n  3\r\nContent-Length: 2\r\n\r\nok",
        &[],
        &["HTTP/1.1 200 OK", "x-space: 1\r\n", "x-fold: 2", "!\r\n  3"],
    ),
    row(
        "9112 6.3: an answer with a length beside chunks",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        &[],
        &["!content-length", "2\r\nab\r\n0\r\n\r\n"],
    ),
    row(
        "9112 6.3: an answer coded in a way that is not known",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        &[],
        &["HTTP/1.1 502 ", "proxy-status: conductor; error=http_protocol_error"],
    ),
    row(
        "9112 6.3: an answer with two lengths",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        &[],
        &["HTTP/1.1 502 "],
    ),
    row(
        "9112 6.3: an answer that ends with its connection",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end",
        &[],
        &["HTTP/1.1 200 OK", "transfer-encoding: chunked", "to the end", "0\r\n\r\n"],
    ),
    row(
        "9112 6.3 and 9110 9.3.2: HEAD has the length and no body",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n",
        &["HEAD / HTTP/1.1"],
        &["content-length: 77\r\n", "!HTTP/1.1 502"],
    ),
    row(
        "9110 15.3.5: 204 has no body and no length",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        &[],
        &["HTTP/1.1 204 No Content\r\n", "!content-length", "!transfer-encoding"],
    ),
    row(
        "9110 15.4.5: 304 has no body",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        &[],
        &["HTTP/1.1 304 Not Modified\r\n", "etag: \"x\"\r\n", "!transfer-encoding"],
    ),
    row(
        "9112 4: a reason of the endpoint's own",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 299 Quite Fine\r\nContent-Length: 0\r\n\r\n",
        &[],
        &["HTTP/1.1 299 Quite Fine\r\n"],
    ),
    row(
        "9112 2.6: HTTP/1.0 is answered in HTTP/1.0's framing",
        b"GET / HTTP/1.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        &["GET / HTTP/1.1\r\n"],
        &["ab", "!transfer-encoding", "!0\r\n\r\n"],
    ),
    row(
        "9112 4: an answer that is no HTTP",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"nonsense\r\n\r\n",
        &[],
        &["HTTP/1.1 502 "],
    ),
    // Headers of one hop.
    row(
        "9110 7.6.1: what Connection names goes no further",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Hop, content-length, host\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nX-End: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: X-Back\r\nX-Back: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
        &["x-end: 1\r\n", "host: a\r\n", "!x-hop", "!keep-alive", "!proxy-connection"],
        &["HTTP/1.1 200 OK", "!x-back", "!timeout=5"],
    ),
    row(
        "9110 10.1.4: of TE only trailers is passed on",
        b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, trailers;q=0.5, trailers\r\nConnection: close, TE\r\n\r\n",
        OK,
        &["te: trailers\r\n", "connection: te\r\n", "!gzip"],
        &["HTTP/1.1 200 OK"],
    ),
    row(
        "9110 7.6.3: Via says that we passed it on",
        b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 other\r\nConnection: close\r\n\r\n",
        OK,
        &["via: 1.0 other\r\n", "via: 1.1 conductor\r\n"],
        &["HTTP/1.1 200 OK"],
    ),
    row(
        "9110 7.6.2: one less forwarding is left",
        b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\nConnection: close\r\n\r\n",
        OK,
        &["max-forwards: 2\r\n"],
        &["HTTP/1.1 200 OK"],
    ),
    row(
        "9110 7.6.2: and when none is left, we answer",
        b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n",
        OK,
        &[],
        &["HTTP/1.1 200 OK", "allow: "],
    ),
    row(
        "9110 7.6.2: TRACE too",
        b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n",
        OK,
        &[],
        &["HTTP/1.1 405 "],
    ),
    row(
        "9110 7.6.2: for other methods it means nothing",
        b"GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n",
        OK,
        &["max-forwards: 0\r\n"],
        &["HTTP/1.1 200 OK"],
    ),
    row(
        "9110 6.6.1: an answer without a date gets one",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        OK,
        &[],
        &["date: "],
    ),
    row(
        "9110 6.6.1: and one that has keeps it",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nok",
        &[],
        &["date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"],
    ),
    row(
        "9110 5.1: methods and headers that nobody knows are passed on",
        b"BREW / HTTP/1.1\r\nHost: a\r\nX-a_b.c: \xe9\r\nConnection: close\r\n\r\n",
        OK,
        &["BREW / HTTP/1.1\r\n", "x-a_b.c: \u{e9}\r\n"],
        &["HTTP/1.1 200 OK"],
    ),
    row(
        "9110 5.3: lines of one header keep their order",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
        &["x: 1\r\nx: 2\r\n"],
        &["set-cookie: a\r\nset-cookie: b\r\n"],
    ),
    // Upgrades.
    row(
        "9110 7.8: an upgrade that Connection does not name is none",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n",
        OK,
        &["GET / HTTP/1.1", "!upgrade"],
        &["HTTP/1.1 200 OK"],
    ),
    row(
        "9113 3.1: h2c by upgrade is refused, wherever in the list",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket, h2c\r\nUpgrade: H2C\r\nHTTP2-Settings: AAA\r\nConnection: close, Upgrade, HTTP2-Settings\r\n\r\n",
        OK,
        &["upgrade: websocket\r\n", "!h2c", "!H2C", "!http2-settings"],
        &["HTTP/1.1 200 OK"],
    ),
    row(
        "9113 3.1: and alone",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nConnection: close, Upgrade\r\n\r\n",
        OK,
        &["GET / HTTP/1.1", "!upgrade", "!http2-settings"],
        &["HTTP/1.1 200 OK"],
    ),
    row(
        "9110 15.5.22: 426 says which protocol would do",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
        &[],
        &["HTTP/1.1 426 Upgrade Required\r\n", "upgrade: websocket\r\n", "connection: "],
    ),
    row(
        "9110 7.8: an endpoint may not change to what nobody asked for",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n",
        &["upgrade: websocket\r\n"],
        &["HTTP/1.1 502 ", "proxy-status: conductor; error=http_upgrade_failed"],
    ),
    row(
        "9110 15.2.2: nor where nothing was asked for",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n",
        &[],
        &["HTTP/1.1 502 "],
    ),
    row(
        "9110 15.2: interim answers are passed on, one after the other, before the final one",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        &[],
        &["HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n", "!x-hop"],
    ),
    row(
        "9110 15.2: but not to a client of HTTP/1.0",
        b"GET / HTTP/1.0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        &[],
        &["!103", "200 OK\r\n"],
    ),
    // Pipelines and persistence.
    row(
        "9112 9.3.2: requests in a pipeline are answered in order",
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /<2> HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        &["GET /1 HTTP/1.1\r\n", "GET /<2> HTTP/1.1\r\n"],
        &["ok", "okHTTP/1.1 200 OK"],
    ),
    row("9112 2.2: empty lines before a request", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", OK, &["GET / "], &["HTTP/1.1 200"]),
    row("9112 3: a method that is none", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", OK, &[], &["HTTP/1.1 400 "]),
    row("9112 3: control characters in a target", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", OK, &[], &["HTTP/1.1 400 "]),
    row("9112 3: a space in a target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", OK, &[], &["HTTP/1.1 400 "]),
    row("9110 5.5: a bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", OK, &[], &["HTTP/1.1 400 "]),
    row("9110 5.5: NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", OK, &[], &["HTTP/1.1 400 "]),
];

#[tokio::test]
async fn every_rule_of_the_rfcs_holds() {
    let mut broken = Vec::new();
    for row in ROWS {
        let endpoint = Endpoint::start(row.until, row.answer).await;
        let router = builtin().await;
        send_all_to(&router, &[endpoint.address]).await;
        let answer = exchange(router.address(), row.sent).await;
        let seen = endpoint.seen();
        let holds = |text: &str, rule: &&str| match rule.strip_prefix('!') {
            Some(absent) => !text.contains(absent),
            None => text.contains(*rule),
        };
        let is_refused = row.endpoint.is_empty() && row.answer == OK;
        let at_endpoint = row.endpoint.iter().all(|rule| holds(&seen, rule))
            && !(is_refused && row.client[0].starts_with("HTTP/1.1 4") && !seen.is_empty());
        if !at_endpoint || !row.client.iter().all(|rule| holds(&answer, rule)) {
            broken.push(format!("{}\n  endpoint saw {seen:?}\n  client saw {answer:?}", row.rule));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[tokio::test]
async fn an_endpoint_that_refuses_a_body_before_it_came_is_heard() {
    const REFUSAL: &[u8] = b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo big\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut piece = [0; 1024];
                let _ = stream.read(&mut piece).await;
                stream.write_all(REFUSAL).await.unwrap();
                // Closed with bytes unread: what is still sent is answered with a reset.
            });
        }
    });
    let router = builtin().await;
    send_all_to(&router, &[address]).await;
    for framing in ["Content-Length: 8000000", "Transfer-Encoding: chunked"] {
        for _ in 0..10 {
            let mut stream = TcpStream::connect(router.address()).await.unwrap();
            let (mut reader, mut writer) = stream.split();
            let mut answer = Vec::new();
            let send = async {
                writer.write_all(format!("POST /upload HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").as_bytes()).await.unwrap();
                let piece = [b'x'; 65536];
                for _ in 0..120 {
                    let head = if framing.starts_with('C') { String::new() } else { "10000\r\n".to_owned() };
                    let end = if framing.starts_with('C') { "" } else { "\r\n" };
                    if writer.write_all(&[head.as_bytes(), &piece, end.as_bytes()].concat()).await.is_err() {
                        return;
                    }
                }
            };
            let (_, read) = tokio::join!(send, tokio::time::timeout(SOON, reader.read_to_end(&mut answer)));
            let _ = read.unwrap();
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("too big\n"), "{framing}: {answer:?}");
        }
    }
    assert_eq!(router.totals().failed, 0);
}

#[tokio::test]
async fn a_client_that_asks_whether_to_send_hears_the_endpoints_word() {
    // RFC 9110, 10.1.1.
    for (answer, expected) in [
        (&b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"[..], "HTTP/1.1 417 "),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let endpoint = Endpoint::start(HEAD, answer).await;
        let router = builtin().await;
        send_all_to(&router, &[endpoint.address]).await;
        let mut client = TcpStream::connect(router.address()).await.unwrap();
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await.unwrap();
        let began = crate::wire::read_until(&mut client, "\r\n\r\n").await;
        assert!(began.starts_with(expected), "{answer:?}: {began}");
        assert!(endpoint.seen().contains("expect: 100-continue\r\n"), "{}", endpoint.seen());
        if expected.contains("100 ") {
            client.write_all(b"hello").await.unwrap();
            let arrived = async {
                while !endpoint.seen().ends_with("hello") {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(SOON, arrived).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_interim_answer_comes_before_the_final_one_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (go_on, told) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        crate::wire::read_until(&mut stream, HEAD).await;
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n").await.unwrap();
        told.await.unwrap();
        stream.write_all(OK).await.unwrap();
        // Kept until the client has its answer.
        let _ = stream.read(&mut [0]).await;
    });
    let router = builtin().await;
    send_all_to(&router, &[address]).await;
    let mut client = TcpStream::connect(router.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    crate::wire::read_until(&mut client, "link: </a.css>\r\n\r\n").await;
    go_on.send(()).unwrap();
    assert!(crate::wire::read_until(&mut client, "ok").await.starts_with("HTTP/1.1 200 OK\r\n"));
}
