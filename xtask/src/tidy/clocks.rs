//! Time comes in as an argument: few files may ask what time it is.

use anyhow::Result;

use super::Finding;
use super::repository::Repository;

/// The files that read the time of day, and why.
const CLOCKS: &[(&str, &str)] = &[
    ("conductor/src/clock.rs", "it is the implementation of model::Clock"),
    ("runtime/src/process/clock.rs", "a shim is a process of its own that nobody can hand a clock"),
];
const READINGS: &[[&str; 4]] =
    &[["SystemTime", ":", ":", "now"], ["Timestamp", ":", ":", "now"], ["Zoned", ":", ":", "now"], ["Utc", ":", ":", "now"]];

pub fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (file, source) in repository.rust().filter(|(file, _)| !file.is_test()) {
        if CLOCKS.iter().any(|(path, _)| *path == file.path) {
            continue;
        }
        for line in READINGS.iter().flat_map(|reading| source.lines_with(reading)) {
            findings
                .push(Finding::new(format!("{}:{line}", file.path), "reads the time of day: take it as an argument, or a model::Clock"));
        }
    }
    Ok(findings)
}
