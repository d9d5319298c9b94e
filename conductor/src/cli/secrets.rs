//! `conductor secrets`: the keys that Secrets are sealed with in the store.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Request;
use serde_json::Value;

use super::failure::{Failure, Result};
use super::{output, reach};
use crate::serve::local::ROTATE;

/// What can be done with them.
#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Make a new key, and seal all Secrets anew with it, while the server runs
    Rotate(Rotate),
}

/// What `secrets rotate` can be told.
#[derive(Debug, Args)]
pub struct Rotate {
    /// Data directory of this machine's server [env: CONDUCTOR_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Does what was asked.
pub async fn secrets(secrets: Secrets) -> Result<()> {
    let Secrets::Rotate(args) = secrets;
    let client = reach::local(args.data.as_deref()).await?;
    let tried = "could not make a new key";
    let request = Request::post(ROTATE).body(Vec::new()).map_err(|error| Failure::failed(format!("{tried}: {error}")))?;
    let answer: Value = client.request(request).await.map_err(|error| Failure::of_call(tried, &error))?;
    let key = answer["key"].as_str().unwrap_or_default();
    output::note(
        "keep a copy of the key file: without it neither the store nor its backups can be read. Older keys in it open older backups",
    );
    output::done(&format!("all Secrets are sealed with key {key}\n"))
}
