//! A timer that costs nothing to move: the entry in the runtime's timer wheel stays where it is, and only when it fires
//! is it compared with the deadline that holds by then.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A reusable timer for deadlines that mostly move later.
#[derive(Debug)]
pub(super) struct Deadline {
    sleep: Pin<Box<Sleep>>,
}

impl Deadline {
    pub(super) fn new(after: Duration) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(after)) }
    }

    /// Makes sure that it fires no later than a moment.
    pub(super) fn fire_by(&mut self, at: std::time::Instant) {
        let at = Instant::from_std(at);
        if at < self.sleep.deadline() {
            self.sleep.as_mut().reset(at);
        }
    }

    /// Ready once `at()` has passed; it is asked again each time the timer fires.
    pub(super) fn poll_passed(&mut self, context: &mut Context<'_>, mut at: impl FnMut() -> std::time::Instant) -> Poll<()> {
        while self.sleep.as_mut().poll(context).is_ready() {
            let at = Instant::from_std(at());
            if at <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}
