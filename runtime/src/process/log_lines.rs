//! The form of a log on disk, which is that of Kubernetes' container runtimes: a record a line,
//! `2026-01-02T03:04:05.000000000Z stdout F text`, with `P` for `F` where a line goes on in the stream's next record.

use std::io::Write;

use jiff::Timestamp;

/// The longest text of a record, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 16 * 1024;
/// What a buffer keeps between lines, in bytes: shims are many.
const KEPT_BYTES: usize = 1024;

/// The stream a program wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Makes records of what a program writes to one stream.
#[derive(Debug)]
pub(super) struct Recorder {
    stream: Stream,
    line: Vec<u8>,
}

impl Recorder {
    pub fn new(stream: Stream) -> Self {
        Self { stream, line: Vec::new() }
    }

    /// Takes what was read at `now` and appends the records it completes to `records`.
    pub fn take(&mut self, mut bytes: &[u8], now: Timestamp, records: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = TEXT_BYTES_MAX - self.line.len();
            let (within, beyond) = bytes.split_at(bytes.len().min(room));
            if let Some(end) = within.iter().position(|byte| *byte == b'\n') {
                let (text, rest) = bytes.split_at(end);
                self.line.extend_from_slice(text);
                self.record(b'F', now, records);
                bytes = rest.strip_prefix(b"\n").unwrap_or(rest);
            } else {
                self.line.extend_from_slice(within);
                if self.line.len() == TEXT_BYTES_MAX {
                    self.record(b'P', now, records);
                }
                bytes = beyond;
            }
        }
    }

    /// Whether there is something that has no line end yet.
    pub fn is_begun(&self) -> bool {
        !self.line.is_empty()
    }

    /// Appends what has no line end yet, when no more will come, or not soon.
    pub fn finish(&mut self, now: Timestamp, records: &mut Vec<u8>) {
        if !self.line.is_empty() {
            self.record(b'P', now, records);
        }
    }

    fn record(&mut self, tag: u8, now: Timestamp, records: &mut Vec<u8>) {
        write!(records, "{now:.9} {} ", self.stream.word()).expect("a Vec takes all that is written to it");
        records.extend_from_slice(&[tag, b' ']);
        records.append(&mut self.line);
        records.push(b'\n');
        self.line.shrink_to(KEPT_BYTES);
    }
}

/// A record, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// When it was read, RFC 3339.
    pub time: &'a str,
    /// Where it was written to.
    pub stream: Stream,
    /// Whether the line ends with it.
    pub is_full: bool,
    /// What was written.
    pub text: &'a [u8],
}

/// Takes a record, without its line end, apart; `None` for a line that is none.
pub(super) fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = str::from_utf8(fields.next()?).ok()?;
    let stream = if fields.next()? == b"stderr" { Stream::Stderr } else { Stream::Stdout };
    let is_full = fields.next()? == b"F";
    Some(Record { time, stream, is_full, text: fields.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pieces: &[&[u8]]) -> Vec<(bool, String)> {
        let (mut recorder, mut records) = (Recorder::new(Stream::Stdout), Vec::new());
        for piece in pieces {
            recorder.take(piece, Timestamp::UNIX_EPOCH, &mut records);
        }
        recorder.finish(Timestamp::UNIX_EPOCH, &mut records);
        let lines = records.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| parse(line).unwrap());
        lines.map(|record| (record.is_full, String::from_utf8(record.text.to_vec()).unwrap())).collect()
    }

    #[test]
    fn a_record_has_the_form_that_other_tools_read() {
        let (mut recorder, mut records) = (Recorder::new(Stream::Stderr), Vec::new());
        recorder.take(b"hello world\n", Timestamp::new(1, 5_000).unwrap(), &mut records);
        assert_eq!(String::from_utf8(records).unwrap(), "1970-01-01T00:00:01.000005000Z stderr F hello world\n");
    }

    #[test]
    fn lines_are_made_of_whatever_pieces_come() {
        assert_eq!(
            records(&[b"a", b"b\n\nc", b"\nd"]),
            [(true, "ab".into()), (true, String::new()), (true, "c".into()), (false, "d".into())]
        );
    }

    #[test]
    fn a_long_line_is_cut_and_marked() {
        let long = vec![b'x'; TEXT_BYTES_MAX + 3];
        let lengths: Vec<_> = records(&[&long, b"\n"]).into_iter().map(|(is_full, text)| (is_full, text.len())).collect();
        assert_eq!(lengths, [(false, TEXT_BYTES_MAX), (true, 3)]);
    }
}
