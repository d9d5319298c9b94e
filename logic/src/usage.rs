//! How much of a processor something uses, from what it had used at two moments.

use std::time::Duration;

/// The least time that is divided by: what has run for a moment only is not made out to be busier than it is.
const WINDOW_MIN: Duration = Duration::from_millis(100);

/// What was counted of something that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The processor time that it had used at an earlier moment, and how long ago that was; `None` when it did not run then.
    pub earlier: Option<(Duration, Duration)>,
    /// The processor time that it has used.
    pub cpu: Duration,
    /// How long it has run.
    pub age: Duration,
}

/// How long was counted, and the billionths of a processor that were used meanwhile. Without an earlier moment it is counted from
/// its start. Time that it lost with children that others waited for is not told as less than nothing.
pub fn rate(counted: Counted) -> (Duration, u64) {
    let (before, window) = counted.earlier.unwrap_or((Duration::ZERO, counted.age));
    let window = window.max(WINDOW_MIN);
    let used = counted.cpu.saturating_sub(before);
    let nanos = used.as_nanos().saturating_mul(1_000_000_000) / window.as_nanos();
    (window, u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_the_time_used_by_the_time_that_went_by() {
        let ms = Duration::from_millis;
        let half = 500_000_000;
        let cases = [
            ("between two moments", Some((ms(1_000), ms(2_000))), ms(2_000), ms(9_000), (ms(2_000), half)),
            ("of two processors", Some((ms(0), ms(500))), ms(1_000), ms(9_000), (ms(500), 4 * half)),
            ("nothing", Some((ms(7), ms(500))), ms(7), ms(9_000), (ms(500), 0)),
            ("less than before", Some((ms(8), ms(500))), ms(7), ms(9_000), (ms(500), 0)),
            ("from its start on", None, ms(1_000), ms(2_000), (ms(2_000), half)),
            ("begun just now", None, ms(50), ms(0), (ms(100), half)),
            ("for long", None, ms(1), Duration::MAX, (Duration::MAX, 0)),
            ("beyond counting", None, Duration::MAX, ms(100), (ms(100), u64::MAX)),
        ];
        for (what, earlier, cpu, age, expected) in cases {
            assert_eq!(rate(Counted { earlier, cpu, age }), expected, "{what}");
        }
    }
}
