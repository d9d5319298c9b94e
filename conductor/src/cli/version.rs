//! `conductor version` and `conductor kubeconfig`: who we are, and how others reach the server.

use std::time::Duration;

use clap::Args;
use http::Request;
use serde_json::{Value, json};

use super::failure::{Exit, Failure, Result};
use super::output::{self, Format, Output};
use super::reach::Reach;
use crate::paths;

const SERVER_MAX: Duration = Duration::from_secs(3);

/// What `version` can be told.
#[derive(Debug, Args)]
pub struct Version {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// What `kubeconfig` can be told.
#[derive(Debug, Args)]
pub struct Kubeconfig {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// Shows the version of this program, and that of the server when one answers.
pub async fn version(args: Version) -> Result<()> {
    let server = tokio::time::timeout(SERVER_MAX, server_version(&args.reach)).await.ok().flatten();
    let own = env!("CARGO_PKG_VERSION");
    match args.output.output {
        Format::Json | Format::Yaml => args.output.value(&json!({"client": {"version": own}, "server": server})),
        Format::Table | Format::Wide | Format::Name => {
            let server = server.and_then(|server| server["gitVersion"].as_str().map(|version| format!("server {version}\n")));
            output::print(&format!("conductor {own}\n{}", server.unwrap_or_default()))
        }
    }
}

async fn server_version(reach: &Reach) -> Option<Value> {
    let server = reach.connect().await.ok()?;
    server.client.request(Request::get("/version").body(Vec::new()).ok()?).await.ok()
}

/// Prints the kubeconfig of this machine's server. Errors: there is none.
pub fn kubeconfig(args: &Kubeconfig) -> Result<()> {
    let file = paths::kubeconfig(&args.reach.data_dir());
    let text = std::fs::read_to_string(&file).map_err(|error| {
        let absent = error.kind() == std::io::ErrorKind::NotFound;
        let why = if absent { "it is not there; `conductor serve` makes one".to_owned() } else { error.to_string() };
        Failure::new(if absent { Exit::NotFound } else { Exit::Failed }, format!("cannot read {}: {why}", file.display()))
    })?;
    match args.output.output {
        Format::Json => {
            let documents = logic::yaml::parse(&text).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
            args.output.value(documents.first().unwrap_or(&Value::Null))
        }
        Format::Name => output::print(&format!("{}\n", file.display())),
        Format::Table | Format::Wide | Format::Yaml => output::print(&text),
    }
}
