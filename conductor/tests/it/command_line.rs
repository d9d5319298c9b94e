//! The commands that people type.

use std::process::{Command, Output};

use serde_json::Value;

use crate::server::{CONDUCTOR, Server, shop};

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[track_caller]
fn good(server: &Server, args: &[&str], expected: &[&str]) -> String {
    let output = server.run(args);
    let text = text(&output);
    assert!(output.status.success(), "conductor {args:?}: {text}\n{}", server.log());
    for expected in expected {
        assert!(text.contains(expected), "conductor {args:?}: {text} lacks {expected}");
    }
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn bad(server: &Server, args: &[&str], code: i32, expected: &[&str]) {
    let output = server.run(args);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(code), "conductor {args:?}: {text}");
    for expected in expected {
        assert!(text.contains(expected), "conductor {args:?}: {text} lacks {expected}");
    }
}

fn write(server: &Server, name: &str, service: &Value) -> String {
    let file = server.dir.path().join(name);
    std::fs::write(&file, serde_json::to_string_pretty(service).unwrap()).unwrap();
    file.to_string_lossy().into_owned()
}

#[test]
fn a_service_is_brought_up_changed_scaled_rolled_back_and_removed() {
    let server = Server::start();
    let file = write(&server, "shop.json", &shop(2, "1"));
    good(&server, &["up", "-f", &file], &["service/shop created", "shop-1", "failed 0", "shop.test"]);
    good(&server, &["up", "-f", &file], &["service/shop unchanged"]);
    write(&server, "shop.json", &shop(2, "2"));
    good(&server, &["up", "-f", &file], &["service/shop configured", "shop-2"]);
    good(&server, &["ps"], &["shop-web-2-0", "2/2"]);
    let listed: Value = serde_json::from_str(&good(&server, &["ps", "-o", "json"], &[])).unwrap();
    assert!(listed["items"].as_array().is_some_and(|items| !items.is_empty()), "{listed}");
    good(&server, &["scale", "shop/web=3"], &["shop-3"]);
    good(&server, &["rollback", "shop", "shop-1"], &["rolled back to shop-1", "shop-4"]);
    good(&server, &["history", "shop"], &["shop-4", "shop-1", "rollback of shop-1"]);
    good(&server, &["logs", "shop", "--tail", "1"], &["version 1 listens on"]);
    good(&server, &["kubeconfig"], &["certificate-authority-data"]);
    good(&server, &["version", "-o", "json"], &["0.1.0"]);
    good(&server, &["rm", "shop"], &["service/shop deleted"]);
    assert!(server.processes().is_empty(), "rm waits until nothing runs");
    bad(&server, &["history", "shop"], 4, &["shop"]);
    bad(&server, &["rm", "shop"], 4, &["shop"]);
}

#[test]
fn a_bad_file_changes_nothing_and_says_where() {
    let server = Server::start();
    let good_one = serde_json::to_string(&shop(1, "1")).unwrap();
    let mistakes = [
        (good_one.replace("\"replicas\"", "\"replica\""), "did you mean \"replicas\"?"),
        (good_one.replace("\"replicas\":1", "\"replicas\":\"one\""), "spec.parts[0].replicas"),
        (good_one.replace("\"progressDeadline\":\"60s\"", "\"progressDeadline\":\"soon\""), "is no duration"),
        (good_one.replace("\"part\":\"web\"", "\"part\":\"wen\""), "is no part of this Service"),
        (good_one.replace("\"port\":\"http\"}]", "\"port\":\"https\"}]"), "is no named port"),
        (good_one.replace("{\"name\":\"shop\"}", "{}"), "metadata.name"),
        ("{not: [yaml".to_owned(), "line 1"),
        (String::new(), "no"),
    ];
    for (at, (text, expected)) in mistakes.iter().enumerate() {
        let file = server.dir.path().join(format!("bad-{at}.yaml"));
        // A good object in front must not be written either.
        let before = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first}\n---\n";
        let both = if text.is_empty() || text.starts_with("{not") { text.clone() } else { format!("{before}{text}") };
        std::fs::write(&file, both).unwrap();
        let output = server.run(&["up", "-f", file.to_str().unwrap()]);
        let said = self::text(&output);
        assert!(!output.status.success() && said.contains(expected) && !said.contains("panicked"), "{at}: {said} lacks {expected}");
    }
    let output = server.run(&["ps", "-o", "json"]);
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(0), "{listed}");
    bad(&server, &["up", "-f", "/no/such/file.yaml"], 1, &["/no/such/file.yaml"]);
    bad(&server, &["frobnicate"], 2, &["frobnicate"]);
}

