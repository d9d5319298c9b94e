//! README's tour, pasted block by block into a shell, as a new user does.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::kubectl::kubectl;
use crate::server::CONDUCTOR;

/// The blocks for a shell between two headings.
fn blocks(text: &str, from: &str, to: &str) -> String {
    let section = text.split_once(from).and_then(|(_, rest)| rest.split_once(to)).unwrap().0;
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```\n"));
    blocks.map(|(block, _)| block).collect()
}

#[test]
fn the_tour_does_what_it_says() {
    let Some(kubectl) = kubectl() else { return };
    let home = tempfile::tempdir().unwrap();
    let programs = home.path().join("bin");
    fs::create_dir(&programs).unwrap();
    symlink(kubectl.canonicalize().unwrap(), programs.join("kubectl")).unwrap();
    for program in ["conductor", "conductor-shim"] {
        symlink(Path::new(CONDUCTOR).with_file_name(program), programs.join(program)).unwrap();
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let script = blocks(&readme, "## A tour of five minutes", "## Where things are");
    let replaced = [("make build\n", ""), ("$PWD/target/release", &*programs.to_string_lossy()), ("127.0.0.1:8080", &*free.to_string())];
    let script = replaced.iter().fold(script, |script, (from, to)| {
        assert!(script.contains(from), "README has no {from:?}");
        script.replace(from, to)
    });
    let output = Command::new("timeout")
        .args(["120", "bash", "-e", "-c", &script])
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("CONDUCTOR_HTTP", free.to_string())
        .env("CONDUCTOR_API", "127.0.0.1:0")
        .env_remove("KUBECONFIG")
        .output()
        .unwrap();
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    let log = fs::read_to_string(home.path().join("serve.log")).unwrap_or_default();
    assert!(output.status.success(), "{said}\n{log}");
    for expected in [
        "service.conductor.dev/shop condition met",
        "hello from shop-web-1-",
        "~ spec.config.GREETING: \"hello\" -> \"good day\"",
        "good day from shop-web-2-",
        "exec: python33: not found",
        "it ended with 8",
        "service/shop rolled back to shop-1",
        "hello from shop-web-4-",
        "rollback of shop-1",
        "rolebinding.rbac.authorization.k8s.io/ops created",
        "serviceaccount/bot created",
        "service/shop deleted",
    ] {
        assert!(said.contains(expected), "the tour says no {expected:?}:\n{said}\n{log}");
    }
    for file in ["kubeconfig", "jane.token", "jane.kubeconfig", "bot.kubeconfig"] {
        assert_eq!(fs::metadata(home.path().join(file)).unwrap().permissions().mode() & 0o077, 0, "{file}");
    }
    assert!(!home.path().join("conductor-tour").exists(), "the tour leaves nothing");
}
