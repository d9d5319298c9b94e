//! Measures durable commits a second: each writer puts 1 KiB under keys of its own, each put a transaction.
//!
//! `cargo run --release -p store --features embedded --example writes -- --writers 64 --seconds 3`; without `--writers`
//! it measures 1, 8 and 64. `--watchers 5000` adds so many watches, each of one writer's keys or of
//! keys nobody writes. It ends with the time to open what it wrote, closed and as after a crash.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use store::embedded::{Embedded, Options, journal_path};
use store::{Store, Transaction};

const VALUE_BYTES: usize = 1024;
const KEYS_PER_RUN: u64 = 10_000;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = number(&arguments, "--seconds")?.unwrap_or(3);
    let writers = number(&arguments, "--writers")?.map_or(vec![1, 8, 64], |writers| vec![writers]);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store.redb");
    let store = Arc::new(Embedded::open(&path, Options::default())?);
    for watcher in 0..number(&arguments, "--watchers")?.unwrap_or(0) {
        let mut watch = store.watch(&format!("/bench/objects/{watcher}/"), 0).await?;
        tokio::spawn(async move { while watch.next().await.is_some() {} });
    }
    for writers in writers {
        measure(&store, writers, Duration::from_secs(seconds)).await?;
    }
    let crashed = directory.path().join("crashed.redb");
    std::fs::copy(&path, &crashed)?;
    std::fs::copy(journal_path(&path), journal_path(&crashed))?;
    store.close().await?;
    open("after a crash", &crashed)?;
    open("after closing", &path)
}

async fn measure(store: &Arc<Embedded>, writers: u64, time: Duration) -> Result<()> {
    let before = store.revision();
    let start = Instant::now();
    let mut tasks = Vec::new();
    for writer in 0..writers {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            for round in 0.. {
                if start.elapsed() >= time {
                    break;
                }
                let sent = Instant::now();
                let key = format!("/bench/objects/{writer}/{:05}", round % (KEYS_PER_RUN / writers).max(1));
                store.commit(Transaction::new().put(key, value(writer, round))).await?;
                latencies.push(sent.elapsed());
            }
            Ok::<_, store::Error>(latencies)
        }));
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    latencies.sort_unstable();
    let commits = store.revision() - before;
    let at = |share: usize| latencies.get(latencies.len() * share / 100).copied().unwrap_or_default();
    let rate = commits as f64 / start.elapsed().as_secs_f64();
    println!("writers={writers} commits_per_second={rate:.0} p50={:?} p99={:?}", at(50), at(99));
    Ok(())
}

/// Bytes that differ from round to round.
fn value(writer: u64, round: u64) -> Vec<u8> {
    let mut value = format!("{writer} {round} ").into_bytes();
    value.resize(VALUE_BYTES, b'.');
    value
}

fn open(when: &str, path: &Path) -> Result<()> {
    let bytes = std::fs::metadata(path)?.len();
    let start = Instant::now();
    let store = Embedded::open(path, Options::default())?;
    println!("opened {when}: bytes={bytes} revision={} time={:?}", store.revision(), start.elapsed());
    Ok(())
}

fn number(arguments: &[String], name: &str) -> Result<Option<u64>> {
    let place = arguments.iter().position(|argument| argument == name);
    let text = place.map(|place| arguments.get(place + 1).ok_or(format!("{name} needs a number"))).transpose()?;
    Ok(text.map(|text| text.parse()).transpose()?)
}