#[test]
fn a_version_that_does_not_come_up_ends_with_its_reason() {
    let server = Server::start();
    let file = write(&server, "shop.json", &shop(1, "1"));
    good(&server, &["up", "-f", &file], &["shop-1"]);
    let mut broken = shop(1, "2");
    broken["spec"]["parts"][0]["pod"]["spec"]["containers"][0]["command"] =
        serde_json::json!(["/bin/sh", "-c", "echo no database; exit 3"]);
    broken["spec"]["rollout"] = serde_json::json!({"progressDeadline": "2s"});
    write(&server, "shop.json", &broken);
    bad(&server, &["up", "-f", &file], 8, &["shop-2", "no database", "shop-1"]);
}

#[test]
fn without_a_server_the_way_out_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(crate::server::CONDUCTOR)
        .args(["ps", "--data"])
        .arg(dir.path())
        .env_remove("KUBECONFIG")
        .output()
        .unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("conductor serve"), "{said}");
}

#[test]
fn what_would_change_is_shown_and_what_is_there_is_described_run_and_completed() {
    let server = Server::start();
    let dir = server.dir.path().join("files");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("shop.json"), shop(1, "1").to_string()).unwrap();
    let files = dir.to_string_lossy().into_owned();
    let dry = good(&server, &["up", "--dry-run", "-f", &files], &["service/shop would be created", "copies of web: 1 would start"]);
    assert!(!dry.contains("configured"), "{dry}");
    bad(&server, &["diff", "-f", &files], 1, &["service/shop would be created"]);
    good(&server, &["up", "-f", &files, "--timeout", "60"], &["service/shop created"]);
    good(&server, &["diff", "-f", &files], &["service/shop unchanged"]);
    std::fs::write(dir.join("shop.json"), shop(2, "2").to_string()).unwrap();
    let config = "~ spec.config.VERSION: \"1\" -> \"2\"";
    let copies = "copies of web: 2 would start, 1 end (shop-web-1-0), 0 stay";
    bad(&server, &["diff", "-f", &files], 1, &[config, "~ spec.parts[web].replicas: 1 -> 2", copies]);
    bad(&server, &["diff", "-f", "/nowhere/at/all"], 3, &["cannot read /nowhere/at/all"]);

    let data = server.data().to_string_lossy().into_owned();
    let named = good(&server, &["ps", "-o", "name"], &["service/shop", "pod/shop-web-1-0"]);
    for name in named.lines() {
        good(&server, &["--data", &data, "-n", "default", "describe", name], &["shop-web-1-0", "Conditions"]);
        good(&server, &["logs", name, "--tail", "1"], &["version 1"]);
        good(&server, &["exec", name, "--", "sh", "-c", "echo in $CONDUCTOR_POD"], &["in shop-web-1-0"]);
    }
    bad(&server, &["exec", "shop/web", "--", "sh", "-c", "exit 42"], 42, &[]);
    bad(&server, &["describe", "pod/shop"], 4, &["there is no Pod shop"]);
    bad(&server, &["history", "pod/shop"], 2, &["expected a Service, found the Pod shop"]);
    good(&server, &["history", "services.conductor.dev/shop"], &["shop-1"]);

    good(&server, &["secret", "set", "db", "password=one", "user=me"], &["secret/db created"]);
    good(&server, &["secret", "set", "db", "password=two"], &["secret/db configured"]);
    good(&server, &["secret", "set", "db", "user=me"], &["secret/db unchanged"]);

    for shell in ["bash", "zsh", "fish"] {
        good(&server, &["completions", shell], &["conductor"]);
    }
    let completed = Command::new(CONDUCTOR)
        .args(["--", "conductor", "rm", "sh"])
        .envs([("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "2"), ("_CLAP_IFS", "\n"), ("CONDUCTOR_DATA", &data)])
        .env_remove("KUBECONFIG")
        .output()
        .unwrap();
    assert_eq!(text(&completed).trim(), "shop", "{completed:?}");
    let pages = server.dir.path().join("pages");
    good(&server, &["manual", &pages.to_string_lossy()], &[]);
    assert!(std::fs::read_to_string(pages.join("conductor-up.1")).unwrap().contains("objects"), "a page for each command");
    good(&server, &["rm", "service/shop"], &["service/shop deleted"]);
}
