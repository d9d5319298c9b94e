//! Conductor: containers, functions and jobs on the servers you have, behind a Kubernetes-shaped API.

mod cli;
mod clock;
mod paths;
mod private;
mod serve;
mod settings;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// The C library's own keeps the API busy with itself for a third of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(settings::Flags),
    #[command(flatten)]
    Client(cli::Command),
}

fn main() -> ExitCode {
    let mut all = std::env::args_os();
    let (own, words): (Option<OsString>, Vec<OsString>) = (all.next(), all.collect());
    // A shim must be the only thing in its process: nothing is begun before it.
    if let [first, words @ ..] = words.as_slice()
        && first == "shim"
    {
        return runtime::process::program::run(words);
    }
    cli::answer_shell();
    let known = cli::everywhere::complete(Cli::command());
    let words = cli::everywhere::behind(&known, words);
    let matches = known.get_matches_from(own.into_iter().chain(words));
    match Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command {
        Command::Serve(args) => serve(args),
        Command::Client(command) => cli::run(command, cli::everywhere::limit(&matches)),
    }
}

fn serve(flags: settings::Flags) -> ExitCode {
    // What is run as Pods would inherit it.
    if let Err(error) = runtime::process::program::close_inherited(serve::systemd::handed()) {
        return fail(&format!("cannot close what was open: {error}"));
    }
    let tokio = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(tokio) => tokio,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    match tokio.block_on(serve::serve(flags)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let said = fail(&format!("{error:#}"));
            if settings::is_of_a_flag(&error) { ExitCode::from(cli::USAGE) } else { said }
        }
    }
}

/// Says why on standard error, whoever may have closed it.
fn fail(why: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "conductor: {why}");
    ExitCode::FAILURE
}
