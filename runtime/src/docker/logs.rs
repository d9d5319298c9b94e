//! What a run wrote, as the engine kept it.

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;

use crate::LogOptions;

/// How many lines of the end are read once more after a log was followed.
const END_LINES: &str = "100";

/// The log of one container of the engine.
pub(super) fn read(client: &bollard::Docker, id: &str, options: &LogOptions) -> BoxStream<'static, Bytes> {
    let tail = options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    // An engine that is followed often ends before what was written last without a newline: the end is read once more.
    let again = options.follow.then(|| (client.clone(), id.to_owned()));
    let state = (pieces(client, id, options.follow, &tail), again, Cut::new(options));
    stream::unfold(state, |(mut read, mut again, mut cut)| async move {
        while !cut.is_full() {
            match read.next().await {
                Some(Ok(piece)) => {
                    let told = cut.tell(&piece);
                    if !told.is_empty() {
                        return Some((Bytes::from(told), (read, again, cut)));
                    }
                }
                None => {
                    let (client, id) = again.take()?;
                    read = pieces(&client, &id, false, END_LINES);
                    cut.begin_again();
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "a log cannot be read on");
                    return None;
                }
            }
        }
        None
    })
    .boxed()
}

type Pieces = BoxStream<'static, Result<LogOutput, bollard::errors::Error>>;

fn pieces(client: &bollard::Docker, id: &str, follow: bool, tail: &str) -> Pieces {
    let asked = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true).follow(follow).tail(tail);
    client.logs(id, Some(asked.build())).boxed()
}

/// Cuts out of the engine's lines, all of which begin with their time, what was asked for.
struct Cut {
    since: Option<Timestamp>,
    has_timestamps: bool,
    left_bytes: u64,
    /// For standard output and error: whether the next piece begins a line.
    begins_line: [bool; 2],
    /// For the same: the time of the last piece, and how many pieces had it; those of one long line have it in common.
    last: [Option<(Timestamp, usize)>; 2],
    /// Once the end is read again: what was told of it before.
    known: Option<[Option<(Timestamp, usize)>; 2]>,
}

impl Cut {
    fn new(options: &LogOptions) -> Self {
        Self {
            since: options.since,
            has_timestamps: options.timestamps,
            left_bytes: options.limit_bytes.unwrap_or(u64::MAX),
            begins_line: [true; 2],
            last: [None; 2],
            known: None,
        }
    }

    /// What comes now came before, up to what was last told.
    fn begin_again(&mut self) {
        self.known = Some(std::mem::take(&mut self.last));
    }

    /// Counts a piece. Whether it was told before.
    fn is_known(&mut self, stream: usize, time: Option<Timestamp>) -> bool {
        let (Some(time), Some(last)) = (time, self.last.get_mut(stream)) else { return false };
        let count = last.filter(|(of, _)| *of == time).map_or(1, |(_, count)| count + 1);
        *last = Some((time, count));
        let known = self.known.and_then(|known| known.get(stream).copied().flatten());
        known.is_some_and(|(of, known)| time < of || time == of && count <= known)
    }

    fn is_full(&self) -> bool {
        self.left_bytes == 0
    }

    fn tell(&mut self, piece: &LogOutput) -> Vec<u8> {
        let stream = usize::from(matches!(piece, LogOutput::StdErr { .. }));
        let bytes = piece.as_ref();
        let (time, text) = match bytes.iter().position(|byte| *byte == b' ') {
            Some(space) => (bytes.get(..space).unwrap_or_default(), bytes.get(space + 1..).unwrap_or_default()),
            None => (bytes.strip_suffix(b"\n").unwrap_or(bytes), bytes.get(bytes.len().saturating_sub(1)..).unwrap_or_default()),
        };
        let time = str::from_utf8(time).ok().and_then(|time| time.parse::<Timestamp>().ok());
        // What has no time is what the program wrote, as it is.
        let (time, text) = time.map_or((None, bytes), |time| (Some(time), text));
        if self.is_known(stream, time) {
            return Vec::new();
        }
        let begins_line = std::mem::replace(self.begins_line.get_mut(stream).unwrap_or(&mut true), text.ends_with(b"\n"));
        if self.since.is_some_and(|since| time.is_some_and(|time| time < since)) {
            return Vec::new();
        }
        let mut told = Vec::with_capacity(text.len() + 32);
        if let Some(time) = time.filter(|_| self.has_timestamps && begins_line) {
            told.extend_from_slice(format!("{time:.9} ").as_bytes());
        }
        told.extend_from_slice(text);
        told.truncate(usize::try_from(self.left_bytes).unwrap_or(usize::MAX));
        self.left_bytes = self.left_bytes.saturating_sub(told.len() as u64);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(options: &LogOptions, pieces: &[&str]) -> String {
        let mut cut = Cut::new(options);
        let told = pieces.iter().map(|piece| cut.tell(&LogOutput::StdOut { message: Bytes::from((*piece).to_owned()) }));
        String::from_utf8(told.flatten().collect()).unwrap()
    }

    #[test]
    fn the_end_that_is_read_again_is_told_once() {
        let long = ["2026-01-01T00:00:02Z a", "2026-01-01T00:00:02Z b"];
        for (first, again, expected) in [
            (&["2026-01-01T00:00:01Z one\n"][..], &["2026-01-01T00:00:01Z one\n", "2026-01-01T00:00:02Z end"][..], "one\nend"),
            (&long[..1], &long, "ab"),
            (&long, &long, "ab"),
            (&[], &long, "ab"),
        ] {
            let mut cut = Cut::new(&LogOptions::default());
            let piece = |text: &&str| LogOutput::StdOut { message: Bytes::from((*text).to_owned()) };
            let mut told: Vec<u8> = first.iter().flat_map(|text| cut.tell(&piece(text))).collect();
            cut.begin_again();
            told.extend(again.iter().flat_map(|text| cut.tell(&piece(text))));
            assert_eq!(String::from_utf8(told).unwrap(), expected);
        }
    }

    #[test]
    fn times_are_taken_off_or_told_once_a_line() {
        let pieces = ["2026-01-01T00:00:01.5Z one\n", "2026-01-01T00:00:02Z tw", "2026-01-01T00:00:03Z o\n", "2026-01-01T00:00:04Z \n"];
        assert_eq!(cut(&LogOptions::default(), &pieces), "one\ntwo\n\n");
        let timed = cut(&LogOptions { timestamps: true, ..LogOptions::default() }, &pieces);
        assert_eq!(timed, "2026-01-01T00:00:01.500000000Z one\n2026-01-01T00:00:02.000000000Z two\n2026-01-01T00:00:04.000000000Z \n");
        let since = Some("2026-01-01T00:00:03Z".parse().unwrap());
        assert_eq!(cut(&LogOptions { since, ..LogOptions::default() }, &pieces), "o\n\n");
        assert_eq!(cut(&LogOptions { limit_bytes: Some(5), ..LogOptions::default() }, &pieces), "one\nt");
        assert_eq!(cut(&LogOptions::default(), &["no time\n"]), "no time\n");
    }
}
