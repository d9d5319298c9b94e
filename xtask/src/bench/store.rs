//! The embedded store's durable commits beside etcd's puts: one writer, 8, and 64.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::api::put;
use super::peers::{built, etcd};
use super::{Bar, Rounds, Row, median};

/// Commits and puts of 1 KiB a second.
pub async fn measure(rounds: Rounds) -> Result<Vec<Row>> {
    let (_etcd, etcd_address) = etcd()?;
    let mut rows = Vec::new();
    for writers in [1, 8, 64] {
        let (mut commits, mut puts) = (Vec::new(), Vec::new());
        for round in 0..rounds.count {
            commits.push(commit(writers, rounds)?);
            puts.push(put(etcd_address, round * 100 + writers, writers, rounds.length).await?.per_second);
        }
        let row = Row::new(format!("store commits/s, {writers} in flight"), median(commits), "/s").beside("etcd puts", median(puts));
        rows.push(if writers == 64 { row.held_to(Bar::RatioAtLeast(2.0)) } else { row });
    }
    Ok(rows)
}

/// Commits a second of a store that is made for it.
fn commit(writers: usize, rounds: Rounds) -> Result<f64> {
    let program = built("examples/writes", "-p store --features embedded --example writes")?;
    let seconds = rounds.length.as_secs().to_string();
    let output = Command::new(program).args(["--writers", &writers.to_string(), "--seconds", &seconds]).output()?;
    ensure!(output.status.success(), "writing to the store failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let field = text.split_whitespace().find_map(|word| word.strip_prefix("commits_per_second="));
    field.and_then(|number| number.parse().ok()).with_context(|| format!("no rate in {text:?}"))
}
