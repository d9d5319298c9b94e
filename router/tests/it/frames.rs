//! A client of HTTP/2 by raw frames (RFC 9113): what a library would not send, and what it would not show.

use std::net::SocketAddr;

use router::Router as _;
use router::builtin::Builtin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rfc::Endpoint;
use crate::{SOON, builtin, send_all_to};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// How a stream ended, as its client sees it.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// These statuses, in their order, and the body.
    Answer(Vec<u16>, String),
    /// Reset, with this code.
    Reset(u32),
    /// The whole connection was given up.
    GivenUp,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields, each literal and without an index (RFC 7541, 6.2.2).
fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let text = |bytes: &[u8]| {
        assert!(bytes.len() < 127);
        [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name.as_bytes()), text(value)].concat()).collect()
}

/// The status of a block that begins with it: one of the seven of the static table, or its digits.
fn status(block: &[u8]) -> u16 {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block[0] {
        first @ 0x88..=0x8e => KNOWN[usize::from(first - 0x88)],
        // A literal; digits are five bits each where they are coded, and only their place matters here.
        _ => huffman_digits(&block[2..2 + usize::from(block[1] & 0x7f)], block[1] & 0x80 != 0),
    }
}

fn huffman_digits(bytes: &[u8], is_coded: bool) -> u16 {
    if !is_coded {
        return std::str::from_utf8(bytes).unwrap().parse().unwrap();
    }
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let (mut at, mut number) = (0, 0);
    while bits.len() - at >= 5 && number < 100 {
        let take = |count: usize| bits[at..at + count].iter().fold(0_u16, |all, bit| all << 1 | u16::from(*bit));
        // 0, 1 and 2 have five bits, 3 to 9 six (RFC 7541, appendix B).
        let (digit, count) = if take(5) < 3 { (take(5), 5) } else { (take(6) - 0x19 + 3, 6) };
        number = number * 10 + digit;
        at += count;
    }
    number
}

/// Sends one request on a connection of its own.
async fn ask(address: SocketAddr, fields: &[(&str, &[u8])], body: Option<&[u8]>) -> Seen {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(SETTINGS, 0, 0, &[]));
    let end = if body.is_some() { END_HEADERS } else { END_HEADERS | END_STREAM };
    sent.extend(frame(HEADERS, end, 1, &block(fields)));
    sent.extend(body.map(|body| frame(DATA, END_STREAM, 1, body)).unwrap_or_default());
    stream.write_all(&sent).await.unwrap();
    tokio::time::timeout(SOON, hear(&mut stream)).await.unwrap()
}

async fn hear(stream: &mut TcpStream) -> Seen {
    let (mut statuses, mut body) = (Vec::new(), String::new());
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return Seen::GivenUp;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        let (kind, flags) = (head[3], head[4]);
        match kind {
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await.unwrap(),
            RST_STREAM => return Seen::Reset(u32::from_be_bytes(payload.try_into().unwrap())),
            GOAWAY => return Seen::GivenUp,
            HEADERS => statuses.push(status(&payload)),
            DATA => body.push_str(&String::from_utf8_lossy(&payload)),
            _ => {}
        }
        if (kind == HEADERS || kind == DATA) && flags & END_STREAM != 0 {
            return Seen::Answer(statuses, body);
        }
    }
}

