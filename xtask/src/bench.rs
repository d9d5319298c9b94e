//! How fast it is, beside peers that run in the same minutes on the same machine.
//!
//! Rounds of us and of a peer alternate, and medians are compared: a number by itself says little on a machine that is
//! shared, a ratio of one run says something. The table is printed; `docs/benchmarks.md` keeps one with its date.

mod api;
mod clients;
mod footprint;
mod peers;
mod rollouts;
mod router;
mod store;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

/// What to measure.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only this part: router, store, api, rollouts or footprint
    #[arg(long)]
    only: Option<String>,
    /// Seconds of each round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// One line of the table.
pub struct Row {
    what: String,
    ours: String,
    peer: String,
    ratio: Option<f64>,
    bar: &'static str,
}

impl Row {
    /// A line without a peer.
    pub fn alone(what: impl Into<String>, ours: impl Into<String>, bar: &'static str) -> Self {
        Self { what: what.into(), ours: ours.into(), peer: String::new(), ratio: None, bar }
    }

    /// A line with a peer: the ratio is ours by the peer's.
    pub fn beside(what: impl Into<String>, ours: f64, peer: f64, unit: &str, bar: &'static str) -> Self {
        let text = |value: f64| format!("{} {unit}", amount(value));
        Self { what: what.into(), ours: text(ours), peer: text(peer), ratio: (peer > 0.0).then(|| ours / peer), bar }
    }
}

/// Rounds of one thing.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// How many.
    pub count: usize,
    /// How long each.
    pub length: Duration,
}

/// Measures and prints; fails when something could not be measured.
pub async fn command(arguments: Arguments) -> ExitCode {
    match measure(&arguments).await {
        Ok(rows) => {
            print(&rows);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<Vec<Row>> {
    let rounds = Rounds { count: arguments.rounds.max(1), length: Duration::from_secs(arguments.seconds.max(1)) };
    let wanted = |name: &str| arguments.only.as_deref().is_none_or(|only| only == name);
    let mut rows = Vec::new();
    if wanted("router") {
        rows.extend(router::measure(rounds)?);
    }
    if wanted("store") {
        rows.extend(store::measure(rounds).await?);
    }
    if wanted("api") {
        rows.extend(api::measure(rounds).await?);
    }
    if wanted("rollouts") {
        rows.extend(rollouts::measure().await?);
    }
    if wanted("footprint") {
        rows.extend(footprint::measure().await?);
    }
    Ok(rows)
}

fn print(rows: &[Row]) {
    println!("| what | ours | peer | ratio | bar |");
    println!("|---|---|---|---|---|");
    for row in rows {
        let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        println!("| {} | {} | {} | {ratio} | {} |", row.what, row.ours, row.peer, row.bar);
    }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn amount(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
