//! The load generator: asks one URL over kept-alive connections, at a steady rate or as fast as it can, and counts every
//! request by what became of it.
//!
//! It keeps to its timetable when the server stalls: a request that should have gone out during the stall counts its time
//! from then, so a stall shows in the latencies of all the requests it delayed.

mod connection;
mod outcome;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use http::Uri;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use connection::Connection;
pub use outcome::Outcome;
use outcome::Tally;

/// How often the stop file is looked for.
const STOP_FILE_PERIOD: Duration = Duration::from_millis(50);

/// What `cargo xtask load` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Exit with 1 if anything but 2xx and 3xx came back
    #[arg(long)]
    fail_on_error: bool,
}

/// What to ask, how often and for how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// What to ask: http:// and an address of this machine
    #[arg(long)]
    pub url: Target,
    /// The Host header, where it is not the URL's
    #[arg(long, value_name = "NAME")]
    pub host_header: Option<String>,
    /// How many connections to ask over, each one request at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Requests a second over all connections; 0 asks as fast as it can
    #[arg(long, default_value_t = 0)]
    pub rate: u32,
    /// How long to ask
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: f64,
    /// How long to wait for an answer
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: f64,
    /// Stop when this file appears
    #[arg(long, value_name = "PATH")]
    pub stop_file: Option<PathBuf>,
}

fn seconds(text: &str) -> anyhow::Result<f64> {
    let seconds: f64 = text.parse()?;
    Duration::try_from_secs_f64(seconds).with_context(|| format!("{text} is no length of time"))?;
    Ok(seconds)
}

/// A URL on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    address: SocketAddr,
    authority: String,
    path: String,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{url:?} does not begin with http://, and that is all this speaks");
        }
        let authority = uri.authority().with_context(|| format!("{url:?} names no server"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let ip = if host == "localhost" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { host.parse().ok() };
        let Some(ip) = ip.filter(IpAddr::is_loopback) else {
            bail!("{host:?} is no loopback address, and load is only sent to this machine");
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { address: (ip, authority.port_u16().unwrap_or(80)).into(), authority: authority.to_string(), path })
    }
}

/// Runs as a command: until told to stop, then prints what came back.
pub async fn command(arguments: Arguments) -> ExitCode {
    let outcome = run(arguments.options, interrupted()).await;
    if arguments.json {
        println!("{}", outcome.to_json());
    } else {
        print!("{outcome}");
    }
    ExitCode::from(u8::from(arguments.fail_on_error && outcome.failures() > 0))
}

async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Asks until the time is up, the stop file appears or `stop` is ready. Requests in flight then are still waited for.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Outcome {
    let began = Instant::now();
    let (stopping, stopped) = watch::channel(false);
    let askers: Vec<_> = (0..options.connections)
        .map(|number| tokio::spawn(ask(options.clone(), Timetable::new(&options, number, began), stopped.clone())))
        .collect();
    let time_is_up = tokio::time::sleep(Duration::try_from_secs_f64(options.seconds).unwrap_or(Duration::MAX));
    tokio::select! {
        () = time_is_up => {}
        () = stop => {}
        () = appears(options.stop_file.as_deref()) => {}
    }
    stopping.send_replace(true);
    let elapsed = began.elapsed();
    let mut total = Tally::default();
    for asker in askers {
        match asker.await {
            Ok(tally) => total.add(&tally),
            Err(error) => eprintln!("a connection's task failed, its requests are missing: {error}"),
        }
    }
    Outcome::new(total, elapsed)
}

async fn appears(file: Option<&Path>) {
    let Some(file) = file else { return std::future::pending().await };
    while !file.exists() {
        tokio::time::sleep(STOP_FILE_PERIOD).await;
    }
}

/// One connection's requests, one after the other.
async fn ask(options: Options, mut timetable: Timetable, mut stopped: watch::Receiver<bool>) -> Tally {
    let mut tally = Tally::default();
    let mut connection = Connection::new(&options);
    loop {
        let due = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return tally,
            due = timetable.next() => due,
        };
        let answer = connection.ask().await;
        tally.note(&answer, due.elapsed());
        if answer.is_unreachable() && timetable.interval.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// When one connection's requests are due.
#[derive(Debug)]
struct Timetable {
    next: Instant,
    /// `None`: as soon as the last one was answered.
    interval: Option<Duration>,
}

impl Timetable {
    fn new(options: &Options, number: u32, began: Instant) -> Self {
        let one = Duration::from_secs(1).checked_div(options.rate);
        Self { next: began + one.unwrap_or_default() * number, interval: one.map(|one| one * options.connections) }
    }

    /// Waits until the next request is due and returns when that was: now, or earlier when the last answer came late.
    async fn next(&mut self) -> Instant {
        let Some(interval) = self.interval else { return Instant::now() };
        let now = Instant::now();
        let due = self.next;
        if due <= now {
            self.next += interval;
            return due;
        }
        tokio::time::sleep_until(due).await;
        self.next += interval;
        Instant::now()
    }
}

#[cfg(test)]
#[path = "load/tests.rs"]
mod tests;
