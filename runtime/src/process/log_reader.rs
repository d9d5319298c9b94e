//! Reads a run's log back, across its rotation and while it grows. Blocks; not for the async threads.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;

use crate::LogOptions;
use crate::process::log_lines::{self, Stream};
use crate::process::records;

/// How much is read at a time, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// A reader of one run's log.
#[derive(Debug)]
pub(super) struct LogReader {
    path: PathBuf,
    rotated: PathBuf,
    /// What is still to read, oldest first; the last one grows.
    files: VecDeque<File>,
    /// What was read of a record whose end was not.
    begun: Vec<u8>,
    /// The one stream that is told, if not both.
    only: Option<Stream>,
    since: Option<Timestamp>,
    has_timestamps: bool,
    is_line_start: bool,
    /// How many more bytes may be told.
    left_bytes: u64,
}

impl LogReader {
    /// Opens the log of a run at the place that the options ask for. A run without a log has an empty one.
    pub fn open(dir: &Path, container: &str, number: u32, options: &LogOptions) -> io::Result<Self> {
        let path = records::log_file(dir, container, number);
        let rotated = records::rotated_log_file(dir, container, number);
        let mut files = open_all(&path, &rotated)?;
        if let Some(lines) = options.tail {
            skip_to_tail(&mut files, lines)?;
        }
        Ok(Self {
            path,
            rotated,
            files,
            begun: Vec::new(),
            only: None,
            since: options.since,
            has_timestamps: options.timestamps,
            is_line_start: true,
            left_bytes: options.limit_bytes.unwrap_or(u64::MAX),
        })
    }

    /// The same, of one stream alone.
    pub fn only(self, stream: Stream) -> Self {
        Self { only: Some(stream), ..self }
    }

    /// Whether no more may be told.
    pub fn is_full(&self) -> bool {
        self.left_bytes == 0
    }

    /// What comes next; `None` at the end of what there is so far.
    pub fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut buffer = vec![0; READ_BYTES];
        while !self.is_full() {
            let Some(file) = self.files.front_mut() else { return Ok(None) };
            let length = file.read(&mut buffer)?;
            if length == 0 {
                if !self.advance()? {
                    return Ok(None);
                }
                continue;
            }
            let told = self.tell(buffer.get(..length).unwrap_or_default());
            if !told.is_empty() {
                return Ok(Some(told.into()));
            }
        }
        Ok(None)
    }

    /// Goes on to the next file, when there is one and this one is read.
    fn advance(&mut self) -> io::Result<bool> {
        if self.files.len() > 1 {
            self.files.pop_front();
            return Ok(true);
        }
        let Some(file) = self.files.front() else { return Ok(false) };
        match File::open(&self.path) {
            // Rotated. The old one is read once more: it may have grown before it was. One that came between is read too.
            Ok(newer) if newer.metadata()?.ino() != file.metadata()?.ino() => {
                let own = file.metadata()?.ino();
                let between = open_all(&self.path, &self.rotated)?;
                for file in between {
                    if file.metadata()?.ino() != own {
                        self.files.push_back(file);
                    }
                }
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn tell(&mut self, read: &[u8]) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(read);
        let mut told = Vec::with_capacity(all.len());
        let mut lines = all.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() {
                self.begun = line.to_vec();
            } else {
                self.tell_record(line, &mut told);
            }
        }
        let room = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        told.truncate(room);
        self.left_bytes = self.left_bytes.saturating_sub(told.len() as u64);
        told
    }

    fn tell_record(&mut self, line: &[u8], told: &mut Vec<u8>) {
        let Some(record) = log_lines::parse(line) else { return };
        if self.only.is_some_and(|only| only != record.stream) {
            return;
        }
        if self.since.is_some_and(|since| record.time.parse::<Timestamp>().is_ok_and(|time| time < since)) {
            return;
        }
        if self.has_timestamps && self.is_line_start {
            told.extend_from_slice(record.time.as_bytes());
            told.push(b' ');
        }
        told.extend_from_slice(record.text);
        if record.is_full {
            told.push(b'\n');
        }
        self.is_line_start = record.is_full;
    }
}

