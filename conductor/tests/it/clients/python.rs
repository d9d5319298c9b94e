//! What is written in Python, or driven from it: Kubernetes' own client, Helm, operators made with kopf, and a tester that sends
//! whatever our OpenAPI documents allow.

use std::path::Path;
use std::process::Command;

use crate::server::{Server, hello};

#[test]
fn kubernetes_client_for_python_works() {
    check("python_client.py");
}

#[test]
fn helm_installs_upgrades_rolls_back_and_uninstalls() {
    check("helm_releases.py");
}

#[test]
fn an_operator_made_with_kopf_works() {
    check("kopf_operator.py");
}

#[test]
fn whatever_the_documents_allow_is_answered_as_they_say() {
    check("openapi_documents.py");
}

/// Runs a program of this folder against a server of its own; it prints its table, and ends with 1 when a row failed.
fn check(program: &str) {
    let Some(python) = super::tool("python") else { return };
    let server = Server::start();
    let dir = server.dir.path();
    let output = Command::new("timeout")
        .arg("240")
        .arg(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients").join(program))
        .arg(dir)
        .current_dir(dir)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HOME", dir)
        .env("KUBECONFIG", server.data().join("kubeconfig"))
        .env("HELLO", hello())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    println!("{program}\n{text}");
    assert!(output.status.success(), "{program}: {}\n{text}", output.status);
}
