//! Which functions of the server run: `conductor/order.gz`, by which the linker lays them side by side.
//!
//! A page of code is in memory with all that surrounds it. Side by side, what runs takes a third of what it takes spread over the file.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::bench::clients::ApiClient;
use crate::bench::peers::Conductor;

const SERVICES: &str = "/apis/conductor.dev/v1/namespaces/default/services";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
/// Fewer would mean that the server was not seen at its work.
const FUNCTIONS_MIN: usize = 3_000;

/// Runs the release build under valgrind and writes down what it ran.
pub async fn command() -> ExitCode {
    match order().await {
        Ok(functions) => {
            println!("{functions} functions; the next release build lays them side by side");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("order: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn order() -> Result<usize> {
    let directory = tempfile::tempdir()?;
    let seen = directory.path().join("seen");
    let valgrind = format!("valgrind --quiet --tool=callgrind --demangle=no --callgrind-out-file={}", seen.display());
    let server = Conductor::start_under(&valgrind.split(' ').collect::<Vec<_>>(), Duration::from_secs(300))?;
    work(&server).await?;
    server.peer.end()?;
    let seen = std::fs::read_to_string(&seen).context("valgrind wrote nothing")?;
    let functions = functions(&seen);
    ensure!(functions.len() >= FUNCTIONS_MIN, "only {} functions ran; are there symbols in the binary?", functions.len());
    let file = crate::root().join("conductor/order.gz");
    let mut packed = GzEncoder::new(std::fs::File::create(file)?, Compression::best());
    for function in &functions {
        writeln!(packed, "{function}")?;
    }
    packed.finish()?;
    Ok(functions.len())
}

/// What a server does in a day: Services that come, run and go, and objects that are written, read and watched.
async fn work(server: &Conductor) -> Result<()> {
    let mut client = ApiClient::connect(server.api, &server.data).await?;
    for number in 0..2 {
        let service = json!({"apiVersion": "conductor.dev/v1", "kind": "Service", "metadata": {"name": format!("s-{number}")}, "spec": {
            "application": "order", "parts": [{"name": "s", "pod": {"spec": {"terminationGracePeriodSeconds": 1,
                "containers": [{"name": "s", "command": ["/bin/sleep", "100000"]}]}}}]}});
        client.call("POST", SERVICES, JSON, service.to_string()).await?;
    }
    for number in 0..5 {
        let (name, one) = (format!("m-{number}"), format!("{MAPS}/m-{number}"));
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"payload": "x".repeat(900)}});
        client.call("POST", MAPS, JSON, map.to_string()).await?;
        client.call("PATCH", &one, "application/merge-patch+json", json!({"data": {"payload": "y".repeat(900)}}).to_string()).await?;
        client.call("GET", &one, JSON, "").await?;
    }
    for path in [MAPS, "/api", "/apis", "/apis/conductor.dev/v1", "/api/v1/pods", "/version"] {
        client.call("GET", path, JSON, "").await?;
    }
    client.call("GET", &format!("{MAPS}?watch=true&timeoutSeconds=3&resourceVersion=0"), JSON, "").await?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let mut client = ApiClient::connect(server.api, &server.data).await?;
    client.call("DELETE", SERVICES, JSON, "").await?;
    client.call("DELETE", MAPS, JSON, "").await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    Ok(())
}

/// The names of the functions in what valgrind wrote: each stands behind its number where it first occurs.
fn functions(seen: &str) -> BTreeSet<&str> {
    let lines = seen.lines().filter_map(|line| line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")));
    let names = lines.filter_map(|line| line.split_once(") ").map(|(_, name)| name));
    // A function that calls itself has a number behind its name.
    names.map(|name| name.split('\'').next().unwrap_or(name)).filter(|name| !name.starts_with("0x")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_is_named_once() {
        let seen = "fl=(1) a.rs\nfn=(1) _RNv1a\n1 2\ncfn=(2) _RNv1b'2\ncalls=1 2\nfn=(2)\nfn=(3) 0x000012\nfn=(4) _RNv1a\n";
        assert_eq!(functions(seen).into_iter().collect::<Vec<_>>(), ["_RNv1a", "_RNv1b"]);
    }
}