/// The older file, if there is one, and the newer.
fn open_all(path: &Path, rotated: &Path) -> io::Result<VecDeque<File>> {
    loop {
        let older = open(rotated)?;
        let newer = open(path)?;
        let now = match fs::metadata(rotated) {
            Ok(metadata) => Some(metadata.ino()),
            Err(_) => None,
        };
        let opened = older.as_ref().map(File::metadata).transpose()?.map(|metadata| metadata.ino());
        // Rotated between the two: what was newer a moment ago would be missing.
        if now == opened {
            return Ok(older.into_iter().chain(newer).collect());
        }
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Goes to where the last so many lines begin, and forgets the files before that.
fn skip_to_tail(files: &mut VecDeque<File>, lines: u64) -> io::Result<()> {
    let (mut seen, mut is_last) = (0, true);
    for at in (0..files.len()).rev() {
        let Some(file) = files.get_mut(at) else { break };
        let mut backwards = Backwards::new(file)?;
        while let Some((end, is_full)) = backwards.previous(file)? {
            seen += u64::from(is_full || is_last);
            is_last = false;
            if seen > lines {
                file.seek(SeekFrom::Start(end))?;
                files.drain(..at);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Walks over a file's records from the last to the first.
struct Backwards {
    /// A piece of the file that ends where the next record does.
    window: Vec<u8>,
    /// Where that piece begins.
    start: u64,
}

impl Backwards {
    fn new(file: &File) -> io::Result<Self> {
        Ok(Self { window: Vec::new(), start: file.metadata()?.len() })
    }

    /// Where the record before ends, and whether its line ends with it.
    fn previous(&mut self, file: &File) -> io::Result<Option<(u64, bool)>> {
        loop {
            let body = self.window.strip_suffix(b"\n").unwrap_or(&self.window);
            let before = body.iter().rposition(|byte| *byte == b'\n').map(|newline| newline + 1);
            let is_whole = before.is_some() || self.start == 0;
            if is_whole && !self.window.is_empty() {
                let begin = before.unwrap_or(0);
                let end = self.start + self.window.len() as u64;
                let is_full = log_lines::parse(body.get(begin..).unwrap_or_default()).is_none_or(|record| record.is_full);
                self.window.truncate(begin);
                return Ok(Some((end, is_full)));
            }
            if self.start == 0 {
                return Ok(None);
            }
            self.widen(file)?;
        }
    }

    fn widen(&mut self, file: &File) -> io::Result<()> {
        let start = self.start.saturating_sub(READ_BYTES as u64);
        let mut wider = vec![0; usize::try_from(self.start - start).unwrap_or(READ_BYTES)];
        file.read_exact_at(&mut wider, start)?;
        wider.append(&mut self.window);
        self.window = wider;
        self.start = start;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(second: u32, tag: char, text: &str) -> String {
        format!("2026-01-01T00:00:{second:02}.000000000Z stdout {tag} {text}\n")
    }

    fn read(dir: &Path, options: &LogOptions) -> String {
        let mut reader = LogReader::open(dir, "web", 1, options).unwrap();
        let mut all = Vec::new();
        while let Some(bytes) = reader.next().unwrap() {
            all.extend_from_slice(&bytes);
        }
        String::from_utf8(all).unwrap()
    }

    fn written(older: &[String], newer: &[String]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        if !older.is_empty() {
            fs::write(records::rotated_log_file(dir.path(), "web", 1), older.concat()).unwrap();
        }
        fs::write(records::log_file(dir.path(), "web", 1), newer.concat()).unwrap();
        dir
    }

    #[test]
    fn a_tail_counts_lines_and_not_records_and_reaches_into_the_older_file() {
        let long = "x".repeat(50_000);
        let older = [record(1, 'F', "one"), record(2, 'P', "tw"), record(2, 'P', &long)];
        let dir = written(&older, &[record(3, 'F', "o"), record(4, 'F', "three"), record(5, 'P', "fo")]);
        let tail = |lines| read(dir.path(), &LogOptions { tail: Some(lines), ..LogOptions::default() });
        assert_eq!(tail(0), "");
        assert_eq!(tail(1), "fo");
        assert_eq!(tail(2), "three\nfo");
        assert_eq!(tail(3), format!("tw{long}o\nthree\nfo"));
        assert_eq!(tail(4), format!("one\ntw{long}o\nthree\nfo"));
        assert_eq!(tail(5), tail(4));
    }

    #[test]
    fn many_lines_are_tailed_from_any_place() {
        let lines: Vec<_> = (0..5_000).map(|number| record(1, 'F', &format!("line {number}"))).collect();
        let dir = written(&[], &lines);
        for count in [1, 10, 999, 4_999, 5_000] {
            let told = read(dir.path(), &LogOptions { tail: Some(count), ..LogOptions::default() });
            assert_eq!(told.lines().next(), Some(format!("line {}", 5_000 - count)).as_deref());
            assert_eq!(told.lines().count() as u64, count);
        }
    }

    #[test]
    fn times_are_told_once_a_line_and_only_from_the_time_asked_for() {
        let dir = written(&[], &[record(1, 'F', "a"), record(2, 'P', "b"), record(2, 'F', "c"), record(3, 'F', "d")]);
        let since = Some("2026-01-01T00:00:02Z".parse().unwrap());
        let told = read(dir.path(), &LogOptions { since, timestamps: true, ..LogOptions::default() });
        assert_eq!(told, "2026-01-01T00:00:02.000000000Z bc\n2026-01-01T00:00:03.000000000Z d\n");
    }

    #[test]
    fn a_limit_cuts_where_it_says() {
        let dir = written(&[], &[record(1, 'F', "abc"), record(2, 'F', "def")]);
        assert_eq!(read(dir.path(), &LogOptions { limit_bytes: Some(6), ..LogOptions::default() }), "abc\nde");
    }

    #[test]
    fn a_log_that_is_rotated_while_it_is_read_is_read_on() {
        let dir = written(&[], &[record(1, 'F', "a")]);
        let (path, rotated) = (records::log_file(dir.path(), "web", 1), records::rotated_log_file(dir.path(), "web", 1));
        let mut reader = LogReader::open(dir.path(), "web", 1, &LogOptions::default()).unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), "a\n");
        assert_eq!(reader.next().unwrap(), None);
        fs::write(&path, record(1, 'F', "a") + &record(2, 'F', "b")).unwrap();
        fs::rename(&path, &rotated).unwrap();
        fs::write(&path, record(3, 'F', "c")).unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), "b\n");
        assert_eq!(reader.next().unwrap().unwrap(), "c\n");
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn a_reader_that_is_two_rotations_behind_misses_nothing_that_is_there() {
        let dir = written(&[], &[record(1, 'F', "a")]);
        let (path, rotated) = (records::log_file(dir.path(), "web", 1), records::rotated_log_file(dir.path(), "web", 1));
        let mut reader = LogReader::open(dir.path(), "web", 1, &LogOptions::default()).unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), "a\n");
        for (second, text) in [(2, "b"), (3, "c")] {
            fs::rename(&path, &rotated).unwrap();
            fs::write(&path, record(second, 'F', text)).unwrap();
        }
        assert_eq!(reader.next().unwrap().unwrap(), "b\n");
        assert_eq!(reader.next().unwrap().unwrap(), "c\n");
        assert_eq!(reader.next().unwrap(), None);
    }
}
