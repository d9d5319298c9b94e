//! `make demo`: a server, a Service of two copies, and a new version of it under load. `make demo-stop` takes it all away.
//!
//! Everything of the demo is in one directory of its own ([`Home`]). The server is left running, so that it can be tried.

mod home;
mod manifest;
mod origin;
mod processes;
mod server;

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::sync::oneshot;

use crate::load::{self, Outcome};
use home::{Home, Programs};
use origin::Origin;
use server::Addresses;

/// Requests a second, and over how many connections.
const RATE: u32 = 3_000;
const CONNECTIONS: u32 = 16;
/// How long requests flow before the change, and after it.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(2);
/// No change takes longer; then the load ends by itself.
const LOAD_SECONDS_MAX: f64 = 120.0;
const HOST_NAME: &str = "hello.localhost";
const SERVICE: &str = "hello";

/// Runs the demo and leaves it running. Fails if a request failed.
pub async fn command() -> ExitCode {
    ended(run().await, "the demo did not work")
}

/// Takes away all that the demo left.
pub async fn stop_command() -> ExitCode {
    ended(stop().await, "the demo could not be taken away")
}

fn ended(result: Result<()>, what: &str) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{what}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let programs = Programs::find()?;
    let home = Home::make()?;
    let addresses = match server::running(&home) {
        Some(addresses) => {
            println!("the server of an earlier demo is running; its Service is changed once more\n");
            addresses
        }
        None => server::start(&home, &programs).await?,
    };
    let origin = origin::make(&programs).await;
    let before = if home.version() == 0 { 1 } else { home.version() };
    up(&home, &programs, &origin, before).await?;
    let outcome = change_under_load(&home, &programs, &origin, &addresses, before + 1).await?;
    println!();
    conductor(&home, &programs, &["history", SERVICE]).await?;
    println!("\nmeanwhile\n{outcome}");
    if outcome.failures() > 0 || outcome.requests == 0 {
        bail!("{} of {} requests failed; the server's log is {}", outcome.failures(), outcome.requests, home.log().display());
    }
    println!("{}", what_to_try(&home, &programs, &addresses));
    Ok(())
}

/// Sends requests, changes the Service meanwhile, and says what came back.
async fn change_under_load(home: &Home, programs: &Programs, origin: &Origin, addresses: &Addresses, version: u32) -> Result<Outcome> {
    println!("\n{RATE} requests a second over {CONNECTIONS} connections begin, to {} for {HOST_NAME}", addresses.http);
    let options = load::Options {
        url: addresses.http.parse()?,
        host_header: Some(HOST_NAME.into()),
        connections: CONNECTIONS,
        rate: RATE,
        seconds: LOAD_SECONDS_MAX,
        timeout: 10.0,
        stop_file: None,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let load = tokio::spawn(load::run(options, async { drop(stopped.await) }));
    tokio::time::sleep(BEFORE).await;
    let changed = up(home, programs, origin, version).await;
    tokio::time::sleep(AFTER).await;
    drop(stop);
    let outcome = load.await.context("the load generator failed")?;
    changed.map(|()| outcome)
}

/// Brings the Service to a version, and waits until it serves.
async fn up(home: &Home, programs: &Programs, origin: &Origin, version: u32) -> Result<()> {
    let template = home::example();
    let template = fs::read_to_string(&template).with_context(|| format!("cannot read {}", template.display()))?;
    let text = manifest::write(&template, origin, version)?;
    fs::write(home.manifest(), text).with_context(|| format!("cannot write {}", home.manifest().display()))?;
    println!("conductor up, with VERSION {version}");
    conductor(home, programs, &["up", "-f", &home.manifest().display().to_string()]).await?;
    home.set_version(version)
}

/// Runs a command of the command line against the demo's server.
async fn conductor(home: &Home, programs: &Programs, arguments: &[&str]) -> Result<()> {
    let status = Command::new(&programs.conductor).args(arguments).arg("--data").arg(home.dir()).status().await;
    let status = status.with_context(|| format!("cannot run {}", programs.conductor.display()))?;
    if !status.success() {
        bail!("`conductor {}` failed ({status}); the server's log is {}", arguments.join(" "), home.log().display());
    }
    Ok(())
}

fn what_to_try(home: &Home, programs: &Programs, addresses: &Addresses) -> String {
    let (dir, conductor) = (home.dir().display(), programs.conductor.display());
    format!(
        "It goes on running. Try:

  curl -H 'Host: {HOST_NAME}' {http}/
  {conductor} ps --data {dir}
  kubectl --kubeconfig {dir}/kubeconfig get services,pods

and take it away with `make demo-stop`.",
        http = addresses.http,
    )
}

async fn stop() -> Result<()> {
    let Some(home) = Home::find()? else {
        println!("no demo is there");
        return Ok(());
    };
    let programs = Programs::find();
    let deleted = match &programs {
        Ok(programs) => delete_service(&home, programs).await,
        Err(_) => Ok(()),
    };
    if let Err(error) = deleted {
        eprintln!("the Service could not be deleted, so its processes are ended: {error:#}");
    }
    server::stop(&home).await?;
    let ended = processes::end_pods(home.dir()).await?;
    if ended > 0 {
        println!("{ended} processes of pods were still there and were ended");
    }
    let ended = origin::remove(&home).await.unwrap_or_else(|error| {
        eprintln!("the containers of the demo could not be looked for: {error:#}");
        0
    });
    if ended > 0 {
        println!("{ended} containers were still there and were removed");
    }
    home.remove()?;
    println!("the demo is gone: its Service, its server and {}", home.dir().display());
    Ok(())
}

/// Deletes the Service and waits until its Pods are gone; starts the server again for that if it is not running.
async fn delete_service(home: &Home, programs: &Programs) -> Result<()> {
    if home.version() == 0 {
        return Ok(());
    }
    if server::running(home).is_none() {
        server::start(home, programs).await?;
    }
    conductor(home, programs, &["rm", SERVICE, "--timeout", "60s"]).await
}
