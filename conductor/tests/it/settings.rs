//! Settings of a server that runs.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::server::{Server, until};

#[tokio::test]
async fn what_can_change_does_at_sighup_and_the_rest_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("conductor.toml");
    fs::write(&file, "client-requests = 50\n").unwrap();
    let server = Server::start_with(&[("CONDUCTOR_CONFIG", file.to_str().unwrap()), ("CONDUCTOR_AUDIT_FLIES", "1")]);
    assert!(server.log().contains("CONDUCTOR_AUDIT_FLIES is no setting: did you mean CONDUCTOR_AUDIT_FILES?"), "{}", server.log());
    let reread = async |text: &str, expected: &[&str]| {
        fs::write(&file, text).unwrap();
        server.signal(Signal::SIGHUP);
        until(expected, || async { expected.iter().all(|expected| server.log().contains(expected)) }).await;
    };
    reread("client-requests = 60\n", &["a setting changed and is in force", "client-requests"]).await;
    reread("client-requests = 60\nengine = \"unix:///e\"\n", &["takes effect when the server is started again", "\"setting\":\"engine\""])
        .await;
    reread(
        "client-request = 60\n",
        &["conductor.toml:1: client-request is no setting: did you mean client-requests?", "all stays as it was"],
    )
    .await;
    assert!(!server.log().contains("\"level\":\"DEBUG\""));
    reread("log-level = \"debug\"\n", &["\"level\":\"DEBUG\""]).await;
}

#[test]
fn the_settings_in_force_are_printed_with_their_sources() {
    let server = Server::start();
    let output = server.run(&["config", "-o", "json", "--client-requests", "7"]);
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["client-requests"], serde_json::json!({"value": 7, "from": "flag --client-requests", "reloads": true}));
    assert_eq!(printed["data"]["from"], "environment CONDUCTOR_DATA");
    let table = String::from_utf8(server.run(&["config"]).stdout).unwrap();
    assert!(table.lines().any(|line| line.split_whitespace().eq(["api", "127.0.0.1:6443", "default"])), "{table}");
    let refused = server.run(&["config", "--api", "nowhere"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--api: expected an IP address and a port"), "{refused:?}");
}
