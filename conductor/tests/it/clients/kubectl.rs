//! kubectl, the newest and an old one, over what people do with it.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::script;
use crate::server::{Server, hello};

#[test]
fn the_newest_kubectl_does_all_that_people_do_with_it() {
    if let Some(path) = crate::kubectl::kubectl() {
        check("kubectl 1.37", &path, true);
    }
}

#[test]
fn a_kubectl_of_years_ago_does_too() {
    if let Some(path) = super::tool("kubectl-1.20") {
        check("kubectl 1.20", &path, false);
    }
}

fn check(title: &str, path: &Path, knows_new: bool) {
    let server = Server::start();
    let dir = server.dir.path();
    symlink(path.canonicalize().unwrap(), dir.join("kubectl")).unwrap();
    std::fs::copy(server.data().join("kubeconfig"), dir.join("kubeconfig")).unwrap();
    let paths = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let env = [
        ("PATH", paths),
        ("HOME", dir.display().to_string()),
        ("KUBECONFIG", dir.join("kubeconfig").display().to_string()),
        ("HELLO", hello().display().to_string()),
    ];
    let failed = script::run(title, &script::parse(include_str!("kubectl.script")), knows_new, dir, &env);
    assert!(failed.is_empty(), "{} failed:\n\n{}", failed.len(), failed.join("\n"));
}
