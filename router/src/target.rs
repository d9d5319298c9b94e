//! Request targets with characters that a URI may not have, but that clients send all the same: quotes, `<`, `>`, letters in
//! Latin-1.
//!
//! hyper refuses a head whose target is no URI, before anything of ours sees it. So the bytes of a connection pass through
//! [`Targets`] first, which follows the framing of HTTP/1.1 and puts something else for such bytes in request lines; nothing
//! but request lines is touched. For a proxy that is [`private`], which can be undone ([`restore`]), so that the endpoint is
//! sent what the client sent, byte for byte; who only reads the target takes [`percent`].
//!
//! Pure: bytes in, bytes out. Where the framing is not plainly right it stops looking, and hyper says what is wrong.

use std::borrow::Cow;

use memchr::memchr;

/// The first of the 256 characters that stand for bytes; they are for private use and no client can send them to us, as
/// every byte that is not ASCII is replaced.
const PRIVATE: u32 = 0x10_FF00;
/// No header line that says where a body ends is longer.
const LINE_BYTES_MAX: usize = 512;

/// Writes what stands for a byte.
pub type Replace = fn(u8, &mut Vec<u8>);

/// A character for private use; see [`restore`].
pub fn private(byte: u8, into: &mut Vec<u8>) {
    let letter = char::from_u32(PRIVATE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER);
    into.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The percent encoding, which means the same to whoever decodes it.
pub fn percent(byte: u8, into: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    into.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// The byte that a character stands for.
pub fn byte_of(letter: char) -> Option<u8> {
    u32::from(letter).checked_sub(PRIVATE).and_then(|byte| u8::try_from(byte).ok())
}

/// The bytes that the client sent; borrowed when none was replaced.
pub fn restore(target: &str) -> Cow<'_, [u8]> {
    if target.is_ascii() {
        return Cow::Borrowed(target.as_bytes());
    }
    let mut bytes = Vec::with_capacity(target.len());
    for letter in target.chars() {
        match byte_of(letter) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

/// A target that came as text, with every byte that is not ASCII replaced as by [`private`].
pub fn replaced(target: &str) -> String {
    let mut bytes = Vec::with_capacity(target.len() * 2);
    for byte in target.bytes() {
        if byte.is_ascii() { bytes.push(byte) } else { private(byte, &mut bytes) }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// The same target as a URI: replaced bytes, and letters that are not ASCII, in percent encoding.
pub fn as_uri(target: &str) -> Cow<'_, str> {
    if target.is_ascii() {
        return Cow::Borrowed(target);
    }
    let mut text = Vec::with_capacity(target.len() * 2);
    for byte in restore(target).iter() {
        if byte.is_ascii() && !is_odd(*byte) { text.push(*byte) } else { percent(*byte, &mut text) }
    }
    Cow::Owned(String::from_utf8(text).unwrap_or_default())
}

/// Whether a URI may not have this byte, or (`#`) what follows would not be sent on.
fn is_odd(byte: u8) -> bool {
    matches!(byte, b'"' | b'#' | b'<' | b'>' | b'`' | 0x80..)
}

/// Where in a connection's bytes we are.
///
/// ```text
///          ┌──────────────────────────── no body ────────────────────────────┐
///          ▼                                                                 │
///       Between ─▶ Method ─▶ Target ─▶ Version ─▶ Line ─▶ … ─▶ end of head ──┤
///          ▲                                                                 ├─ Content-Length ─▶ Body ─────────▶ Between
///          │ no upgrade                                                      ├─ chunked ─▶ Size ⇄ Data ─▶ Trailer ▶ Between
///          └───────────────────────────── Held ◀──────────────── Upgrade ────┘
///                                          └─ more bytes ─▶ Off ◀── anything that is not plainly right
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Between,
    Method,
    Target,
    Version,
    Line,
    /// So many bytes of a body to come.
    Body(u64),
    Size,
    /// So many bytes of a chunk to come, its line end included.
    Data(u64),
    Trailer,
    /// A head that asks for another protocol; what follows may be of that one.
    Held,
    Off,
}

/// Follows the requests on one connection.
#[derive(Debug)]
pub struct Targets {
    place: Place,
    replace: Replace,
    /// The line so far, where it came in pieces.
    line: Vec<u8>,
    length: Option<u64>,
    is_chunked: bool,
    is_upgrade: bool,
    requests: u64,
}

impl Targets {
    /// Of a connection that begins.
    pub fn new(replace: Replace) -> Self {
        Self { place: Place::Between, replace, line: Vec::new(), length: None, is_chunked: false, is_upgrade: false, requests: 0 }
    }

    /// Whether nothing will be changed any more.
    pub fn is_off(&self) -> bool {
        self.place == Place::Off
    }

    /// Whether the bytes so far are whole requests.
    pub fn is_between(&self) -> bool {
        self.place == Place::Between
    }

    /// How many requests were begun.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The protocol was not changed: what follows a head that asked for it is HTTP.
    pub fn resume(&mut self) {
        if self.place == Place::Held {
            self.place = Place::Between;
        }
    }

    /// Reads on; the bytes to hand on where they are others.
    pub fn read(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed: Option<Vec<u8>> = None;
        let mut at = 0;
        while at < bytes.len() {
            let (before, rest) = bytes.split_at(at);
            let is_target = self.place == Place::Target;
            let (text, _) = rest.split_at(self.step(rest).min(rest.len()));
            at += text.len();
            if is_target && text.iter().any(|byte| is_odd(*byte)) {
                let into = changed.get_or_insert_with(|| before.to_vec());
                for byte in text {
                    if is_odd(*byte) { (self.replace)(*byte, into) } else { into.push(*byte) }
                }
            } else if let Some(changed) = &mut changed {
                changed.extend_from_slice(text);
            }
        }
        changed
    }

    /// Takes some of the bytes; none only where the place becomes another.
    fn step(&mut self, rest: &[u8]) -> usize {
        match self.place {
            Place::Between => self.between(rest),
            Place::Method => self.method(rest),
            Place::Target => {
                let end = rest.iter().position(|byte| *byte <= b' ' || *byte == 0x7f);
                if let Some(end) = end {
                    self.place = if rest[end] == b' ' { Place::Version } else { Place::Off };
                }
                end.unwrap_or(rest.len())
            }
            Place::Version => self.skip_line(rest, Place::Line),
            Place::Line | Place::Size | Place::Trailer => self.line(rest),
            Place::Body(left) => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let left = left - taken as u64;
                self.place = if left == 0 { Place::Between } else { Place::Body(left) };
                taken
            }
            Place::Data(left) => self.data(left, rest),
            Place::Held | Place::Off => {
                self.place = Place::Off;
                rest.len()
            }
        }
    }

    fn between(&mut self, rest: &[u8]) -> usize {
        let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if blank < rest.len() {
            (self.length, self.is_chunked, self.is_upgrade) = (None, false, false);
            self.requests += 1;
            self.line.clear();
            self.place = Place::Method;
        }
        blank
    }

    fn method(&mut self, rest: &[u8]) -> usize {
        let end = rest.iter().position(|byte| *byte <= b' ').map_or(rest.len(), |end| end + 1);
        self.line.extend_from_slice(&rest[..end]);
        self.place = match self.line.as_slice() {
            // HTTP/2 begins like a request, and is not one.
            b"PRI " => Place::Off,
            [.., b' '] => Place::Target,
            [.., last] if *last < b' ' => Place::Off,
            long if long.len() > LINE_BYTES_MAX => Place::Off,
            _ => return end,
        };
        self.is_upgrade = self.line == b"CONNECT ";
        self.line.clear();
        end
    }

    fn skip_line(&mut self, rest: &[u8], next: Place) -> usize {
        let Some(end) = memchr(b'\n', rest) else { return rest.len() };
        self.place = next;
        end + 1
    }

    fn line(&mut self, rest: &[u8]) -> usize {
        let Some(end) = memchr(b'\n', rest) else {
            // The rest of a line that is too long to matter need not be kept.
            let room = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&rest[..room.min(rest.len())]);
            return rest.len();
        };
        if self.line.is_empty() {
            self.place = self.after_line(&rest[..end]);
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&rest[..end]);
            self.place = self.after_line(&line);
            line.clear();
            self.line = line;
        }
        end + 1
    }

    /// What follows a line, which is without its line feed.
    fn after_line(&mut self, line: &[u8]) -> Place {
        match (self.place, line) {
            (Place::Line, b"" | b"\r") => self.after_head(),
            (Place::Line, line) => self.after_header(line.strip_suffix(b"\r").unwrap_or(line)),
            (Place::Trailer, b"\r") => Place::Between,
            // hyper demands both characters at the ends of these lines.
            (Place::Trailer, [.., b'\r']) => Place::Trailer,
            (Place::Size, [size @ .., b'\r']) => match chunk_size(size) {
                Some(0) => Place::Trailer,
                Some(size) => Place::Data(size),
                None => Place::Off,
            },
            _ => Place::Off,
        }
    }

    fn after_head(&self) -> Place {
        match self.length {
            _ if self.is_upgrade => Place::Held,
            _ if self.is_chunked => Place::Size,
            None | Some(0) => Place::Between,
            Some(length) => Place::Body(length),
        }
    }

    fn after_header(&mut self, line: &[u8]) -> Place {
        let first = line.first().map_or(b' ', u8::to_ascii_lowercase);
        if !matches!(first, b'c' | b't' | b'u') {
            return Place::Line;
        }
        let Some(colon) = memchr(b':', line) else { return Place::Off };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if line.len() > LINE_BYTES_MAX && ["content-length", "transfer-encoding"].iter().any(|of| name.eq_ignore_ascii_case(of.as_bytes()))
        {
            return Place::Off;
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.is_upgrade = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            match length.and_then(|text| text.parse().ok()) {
                Some(length) if self.length.is_none_or(|other| other == length) => self.length = Some(length),
                _ => return Place::Off,
            }
        }
        Place::Line
    }

    /// The bytes of a chunk, and the line end after it.
    fn data(&mut self, left: u64, rest: &[u8]) -> usize {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - taken as u64;
        self.place = if left == 0 { Place::Size } else { Place::Data(left) };
        taken
    }
}

