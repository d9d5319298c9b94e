//! The journal: what was committed since the database took everything over.
//!
//! ```text
//! "conductor-journal 1\n" · id          the first block
//! segment, segment                      each: frame, frame, ...
//! frame: length · checksum of all that follows, and of the id · sequence · content · zeros up to eight bytes
//! ```
//!
//! The file is allocated when it is made, so that appending a frame changes nothing but its bytes, and one wait for the
//! disk makes it durable. Frames are numbered in sequence. While one segment is written, the database takes over the other;
//! then they change places, and what the next frames do not overwrite yet is told by its older numbers.
//!
//! A frame that the machine went down over has a wrong checksum and nothing after it. One with later frames after it is damage.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::posix_fallocate;

use super::load::Unreadable;

const TITLE: &[u8; 20] = b"conductor-journal 1\n";
/// Where the first segment begins.
const BEGIN: usize = 4096;
/// The bytes of a segment: some thousand small changes, which the database takes over in one write.
const SEGMENT: usize = 2 << 20;
const SEGMENTS: usize = 2;
/// The bytes of a frame before its content.
const HEAD: usize = 16;
const ALIGN: usize = 8;
/// The longest content of a frame.
pub const CONTENT_MAX: usize = SEGMENT - HEAD;

/// A journal that is written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    id: u64,
    /// The number of the last frame.
    sequence: u64,
    /// Which segment is written, and how much of it is.
    segment: usize,
    used: usize,
    /// The frame that is made.
    frame: Vec<u8>,
}

impl Journal {
    /// Makes an empty journal; what there was under its name is gone. It is on the disk when this returns, except for its name.
    pub fn create(path: &Path, id: u64) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let length = i64::try_from(BEGIN + SEGMENTS * SEGMENT).map_err(io::Error::other)?;
        posix_fallocate(&file, 0, length)?;
        file.write_all_at(&[TITLE.as_slice(), &id.to_be_bytes()].concat(), 0)?;
        file.sync_all()?;
        Ok(Self { file, id, sequence: 0, segment: 0, used: 0, frame: Vec::new() })
    }

    /// What tells this journal from all others.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The number of the last frame; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether the segment that is written has room for a frame of so much content.
    pub fn has_room(&self, content: usize) -> bool {
        self.used + whole(content) <= SEGMENT
    }

    /// Goes on with the other segment. Nobody may need its frames any more.
    pub fn turn(&mut self) {
        self.segment = (self.segment + 1) % SEGMENTS;
        self.used = 0;
    }

    /// Adds a frame, which is on the disk when this returns. On an error nothing may be added until the journal is made anew.
    pub fn append(&mut self, content: &[u8]) -> io::Result<()> {
        let length = content.len();
        if !self.has_room(length) {
            return Err(io::Error::other("the journal has no room"));
        }
        self.frame.clear();
        self.frame.resize(HEAD, 0);
        self.frame.extend_from_slice(content);
        let sequence = self.sequence + 1;
        self.frame[8..HEAD].copy_from_slice(&sequence.to_be_bytes());
        let sum = checksum(self.id, &self.frame[8..]);
        self.frame[..4].copy_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_be_bytes());
        self.frame[4..8].copy_from_slice(&sum.to_be_bytes());
        self.frame.resize(whole(length), 0);
        let place = BEGIN + self.segment * SEGMENT + self.used;
        self.file.write_all_at(&self.frame, place as u64)?;
        self.file.sync_data()?;
        self.sequence = sequence;
        self.used += self.frame.len();
        Ok(())
    }
}

/// The contents of the frames after number `taken`, in order. Errors: it is missing, another's, or damaged.
pub fn read(path: &Path, id: u64, taken: u64) -> Result<Vec<Vec<u8>>, Unreadable> {
    let wrong = |what: &str| Unreadable::Wrong(format!("its journal {} {what}", path.display()));
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(wrong("is missing: put it back beside the store")),
        bytes => bytes.map_err(|error| Unreadable::Database(redb::Error::Io(error)))?,
    };
    let title = [TITLE.as_slice(), &id.to_be_bytes()].concat();
    if !bytes.starts_with(&title) {
        return Err(wrong("belongs to another store"));
    }
    if bytes.len() != BEGIN + SEGMENTS * SEGMENT {
        return Err(wrong("is cut off"));
    }
    let segments: Vec<&[u8]> = bytes.get(BEGIN..).unwrap_or_default().chunks(SEGMENT).collect();
    let mut frames: Vec<(u64, &[u8])> =
        segments.iter().flat_map(|segment| chain(segment, id)).filter(|(sequence, _)| *sequence > taken).collect();
    frames.sort_by_key(|(sequence, _)| *sequence);
    let is_whole = frames.iter().zip(taken + 1..).all(|((sequence, _), expected)| *sequence == expected);
    let last = frames.last().map_or(taken, |(sequence, _)| *sequence);
    if !is_whole || segments.iter().any(|segment| holds_later(segment, id, last)) {
        return Err(wrong("is damaged: a frame of it is missing"));
    }
    Ok(frames.into_iter().map(|(_, content)| content.to_vec()).collect())
}

/// The frames from the beginning of a segment on that follow one another.
fn chain(segment: &[u8], id: u64) -> Vec<(u64, &[u8])> {
    let (mut frames, mut rest): (Vec<(u64, &[u8])>, &[u8]) = (Vec::new(), segment);
    while let Some((sequence, content)) = frame(rest, id) {
        if frames.last().is_some_and(|(last, _)| sequence != last + 1) {
            break;
        }
        frames.push((sequence, content));
        rest = rest.get(whole(content.len())..).unwrap_or_default();
    }
    frames
}

/// Whether there is a frame with a higher number anywhere.
fn holds_later(segment: &[u8], id: u64, last: u64) -> bool {
    let numbers = |place: usize| segment.get(place + 8..place + HEAD).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    // No more frames fit in than this.
    let plausible = last + 1..=last + (SEGMENTS * SEGMENT / HEAD) as u64;
    let mut places = (0..segment.len())
        .step_by(ALIGN)
        .filter(|place| numbers(*place).is_some_and(|bytes| plausible.contains(&u64::from_be_bytes(bytes))));
    places.any(|place| frame(&segment[place..], id).is_some())
}

/// The number and the content of the frame that begins here.
fn frame(bytes: &[u8], id: u64) -> Option<(u64, &[u8])> {
    let length = usize::try_from(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let sum = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
    let checked = bytes.get(8..HEAD.checked_add(length)?)?;
    let (sequence, content) = checked.split_first_chunk::<8>()?;
    (!content.is_empty() && checksum(id, checked) == sum).then_some((u64::from_be_bytes(*sequence), content))
}

fn checksum(id: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// The bytes of a frame of so much content.
fn whole(content: usize) -> usize {
    (HEAD + content).next_multiple_of(ALIGN)
}
