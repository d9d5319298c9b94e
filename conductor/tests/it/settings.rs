//! Settings of a server that runs.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::access::{client, code};
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

#[tokio::test]
async fn the_file_of_tokens_is_read_again_at_sighup() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (settings, tokens, others) = (path("conductor.toml"), path("tokens"), path("others"));
    fs::write(&settings, format!("token-file = {tokens:?}\n")).unwrap();
    fs::write(&tokens, "old,jane,1\n").unwrap();
    let server = Server::start_with(&[("CONDUCTOR_CONFIG", &settings)]);
    let answer = async |token: &str| code(&client(&server, &["--token", token]).await.list_core_api_versions().await);
    let becomes = async |token: &str, code: u16| until((token, code), || async { answer(token).await == code }).await;
    assert_eq!((answer("old").await, answer("new").await), (200, 401));
    fs::write(&tokens, "new,joe,2\n").unwrap();
    assert_eq!(answer("new").await, 401, "nothing is read without a signal");
    server.signal(Signal::SIGHUP);
    becomes("new", 200).await;
    assert_eq!(answer("old").await, 401);
    server.client().await.list_core_api_versions().await.unwrap();
    let refused = async |expected: &str| {
        server.signal(Signal::SIGHUP);
        until(expected, || async { server.log().contains(expected) }).await;
        assert_eq!((answer("old").await, answer("new").await), (401, 200), "what was in force stays so");
    };
    fs::write(&tokens, "old,jane,1\nbroken\n").unwrap();
    refused("line 2: expected token,user,uid").await;
    fs::remove_file(&tokens).unwrap();
    refused(&format!("--token-file: cannot read {tokens}")).await;
    assert!(server.log().contains("all stays as it was"), "{}", server.log());
    fs::write(&others, "old,jane,1\n").unwrap();
    fs::write(&settings, format!("token-file = {others:?}\n")).unwrap();
    server.signal(Signal::SIGHUP);
    becomes("old", 200).await;
    assert_eq!(answer("new").await, 401);
    fs::write(&settings, "").unwrap();
    server.signal(Signal::SIGHUP);
    becomes("old", 401).await;
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
