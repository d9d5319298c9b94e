//! Each crate checked by itself. In a build of the whole workspace Cargo gives every crate the features that any crate asked a
//! dependency for, so that a missing one shows only here; so does a crate that needs an adapter of another one.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::tidy::Metadata;

/// Checks every crate. Fails at the first that does not compile.
pub fn command() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let metadata = Metadata::read(&crate::root())?;
    for package in metadata.ours() {
        check(&package.name, &[])?;
        if !package.features.is_empty() {
            check(&package.name, &["--all-features"])?;
        }
    }
    Ok(())
}

fn check(name: &str, flags: &[&str]) -> Result<()> {
    println!("cargo check -p {name} {}", flags.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).current_dir(crate::root()).args(["check", "--quiet", "--locked", "-p", name]).args(flags).status();
    if !status.context("cannot run cargo")?.success() {
        bail!("{name} does not compile by itself");
    }
    Ok(())
}
