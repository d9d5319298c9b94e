//! Telling whoever listens which pods changed.

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::broadcast::{self, error::RecvError};

/// How many changes a slow reader may be behind before it is told of every pod instead.
const KEPT: usize = 1024;

/// Where changes are told, by uid.
#[derive(Debug, Clone)]
pub(crate) struct Changes(broadcast::Sender<String>);

impl Changes {
    pub fn new() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }

    /// Tells of a change.
    pub fn tell(&self, uid: &str) {
        // Nobody listening is no failure.
        let _ = self.0.send(uid.to_owned());
    }

    /// The changes from now on. `all` gives every uid there is, and `None` when there is no runtime any more.
    pub fn stream(&self, all: impl Fn() -> Option<Vec<String>> + Send + 'static) -> BoxStream<'static, String> {
        let state = (self.0.subscribe(), VecDeque::new(), all);
        stream::unfold(state, |(mut receiver, mut missed, all)| async {
            loop {
                if let Some(uid) = missed.pop_front() {
                    return Some((uid, (receiver, missed, all)));
                }
                match receiver.recv().await {
                    Ok(uid) => missed.push_back(uid),
                    // Which were missed is not known, so it may be any.
                    Err(RecvError::Lagged(_)) => missed.extend(all()?),
                    Err(RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_is_far_behind_is_told_of_every_pod() {
        let changes = Changes::new();
        let stream = changes.stream(|| Some(vec!["a".into(), "b".into()]));
        for _ in 0..=KEPT {
            changes.tell("a");
        }
        drop(changes);
        let told: Vec<_> = stream.collect().await;
        assert_eq!(told.get(..2), Some(&["a".to_owned(), "b".to_owned()][..]));
        assert_eq!(told.len(), 2 + KEPT);
    }
}
