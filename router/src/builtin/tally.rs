//! What the clients of one Service saw: counters and a histogram cheap enough for every request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use model::metrics::{Counter, Histogram};

use crate::Counts;

/// Steps in each doubling of time: a value is off by at most 1/32.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.ilog2();
/// Up to 2³² µs, about 71 minutes.
const DOUBLINGS: u64 = 32 - STEP_BITS as u64;
const BUCKETS: usize = (STEPS + DOUBLINGS * STEPS) as usize;

/// The counting of one Service; it outlives the tables that name the Service.
#[derive(Debug, Default)]
pub(super) struct Tally {
    window: ArcSwap<Window>,
    lasting: Arc<Lasting>,
}

/// What clients of one Service saw since the router began.
#[derive(Debug, Default)]
pub struct Lasting {
    /// Answers by the first digit of their code; at 0 those that the client did not wait for.
    pub codes: [Counter; 6],
    /// How long the first byte of an answer took.
    pub first_byte: Histogram,
}

impl Tally {
    pub(super) fn start_counting(&self) {
        self.window.rcu(|window| Window { number: window.number + 1, ..Window::default() });
    }

    pub(super) fn counts(&self) -> Counts {
        self.window.load().counts()
    }

    pub(super) fn lasting(&self) -> Arc<Lasting> {
        Arc::clone(&self.lasting)
    }

    /// A request was answered with a code (0 when it was given up), `first_byte` after it arrived. Returns the number of the window.
    fn answered(&self, first_byte: Duration, code: u16, failed: bool) -> u64 {
        if let Some(codes) = self.lasting.codes.get(usize::from(code / 100)) {
            codes.add_one();
        }
        self.lasting.first_byte.observe(first_byte);
        let window = self.window.load();
        window.add(first_byte, failed);
        window.number
    }

    /// An answer was broken off whose head was counted in the window of this number. The failure belongs to the present;
    /// so that failures stay a part of requests, a request from before the window is counted in it too.
    fn broken_off(&self, counted_in: u64) {
        let window = self.window.load();
        if window.number != counted_in {
            window.requests.fetch_add(1, Relaxed);
        }
        window.failed.fetch_add(1, Relaxed);
    }
}

/// The counters since counting began.
#[derive(Debug)]
struct Window {
    number: u64,
    requests: AtomicU64,
    failed: AtomicU64,
    longest_micros: AtomicU64,
    buckets: Box<[AtomicU32]>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            number: 0,
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            longest_micros: AtomicU64::new(0),
            buckets: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
        }
    }
}

impl Window {
    fn add(&self, first_byte: Duration, failed: bool) {
        let micros = u64::try_from(first_byte.as_micros()).unwrap_or(u64::MAX);
        self.requests.fetch_add(1, Relaxed);
        if failed {
            self.failed.fetch_add(1, Relaxed);
        }
        if micros > self.longest_micros.load(Relaxed) {
            self.longest_micros.fetch_max(micros, Relaxed);
        }
        if let Some(bucket) = self.buckets.get(bucket_of(micros)) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            requests: self.requests.load(Relaxed),
            failed: self.failed.load(Relaxed),
            longest_stall: Duration::from_micros(self.longest_micros.load(Relaxed)),
            p99: Duration::from_micros(self.percentile_99_micros()),
        }
    }

    fn percentile_99_micros(&self) -> u64 {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed).into()).collect();
        let rank = (counts.iter().sum::<u64>() * 99).div_ceil(100);
        let mut below = 0;
        for (index, count) in counts.iter().enumerate() {
            below += count;
            if below >= rank && below > 0 {
                return middle_of(index).min(self.longest_micros.load(Relaxed));
            }
        }
        0
    }
}

fn bucket_of(micros: u64) -> usize {
    let capped = micros.min((1 << 32) - 1);
    let index = if capped < STEPS {
        capped
    } else {
        let shift = u64::from(capped.ilog2() - STEP_BITS);
        STEPS + shift * STEPS + ((capped >> shift) - STEPS)
    };
    index as usize
}

fn middle_of(bucket: usize) -> u64 {
    let index = bucket as u64;
    if index < STEPS {
        return index;
    }
    let shift = (index - STEPS) / STEPS;
    let lowest = (STEPS + (index - STEPS) % STEPS) << shift;
    lowest + (1 << shift) / 2
}

/// One request being counted: exactly once, also when its future is dropped because the client went away.
#[derive(Debug)]
pub(super) struct Visit {
    tally: Arc<Tally>,
    arrival: Instant,
    is_open: bool,
    counted_in: u64,
}

impl Visit {
    pub(super) fn new(tally: Arc<Tally>, arrival: Instant) -> Self {
        Self { tally, arrival, is_open: true, counted_in: 0 }
    }

    /// The head of the answer is passed on, or (`failed`) we answer for the endpoint.
    pub(super) fn answered(&mut self, code: u16, failed: bool) {
        if std::mem::take(&mut self.is_open) {
            self.counted_in = self.tally.answered(self.arrival.elapsed(), code, failed);
        }
    }

    /// The endpoint broke off an answer whose head was passed on.
    pub(super) fn broken_off(&self) {
        self.tally.broken_off(self.counted_in);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.answered(0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_whose_middle_is_within_five_percent() {
        let mut micros = 1_u64;
        while micros < 1 << 31 {
            let middle = middle_of(bucket_of(micros));
            assert!(middle.abs_diff(micros) * 20 <= micros, "{micros} became {middle}");
            micros += micros / 50 + 1;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_99th_percentile_and_the_longest_stall_are_those_of_the_window() {
        let tally = Tally::default();
        tally.answered(Duration::from_secs(9), 200, false);
        tally.start_counting();
        assert_eq!(tally.counts(), Counts::default());
        for millis in 1..=100 {
            tally.answered(Duration::from_millis(millis), 200, millis == 7);
        }
        let counts = tally.counts();
        assert_eq!((counts.requests, counts.failed, counts.longest_stall), (100, 1, Duration::from_millis(100)));
        assert!(counts.p99.abs_diff(Duration::from_millis(99)) < Duration::from_millis(5), "{:?}", counts.p99);
    }

    #[test]
    fn a_visit_that_is_dropped_is_counted_once_and_is_no_failure() {
        let tally = Arc::new(Tally::default());
        drop(Visit::new(Arc::clone(&tally), Instant::now()));
        let mut visit = Visit::new(Arc::clone(&tally), Instant::now());
        visit.answered(502, true);
        drop(visit);
        assert_eq!((tally.counts().requests, tally.counts().failed), (2, 1));
    }

    #[test]
    fn an_answer_broken_off_in_a_later_window_is_a_request_of_that_window() {
        let tally = Arc::new(Tally::default());
        let mut visit = Visit::new(Arc::clone(&tally), Instant::now());
        visit.answered(200, false);
        tally.start_counting();
        visit.broken_off();
        assert_eq!((tally.counts().requests, tally.counts().failed), (1, 1));
    }
}
