//! What `conductor doctor` finds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::server::{CONDUCTOR, Server};

/// How it ended, and what it found of each thing.
fn doctor(data: &Path, more: &[&str]) -> (bool, Vec<Value>) {
    let output = Command::new(CONDUCTOR)
        .args(["doctor", "-o", "json", "--api", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .args(more)
        .env("CONDUCTOR_DATA", data)
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.success(), told["checks"].as_array().unwrap().clone())
}

#[track_caller]
fn finding<'a>(found: &'a [Value], of: &str) -> &'a Value {
    found.iter().find(|finding| finding["check"] == of).unwrap_or_else(|| panic!("nothing of {of} in {found:?}"))
}

#[test]
fn a_server_that_is_well_is_found_well_and_what_is_broken_is_named_with_what_mends_it() {
    let mut server = Server::start();
    let data = server.data();
    let (well, found) = doctor(&data, &[]);
    assert!(well, "{found:?}");
    assert_eq!(finding(&found, "store")["found"], "a server runs on it and is well");
    server.stop();
    let (well, found) = doctor(&data, &[]);
    assert!(well && finding(&found, "store")["found"].as_str().unwrap().contains("keys at revision"), "{found:?}");

    fs::set_permissions(data.join("admin-token"), fs::Permissions::from_mode(0o644)).unwrap();
    let (well, found) = doctor(&data, &[]);
    assert!(!well && finding(&found, "permissions")["mend"] == format!("chmod 600 {}", data.join("admin-token").display()), "{found:?}");
    fs::set_permissions(data.join("admin-token"), fs::Permissions::from_mode(0o600)).unwrap();

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = Command::new(CONDUCTOR)
        .args(["doctor", "--http", &address.to_string(), "--api", "127.0.0.1:0"])
        .env("CONDUCTOR_DATA", &data)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && text.contains(&format!("ss -ltnp 'sport = :{}'", address.port())), "{text}");

    let store = fs::read(data.join("store.redb")).unwrap();
    fs::write(data.join("store.redb"), &store[..store.len() / 2]).unwrap();
    let (well, found) = doctor(&data, &[]);
    assert!(!well && finding(&found, "store")["mend"].as_str().unwrap().starts_with("conductor restore FILE --force"), "{found:?}");
    assert_eq!(fs::read(data.join("store.redb")).unwrap().len(), store.len() / 2, "it only looks");
    fs::write(data.join("store.redb"), &store).unwrap();
    let key = fs::read(data.join("secrets.key")).unwrap();
    fs::write(data.join("secrets.key"), "hello").unwrap();
    let (well, found) = doctor(&data, &[]);
    assert!(!well && finding(&found, "store")["found"].as_str().unwrap().contains("expected a key's id"), "{found:?}");
    fs::write(data.join("secrets.key"), key).unwrap();
    assert!(fs::read_dir(&data).unwrap().flatten().all(|entry| !entry.file_name().to_string_lossy().starts_with(".doctor")));

    let (well, found) = doctor(&data, &["--client-requests", "0"]);
    assert!(
        !well && finding(&found, "settings")["found"].as_str().unwrap().contains("--client-requests: expected a whole number"),
        "{found:?}"
    );
}
