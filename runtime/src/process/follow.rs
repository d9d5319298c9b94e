//! A log as a stream, to its end or to that of the run.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::ContainerPhase;
use crate::process::log_reader::LogReader;
use crate::process::sandbox::View;

/// How often a log that grows is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// A log that is being read.
pub(super) struct Follow {
    pub reader: LogReader,
    /// The run it is of, when it is to be read as it grows.
    pub run: Option<Run>,
}

/// A run whose log grows until it ends.
pub(super) struct Run {
    pub view: watch::Receiver<View>,
    pub container: String,
    pub number: u32,
}

impl Run {
    fn is_over(&mut self) -> bool {
        let view = self.view.borrow_and_update();
        let runs = view.containers.iter().any(|state| {
            state.name == self.container && state.starts == self.number && matches!(state.phase, ContainerPhase::Running { .. })
        });
        view.is_removed || !runs
    }
}

/// The next piece of a log, and what gives the one after.
pub(super) async fn next(follow: Follow) -> Option<(Bytes, Follow)> {
    let Follow { mut reader, mut run } = follow;
    loop {
        // Asked before the read: what was written before the end is then read.
        let is_over = run.as_mut().is_none_or(Run::is_over);
        let read;
        (reader, read) = spawn_blocking(move || {
            let read = reader.next();
            (reader, read)
        })
        .await
        .ok()?;
        match read {
            Ok(Some(bytes)) => return Some((bytes, Follow { reader, run })),
            Ok(None) if !is_over && !reader.is_full() => {}
            Ok(None) => return None,
            Err(error) => {
                tracing::warn!(%error, "a log cannot be read on");
                return None;
            }
        }
        // Without a runtime, nobody would tell of the end.
        let run = run.as_mut()?;
        if let Ok(Err(_)) = timeout(PAUSE, run.view.changed()).await {
            return None;
        }
    }
}
