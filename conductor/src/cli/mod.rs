//! The command line for people: each command is a client of the control API, like any other.
//!
//! Results go to standard output, everything else to standard error; exit codes are in [`failure::Exit`], for people in
//! docs/commands.md.

mod audit;
mod backup;
mod batch;
mod cells;
mod completions;
mod config;
mod describe;
mod diff;
mod doctor;
pub mod everywhere;
mod exec;
mod failure;
mod grid;
mod history;
mod logs;
mod manifest;
mod named;
mod output;
mod ps;
mod reach;
mod receipt;
mod rm;
mod rollback;
mod rollout;
mod scale;
mod secret;
mod secrets;
mod server;
mod sources;
mod stop;
mod target;
mod token;
mod up;
mod version;

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

pub use completions::answer_shell;
pub use failure::USAGE;
use failure::{Exit, Failure, Result};

/// What people can ask of a server.
#[derive(Debug, Subcommand)]
// The words above would otherwise become those of the whole program, whose commands these are among.
#[command(about = "Containers, functions and jobs on the servers you have, behind a Kubernetes-shaped API")]
pub enum Command {
    /// Write the objects of a file, and wait until its Services run
    Up(up::Up),
    /// Show what files would change
    Diff(diff::Diff),
    /// Show Services and their copies
    Ps(ps::Ps),
    /// Show Jobs, below the CronJobs that start them
    Jobs(batch::Batch),
    /// Show what copies write
    Logs(logs::Logs),
    /// Show all there is to know about a Service or a Pod
    Describe(describe::Describe),
    /// Run a program in a copy
    Exec(exec::Exec),
    /// Show the Revisions of a Service, and how each rollout went
    History(history::History),
    /// Put an older configuration of a Service back
    Rollback(rollback::Rollback),
    /// Set how many copies of a part run
    Scale(scale::Scale),
    /// Stop Services: no copy of them runs, and their routes answer 503
    Stop(stop::Chosen),
    /// Start Services that were stopped
    Start(stop::Chosen),
    /// Make every copy of Services anew, as a rollout
    Restart(stop::Chosen),
    /// Delete Services
    Rm(rm::Rm),
    /// Print the kubeconfig of this machine's server
    Kubeconfig(version::Kubeconfig),
    /// Set values of Secrets
    #[command(subcommand)]
    Secret(secret::Secret),
    /// Make, list and delete bearer tokens for people and programs
    #[command(subcommand)]
    Token(token::Token),
    /// The record of who changed what
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Write all objects of this machine's server into a file
    Backup(backup::Backup),
    /// Make this machine's store anew from a backup
    Restore(backup::Restore),
    /// The keys that Secrets are sealed with
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    /// Show the settings that a server has here, and where each comes from
    Config(config::Config),
    /// Look for what is wrong here, and say what mends it
    Doctor(doctor::Doctor),
    /// Print the script that teaches a shell to complete commands and names
    Completions(completions::Completions),
    /// Write manual pages into a directory
    Manual(completions::Manual),
    /// Print the version of this program, and of the server
    Version(version::Version),
}

impl Command {
    async fn perform(self) -> Result<()> {
        match self {
            Self::Up(args) => up::up(args).await,
            Self::Ps(args) => ps::ps(args).await,
            Self::Jobs(args) => batch::jobs(args).await,
            Self::Logs(args) => logs::logs(args).await,
            Self::Describe(args) => describe::describe(args).await,
            Self::Diff(args) => diff::diff(args).await,
            Self::Exec(args) => exec::exec(args).await,
            Self::History(args) => history::history(args).await,
            Self::Rollback(args) => rollback::rollback(args).await,
            Self::Scale(args) => scale::scale(args).await,
            Self::Stop(args) => stop::stop(args).await,
            Self::Start(args) => stop::start(args).await,
            Self::Restart(args) => stop::restart(args).await,
            Self::Rm(args) => rm::rm(args).await,
            Self::Kubeconfig(args) => version::kubeconfig(&args),
            Self::Secret(args) => secret::secret(args).await,
            Self::Token(args) => token::token(args).await,
            Self::Audit(args) => audit::audit(&args),
            Self::Backup(args) => backup::backup(args).await,
            Self::Restore(args) => backup::restore(&args),
            Self::Secrets(args) => secrets::secrets(args).await,
            Self::Config(args) => config::config(&args),
            Self::Doctor(args) => doctor::doctor(args).await,
            Self::Completions(args) => completions::completions(&args),
            Self::Manual(args) => completions::manual(&args),
            Self::Version(args) => version::version(args).await,
        }
    }

    /// Whether it waits for something to become so, and itself knows how long.
    fn waits(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Rollback(_) | Self::Scale(_) | Self::Stop(_) | Self::Start(_) | Self::Restart(_) | Self::Rm(_))
    }

    /// What remains of a command that is interrupted.
    fn interrupted(&self) -> &'static str {
        if self.waits() { "interrupted; what the server was told stays, and it goes on" } else { "" }
    }
}

/// Performs a command to its end, or until Ctrl-C, or until it took longer than it may.
pub fn run(command: Command, limit: Option<Duration>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("cannot start: {error}")).report(),
    };
    let interrupted = Failure::new(Exit::Interrupted, command.interrupted());
    let limit = limit.filter(|_| !command.waits());
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = command.perform() => ended,
            Some(late) = late(limit) => Err(late),
            Ok(()) = tokio::signal::ctrl_c() => Err(interrupted),
        }
    });
    // A read of a terminal that nobody answers would be waited for otherwise.
    runtime.shutdown_background();
    ended.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

async fn late(limit: Option<Duration>) -> Option<Failure> {
    let limit = limit?;
    tokio::time::sleep(limit).await;
    Some(Failure::new(Exit::TimedOut, format!("it was not done within {limit:?}, as --timeout says")))
}
