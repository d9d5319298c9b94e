//! Whole flows, over both transports.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use model::{Cause, Revision, RouteTable, Service, labels};
use serde_json::json;

use crate::world::{Transport, World, shop, spec};

const BOTH: [Transport; 2] = [Transport::InProcess, Transport::Http];

#[tokio::test]
async fn a_service_comes_up_is_changed_and_leaves_nothing_behind() {
    for transport in BOTH {
        let world = World::start(transport).await;
        world.create(&shop(2, "1")).await;
        world.phase("shop-1", "Complete").await;
        assert_eq!(world.router.table().routes[0].endpoints.len(), 2, "{transport:?}");
        world.change(json!({"spec": spec(2, "2")})).await;
        let revision = world.phase("shop-2", "Complete").await;
        let receipt = revision.status.unwrap().receipt.unwrap();
        assert_eq!((receipt.started, receipt.adopted), (2, 0));
        world.phase("shop-1", "Superseded").await;
        assert_eq!(world.list::<Pod>().await.len(), 2);
        world.delete("shop").await;
        world
            .until("everything of shop is gone", || async {
                let empty = world.list::<Pod>().await.is_empty() && world.list::<Revision>().await.is_empty();
                empty && world.list::<RouteTable>().await.is_empty()
            })
            .await;
        assert!(runtime::Runtime::list(&world.runtime).await.unwrap().is_empty());
        assert!(world.router.table().routes.is_empty());
    }
}

#[tokio::test]
async fn a_namespace_has_an_account_and_has_it_again() {
    let world = World::start(Transport::InProcess).await;
    let accounts = world.of::<ServiceAccount>();
    let there = || async { accounts.get_opt("default").await.unwrap() };
    world.until("there is an account", || async { there().await.is_some() }).await;
    let first = there().await.unwrap();
    assert!(first.annotations().contains_key(labels::CAUSE));
    accounts.delete("default", &DeleteParams::default()).await.unwrap();
    world.until("there is another", || async { there().await.is_some_and(|account| account.uid() != first.uid()) }).await;
}

#[tokio::test]
async fn a_version_that_never_becomes_ready_leaves_the_old_one_serving_and_says_why() {
    for transport in BOTH {
        let world = World::start(transport).await;
        world.create(&shop(2, "1")).await;
        world.phase("shop-1", "Complete").await;
        let before = world.router.table();
        world.runtime.set_ready("shop:2", false);
        world.change(json!({"spec": spec(2, "2")})).await;
        let failed = world.phase("shop-2", "Failed").await.status.unwrap();
        let failure = failed.failure.unwrap();
        assert_eq!(failure.reason, "ProgressDeadlineExceeded");
        assert!(!failure.detail.is_empty() && failure.pod.starts_with("shop-web-2-"), "{failure:?}");
        world.until("the copies of shop-2 are gone", || async { world.list::<Pod>().await.len() == 2 }).await;
        assert_eq!(world.router.table(), before, "{transport:?}");
        let service = world.of::<Service>().get("shop").await.unwrap();
        assert_eq!(service.status.unwrap().active_revision.as_deref(), Some("shop-1"));
    }
}

#[tokio::test]
async fn unchanged_parts_are_adopted_and_going_back_restarts_nothing_that_runs() {
    let world = World::start(Transport::InProcess).await;
    world.create(&shop(2, "1")).await;
    world.phase("shop-1", "Complete").await;
    world.change(json!({"spec": {"rollout": {"drain": "3s"}}})).await;
    let receipt = world.phase("shop-2", "Complete").await.status.unwrap().receipt.unwrap();
    assert_eq!((receipt.started, receipt.adopted), (0, 2));
    let starts = world.runtime.calls().iter().filter(|call| call.starts_with("start")).count();
    assert_eq!(starts, 2, "{:?}", world.runtime.calls());
}

#[tokio::test]
async fn every_write_says_why() {
    let world = World::start(Transport::InProcess).await;
    world.create(&shop(1, "1")).await;
    world.phase("shop-1", "Complete").await;
    let pods = world.list::<Pod>().await;
    let tables = world.list::<RouteTable>().await;
    let revisions = world.list::<Revision>().await;
    let cause = |annotations: &std::collections::BTreeMap<String, String>| Cause::from_annotation(&annotations[labels::CAUSE]).unwrap();
    for annotations in [pods[0].annotations(), tables[0].annotations(), revisions[0].annotations()] {
        let cause = cause(annotations);
        assert!(!cause.actor.is_empty() && !cause.reason.is_empty() && !cause.name.is_empty(), "{cause:?}");
    }
    assert_eq!(cause(revisions[0].annotations()).kind, "Service");
}

#[tokio::test]
async fn a_container_that_ends_is_started_again_and_gets_no_requests_meanwhile() {
    let world = World::start(Transport::InProcess).await;
    world.create(&shop(2, "1")).await;
    world.phase("shop-1", "Complete").await;
    let pod = world.list::<Pod>().await.remove(0);
    world.runtime.exit(&pod.uid().unwrap(), "web", 3);
    world.until("one copy is left in the routes", || async { world.router.table().routes[0].endpoints.len() == 1 }).await;
    world.until("both copies are back", || async { world.router.table().routes[0].endpoints.len() == 2 }).await;
    let status = world.of::<Pod>().get(&pod.name_any()).await.unwrap().status.unwrap();
    assert_eq!(status.container_statuses.unwrap()[0].restart_count, 1);
}

