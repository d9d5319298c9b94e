//! How many refusals are told of: of each user or address so many lines a time, and how many there were beside them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::with_field;

/// Lines of one principal in one period.
const LINES_MAX: u32 = 50;
const PERIOD: Duration = Duration::from_secs(10);
/// Principals that are told apart; those beyond share.
const PRINCIPALS_MAX: usize = 4_096;

/// Who was refused how often lately.
#[derive(Debug, Default)]
pub struct Fair(Mutex<HashMap<String, Share>>);

#[derive(Debug)]
struct Share {
    begun: Instant,
    lines: u32,
    omitted: u64,
}

impl Fair {
    /// The line as it is to be kept; `None` where there were enough.
    pub fn admit(&self, by: &str, line: String) -> Option<String> {
        self.admit_at(by, line, Instant::now())
    }

    fn admit_at(&self, by: &str, line: String, now: Instant) -> Option<String> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() >= PRINCIPALS_MAX && !shares.contains_key(by) {
            shares.retain(|_, share| now.duration_since(share.begun) < PERIOD);
        }
        let by = if shares.len() >= PRINCIPALS_MAX && !shares.contains_key(by) { "" } else { by };
        let share = shares.entry(by.to_owned()).or_insert(Share { begun: now, lines: 0, omitted: 0 });
        if now.duration_since(share.begun) >= PERIOD {
            (share.begun, share.lines) = (now, 0);
        }
        if share.lines >= LINES_MAX {
            share.omitted += 1;
            return None;
        }
        share.lines += 1;
        match std::mem::take(&mut share.omitted) {
            0 => Some(line),
            omitted => Some(with_field(&line, "omitted", &omitted.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_refused_much_takes_nothing_from_the_others_and_is_counted() {
        let (fair, start) = (Fair::default(), Instant::now());
        let kept = |by: &str, at: Instant| fair.admit_at(by, "{\"n\":1}".into(), at);
        assert_eq!((0..1_000).filter(|_| kept("a", start).is_some()).count(), 50);
        assert!(kept("b", start).is_some());
        assert_eq!(kept("a", start + PERIOD).unwrap(), "{\"n\":1,\"omitted\":950}");
        assert_eq!(kept("a", start + PERIOD).unwrap(), "{\"n\":1}");
        for number in 0..10_000 {
            kept(&format!("u{number}"), start);
        }
        assert!(fair.0.lock().unwrap().len() <= PRINCIPALS_MAX + 1);
    }
}
