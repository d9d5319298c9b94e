//! How fast it is, beside peers that run in the same minutes on the same machine.
//!
//! Rounds of us and of a peer alternate, and medians are compared: a number by itself says little on a machine that is
//! shared, a ratio of one run says something. The table is printed; `docs/benchmarks.md` keeps one with its date.

mod api;
pub mod clients;
mod containers;
mod footprint;
mod machine;
pub mod peers;
mod proxies;
mod rollouts;
mod router;
mod store;
mod table;
mod watchers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use table::{Bar, Row};

/// What to measure.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Seconds of each round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Write the table to this file, as a page with its date and machine
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// A part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The router beside HAProxy, nginx and Caddy
    Router,
    /// The store beside etcd
    Store,
    /// The API beside etcd
    Api,
    /// A thousand watchers beside one
    Watchers,
    /// Rollouts of programs under load
    Rollouts,
    /// Rollouts of images beside docker-compose
    Containers,
    /// What an idle server costs
    Footprint,
}

/// Rounds of one thing.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// How many.
    pub count: usize,
    /// How long each.
    pub length: Duration,
}

/// Measures and prints; fails when a part could not be measured.
pub async fn command(arguments: Arguments) -> ExitCode {
    // Fails only when one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (rows, is_whole) = measure(&arguments).await;
    let table = table::text(&rows);
    print!("build: {}\n\n{table}", machine::build());
    let missed = rows.iter().filter(|row| row.holds() == Some(false)).count();
    let held = rows.iter().filter(|row| row.holds().is_some()).count();
    println!("\n{} of {held} bars hold", held - missed);
    if let Some(file) = &arguments.markdown
        && let Err(error) = std::fs::write(file, machine::page(&arguments, &table))
    {
        eprintln!("bench: cannot write {}: {error}", file.display());
        return ExitCode::FAILURE;
    }
    if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The lines of all parts that are wanted, and whether each part could be measured.
async fn measure(arguments: &Arguments) -> (Vec<Row>, bool) {
    let rounds = Rounds { count: arguments.rounds.max(1), length: Duration::from_secs(arguments.seconds.max(1)) };
    let (mut rows, mut is_whole) = (Vec::new(), true);
    for part in Part::value_variants() {
        if arguments.only.is_some_and(|only| only != *part) {
            continue;
        }
        let name = format!("{part:?}").to_lowercase();
        eprintln!("bench: {name}");
        let measured = match part {
            Part::Router => router::measure(rounds),
            Part::Store => store::measure(rounds).await,
            Part::Api => api::measure(rounds).await,
            Part::Watchers => watchers::measure(rounds).await,
            Part::Rollouts => rollouts::measure().await,
            Part::Containers => containers::measure(rounds).await,
            Part::Footprint => footprint::measure(rounds).await,
        };
        rows.extend(measured.unwrap_or_else(|error| {
            is_whole = false;
            vec![Row::not_run(name, format!("{error:#}"))]
        }));
    }
    (rows, is_whole)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A count as a number of the table.
#[expect(clippy::cast_precision_loss, reason = "what is counted here is far below 2^52")]
pub fn count(value: u64) -> f64 {
    value as f64
}
