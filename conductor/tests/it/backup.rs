//! Secrets that are sealed, and backups that come back, with the real server and its own command line.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use sha2::{Digest as _, Sha256};

use crate::server::{CONDUCTOR, Server, create, phase, shop};

const HUSH: &str = "hush-hush-hush";
const ENCODED: &str = "aHVzaC1odXNoLWh1c2g=";

fn secret(name: &str) -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.into());
    secret.data = Some([("password".to_owned(), ByteString(HUSH.into()))].into());
    secret
}

/// Every file below a directory that holds what is secret.
fn leaks(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(leaks(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            if holds(HUSH) || holds(ENCODED) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[track_caller]
fn good(output: &Output) -> String {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    text
}

fn conductor(data: &Path, args: &[&str]) -> Output {
    Command::new(CONDUCTOR).args(args).env("CONDUCTOR_DATA", data).env_remove("KUBECONFIG").output().unwrap()
}

#[tokio::test]
async fn a_backup_restores_the_server_on_another_machine_and_secrets_are_nowhere_plain() {
    let mut server = Server::start_with(&[("CONDUCTOR_LOG_LEVEL", "debug")]);
    let client = server.client().await;
    let secrets = Api::<Secret>::default_namespaced(client.clone());
    secrets.create(&PostParams::default(), &secret("a")).await.unwrap();
    create(&client, &shop(1, "1")).await;
    phase(&client, "shop-1", "Complete").await;
    let file = server.dir.path().join("backup");
    let file_name = file.to_str().unwrap();
    let said = good(&server.run(&["backup", file_name]));
    assert!(said.contains("objects at revision") && said.contains("secrets.key"), "{said}");
    let rotated = good(&server.run(&["secrets", "rotate"]));
    assert!(rotated.contains("sealed with key"), "{rotated}");
    assert_eq!(secrets.get("a").await.unwrap().data, secret("a").data);
    secrets.create(&PostParams::default(), &secret("b")).await.unwrap();
    server.crash_and_start();
    assert_eq!(Api::<Secret>::default_namespaced(server.client().await).get("b").await.unwrap().data, secret("b").data);
    assert_eq!(leaks(server.dir.path()), [""; 0]);

    let other = tempfile::tempdir().unwrap();
    let data = other.path().join("data");
    let refused = conductor(&data, &["restore", file_name]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("secrets.key: it is missing"), "{said}");
    assert!(!data.join("store.redb").exists(), "nothing is written before all is checked");
    fs::create_dir(&data).unwrap();
    fs::copy(server.data().join("secrets.key"), data.join("secrets.key")).unwrap();
    let said = good(&conductor(&data, &["restore", file_name]));
    assert!(said.contains("made by local:") && said.contains("Z\n"), "{said}");
    for name in ["pki/ca.key", "pki/ca.crt", "admin-token", "node-name"] {
        assert_eq!(fs::read(data.join(name)).unwrap(), fs::read(server.data().join(name)).unwrap(), "{name}");
    }
    let again = conductor(&data, &["restore", file_name]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    good(&conductor(&data, &["restore", file_name, "--force"]));
    let running = server.run(&["restore", file_name, "--force"]);
    assert!(String::from_utf8_lossy(&running.stderr).contains("in use by another process"), "{running:?}");
    // The old machine is gone; its name and its certificates live on.
    server.stop();
    let other = Server::start_in(other, &[]);
    let client = other.client().await;
    assert_eq!(Api::<Secret>::default_namespaced(client.clone()).get("a").await.unwrap().data, secret("a").data);
    assert!(Api::<Secret>::default_namespaced(client.clone()).get_opt("b").await.unwrap().is_none(), "made after the backup");
    crate::server::until("the shop runs there", || async { good(&other.run(&["ps"])).contains("1/1") }).await;
}

/// A backup with a text put in the place of another as long, and hashed again as the first version hashed.
fn forged(backup: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut bytes = backup[..backup.len() - 32].to_vec();
    let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes.extend_from_slice(&Sha256::digest(&bytes));
    bytes
}

/// The same without who made it, as the first version wrote backups.
fn of_first_version(backup: &[u8]) -> Vec<u8> {
    let mut rest = &backup[b"conductor-backup 2\n".len()..backup.len() - 32];
    for _ in 0..3 {
        let (length, tail) = rest.split_first_chunk::<8>().unwrap();
        rest = &tail[usize::try_from(u64::from_be_bytes(*length)).unwrap()..];
    }
    let mut bytes = [b"conductor-backup 1\n", rest].concat();
    bytes.extend_from_slice(&Sha256::digest(&bytes));
    bytes
}

#[tokio::test]
async fn a_forged_backup_gives_nobody_a_role() {
    let mut server = Server::start();
    let binding = serde_json::json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "eve"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}]});
    let bindings = Api::<k8s_openapi::api::rbac::v1::RoleBinding>::default_namespaced(server.client().await);
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    let file = server.dir.path().join("backup");
    good(&server.run(&["backup", file.to_str().unwrap()]));
    server.stop();
    let whole = fs::read(&file).unwrap();
    let restore = |bytes: &[u8], args: &[&str]| {
        fs::write(&file, bytes).unwrap();
        server.run(&[&["restore", "--force", file.to_str().unwrap()], args].concat())
    };
    let refused = |output: Output, why: &str| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{said}");
    };
    let altered = forged(&whole, "\"name\":\"view\"", "\"name\":\"edit\"");
    refused(restore(&altered, &[]), "its key does not vouch for it");
    refused(restore(&altered, &["--unvouched"]), "its key does not vouch for it");
    let older = of_first_version(&whole);
    refused(restore(&older, &[]), "--unvouched restores it all the same");
    assert!(good(&restore(&older, &["--unvouched"])).contains("nobody vouches for it"));
    assert!(good(&restore(&whole, &[])).contains("made by local:"));
}

#[test]
fn what_is_no_backup_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backup");
    fs::write(&file, "hello").unwrap();
    let refused = conductor(&dir.path().join("data"), &["restore", file.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("name a file that `conductor backup` wrote"), "{refused:?}");
    assert!(!dir.path().join("data").exists());
}
