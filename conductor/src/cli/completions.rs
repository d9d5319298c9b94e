//! `conductor completions` and `conductor manual`: what shells complete, with the names of what is there, and manual pages.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use model::Service;

use super::failure::{Failure, Result};
use super::output;
use super::reach::Reach;

/// The variable by which a shell asks for completions.
const VARIABLE: &str = "COMPLETE";
/// Nobody waits longer for a completion.
const ANSWER_MAX: Duration = Duration::from_millis(300);
/// More are of no use to a person.
const NAMES_MAX: u32 = 500;

/// What `completions` can be told.
#[derive(Debug, Args)]
pub struct Completions {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

/// What `manual` can be told.
#[derive(Debug, Args)]
pub struct Manual {
    /// Directory for the pages
    dir: PathBuf,
}

/// Prints the script that teaches a shell to complete: `source <(conductor completions bash)`. Errors: it cannot be written.
pub fn completions(args: &Completions) -> Result<()> {
    let value = args.shell.to_possible_value();
    let name = value.as_ref().map_or("bash", |value| value.get_name());
    let shells = Shells::builtins();
    let completer = shells.completer(name).ok_or_else(|| Failure::usage(format!("{name}: completions are not known for it")))?;
    let mut script = Vec::new();
    let written = completer.write_registration(VARIABLE, "conductor", "conductor", "conductor", &mut script);
    written.map_err(|error| Failure::failed(format!("the script cannot be made: {error}")))?;
    output::print(&String::from_utf8_lossy(&script))
}

/// Writes a page for each command. Errors: they cannot be written there.
pub fn manual(args: &Manual) -> Result<()> {
    let failed = |error: std::io::Error| Failure::failed(format!("{}: {error}", args.dir.display()));
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    clap_mangen::generate_to(crate::Cli::command(), &args.dir).map_err(failed)
}

/// Answers a shell that asks for completions, and ends; does nothing otherwise.
pub fn answer_shell() {
    clap_complete::CompleteEnv::with_factory(command_with_names).var(VARIABLE).complete();
}

/// The command line, with the names of Services and Pods of the server where they are asked for.
fn command_with_names() -> clap::Command {
    let services: fn(&OsStr) -> Vec<CompletionCandidate> = |begun| beginning(begun, false);
    let with_pods: fn(&OsStr) -> Vec<CompletionCandidate> = |begun| beginning(begun, true);
    let names = |argument: clap::Arg| match argument.get_id().as_str() {
        "service" | "services" | "sizes" => argument.add(ArgValueCompleter::new(services)),
        "target" | "targets" => argument.add(ArgValueCompleter::new(with_pods)),
        _ => argument,
    };
    crate::Cli::command().mut_subcommands(|command| command.mut_args(names))
}

/// What begins with the word that was begun. Nothing where no server answers soon.
fn beginning(begun: &OsStr, with_pods: bool) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let found = runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, names(with_pods)).await.unwrap_or_default() });
    found.into_iter().filter(|name| name.starts_with(&*begun)).map(CompletionCandidate::new).collect()
}

async fn names(with_pods: bool) -> Vec<String> {
    let Ok(server) = Reach::default().connect().await else { return Vec::new() };
    let some = ListParams::default().limit(NAMES_MAX);
    let services = Api::<Service>::namespaced(server.client.clone(), &server.namespace).list_metadata(&some).await;
    let mut found: Vec<String> = services.into_iter().flatten().filter_map(|service| service.metadata.name).collect();
    if with_pods {
        let pods = Api::<Pod>::namespaced(server.client, &server.namespace).list_metadata(&some).await;
        found.extend(pods.into_iter().flatten().filter_map(|pod| pod.metadata.name));
    }
    found
}
