//! The data directory and the address of a server: whom they belong to, and what happens when they go away.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;

use crate::server::{CONDUCTOR, Server, create, phase, shop, until};

fn serve(data: &std::path::Path) -> Output {
    let args = ["serve", "--api", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"];
    Command::new(CONDUCTOR).args(args).arg(data).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_data_directory_that_others_could_have_filled_is_refused_by_serve_and_named_by_doctor() {
    let outer = tempfile::tempdir().unwrap();
    let (data, target) = (outer.path().join("data"), outer.path().join("target"));
    fs::create_dir(&data).unwrap();
    let refused = |expected: &str| {
        let output = serve(&data);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected) && said.contains("--data: the directory"), "{said}");
        let doctor = Command::new(CONDUCTOR).args(["doctor", "--data"]).arg(&data).output().unwrap();
        assert!(!doctor.status.success() && String::from_utf8_lossy(&doctor.stdout).contains(expected), "{doctor:?}");
    };
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    refused("others may write");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&target, data.join("audit.log")).unwrap();
    refused("audit.log is a link to somewhere else");
    assert!(!target.exists(), "what a planted link names was made");
    fs::remove_file(data.join("audit.log")).unwrap();
    if nix::unistd::geteuid().is_root() {
        fs::write(data.join("admin-token"), "planted-by-a-stranger-planted-by-a-stranger").unwrap();
        nix::unistd::chown(&data.join("admin-token"), Some(nix::unistd::Uid::from_raw(65_533)), None).unwrap();
        refused("admin-token belongs to user 65533");
        nix::unistd::chown(&data, Some(nix::unistd::Uid::from_raw(65_533)), None).unwrap();
        refused("data belongs to user 65533, and this is user 0");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_deleted_under_a_server_is_noticed_and_nothing_is_acknowledged_any_more() {
    // By another name: what its pods carry is the real one.
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    fs::DirBuilder::new().mode(0o700).create(&real).unwrap();
    symlink(&real, dir.path().join("data")).unwrap();
    let server = Server::start_in(dir, &[]);
    let client = server.client().await;
    create(&client, &shop(1, "0")).await;
    phase(&client, "shop-1", "Complete").await;
    let pids = server.processes();
    assert!(!pids.is_empty());
    fs::remove_dir_all(real).unwrap();

    let maps = Api::<ConfigMap>::default_namespaced(client.clone());
    let map = serde_json::from_value(json!({"metadata": {"name": "lost"}})).unwrap();
    // The client asks again while the server cannot store anything.
    let created = tokio::time::timeout(Duration::from_secs(3), maps.create(&PostParams::default(), &map)).await;
    assert!(!matches!(created, Ok(Ok(_))), "acknowledged, and lost");
    assert!(maps.list(&ListParams::default()).await.is_ok(), "what was there is still told");
    until("it is said, with the processes that nobody else could find", || async {
        let log = server.log();
        log.contains("was deleted or replaced by somebody else")
            && log.contains("the data directory was deleted or replaced")
            && pids.iter().any(|pid| log.contains(&format!("{pid} (")))
    })
    .await;
    let found = Command::new(CONDUCTOR).args(["doctor", "-o", "json"]).env("CONDUCTOR_DATA", server.data()).output().unwrap();
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(
        pids.iter().any(|pid| found.contains(&format!(" {pid}"))) && found.contains("processes run whose pod's directory is gone"),
        "{found}"
    );
    // Their directory is gone, so the end of the test finds them by their pids alone.
    for pid in pids {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}

#[test]
fn a_server_waits_for_a_predecessor_that_is_about_to_end() {
    let mut first = Server::start();
    let args = ["serve", "--api", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"];
    let log = fs::File::create(first.dir.path().join("second-log")).unwrap();
    let mut second = Command::new(CONDUCTOR).args(args).arg(first.data()).stdin(Stdio::null()).stderr(log).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(second.try_wait().unwrap().is_none(), "it gave up at once");
    first.stop();
    let begun = Instant::now();
    while !first.data().join("ready.json").exists() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let is_ready = first.data().join("ready.json").exists();
    second.kill().unwrap();
    second.wait().unwrap();
    assert!(is_ready, "{}", fs::read_to_string(first.dir.path().join("second-log")).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kubeconfig_names_the_api_as_the_settings_do_and_the_certificate_is_for_that_name() {
    let server = Server::start_with(&[("CONDUCTOR_API_NAME", "localhost,192.0.2.7")]);
    let kubeconfig = fs::read_to_string(server.data().join("kubeconfig")).unwrap();
    assert!(kubeconfig.contains("https://localhost:"), "{kubeconfig}");
    let client = server.client().await;
    assert!(client.apiserver_version().await.is_ok());
}