#[tokio::test]
async fn missing_config_is_named_and_mended_by_making_it() {
    let world = World::start(Transport::InProcess).await;
    let mut service = shop(1, "1");
    service["spec"]["config"]["TOKEN"] = json!({"secretRef": {"name": "keys", "key": "token"}});
    world.create(&service).await;
    world
        .until("the missing Secret is named", || async {
            let service = world.of::<Service>().get("shop").await.unwrap().status.unwrap_or_default();
            service.conditions.iter().any(|condition| condition.message.contains("TOKEN: Secret keys is not there"))
        })
        .await;
    let secret: k8s_openapi::api::core::v1::Secret =
        serde_json::from_value(json!({"metadata": {"name": "keys"}, "data": {"token": "c2VjcmV0"}})).unwrap();
    world.of().create(&kube::api::PostParams::default(), &secret).await.unwrap();
    world.phase("shop-1", "Complete").await;
    let state = runtime::Runtime::list(&world.runtime).await.unwrap().remove(0);
    assert!(state.pod.containers[0].env.contains(&("TOKEN".into(), "secret".into())));
}

#[tokio::test]
async fn what_a_deleted_object_owned_goes_in_the_way_that_was_asked_for() {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{DeleteParams, PostParams};
    for (way, survives) in [(DeleteParams::background(), false), (DeleteParams::foreground(), false), (DeleteParams::orphan(), true)] {
        let world = World::start(Transport::InProcess).await;
        let maps = world.of::<ConfigMap>();
        let map = |value: serde_json::Value| serde_json::from_value::<ConfigMap>(value).unwrap();
        let owner = maps.create(&PostParams::default(), &map(json!({"metadata": {"name": "owner"}}))).await.unwrap();
        let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid(), "blockOwnerDeletion": true});
        let owned = map(json!({"metadata": {"name": "owned", "ownerReferences": [reference]}}));
        maps.create(&PostParams::default(), &owned).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        maps.delete("owner", &way).await.unwrap();
        world.until("the owner is gone", || async { maps.get_opt("owner").await.unwrap().is_none() }).await;
        if survives {
            let left = maps.get("owned").await.unwrap();
            assert!(left.owner_references().is_empty());
        } else {
            world.until("the owned is gone", || async { maps.get_opt("owned").await.unwrap().is_none() }).await;
        }
    }
}

/// Counts changes of Pods' status, and loses a field of each.
async fn without_host_ip(State(count): State<Arc<AtomicUsize>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if request.method() != "PATCH" || !path.contains("/pods/") || !path.ends_with("/status") {
        return next.run(request).await;
    }
    count.fetch_add(1, Ordering::Relaxed);
    let (mut parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut patch: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    patch["status"].as_object_mut().unwrap().remove("hostIP");
    parts.headers.remove("content-length");
    next.run(Request::from_parts(parts, patch.to_string().into())).await
}

#[tokio::test]
async fn a_status_that_the_server_does_not_keep_is_not_written_again_and_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let layer = axum::middleware::from_fn_with_state(Arc::clone(&count), without_host_ip);
    let world = World::behind(Transport::InProcess, |api| api.layer(layer)).await;
    world.create(&shop(1, "1")).await;
    world.phase("shop-1", "Complete").await;
    let pod = world.list::<Pod>().await.remove(0);
    assert_eq!(pod.status.unwrap().host_ip, None);
    let before = count.load(Ordering::Relaxed);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let writes = count.load(Ordering::Relaxed) - before;
    assert!(writes < 3, "{writes} in a second in which nothing happened");
    // What does change is still told.
    world.runtime.set_ready("shop:1", false);
    world
        .until("the copy is told to be unready", || async {
            let conditions = world.list::<Pod>().await.remove(0).status.unwrap_or_default().conditions.unwrap_or_default();
            conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "False")
        })
        .await;
}

#[tokio::test]
async fn a_copy_that_somebody_deletes_finishes_its_requests_before_it_is_told_to_end() {
    let world = World::start(Transport::InProcess).await;
    let mut service = shop(2, "1");
    service["spec"]["parts"][0]["pod"]["spec"]["terminationGracePeriodSeconds"] = json!(30);
    service["spec"]["rollout"]["drain"] = json!("20s");
    world.create(&service).await;
    world.phase("shop-1", "Complete").await;
    let pod = world.list::<Pod>().await.remove(0);
    let endpoints: std::collections::BTreeMap<String, std::net::SocketAddr> =
        serde_json::from_str(&pod.annotations()[labels::ENDPOINTS]).unwrap();
    world.router.set_in_flight(endpoints["http"], 1);
    world.of::<Pod>().delete(&pod.name_any(), &DeleteParams::default()).await.unwrap();
    // Another takes its place meanwhile, which moves the routes again.
    world
        .until("there is another", || async {
            let now = world.router.table().routes[0].endpoints.clone();
            now.len() == 2 && !now.contains(&endpoints["http"])
        })
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let stops = || world.runtime.calls().iter().filter(|call| call.starts_with("stop")).count();
    assert_eq!(stops(), 0, "{:?}", world.runtime.calls());
    world.router.set_in_flight(endpoints["http"], 0);
    world.until("it is gone", || async { world.list::<Pod>().await.iter().all(|other| other.uid() != pod.uid()) }).await;
    assert_eq!(stops(), 1);
}

#[tokio::test]
async fn a_table_that_a_router_does_not_take_says_so() {
    let world = World::start(Transport::InProcess).await;
    world.router.refuse(Some("it is too large"));
    world.create(&shop(1, "1")).await;
    world
        .until("the table is stalled", || async {
            let conditions = world.list::<RouteTable>().await.into_iter().flat_map(|table| table.status.unwrap_or_default().conditions);
            conditions.into_iter().any(|condition| condition.type_ == "Stalled" && condition.message.contains("it is too large"))
        })
        .await;
}
