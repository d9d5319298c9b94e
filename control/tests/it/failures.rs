//! What fails reaches the object it is about, ends in time, and is not tried again and again without a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use k8s_openapi::api::core::v1::{Event, Namespace, Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, PostParams};
use model::{Revision, Service};
use serde_json::{Value, json};

use crate::world::{Transport, World, shop, spec};

/// What lies between everybody and the API: it counts requests, and refuses some.
#[derive(Clone, Default)]
struct Between {
    requests: Arc<AtomicUsize>,
    /// The method and the end of the path of what is refused, by the step at which it is.
    refused: Arc<std::sync::Mutex<Vec<(&'static str, &'static str)>>>,
}

impl Between {
    async fn world(&self) -> World {
        let layer = axum::middleware::from_fn_with_state(self.clone(), pass);
        World::behind(Transport::InProcess, |api| api.layer(layer)).await
    }

    fn refuse(&self, method: &'static str, end: &'static str) {
        self.refused.lock().unwrap().push((method, end));
    }

    fn allow(&self) {
        self.refused.lock().unwrap().clear();
    }
}

async fn pass(State(between): State<Between>, request: Request, next: Next) -> Response {
    between.requests.fetch_add(1, Ordering::Relaxed);
    let (method, path) = (request.method().as_str().to_owned(), request.uri().path().to_owned());
    if between.refused.lock().unwrap().iter().any(|(refused, end)| *refused == method && path.ends_with(end)) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": "a policy forbids it"});
        return (http::StatusCode::FORBIDDEN, axum::Json(status)).into_response();
    }
    next.run(request).await
}

async fn condition(world: &World, name: &str) -> Option<(String, String)> {
    let service = world.of::<Service>().get("shop").await.unwrap();
    let conditions = service.status.unwrap_or_default().conditions;
    conditions.into_iter().find(|condition| condition.type_ == name).map(|condition| (condition.status, condition.message))
}

#[tokio::test(start_paused = true)]
async fn what_the_server_refuses_a_service_is_told_and_ends_at_its_deadline() {
    for (method, end) in [("POST", "/pods"), ("POST", "/revisions"), ("POST", "/routetables")] {
        let between = Between::default();
        let world = between.world().await;
        between.refuse(method, end);
        world.create(&shop(2, "1")).await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        let (status, message) = condition(&world, "Stalled").await.unwrap();
        assert_eq!(status, "True", "{end}: {message}");
        assert!(message.contains("a policy forbids it"), "{end}: {message}");
        let events = world.list::<Event>().await;
        let told = events.iter().filter(|event| event.message.as_deref().is_some_and(|message| message.contains("a policy forbids it")));
        assert!(told.clone().any(|event| event.involved_object.kind.as_deref() == Some("Service")), "{end}: an event says so");
        assert!(told.count() < 6, "{end}: it is told once");
        between.allow();
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(condition(&world, "Ready").await.unwrap().0, "True", "{end}: it heals when it may");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_beside_a_version_that_serves_leaves_it_serving() {
    let between = Between::default();
    let world = between.world().await;
    world.create(&shop(2, "1")).await;
    world.phase("shop-1", "Complete").await;
    between.refuse("POST", "/pods");
    world.change(json!({"spec": spec(2, "2")})).await;
    let failure = world.phase("shop-2", "Failed").await.status.unwrap().failure.unwrap();
    assert!(failure.detail.contains("a policy forbids it"), "{failure:?}");
    assert_eq!(condition(&world, "Available").await.unwrap().0, "True");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_cannot_be_bound_says_so() {
    let between = Between::default();
    let world = between.world().await;
    between.refuse("POST", "/binding");
    let pod: Pod =
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "command": ["c"]}]}})).unwrap();
    world.of::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let conditions = world.of::<Pod>().get("p").await.unwrap().status.unwrap().conditions.unwrap();
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled").unwrap();
    assert_eq!(scheduled.reason.as_deref(), Some("SchedulerError"));
    assert!(scheduled.message.as_ref().unwrap().contains("a policy forbids it"), "{scheduled:?}");
}

#[tokio::test]
async fn a_version_whose_copy_ends_while_it_is_watched_is_taken_back() {
    let world = World::start(Transport::InProcess).await;
    let watched = |version: &str| {
        let mut spec = spec(2, version);
        spec["rollout"]["watch"] = json!("20s");
        spec
    };
    let mut first = shop(2, "1");
    first["spec"]["rollout"]["watch"] = json!("0s");
    world.create(&first).await;
    world.phase("shop-1", "Complete").await;
    world.change(json!({"spec": watched("2")})).await;
    world.phase("shop-2", "Switched").await;
    let pods = world.list::<Pod>().await;
    assert_eq!(pods.len(), 4, "the copies before stay while it is watched");
    let new = pods.iter().find(|pod| pod.name_any().starts_with("shop-web-2")).unwrap();
    world.runtime.exit(&new.uid().unwrap(), "web", 3);
    let status = world.phase("shop-2", "Failed").await.status.unwrap();
    assert_eq!((status.rolled_back_to.as_deref(), status.failure.unwrap().reason.as_str()), (Some("shop-1"), "CopyEnded"));
    world.until("the copies of shop-2 are gone", || async { world.list::<Pod>().await.len() == 2 }).await;
    assert_eq!(world.router.table().routes[0].endpoints.len(), 2);
    let starts = world.runtime.calls().iter().filter(|call| call.starts_with("start")).count();
    assert!(starts <= 5, "nothing of shop-1 was started again: {:?}", world.runtime.calls());
}

