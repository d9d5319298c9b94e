//! `conductor audit`: the record of who changed what.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::{Failure, Result};
use super::output;
use crate::serve::audit::verify;
use crate::settings::{Effective, Environment, Flags};

/// What can be done with it.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Look whether a line of the record was altered, put in or taken out
    Verify(Verify),
}

/// What `audit verify` can be told.
#[derive(Debug, Args)]
pub struct Verify {
    /// The hash that an earlier look printed: its line must still be there
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
    /// Data directory of this machine's server [env: CONDUCTOR_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Does what was asked.
pub fn audit(audit: &Audit) -> Result<()> {
    let Audit::Verify(args) = audit;
    let mut flags = Flags::default();
    if let Some(data) = &args.data {
        flags = flags.with("data", data.to_string_lossy());
    }
    let settings = Effective::read(&flags, &Environment::read()).map_err(|error| Failure::of_settings(&error))?.settings();
    let found = verify(&settings.data, args.head.as_deref()).map_err(|error| Failure::failed(format!("{error:#}")))?;
    output::done(&format!("{} lines follow from one another, since {}\nhead {}\n", found.lines, found.since, found.head))?;
    output::note("write the head down elsewhere: `audit verify --head HASH` finds that lines were cut off at the end");
    Ok(())
}
