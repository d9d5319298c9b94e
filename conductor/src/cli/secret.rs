//! `conductor secret set`: values that are kept sealed.

use std::io::{IsTerminal as _, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::failure::{Exit, Failure, Result};
use super::output::{self, Output};
use super::reach::Reach;
use super::server::{Keep, Server, check_name};

/// How often a write is tried when other writers come between.
const TRIES_MAX: usize = 32;

/// What can be done with a Secret.
#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Set values of a Secret, which is made when it is not there; other values of it stay
    Set(Set),
}

/// What `secret set` can be told.
#[derive(Debug, Args)]
pub struct Set {
    /// Name of the Secret
    name: String,
    /// KEY=VALUE, KEY=@FILE for what is in a file, or KEY alone for what comes on standard input, which no list of processes shows
    #[arg(required = true, value_name = "KEY[=VALUE|=@FILE]")]
    values: Vec<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// Performs what was asked.
pub async fn secret(secret: Secret) -> Result<()> {
    let Secret::Set(args) = secret;
    check_name(&args.name)?;
    let values = args.values.clone();
    let read = tokio::task::spawn_blocking(move || values_of(&values)).await;
    let values = read.map_err(|error| Failure::failed(format!("the values cannot be read: {error}")))??;
    let server = args.reach.connect().await?;
    let (object, verb) = set(&server, &args.name, &values).await?;
    if args.output.is_for_people() {
        return output::done(&format!("secret/{} {verb}\n", args.name));
    }
    args.output.objects(&[object], String::new)
}

fn values_of(asked: &[String]) -> Result<Map<String, Value>> {
    let mut values = Map::new();
    let mut is_read = false;
    for text in asked {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => match value.strip_prefix('@') {
                Some(file) => (key, std::fs::read(file).map_err(|error| Failure::failed(format!("cannot read {file}: {error}")))?),
                None => (key, value.as_bytes().to_vec()),
            },
            None if std::mem::replace(&mut is_read, true) => return Err(Failure::usage("only one value can come on standard input")),
            None => (text.as_str(), standard_input(text)?),
        };
        if values.insert(key.to_owned(), json!(STANDARD.encode(value))).is_some() {
            return Err(Failure::usage(format!("{key} is set twice")));
        }
    }
    Ok(values)
}

/// What comes on standard input; from a terminal one line, from elsewhere everything, without a newline at its end.
fn standard_input(key: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let stdin = std::io::stdin();
    let read = if stdin.is_terminal() {
        output::note(&format!("Value of {key}, then Enter:"));
        let mut line = String::new();
        stdin.read_line(&mut line).map(|_| bytes = line.into_bytes())
    } else {
        stdin.lock().read_to_end(&mut bytes).map(drop)
    };
    read.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

async fn set(server: &Server, name: &str, values: &Map<String, Value>) -> Result<(Value, &'static str)> {
    let (kind, tried) = (model::secret::kind(), format!("could not set Secret {name}"));
    for _ in 0..TRIES_MAX {
        let stored = server.get(&kind, name).await.map_err(|error| Failure::of_call(&tried, &error))?;
        let written = match stored {
            None => {
                let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "data": values});
                server.create(&kind, &object, Keep::Yes).await.map(|object| (object, "created"))
            }
            Some(stored) => {
                let mut wanted = stored.clone();
                if !wanted["data"].is_object() {
                    wanted["data"] = json!({});
                }
                for (key, value) in values {
                    wanted["data"][key] = value.clone();
                }
                if wanted == stored {
                    return Ok((stored, "unchanged"));
                }
                server.replace(&kind, &wanted, Keep::Yes).await.map(|object| (object, "configured"))
            }
        };
        match written {
            Ok(written) => return Ok(written),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(Failure::of_call(&tried, &error)),
        }
    }
    Err(Failure::new(Exit::Conflict, format!("{tried}: others change it all the time; try again")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_words_and_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "in a file\n").unwrap();
        let values = values_of(&["a=1=2".into(), format!("b=@{}", file.path().display()), "c=".into()]).unwrap();
        assert_eq!(Value::Object(values), json!({"a": STANDARD.encode("1=2"), "b": STANDARD.encode("in a file\n"), "c": ""}));
        assert!(values_of(&["a=1".into(), "a=2".into()]).unwrap_err().message().contains("a is set twice"));
        assert!(values_of(&["a=@/nowhere/at/all".into()]).unwrap_err().message().contains("cannot read /nowhere/at/all"));
    }
}