/// How many requests there are in a minute in which nothing happens.
async fn requests_in_a_minute(between: &Between) -> usize {
    tokio::time::sleep(Duration::from_secs(30)).await;
    let before = between.requests.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    between.requests.load(Ordering::Relaxed) - before
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_or_failed_is_left_in_peace() {
    let states: [(&str, usize); 7] = [
        ("complete", 5),
        ("first version late", 5),
        ("later version failed", 5),
        ("pods refused", 20),
        ("revision refused", 20),
        ("nowhere to go", 20),
        ("namespace held", 200),
    ];
    for (state, most) in states {
        let between = Between::default();
        let world = between.world().await;
        prepare(state, &between, &world).await;
        let requests = requests_in_a_minute(&between).await;
        println!("{state}: {requests} requests in a minute");
        assert!(requests <= most, "{state}: {requests} requests in a minute");
    }
}

async fn prepare(state: &str, between: &Between, world: &World) {
    match state {
        "first version late" => {
            world.runtime.set_ready("shop:1", false);
            world.create(&shop(2, "1")).await;
        }
        "later version failed" => {
            world.create(&shop(2, "1")).await;
            world.phase("shop-1", "Complete").await;
            world.runtime.set_ready("shop:2", false);
            world.change(json!({"spec": spec(2, "2")})).await;
            world.phase("shop-2", "Failed").await;
        }
        "pods refused" | "revision refused" => {
            between.refuse("POST", if state == "pods refused" { "/pods" } else { "/revisions" });
            world.create(&shop(2, "1")).await;
        }
        "nowhere to go" => {
            let mut service: Value = shop(2, "1");
            service["spec"]["parts"][0]["pod"]["spec"]["nodeSelector"] = json!({"no": "node"});
            world.create(&service).await;
        }
        "namespace held" => {
            let namespaces = Api::<Namespace>::all(world.client.clone());
            let held: Namespace = serde_json::from_value(json!({"metadata": {"name": "held"}})).unwrap();
            namespaces.create(&PostParams::default(), &held).await.unwrap();
            let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "s", "finalizers": ["example.dev/held"]}})).unwrap();
            Api::<Secret>::namespaced(world.client.clone(), "held").create(&PostParams::default(), &secret).await.unwrap();
            namespaces.delete("held", &DeleteParams::default()).await.unwrap();
        }
        _ => {
            world.create(&shop(2, "1")).await;
            world.phase("shop-1", "Complete").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_ends_when_its_service_is_gone() {
    let world = World::start(Transport::InProcess).await;
    // A copy that is being made for as long as its image is not to be had.
    world.runtime.fail_image("shop", Some((runtime::ImageTrouble::Fetching, "it is large")));
    let mut service = shop(1_000, "1");
    service["spec"]["rollout"]["progressDeadline"] = json!("10m");
    world.create(&service).await;
    world.until("some copies are made", || async { world.list::<Pod>().await.len() > 5 }).await;
    world.delete("shop").await;
    world.until("no copy is left", || async { world.list::<Pod>().await.is_empty() }).await;
    assert!(world.list::<Revision>().await.is_empty());
    let created = world.runtime.calls().iter().filter(|call| call.starts_with("create")).count();
    assert!(created <= 2 * logic::rollout::WAVE, "{created} copies were made");
}

#[tokio::test]
async fn a_service_that_is_stopped_starts_again_as_it_was() {
    let world = World::start(Transport::InProcess).await;
    world.create(&shop(2, "1")).await;
    world.phase("shop-1", "Complete").await;
    world.change(json!({"spec": {"suspend": true}})).await;
    world.until("no copy runs", || async { world.list::<Pod>().await.is_empty() }).await;
    let routes = world.router.table().routes.clone();
    assert!(routes.len() == 1 && routes[0].endpoints.is_empty(), "its routes answer 503: {routes:?}");
    world.change(json!({"spec": {"suspend": null}})).await;
    world.until("both copies are back", || async { world.router.table().routes[0].endpoints.len() == 2 }).await;
    assert_eq!(world.list::<Revision>().await.len(), 1, "no new Revision");
}

#[tokio::test]
async fn every_object_of_ours_has_a_status_from_its_first_moment() {
    let world = World::start(Transport::InProcess).await;
    let created = world.of::<Service>().create(&PostParams::default(), &serde_json::from_value(shop(1, "1")).unwrap()).await.unwrap();
    let created = serde_json::to_value(&created).unwrap();
    assert_eq!(judged(&created), "in progress");
    world.phase("shop-1", "Complete").await;
    world.until("it is ready", || async { judged(&json!(world.of::<Service>().get("shop").await.unwrap())) == "done" }).await;
    assert_eq!(judged(&json!(world.of::<Revision>().get("shop-1").await.unwrap())), "done");
    let kinds = model::KINDS.iter().map(|kind| kind()).filter(|kind| kind.status && kind.group == "conductor.dev");
    for kind in kinds {
        let mut object = json!({"metadata": {"name": "new", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}});
        (kind.complete)(&mut object);
        assert_eq!(judged(&object), "in progress", "{}: {object}", kind.kind);
    }
}

/// What kstatus says of an object of a kind that it does not know.
fn judged(object: &Value) -> &'static str {
    let is = |name: &str, status: &str| {
        let conditions = object["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|condition| condition["type"] == name && condition["status"] == status)
    };
    let observed = &object["status"]["observedGeneration"];
    match () {
        () if !observed.is_null() && *observed != object["metadata"]["generation"] => "in progress",
        () if is("Reconciling", "True") => "in progress",
        () if is("Stalled", "True") => "failed",
        () if is("Ready", "False") || is("Ready", "Unknown") => "in progress",
        () => "done",
    }
}
