//! A log of the fake, as a stream.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::fake::Shared;
use crate::{ContainerPhase, LogOptions};

/// Reads a log as it was and, if asked to follow, as it goes on.
pub(super) struct Follower {
    pub shared: Arc<Shared>,
    pub steps: watch::Receiver<u64>,
    pub uid: String,
    pub container: String,
    /// How often the container had been started.
    pub run: u32,
    pub options: LogOptions,
    pub next_line: usize,
    pub left_bytes: u64,
}

impl Follower {
    /// The next line as it is told; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.steps.mark_unchanged();
            let (line, is_over) = self.line()?;
            if let Some((time, text)) = line {
                self.next_line += 1;
                if self.options.since.is_some_and(|since| time < since) {
                    continue;
                }
                return self.told(time, &text);
            }
            if is_over {
                return None;
            }
            self.steps.changed().await.ok()?;
        }
    }

    /// The next line, if it is there, and whether none can come after it.
    fn line(&self) -> Option<(Option<(Timestamp, String)>, bool)> {
        let mut state = self.shared.state();
        let (_, there, logs) = state.find(&self.uid, &self.container).ok()?;
        let is_current = there.starts == self.run && !self.options.previous;
        let lines = if is_current { &logs.current } else { &logs.previous };
        let runs = is_current && matches!(there.phase, ContainerPhase::Running { .. });
        Some((lines.get(self.next_line).cloned(), !(self.options.follow && runs)))
    }

    fn told(&mut self, time: Timestamp, text: &str) -> Option<Bytes> {
        let line = if self.options.timestamps { format!("{time:.9} {text}\n") } else { format!("{text}\n") };
        let room = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        if room == 0 {
            return None;
        }
        let mut bytes = line.into_bytes();
        bytes.truncate(room);
        self.left_bytes -= bytes.len() as u64;
        Some(bytes.into())
    }
}
