//! How long to wait before what failed is tried again: twice as long each time, for each object by itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait.
const MAX: Duration = Duration::from_secs(60);

/// Failures in a row of each object that a controller looks at.
#[derive(Debug, Default)]
pub struct BackOff {
    failures: Mutex<HashMap<String, u32>>,
}

impl BackOff {
    /// Takes note of a failure; how long to wait.
    pub fn failed(&self, object: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        let wait = FIRST.saturating_mul(1 << (*count).min(16)).min(MAX);
        *count = count.saturating_add(1);
        wait
    }

    /// Takes note that something went well.
    pub fn went_well(&self, object: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_in_a_row_is_waited_for_longer() {
        let back_off = BackOff::default();
        let waits: Vec<u128> = (0..5).map(|_| back_off.failed("a").as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800]);
        assert_eq!(back_off.failed("b"), FIRST, "each object has its own");
        for _ in 0..40 {
            back_off.failed("a");
        }
        assert_eq!(back_off.failed("a"), MAX);
        back_off.went_well("a");
        assert_eq!(back_off.failed("a"), FIRST);
    }
}
