//! Chores of this repository: `cargo xtask --help` lists them.

mod alone;
mod bench;
mod demo;
mod image;
mod load;
mod order;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// Chores of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Chore {
    /// Send requests to a server on this machine and count what came back
    Load(load::Arguments),
    /// Check the promises of the architecture, the glossary and the style
    Tidy,
    /// Check each crate by itself, so that none leans on what another one asks of a dependency
    Alone,
    /// List the licences of all that is built in, and fail at one that is not allowed
    Licences,
    /// Measure beside peers, of which those that are missing are left out; needs wrk, etcd and haproxy
    Bench(bench::Arguments),
    /// See which functions the server runs, for the linker to lay side by side; needs valgrind and a release build
    Order,
    /// Show a Service being changed under load; `make demo` builds what this needs
    Demo,
    /// Take away what `demo` left running
    DemoStop,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Chore::parse() {
        Chore::Load(arguments) => load::command(arguments).await,
        Chore::Tidy => tidy::command(),
        Chore::Alone => alone::command(),
        Chore::Licences => tidy::licences_command(),
        Chore::Bench(arguments) => bench::command(arguments).await,
        Chore::Order => order::command().await,
        Chore::Demo => demo::command().await,
        Chore::DemoStop => demo::stop_command().await,
    }
}

/// The root of the workspace that this program was built from.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
