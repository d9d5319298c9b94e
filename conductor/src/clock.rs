//! The one place that reads the time of day.

use jiff::Timestamp;

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct WallClock;

impl model::Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
