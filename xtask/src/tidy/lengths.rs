//! How long files and functions are, tests apart.

use anyhow::Result;

use super::Finding;
use super::repository::Repository;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// 19 of 20 functions are no longer than this.
const FUNCTION_LINES_P95_MAX: usize = 35;

pub fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (file, source) in repository.rust().filter(|(file, _)| !file.is_test()) {
        if source.lines() > FILE_LINES_MAX {
            findings.push(Finding::new(&file.path, format!("has {} lines without its tests, more than {FILE_LINES_MAX}", source.lines())));
        }
        for function in source.functions().into_iter().filter(|function| function.length > FUNCTION_LINES_MAX) {
            let place = format!("{}:{}", file.path, function.line);
            findings.push(Finding::new(place, format!("{} has {} lines, more than {FUNCTION_LINES_MAX}", function.name, function.length)));
        }
    }
    let p95 = percentile(&lengths(repository), 95);
    if p95 > FUNCTION_LINES_P95_MAX {
        findings.push(Finding::new("all functions", format!("1 in 20 has {p95} lines or more; the bar is {FUNCTION_LINES_P95_MAX}")));
    }
    Ok(findings)
}

/// A line about the whole.
pub fn summary(repository: &Repository) -> String {
    let lines: usize = repository.rust().filter(|(file, _)| !file.is_test()).map(|(_, source)| source.lines()).sum();
    let all: usize = repository.rust().map(|(file, _)| file.text.lines().count()).sum();
    let lengths = lengths(repository);
    let longest = lengths.last().copied().unwrap_or_default();
    let (median, p95) = (percentile(&lengths, 50), percentile(&lengths, 95));
    let tests = all.saturating_sub(lines);
    format!("{lines} lines and {tests} of tests; {} functions of p50 {median}, p95 {p95}, at most {longest} lines", lengths.len())
}

/// The lengths of all functions, ascending.
fn lengths(repository: &Repository) -> Vec<usize> {
    let sources = repository.rust().filter(|(file, _)| !file.is_test());
    let mut lengths: Vec<usize> = sources.flat_map(|(_, source)| source.functions()).map(|function| function.length).collect();
    lengths.sort_unstable();
    lengths
}

fn percentile(ascending: &[usize], percent: usize) -> usize {
    let rank = (ascending.len() * percent).div_ceil(100).saturating_sub(1);
    ascending.get(rank).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let lengths: Vec<usize> = (1..=20).collect();
        for (percent, length) in [(50, 10), (95, 19), (100, 20)] {
            assert_eq!(percentile(&lengths, percent), length);
        }
        assert_eq!(percentile(&[], 95), 0);
    }
}
