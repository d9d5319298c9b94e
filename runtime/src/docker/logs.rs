//! What a run wrote, as the engine kept it.

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;

use crate::LogOptions;

/// The log of one container of the engine.
pub(super) fn read(client: &bollard::Docker, id: &str, options: &LogOptions) -> BoxStream<'static, Bytes> {
    let tail = options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let asked = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true).follow(options.follow).tail(&tail);
    let pieces = client.logs(id, Some(asked.build()));
    let state = (pieces, Cut::new(options));
    stream::unfold(state, |(mut pieces, mut cut)| async move {
        while !cut.is_full() {
            match pieces.next().await? {
                Ok(piece) => {
                    let told = cut.tell(&piece);
                    if !told.is_empty() {
                        return Some((Bytes::from(told), (pieces, cut)));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a log cannot be read on");
                    return None;
                }
            }
        }
        None
    })
    .boxed()
}

/// Cuts out of the engine's lines, all of which begin with their time, what was asked for.
struct Cut {
    since: Option<Timestamp>,
    has_timestamps: bool,
    left_bytes: u64,
    /// For standard output and error: whether the next piece begins a line.
    begins_line: [bool; 2],
}

impl Cut {
    fn new(options: &LogOptions) -> Self {
        Self {
            since: options.since,
            has_timestamps: options.timestamps,
            left_bytes: options.limit_bytes.unwrap_or(u64::MAX),
            begins_line: [true; 2],
        }
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
