//! `conductor version` and `conductor kubeconfig`: who we are, and how others reach the server.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http::Request;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::failure::{Exit, Failure, Result};
use super::output::{self, Format, Output};
use super::reach::Reach;
use crate::paths;
use crate::serve::pki;

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
    /// For whoever has this token, rather than for the administrator
    #[arg(long, value_name = "TOKEN", conflicts_with = "user")]
    token: Option<String>,
    /// For this user, with a new client certificate
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Group of that user
    #[arg(long, value_name = "NAME", requires = "user")]
    group: Option<String>,
    /// How many days the certificate lasts
    #[arg(long, value_name = "DAYS", default_value_t = 365, requires = "user", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// Shows the version of this program, and that of the server when one answers.
pub async fn version(args: Version) -> Result<()> {
    let server = tokio::time::timeout(SERVER_MAX, server_version(&args.reach)).await.ok().flatten();
    let (own, commit) = (env!("CARGO_PKG_VERSION"), option_env!("CONDUCTOR_COMMIT").filter(|commit| !commit.is_empty()));
    match args.output.output {
        Format::Json | Format::Yaml => {
            args.output.value(&json!({"kind": "Version", "client": {"version": own, "commit": commit}, "server": server}))
        }
        Format::Table | Format::Wide | Format::Name => {
            let server = server.and_then(|server| server["gitVersion"].as_str().map(|version| format!("server {version}\n")));
            let commit = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
            output::print(&format!("conductor {own}{commit}\n{}", server.unwrap_or_default()))
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
    let text = match credentials(args)? {
        Some((name, credentials)) => {
            with_user(&text, &name, credentials).map_err(|why| Failure::failed(format!("{}: {why}", file.display())))?
        }
        None => text,
    };
    match args.output.output {
        Format::Json => {
            let documents = logic::yaml::parse(&text).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
            args.output.value(documents.first().unwrap_or(&Value::Null))
        }
        Format::Name => output::print(&format!("{}\n", file.display())),
        Format::Table | Format::Wide | Format::Yaml => output::print(&text),
    }
}

/// Whom the kubeconfig is for, and how they prove it; `None` for the administrator. Errors: no certificate can be made.
fn credentials(args: &Kubeconfig) -> Result<Option<(String, Value)>> {
    if let Some(token) = &args.token {
        return Ok(Some(("token".to_owned(), json!({"token": token}))));
    }
    let Some(user) = &args.user else { return Ok(None) };
    if user.is_empty() {
        return Err(Failure::usage("--user: expected a name"));
    }
    let (dir, lasts) = (args.reach.data_dir().join("pki"), SignedDuration::from_hours(24 * i64::from(args.days)));
    let groups: Vec<String> = args.group.iter().cloned().collect();
    let made = pki::client_certificate(&dir, user, &groups, lasts);
    let (certificate, key) = made.map_err(|error| Failure::failed(format!("no certificate can be made: {error:#}")))?;
    let encoded = json!({"client-certificate-data": STANDARD.encode(certificate), "client-key-data": STANDARD.encode(key)});
    Ok(Some((user.clone(), encoded)))
}

/// A kubeconfig with another user in place of its own.
fn with_user(text: &str, name: &str, credentials: Value) -> Result<String, String> {
    let mut documents = logic::yaml::parse(text).map_err(|error| error.to_string())?;
    let config = documents.first_mut().ok_or("it is empty")?;
    config["users"] = json!([{"name": name, "user": credentials}]);
    for context in config["contexts"].as_array_mut().into_iter().flatten() {
        context["context"]["user"] = json!(name);
    }
    Ok(logic::yaml::write(config))
}
