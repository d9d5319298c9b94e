//! kube-rs: a controller with a reflector beside it, programs run in Pods, and a lock that one of several holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, AttachParams, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector;
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{WatchStreamExt as _, wait};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::{Server, create, phase, shop, until};

fn map(name: &str, owner: Option<&ConfigMap>) -> ConfigMap {
    let owners = owner.map(|owner| owner.controller_owner_ref(&()).unwrap());
    let metadata = ObjectMeta { name: Some(name.into()), owner_references: owners.map(|owner| vec![owner]), ..ObjectMeta::default() };
    ConfigMap { metadata, ..ConfigMap::default() }
}

/// Keeps a Secret for each ConfigMap that is labelled so, with as many letters as its data says.
async fn reconcile(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let secrets = Api::<Secret>::default_namespaced(Client::clone(&client));
    let owner = map.controller_owner_ref(&()).unwrap();
    let wanted = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": map.name_any(), "ownerReferences": [owner]},
        "stringData": map.data});
    secrets.patch(&map.name_any(), &PatchParams::apply("letters"), &Patch::Apply(wanted)).await?;
    Ok(Action::await_change())
}

#[tokio::test]
async fn a_controller_and_a_reflector_follow_what_changes() {
    let server = Server::start();
    let client = server.client().await;
    let (maps, secrets) = (Api::<ConfigMap>::default_namespaced(client.clone()), Api::<Secret>::default_namespaced(client.clone()));
    let labelled = watcher::Config::default().labels("letters=yes").streaming_lists();
    let controller = Controller::new(maps.clone(), labelled.clone()).owns(secrets.clone(), watcher::Config::default());
    let run = controller.run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(1)), Arc::new(client.clone()));
    let running = tokio::spawn(run.for_each(|_| std::future::ready(())));
    let (store, writer) = reflector::store();
    let reflected = reflector(writer, watcher(maps.clone(), labelled)).default_backoff().touched_objects();
    let reflecting = tokio::spawn(reflected.for_each(|_| std::future::ready(())));

    let mut wanted = map("a", None);
    wanted.metadata.labels = Some(BTreeMap::from([("letters".into(), "yes".into())]));
    wanted.data = Some(BTreeMap::from([("k".into(), "one".into())]));
    maps.create(&PostParams::default(), &wanted).await.unwrap();
    let kept = async |text: &str| {
        let found = secrets.get_opt("a").await.unwrap();
        found.and_then(|secret| secret.data).is_some_and(|data| data.get("k").is_some_and(|value| value.0 == text.as_bytes()))
    };
    until("the secret is made", || kept("one")).await;
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "two"}}))).await.unwrap();
    until("the secret follows", || kept("two")).await;
    secrets.delete("a", &DeleteParams::default()).await.unwrap();
    until("the secret is made again", || kept("two")).await;
    until("the reflector knows it", async || store.state().iter().any(|map| map.data.as_ref().is_some_and(|data| data["k"] == "two")))
        .await;
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    until("what it owned is gone", async || secrets.get_opt("a").await.unwrap().is_none()).await;
    until("the reflector forgot it", async || store.state().is_empty()).await;
    running.abort();
    reflecting.abort();
}

#[tokio::test]
async fn programs_run_in_pods_and_ports_are_forwarded() {
    let server = Server::start();
    let client = server.client().await;
    create(&client, &shop(1, "1")).await;
    phase(&client, "shop-1", "Complete").await;
    let pods = Api::<Pod>::default_namespaced(client.clone());
    let ready = wait::await_condition(pods.clone(), "shop-web-1-0", wait::conditions::is_pod_running());
    tokio::time::timeout(Duration::from_secs(30), ready).await.unwrap().unwrap();
    let told = AttachParams::default().stdin(true).stderr(false);
    let mut session = pods.exec("shop-web-1-0", ["cat"], &told).await.unwrap();
    let mut input = session.stdin().unwrap();
    input.write_all(b"typed").await.unwrap();
    input.shutdown().await.unwrap();
    let mut text = String::new();
    session.stdout().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "typed");
    let status = session.take_status().unwrap().await.unwrap();
    assert_eq!(status.status.as_deref(), Some("Success"));
    let mut forward = pods.portforward("shop-web-1-0", &[8080]).await.unwrap();
    let mut stream = forward.take_stream(8080).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("version 1"), "{answer}");
}

/// Takes the lock when nobody holds it, or its holder has let its time pass, as leader elections do.
async fn take(leases: &Api<Lease>, who: &str) -> bool {
    let now = k8s_openapi::jiff::Timestamp::now();
    let mut lease = leases.get("leader").await.unwrap();
    let spec = lease.spec.clone().unwrap_or_default();
    let held = spec.renew_time.is_some_and(|renewed| {
        let until = renewed.0 + k8s_openapi::jiff::SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into());
        until > now && spec.holder_identity.as_deref().is_some_and(|holder| holder != who)
    });
    if held {
        return false;
    }
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(who.into()),
        renew_time: Some(MicroTime(now)),
        lease_duration_seconds: Some(15),
        lease_transitions: Some(spec.lease_transitions.unwrap_or_default() + 1),
        ..LeaseSpec::default()
    });
    // Of several that read the same, one may write.
    leases.replace("leader", &PostParams::default(), &lease).await.is_ok()
}

#[tokio::test]
async fn one_of_many_leads() {
    let server = Server::start();
    let client = server.client().await;
    let leases = Api::<Lease>::default_namespaced(client);
    let metadata = ObjectMeta { name: Some("leader".into()), ..ObjectMeta::default() };
    leases.create(&PostParams::default(), &Lease { metadata, spec: None }).await.unwrap();
    let names: Vec<String> = (0..16).map(|at| format!("candidate-{at}")).collect();
    let taken = futures::future::join_all(names.iter().map(|name| take(&leases, name))).await;
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
    let leader = leases.get("leader").await.unwrap().spec.unwrap();
    assert_eq!(
        (leader.holder_identity, leader.lease_transitions),
        (Some(names[taken.iter().position(|taken| *taken).unwrap()].clone()), Some(1))
    );
}
