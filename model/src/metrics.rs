//! Counters and histograms, and the text in which Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The upper bounds of a histogram's buckets, in microseconds: half a millisecond to ten seconds.
const BOUNDS_MICROS: [u64; 14] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000];
/// No more combinations of labels than this are kept of one family.
const SERIES_MAX: usize = 5_000;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How long things took.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    /// One more, that took so long.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.micros.fetch_add(micros, Relaxed);
    }
}

/// One of these for each combination of labels that was seen.
#[derive(Debug, Default)]
pub struct Labelled<T>(RwLock<BTreeMap<Vec<String>, Arc<T>>>);

impl<T: Default> Labelled<T> {
    /// The one with these labels; `None` when there are too many already.
    pub fn with(&self, labels: &[&str]) -> Option<Arc<T>> {
        let key: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        if let Some(found) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Some(Arc::clone(found));
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SERIES_MAX && !all.contains_key(&key) {
            return None;
        }
        Some(Arc::clone(all.entry(key).or_default()))
    }

    /// All of them.
    pub fn all(&self) -> Vec<(Vec<String>, Arc<T>)> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(labels, one)| (labels.clone(), Arc::clone(one))).collect()
    }
}

/// What a family of numbers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations, in seconds.
    Histogram,
}

/// The text, as it grows.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a family; its numbers follow.
    pub fn family(&mut self, name: &str, form: Form, about: &str) {
        let form = match form {
            Form::Counter => "counter",
            Form::Gauge => "gauge",
            Form::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {about}\n# TYPE {name} {form}\n"));
    }

    /// One number of a family.
    pub fn number(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels = written(labels);
        self.line(format_args!("{name}{labels} {value}\n"));
    }

    /// A family of a single number.
    pub fn single(&mut self, name: &str, form: Form, about: &str, value: impl Display) {
        self.family(name, form, about);
        self.number(name, &[], value);
    }

    /// One histogram of a family.
    pub fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut below = 0;
        for (at, bucket) in histogram.buckets.iter().enumerate() {
            below += bucket.load(Relaxed);
            let bound = BOUNDS_MICROS.get(at).map_or_else(|| "+Inf".to_owned(), |micros| seconds(*micros));
            self.number(&format!("{name}_bucket"), &[labels, &[("le", &bound)]].concat(), below);
        }
        self.number(&format!("{name}_sum"), labels, seconds(histogram.micros.load(Relaxed)));
        self.number(&format!("{name}_count"), labels, below);
    }

    /// The whole of it.
    pub fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A String takes whatever is written.
        let _ = self.0.write_fmt(line);
    }
}

/// Microseconds as seconds, with no more digits than it takes.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn written(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_prometheus_reads_them() {
        let mut text = Text::default();
        text.family("a_total", Form::Counter, "How many a.");
        text.number("a_total", &[("name", "x\"\\\n")], 3);
        text.single("b", Form::Gauge, "b now.", 1.5);
        assert_eq!(
            text.finish(),
            "# HELP a_total How many a.\n# TYPE a_total counter\na_total{name=\"x\\\"\\\\\\n\"} 3\n# HELP b b now.\n# TYPE b gauge\nb 1.5\n"
        );
    }

    #[test]
    fn a_histogram_counts_each_duration_at_and_above_its_bound() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut text = Text::default();
        text.histogram("t_seconds", &[("verb", "get")], &histogram);
        let text = text.finish();
        for line in [
            "t_seconds_bucket{verb=\"get\",le=\"0.0005\"} 2",
            "t_seconds_bucket{verb=\"get\",le=\"0.001\"} 3",
            "t_seconds_bucket{verb=\"get\",le=\"10\"} 4",
            "t_seconds_bucket{verb=\"get\",le=\"+Inf\"} 5",
            "t_seconds_sum{verb=\"get\"} 20.001002",
            "t_seconds_count{verb=\"get\"} 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{text} lacks {line}");
        }
    }

    #[test]
    fn labels_that_nobody_bounds_are_bounded() {
        let counters = Labelled::<Counter>::default();
        for number in 0..SERIES_MAX {
            counters.with(&["a", &number.to_string()]).unwrap().add_one();
        }
        assert!(counters.with(&["b", "0"]).is_none());
        counters.with(&["a", "0"]).unwrap().add_one();
        assert_eq!(counters.with(&["a", "0"]).unwrap().get(), 2);
    }
}