async fn answering(answer: &'static [u8]) -> (Endpoint, Builtin) {
    let endpoint = Endpoint::start("\r\n\r\n", answer).await;
    let router = builtin().await;
    send_all_to(&router, &[endpoint.address]).await;
    (endpoint, router)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PROTOCOL_ERROR: u32 = 1;

fn get(path: &[u8]) -> [(&'static str, &[u8]); 4] {
    [(":method", b"GET"), (":scheme", b"http"), (":authority", b"shop.test"), (":path", path)]
}

fn ok() -> Seen {
    Seen::Answer(vec![200], "ok".into())
}

#[tokio::test]
async fn a_path_passes_as_it_came_or_the_stream_is_reset() {
    for path in ["/", "/a?b=c", "/{a}|^[b]", "/a\"b", "/%00", "/%zz", "//a//", "/a;b=c", "/a\\b", "/\u{fc}", "/?\u{fc}{}"] {
        let (endpoint, router) = answering(OK).await;
        assert_eq!(ask(router.address(), &get(path.as_bytes()), None).await, ok(), "{path}");
        let bytes: String = path.bytes().map(char::from).collect();
        assert!(endpoint.seen().starts_with(&format!("GET {bytes} HTTP/1.1\r\n")), "{path}: {:?}", endpoint.seen());
    }
    // 8.3.1: what is no path is a malformed request (8.1.1), which nobody else sees.
    for path in [&b"/<a>"[..], b"/a b", b"/a\0", b"/a\r\nX: y", b"", b"a", b"/`", b"/\xff", b"/a\x7f"] {
        let (endpoint, router) = answering(OK).await;
        let seen = ask(router.address(), &get(path), None).await;
        let is_refused =
            matches!(&seen, Seen::Reset(PROTOCOL_ERROR) | Seen::GivenUp) || matches!(&seen, Seen::Answer(all, _) if all == &[400]);
        assert!(is_refused && endpoint.seen().is_empty(), "{path:?}: {seen:?} {:?}", endpoint.seen());
    }
}

#[tokio::test]
async fn an_extended_connect_that_was_not_offered_is_refused() {
    // RFC 8441, 3: without SETTINGS_ENABLE_CONNECT_PROTOCOL, `:protocol` makes a request malformed.
    let (endpoint, router) = answering(OK).await;
    let extended: [(&str, &[u8]); 5] =
        [(":method", b"CONNECT"), (":protocol", b"websocket"), (":scheme", b"http"), (":authority", b"shop.test"), (":path", b"/chat")];
    let plain: [(&str, &[u8]); 2] = [(":method", b"CONNECT"), (":authority", b"shop.test:80")];
    for fields in [&extended[..], &plain] {
        let seen = ask(router.address(), fields, None).await;
        let is_refused = matches!(&seen, Seen::Reset(_) | Seen::GivenUp) || matches!(&seen, Seen::Answer(all, _) if all == &[405]);
        assert!(is_refused && endpoint.seen().is_empty(), "{fields:?}: {seen:?}");
    }
    // 8.2.2: a header of the connection is malformed; it may as well be left out, and never reaches an endpoint.
    let mut upgrade = get(b"/").to_vec();
    upgrade.extend([("upgrade", &b"websocket"[..]), ("connection", b"upgrade")]);
    let seen = ask(router.address(), &upgrade, None).await;
    assert!(seen == ok() || matches!(seen, Seen::Reset(PROTOCOL_ERROR) | Seen::GivenUp), "{seen:?}");
    assert!(!endpoint.seen().contains("pgrade"), "{:?}", endpoint.seen());
}

#[tokio::test]
async fn interim_answers_do_not_disturb_the_answer() {
    let interim =
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (_endpoint, router) = answering(interim).await;
    match ask(router.address(), &get(b"/"), None).await {
        // 8.1: any number of interim answers, then one that is final.
        Seen::Answer(statuses, body) => {
            let (last, before) = statuses.split_last().unwrap();
            assert!(*last == 200 && before.iter().all(|status| (100..200).contains(status) && *status != 101), "{statuses:?}");
            assert_eq!(body, "ok");
        }
        other => panic!("{other:?}"),
    }
    // RFC 9110, 10.1.1: a client that asks need not be told to go on, and then sends by itself.
    let (endpoint, router) = answering(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut asking = get(b"/").to_vec();
    asking[0].1 = b"POST";
    asking.extend([("expect", &b"100-continue"[..]), ("content-length", b"5")]);
    assert!(
        matches!(ask(router.address(), &asking, Some(b"hello")).await, Seen::Answer(all, body) if all.last() == Some(&200) && body == "ok")
    );
    assert!(endpoint.seen().contains("content-length: 5\r\n"), "{:?}", endpoint.seen());
}
