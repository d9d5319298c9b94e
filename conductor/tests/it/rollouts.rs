//! Services come up, change under load, survive crashes, and go.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams};
use model::{Revision, Service};
use serde_json::json;

use crate::load::{Load, get};
use crate::server::{Server, change, create, phase, shop, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollouts_under_load_fail_no_request_and_leave_receipts() {
    let server = Server::start();
    let client = server.client().await;
    create(&client, &shop(2, "0")).await;
    phase(&client, "shop-1", "Complete").await;
    let load = Load::start(server.http(), "shop.test", 8);
    for version in 1..=6 {
        change(&client, json!({"spec": {"config": {"VERSION": version.to_string()}}})).await;
        let revision = phase(&client, &format!("shop-{}", version + 1), "Complete").await;
        let receipt = revision.status.unwrap().receipt.unwrap();
        assert!(receipt.requests.unwrap() > 0, "{receipt:?}");
        assert_eq!((receipt.failed, receipt.started), (Some(0), 2), "{receipt:?}");
    }
    let outcomes = load.stop().await;
    println!("requests by outcome: {outcomes:?}");
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), ["200"], "{outcomes:?}");
    assert!(get(server.http(), "shop.test", "/").await.1.contains("version 6"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_survives_a_crash_of_the_server_and_is_taken_up_again() {
    let mut server = Server::start();
    let client = server.client().await;
    create(&client, &shop(2, "1")).await;
    phase(&client, "shop-1", "Complete").await;
    let before = server.processes();
    server.crash_and_start();
    let client = server.client().await;
    until("requests are answered again", || async { get(server.http(), "shop.test", "/").await.0 == 200 }).await;
    assert_eq!(server.processes(), before, "nothing was started again");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let revisions = Api::<Revision>::default_namespaced(client.clone()).list(&ListParams::default()).await.unwrap();
    assert_eq!(revisions.items.len(), 1);
    // In the middle of a rollout, too.
    change(&client, json!({"spec": {"config": {"VERSION": "2"}}})).await;
    until("a second Revision is there", || async {
        Api::<Revision>::default_namespaced(client.clone()).get_opt("shop-2").await.unwrap().is_some()
    })
    .await;
    server.crash_and_start();
    let client = server.client().await;
    phase(&client, "shop-2", "Complete").await;
    assert!(get(server.http(), "shop.test", "/").await.1.contains("version 2"));
    until("two copies and their shims are left", || async { server.processes().len() == 4 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_deleted_leaves_nothing_behind() {
    let mut server = Server::start();
    let client = server.client().await;
    create(&client, &shop(2, "1")).await;
    phase(&client, "shop-1", "Complete").await;
    assert_eq!(server.processes().len(), 4);
    Api::<Service>::default_namespaced(client.clone()).delete("shop", &DeleteParams::default()).await.unwrap();
    until("no pod is left", || async {
        Api::<Pod>::default_namespaced(client.clone()).list(&ListParams::default()).await.unwrap().items.is_empty()
    })
    .await;
    until("no process is left", || async { server.processes().is_empty() }).await;
    assert_eq!(get(server.http(), "shop.test", "/").await.0, 404);
    assert_eq!(std::fs::read_dir(server.data().join("pods")).unwrap().flatten().filter(|entry| entry.path().is_dir()).count(), 0);
    let (code, took) = server.stop();
    assert_eq!(code, Some(0), "{}", server.log());
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_version_says_why_and_the_one_before_goes_on() {
    let server = Server::start();
    let client = server.client().await;
    create(&client, &shop(1, "1")).await;
    phase(&client, "shop-1", "Complete").await;
    let script = |text: &str| {
        json!({"spec": {"rollout": {"progressDeadline": "3s"}, "parts": [{"name": "web", "pod": {"spec": {"containers": [{
            "name": "web", "command": ["/bin/sh", "-c", text], "ports": [{"name": "http", "containerPort": 8080}]}]}}}]}})
    };
    let programs = BTreeMap::from([
        ("echo configuring; echo no database >&2; exit 3", "it last wrote: no database"),
        ("exec sleep 1000", "did not listen on"),
        ("exec /no/such/program", "code 127"),
    ]);
    for (at, (program, why)) in programs.into_iter().enumerate() {
        change(&client, script(program)).await;
        let failure = phase(&client, &format!("shop-{}", at + 2), "Failed").await.status.unwrap().failure.unwrap();
        assert!(failure.detail.contains(why), "{failure:?}");
        if program.contains("database") {
            assert_eq!(failure.log, ["configuring", "no database"]);
        }
        assert!(get(server.http(), "shop.test", "/").await.1.contains("version 1"));
    }
    change(
        &client,
        json!({"spec": {"parts": [{"name": "web", "pod": {"spec": {"containers": [{
        "name": "web", "command": ["/no/such/program"], "ports": [{"name": "http", "containerPort": 8080}]}]}}}]}}),
    )
    .await;
    let failure = phase(&client, "shop-5", "Failed").await.status.unwrap().failure.unwrap();
    assert!(failure.detail.contains("cannot start /no/such/program: No such file"), "{failure:?}");
}
