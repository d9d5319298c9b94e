//! Frames of SPDY/3.1, as far as talking to Pods needs them.

use bytes::{Buf as _, Bytes, BytesMut};

use super::spdy_headers::{Inflater, no_headers};

/// The longest frame that is taken, in bytes.
const FRAME_BYTES_MAX: usize = 1024 * 1024;
const HEAD_BYTES: usize = 8;
const LAST: u8 = 1;

/// What the other side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A stream begins.
    Open {
        /// Its number.
        stream: u32,
        /// Whether the other side will send nothing in it.
        is_last: bool,
        /// Its headers, names in lower case.
        headers: Vec<(String, String)>,
    },
    /// Bytes of a stream.
    Piece {
        /// The stream.
        stream: u32,
        /// Whether these are the last.
        is_last: bool,
        /// The bytes.
        bytes: Bytes,
    },
    /// A stream is given up.
    Reset {
        /// The stream.
        stream: u32,
    },
    /// To be sent back.
    Ping(u32),
    /// No more streams will begin.
    GoAway,
    /// Something that needs no answer.
    Other,
}

/// Takes frames out of bytes that come in pieces of any size.
#[derive(Default)]
pub struct Decoder {
    buffer: BytesMut,
    inflater: Inflater,
}

impl Decoder {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, once all of it is there. Errors: what makes no sense; nothing can be read after it.
    pub fn next(&mut self) -> Result<Option<Frame>, &'static str> {
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>().copied() else { return Ok(None) };
        let [a, b, c, d, flags, e, f, g] = head;
        let length = usize::try_from(u32::from_be_bytes([0, e, f, g])).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err("a frame is too long");
        }
        if self.buffer.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        let body = self.buffer.split_to(length).freeze();
        let is_last = flags & LAST != 0;
        if a & 0x80 == 0 {
            return Ok(Some(Frame::Piece { stream: u32::from_be_bytes([a, b, c, d]), is_last, bytes: body }));
        }
        if (a & 0x7f, b) != (0, 3) {
            return Err("a frame is of another version than SPDY/3");
        }
        self.control(u16::from_be_bytes([c, d]), is_last, &body).map(Some)
    }

    fn control(&mut self, kind: u16, is_last: bool, body: &[u8]) -> Result<Frame, &'static str> {
        let number = || body.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff).ok_or("a frame ends in the middle");
        // Every block of headers must be read, since later ones refer to it.
        let mut headers = |from: usize| self.inflater.headers(body.get(from..).ok_or("a frame ends in the middle")?);
        Ok(match kind {
            1 => Frame::Open { stream: number()?, is_last, headers: headers(10)? },
            2 | 8 => {
                headers(4)?;
                Frame::Other
            }
            3 => Frame::Reset { stream: number()? },
            6 => Frame::Ping(body.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)).ok_or("a frame ends in the middle")?),
            7 => Frame::GoAway,
            _ => Frame::Other,
        })
    }
}

/// Bytes of a stream.
pub fn piece(stream: u32, is_last: bool, bytes: &[u8]) -> Vec<u8> {
    let mut frame = (stream & 0x7fff_ffff).to_be_bytes().to_vec();
    frame.extend(flags_and_length(is_last, bytes.len()));
    frame.extend_from_slice(bytes);
    frame
}

/// The answer to a stream that began; the first answer of a connection begins its compression.
pub fn reply(stream: u32, is_first: bool) -> Vec<u8> {
    let mut body = (stream & 0x7fff_ffff).to_be_bytes().to_vec();
    body.extend(no_headers(is_first));
    control(2, &body)
}

/// The answer to a ping.
pub fn ping(id: u32) -> Vec<u8> {
    control(6, &id.to_be_bytes())
}

/// Gives up a stream: it is refused.
pub fn refuse(stream: u32) -> Vec<u8> {
    let mut body = (stream & 0x7fff_ffff).to_be_bytes().to_vec();
    body.extend(3_u32.to_be_bytes());
    control(3, &body)
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80, 3];
    frame.extend(kind.to_be_bytes());
    frame.extend(flags_and_length(false, body.len()));
    frame.extend_from_slice(body);
    frame
}

/// A byte of flags and three of length. Callers send pieces far below what three bytes can say.
fn flags_and_length(is_last: bool, length: usize) -> [u8; 4] {
    let [_, a, b, c] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [u8::from(is_last), a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &[Frame]) {
        for size in [1, 3, bytes.len()] {
            let (mut decoder, mut found) = (Decoder::default(), Vec::new());
            for part in bytes.chunks(size.max(1)) {
                decoder.push(part);
                while let Some(frame) = decoder.next().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, expected, "in parts of {size}");
        }
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let bytes = [piece(5, false, b"hello"), ping(7), refuse(3), piece(5, true, b""), reply(5, true), control(4, b"")].concat();
        let data = |is_last, bytes: &'static [u8]| Frame::Piece { stream: 5, is_last, bytes: Bytes::from_static(bytes) };
        check(&bytes, &[data(false, b"hello"), Frame::Ping(7), Frame::Reset { stream: 3 }, data(true, b""), Frame::Other, Frame::Other]);
        let mut open = vec![0, 0, 0, 9, 0, 0, 0, 0, 0, 0];
        open.extend(no_headers(true));
        check(&control(1, &open), &[Frame::Open { stream: 9, is_last: false, headers: Vec::new() }]);
        check(&control(7, b"\0\0\0\0\0\0\0\0"), &[Frame::GoAway]);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bad in [
            &b"\x80\x02\x00\x01\x00\x00\x00\x00"[..],
            b"\x80\x03\x00\x01\x00\x00\x00\x00",
            b"\x00\x00\x00\x01\x00\xff\xff\xff",
            b"\x80\x03\x00\x06\x00\x00\x00\x01\x00",
        ] {
            let mut decoder = Decoder::default();
            decoder.push(bad);
            assert!(decoder.next().is_err(), "{bad:?}");
        }
    }
}
