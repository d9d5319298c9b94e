//! `conductor doctor`: what is wrong here, and the command that mends it.

mod machine;
mod place;

use clap::Args;
use serde_json::{Value, json};

use super::failure::{Exit, Failure, Result};
use super::grid::grid;
use super::output::{self, Output};
use crate::settings::{Effective, Environment, Flags};

/// What `doctor` can be told.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    flags: Flags,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it should be.
    Good,
    /// It works, and something should be known.
    Warning,
    /// Something does not work, or soon will not.
    Wrong,
}

/// What a look at one thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    /// What was looked at.
    of: &'static str,
    state: State,
    what: String,
    /// The command that mends it; empty where there is nothing to mend, or nothing that a command could.
    mend: String,
}

impl Finding {
    fn good(of: &'static str, what: impl Into<String>) -> Self {
        Self { of, state: State::Good, what: what.into(), mend: String::new() }
    }

    fn warning(of: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { of, state: State::Warning, what: what.into(), mend: mend.into() }
    }

    fn wrong(of: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { of, state: State::Wrong, what: what.into(), mend: mend.into() }
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Wrong => "WRONG",
        }
    }
}

/// Looks at everything that a server needs. Errors: something is wrong, which has been told by then.
pub async fn doctor(args: Doctor) -> Result<()> {
    let environment = Environment::read();
    let mut findings = Vec::new();
    match Effective::read(&args.flags, &environment) {
        Err(error) => findings.push(Finding::wrong("settings", format!("{error:#}"), "conductor config")),
        Ok(read) => {
            let slips = environment.slips();
            findings.push(match slips.first() {
                Some((name, meant)) => {
                    Finding::warning("settings", format!("{name} is no setting: did you mean {meant}?"), format!("unset {name}"))
                }
                None => Finding::good("settings", "they are understood"),
            });
            let settings = read.settings();
            let is_running = place::is_running(&settings.data).await;
            findings.extend(place::permissions(&settings));
            findings.push(place::store(&settings, is_running).await);
            findings.extend(machine::ports(&settings, is_running));
            findings.push(place::leftovers());
            findings.push(machine::engine(&settings.engine).await);
            findings.push(machine::disk_space(&settings.data));
        }
    }
    findings.extend([machine::cgroups(), machine::clock(), machine::open_files(), machine::users()]);
    tell(&args.output, &findings)
}

fn tell(output: &Output, findings: &[Finding]) -> Result<()> {
    if output.is_for_people() {
        let row = |finding: &Finding| vec![finding.of.to_owned(), finding.state.word().to_owned(), finding.what.clone()];
        output::print(&grid(&["CHECK", "STATE", "FOUND"], &findings.iter().map(row).collect::<Vec<_>>()))?;
        for finding in findings.iter().filter(|finding| !finding.mend.is_empty()) {
            output::done(&format!("\n{}: {}\n  {}\n", finding.of, finding.what, finding.mend))?;
        }
    } else {
        let object = |finding: &Finding| {
            let Finding { of, state, what, mend } = finding;
            json!({"check": of, "state": state.word().to_lowercase(), "found": what, "mend": mend})
        };
        output.value(&json!({"kind": "Checks", "checks": findings.iter().map(object).collect::<Vec<Value>>()}))?;
    }
    match findings.iter().filter(|finding| finding.state == State::Wrong).count() {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Failed, "one thing is wrong")),
        count => Err(Failure::new(Exit::Failed, format!("{count} things are wrong"))),
    }
}