/// The size of a chunk with its line end, from the line before it; 0 for the last one.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at(digits);
    if !matches!(rest.first(), None | Some(b';' | b' ' | b'\t')) || digits > 15 {
        return None;
    }
    let size = u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
    Some(if size == 0 { 0 } else { size + 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the bytes in pieces of every size; the result must not depend on it.
    fn check(sent: &[u8], expected: &[u8]) {
        for size in 1..=sent.len() {
            let mut targets = Targets::new(percent);
            let mut got = Vec::new();
            for piece in sent.chunks(size) {
                got.extend_from_slice(&targets.read(piece).unwrap_or_else(|| piece.to_vec()));
            }
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(expected), "in pieces of {size}");
        }
    }

    #[test]
    fn only_targets_are_changed_whatever_the_framing() {
        const ODD: &[u8] = b"GET /a<b?q=\"\xe9`# HTTP/1.1\r\nHost: \"<\r\n\r\n";
        const SAFE: &[u8] = b"GET /a%3Cb?q=%22%E9%60%23 HTTP/1.1\r\nHost: \"<\r\n\r\n";
        for before in [
            &b""[..],
            b"\r\n\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"POST / HTTP/1.1\r\ncontent-LENGTH:  8 \r\n\r\nGET /\"<>",
            b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nA;x=\"<\"\r\nG /<\r\n\r\n\r\n\r\n0\r\nA: <\r\n\r\n",
        ] {
            check(&[before, ODD, ODD].concat(), &[before, SAFE, SAFE].concat());
        }
    }

    #[test]
    fn what_is_not_plainly_a_request_is_left_alone() {
        for sent in [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /< HTTP/1.1\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\nGET /< HTTP/1.1\r\n\r\n",
            b"CONNECT a:1 HTTP/1.1\r\n\r\nGET /< HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345GET /< H\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: +0\r\n\r\nGET /< HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\n\nGET /< HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nGET /< HTTP/1.1\r\n\r\n",
            b"G\nET /< HTTP/1.1\r\n\r\n",
            b"GET /a\r\nGET /< HTTP/1.1\r\n\r\n",
        ] {
            check(sent, sent);
        }
    }

    #[test]
    fn after_an_upgrade_that_was_not_granted_requests_are_read_again() {
        let mut targets = Targets::new(percent);
        assert_eq!(targets.read(b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n"), None);
        targets.resume();
        assert_eq!(targets.read(b"GET /< H").as_deref(), Some(&b"GET /%3C H"[..]));
    }

    #[test]
    fn what_stands_for_bytes_is_undone() {
        let mut escaped = Vec::new();
        for byte in 0..=u8::MAX {
            private(byte, &mut escaped);
        }
        let escaped = String::from_utf8(escaped).unwrap();
        assert_eq!(*restore(&escaped), (0..=u8::MAX).collect::<Vec<u8>>());
        assert_eq!(
            as_uri(&format!("/a%{}{}", char::from_u32(PRIVATE + 0xe9).unwrap(), char::from_u32(PRIVATE + 0x3c).unwrap())),
            "/a%%E9%3C"
        );
        assert!(matches!(restore("/plain"), Cow::Borrowed(_)));
    }
}
