//! kubectl, the newest and Debian's, over what people do with it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::script;
use crate::server::{Server, hello};

/// The first that knows all that the script asks for.
const NEW: u32 = 31;

#[test]
fn the_newest_kubectl_does_all_that_people_do_with_it() {
    if let Some(path) = crate::kubectl::kubectl() {
        check(&path);
    }
}

#[test]
fn a_kubectl_of_years_ago_does_too() {
    if let Some(path) = super::tool("kubectl-debian") {
        check(&path);
    }
}

fn check(path: &Path) {
    let server = Server::start();
    let dir = server.dir.path();
    symlink(path.canonicalize().unwrap(), dir.join("kubectl")).unwrap();
    std::fs::copy(server.data().join("kubeconfig"), dir.join("kubeconfig")).unwrap();
    let output = Command::new(path).args(["version", "--client", "-o", "json"]).output().unwrap();
    let version: Value = serde_json::from_slice(&output.stdout).unwrap();
    let minor: u32 = version["clientVersion"]["minor"].as_str().unwrap().trim_end_matches('+').parse().unwrap();
    let paths = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let env = [
        ("PATH", paths),
        ("HOME", dir.display().to_string()),
        ("KUBECONFIG", dir.join("kubeconfig").display().to_string()),
        ("HELLO", hello().display().to_string()),
    ];
    let steps = script::parse(include_str!("kubectl.script"));
    let failed = script::run(&format!("kubectl 1.{minor}"), &steps, minor >= NEW, dir, &env);
    assert!(failed.is_empty(), "{} failed:\n\n{}", failed.len(), failed.join("\n"));
}
