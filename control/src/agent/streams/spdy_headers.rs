//! Blocks of SPDY/3 headers: compressed by one deflate stream a connection, which begins with a dictionary.

use std::sync::LazyLock;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// The most that a block may be, decompressed.
const BLOCK_BYTES_MAX: usize = 64 * 1024;
const WINDOW_BYTES: usize = 32 * 1024;

/// The words that SPDY/3 begins its dictionary with, each after its length.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow \
    authorization cache-control connection content-base content-encoding content-language content-length content-location content-md5 \
    content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range \
    if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after \
    server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status";
const MORE_WORDS: [&str; 8] = ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"];
/// What the dictionary ends with.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative \
    Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server \
    Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, \
    Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
    publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    for word in WORDS.split(' ').chain(MORE_WORDS) {
        bytes.extend(u32::try_from(word.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(word.as_bytes());
    }
    bytes.extend(TAIL.as_bytes());
    bytes
});

/// Decompresses the blocks of one connection, in order.
#[derive(Default)]
pub struct Inflater {
    state: Box<DecompressorOxide>,
    /// What was decompressed last; the next block may refer to it.
    window: Vec<u8>,
    begun: bool,
}

impl Inflater {
    /// The headers of a block, names in lower case. Errors: what makes no sense.
    pub fn headers(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, &'static str> {
        parse(&self.inflate(block)?).ok_or("the headers end in the middle")
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, &'static str> {
        if !self.begun {
            let (head, rest) = block.split_at_checked(2).ok_or("the zlib header is missing")?;
            block = rest;
            if head.get(1).is_some_and(|flags| flags & 0x20 != 0) {
                block = block.get(4..).ok_or("the zlib header ends in the middle")?;
                self.window.clone_from(&DICTIONARY);
            }
            self.begun = true;
        }
        let excess = self.window.len().saturating_sub(WINDOW_BYTES);
        let mut out = self.window.split_off(excess);
        let kept = out.len();
        out.resize(kept + BLOCK_BYTES_MAX, 0);
        let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, _, written) = decompress(&mut self.state, block, &mut out, kept, flags);
        match status {
            TINFLStatus::NeedsMoreInput | TINFLStatus::Done => {}
            TINFLStatus::HasMoreOutput => return Err("the headers are too long"),
            _ => return Err("the headers cannot be decompressed"),
        }
        out.truncate(kept + written);
        let block = out.get(kept..).unwrap_or_default().to_vec();
        self.window = out;
        Ok(block)
    }
}

/// The block of no headers, stored rather than compressed; the first of a connection begins its deflate stream.
pub fn no_headers(is_first: bool) -> Vec<u8> {
    let mut block = if is_first { vec![0x78, 0x01] } else { Vec::new() };
    block.extend([0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0]);
    // An empty block after it, as a flush ends: some readers hand nothing on before it.
    block.extend([0, 0, 0, 0xff, 0xff]);
    block
}

fn parse(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let (count, mut rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
    let mut found = Vec::new();
    let mut text = || {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        let (text, tail) = tail.split_at_checked(usize::try_from(u32::from_be_bytes(*head)).ok()?)?;
        rest = tail;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    for _ in 0..count.min(BLOCK_BYTES_MAX) {
        found.push((text()?.to_lowercase(), text()?));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks as zlib writes them, with the dictionary and a sync flush after each.
    const BLOCKS: [&str; 2] = [
        "78f9e3c6a7c202253a50120fc82f0227750b030b0320cd098d2f4f1720871124c2155c52949a981b02296c5853415101000000ffff",
        "82692e40d35c04d19c9902d75c0cd68c54522502000000ffff",
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_dictionary_is_that_of_the_protocol() {
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in DICTIONARY.iter() {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        assert_eq!((DICTIONARY.len(), (b << 16) | a), (1_423, 0xe3c6_a7c2));
    }

    #[test]
    fn blocks_refer_to_the_dictionary_and_to_each_other() {
        let mut inflater = Inflater::default();
        let first = inflater.headers(&bytes(BLOCKS[0])).unwrap();
        let expect = |kind: &str| [("port", "8080"), ("requestid", "0"), ("streamtype", kind)].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(first, expect("error"));
        assert_eq!(inflater.headers(&bytes(BLOCKS[1])).unwrap(), expect("data"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [&b""[..], b"x", b"\x78\xf9", b"\x78\x01\x07", b"\x78\x01\x00\x04\x00\xfb\xff\x00\x00\x00\x01"] {
            assert!(Inflater::default().headers(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Inflater::default().headers(&no_headers(true)).unwrap(), []);
        let mut again = Inflater::default();
        again.headers(&no_headers(true)).unwrap();
        assert_eq!(again.headers(&no_headers(false)).unwrap(), []);
    }
}
