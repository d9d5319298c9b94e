//! What may be tried with any bytes: the frames of clients that talk to Pods.

use crate::agent::spdy::{Decoder, Frame};

/// Frames of SPDY/3.1: however the bytes are cut, the frames are the same.
pub fn spdy(bytes: &[u8]) {
    let whole = frames(bytes, bytes.len());
    assert_eq!(whole, frames(bytes, 7), "in pieces of 7");
}

/// The frames, and how reading ended.
fn frames(bytes: &[u8], size: usize) -> (Vec<Frame>, Option<&'static str>) {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(size.max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(why) => return (found, Some(why)),
            }
        }
    }
    (found, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_frame_breaks_us() {
        let folder = format!("{}/../fuzz/seeds/spdy", env!("CARGO_MANIFEST_DIR"));
        let seeds: Vec<Vec<u8>> = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(!seeds.is_empty());
        seeds.iter().for_each(|seed| spdy(seed));
        logic::fuzzing::mutations(&seeds, 5_000).for_each(|input| spdy(&input));
    }
}
