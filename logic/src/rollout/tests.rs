use model::route_table::{RouteTableStatus, RouterRow};
use serde_json::{Value, json};

use super::*;

/// A Service and all that belongs to it, to which plans can be done.
struct World {
    service: Service,
    revisions: Vec<Revision>,
    pods: Vec<Pod>,
    table: Option<RouteTable>,
    obstacle: Option<Obstacle>,
    seconds: i64,
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + seconds).unwrap()
}

fn service(replicas: i32, version: &str) -> Service {
    serde_json::from_value(json!({
        "apiVersion": "conductor.dev/v1", "kind": "Service",
        "metadata": {"name": "shop", "namespace": "d", "uid": "u", "generation": 1},
        "spec": {"application": "shop", "config": {"V": version},
            "parts": [
                {"name": "web", "replicas": replicas, "pod": {"spec": {"containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 80}]}]}}},
            ],
            "routes": [{"host": "Shop.test", "path": "/", "part": "web", "port": "http"}]},
    }))
    .unwrap()
}

impl World {
    fn new(service: Service) -> Self {
        Self { service, revisions: Vec::new(), pods: Vec::new(), table: None, obstacle: None, seconds: 0 }
    }

    fn plan(&self) -> Plan {
        let routers = ["here".to_owned()];
        let (revisions, pods, obstacle) = (&self.revisions, &self.pods, self.obstacle.as_ref());
        let now = time(self.seconds);
        plan(&Observed { service: &self.service, revisions, pods, table: self.table.as_ref(), routers: &routers, obstacle, now })
    }

    /// Plans, does all of it, and says what was done.
    fn step(&mut self) -> String {
        let plan = self.plan();
        self.service.status = Some(plan.status);
        let texts: Vec<String> = plan.changes.into_iter().map(|change| self.perform(change)).collect();
        let told: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        told.join(", ")
    }

    fn perform(&mut self, change: Change) -> String {
        let created = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time(self.seconds)));
        match change {
            Change::CreateRevision(mut revision) => {
                revision.metadata.creation_timestamp = created;
                self.revisions.push(*revision);
                format!("freeze {}", self.revisions.last().unwrap().name_any())
            }
            Change::CreatePod(mut pod, _) => {
                pod.metadata.creation_timestamp = created;
                self.pods.push(*pod);
                format!("create {}", self.pods.last().unwrap().name_any())
            }
            Change::DeletePod { name, .. } => {
                self.pods.retain(|pod| pod.name_any() != name);
                format!("delete {name}")
            }
            Change::PutTable(mut table, _) => {
                let before = self.table.take();
                table.metadata.generation = Some(before.as_ref().map_or(1, |table| table.metadata.generation.unwrap() + 1));
                table.status = before.and_then(|table| table.status);
                let endpoints: Vec<&str> =
                    table.spec.routes.iter().flat_map(|route| &route.endpoints).map(|endpoint| endpoint.pod.as_str()).collect();
                let text = format!("route {} to [{}]", table.spec.revision, endpoints.join(" "));
                self.table = Some(*table);
                text
            }
            Change::SetTableStatus(generation, conditions) => {
                let status = self.table.as_mut().unwrap().status.get_or_insert_default();
                (status.observed_generation, status.conditions) = (generation, conditions);
                String::new()
            }
            Change::SetRevisionStatus { name, status, log_of } => {
                let text = format!("{name} is {:?}{}", status.phase, log_of.map(|pod| format!(" for {pod}")).unwrap_or_default());
                self.revisions.iter_mut().find(|revision| revision.name_any() == name).unwrap().status = Some(*status);
                text
            }
            Change::DeleteRevision { name } => {
                self.revisions.retain(|revision| revision.name_any() != name);
                format!("forget {name}")
            }
        }
    }

    fn ready(&mut self, name: &str, ready: bool) {
        let pod = self.pods.iter_mut().find(|pod| pod.name_any() == name).unwrap();
        let status = if ready { "True" } else { "False" };
        let value: Value =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": status, "message": "GET /ready answered 503"}]});
        pod.status = Some(serde_json::from_value(value).unwrap());
        pod.annotations_mut().insert(labels::ENDPOINTS.into(), json!({"http": "127.0.0.1:20000"}).to_string());
    }

    fn acknowledge(&mut self, drained: bool, counted: bool) {
        let table = self.table.as_mut().unwrap();
        let generation = table.metadata.generation.unwrap();
        let mut row = RouterRow { node: "here".into(), generation, requests: Some(7), failed: Some(0), ..RouterRow::default() };
        if drained {
            row.drained_generation = generation;
        }
        if counted {
            row.counted_revision = table.spec.revision.clone();
            self.seconds += 1 + i64::try_from(table.spec.watch.get().as_secs()).unwrap();
        }
        table.status = Some(RouteTableStatus { routers: vec![row], ..table.status.take().unwrap_or_default() });
    }

    /// Brings the first version up, to the end of its rollout.
    fn up(service: Service) -> Self {
        let mut world = Self::new(service);
        assert_eq!(world.step(), "freeze shop-1");
        assert_eq!(world.step(), "create shop-web-1-0, create shop-web-1-1, shop-1 is Starting");
        world.ready("shop-web-1-0", true);
        world.step();
        world.ready("shop-web-1-1", true);
        let done = world.step();
        assert!(done.starts_with("route shop-1 to ["), "{done}");
        assert_eq!(world.step(), "shop-1 is Switched");
        world.acknowledge(true, true);
        assert_eq!(world.step(), "shop-1 is Complete");
        assert_eq!(world.step(), "");
        world
    }

    fn change(&mut self, service: Service) {
        self.service = Service { status: self.service.status.clone(), ..service };
        self.seconds += 100;
    }
}

#[test]
fn a_first_version_comes_up() {
    let world = World::up(service(2, "1"));
    let status = world.service.status.unwrap();
    assert_eq!((status.active_revision.as_deref(), status.ready_replicas), (Some("shop-1"), 2));
    let receipt = world.revisions[0].status.as_ref().unwrap().receipt.clone().unwrap();
    assert_eq!((receipt.requests, receipt.failed, receipt.started, receipt.adopted), (Some(7), Some(0), 2, 0));
}

#[test]
fn a_new_version_replaces_the_old_one_only_when_it_is_whole() {
    let mut world = World::up(service(2, "1"));
    world.change(service(2, "2"));
    assert_eq!(world.step(), "freeze shop-2");
    assert_eq!(world.step(), "create shop-web-2-0, create shop-web-2-1, shop-2 is Starting");
    world.ready("shop-web-2-0", true);
    world.step();
    assert_eq!(world.table.as_ref().unwrap().spec.revision, "shop-1", "half a version serves nobody");
    world.ready("shop-web-2-1", true);
    assert!(world.step().starts_with("route shop-2 to [shop-web-2-0 shop-web-2-1]"));
    world.acknowledge(false, false);
    assert_eq!(world.step(), "shop-2 is Switched");
    assert_eq!(world.step(), "", "the old copies finish their requests");
    world.acknowledge(true, false);
    assert_eq!(world.step(), "", "the new version is watched");
    world.acknowledge(true, true);
    assert_eq!(world.step(), "delete shop-web-1-0, delete shop-web-1-1");
    assert_eq!(world.step(), "shop-2 is Complete");
    assert_eq!(world.step(), "shop-1 is Superseded");
    assert_eq!(world.step(), "");
}

#[test]
fn an_unready_version_leaves_the_old_one_serving() {
    let mut world = World::up(service(2, "1"));
    world.change(service(2, "2"));
    world.step();
    world.step();
    world.ready("shop-web-2-0", true);
    world.ready("shop-web-2-1", false);
    world.seconds += 121;
    assert_eq!(world.step(), "shop-2 is Failed for shop-web-2-1");
    let failure = world.revisions[1].status.as_ref().unwrap().failure.clone().unwrap();
    assert_eq!((failure.pod.as_str(), failure.detail.as_str()), ("shop-web-2-1", "GET /ready answered 503"));
    assert_eq!(world.step(), "delete shop-web-2-0, delete shop-web-2-1");
    assert_eq!(world.step(), "");
    let status = world.service.status.clone().unwrap();
    assert_eq!(status.active_revision.as_deref(), Some("shop-1"));
    let is = |name: &str| status.conditions.iter().any(|condition| condition.type_ == name && condition.status == "True");
    assert!(is("Available") && is("Degraded") && is("Stalled") && !is("Ready") && !is("Progressing") && !is("Reconciling"));
    assert_eq!(world.table.as_ref().unwrap().spec.routes[0].endpoints.len(), 2);
}

#[test]
fn going_back_makes_a_new_revision_and_restarts_nothing_that_runs() {
    let mut world = World::up(service(2, "1"));
    world.change(service(2, "2"));
    world.step();
    world.step();
    let mut back = service(2, "1");
    back.annotations_mut().insert(labels::ROLLBACK_OF.into(), "shop-1".into());
    world.change(back);
    assert_eq!(world.step(), "freeze shop-3, shop-2 is Superseded");
    assert_eq!(world.revisions[2].spec.rollback_of.as_deref(), Some("shop-1"));
    let done = world.step();
    assert!(done.contains("route shop-3 to [shop-web-1-0 shop-web-1-1]") && !done.contains("create"), "{done}");
    world.acknowledge(true, true);
    world.step();
    world.step();
    let receipt = world.revisions[2].status.as_ref().unwrap().receipt.clone().unwrap();
    assert_eq!((receipt.adopted, receipt.started), (2, 0));
}

#[test]
fn scaling_keeps_what_runs() {
    let mut world = World::up(service(2, "1"));
    world.change(service(3, "1"));
    assert_eq!(world.step(), "freeze shop-2");
    assert_eq!(world.step(), "create shop-web-2-0, shop-2 is Starting");
    world.ready("shop-web-2-0", true);
    assert!(world.step().starts_with("route shop-2 to [shop-web-1-0 shop-web-1-1 shop-web-2-0]"));
    world.acknowledge(true, true);
    world.step();
    world.step();
    world.change(service(1, "1"));
    world.step();
    assert!(world.step().starts_with("route shop-3 to [shop-web-1-0]"));
    world.acknowledge(false, false);
    assert!(!world.step().contains("delete"), "copies without a route finish their requests first");
    world.acknowledge(true, true);
    assert_eq!(world.step(), "delete shop-web-1-1, delete shop-web-2-0");
}

#[test]
fn a_copy_that_dies_is_replaced_and_gets_no_requests() {
    let mut world = World::up(service(2, "1"));
    world.ready("shop-web-1-0", false);
    assert_eq!(world.step(), "route shop-1 to [shop-web-1-1]");
    world.pods.remove(0);
    world.acknowledge(true, true);
    assert_eq!(world.step(), "create shop-web-1-0");
    world.ready("shop-web-1-0", true);
    assert_eq!(world.step(), "route shop-1 to [shop-web-1-0 shop-web-1-1]");
}

#[test]
fn a_first_version_that_is_late_goes_on_trying() {
    let mut world = World::new(service(1, "1"));
    world.step();
    world.step();
    world.ready("shop-web-1-0", false);
    world.seconds = 200;
    assert_eq!(world.step(), "shop-1 is Starting for shop-web-1-0");
    assert!(world.revisions[0].status.as_ref().unwrap().failure.is_some());
    assert_eq!(world.step(), "");
    world.ready("shop-web-1-0", true);
    assert!(world.step().contains("route shop-1"));
}

#[test]
fn old_revisions_are_forgotten_beyond_the_number_kept() {
    let mut world = World::up(service(2, "1"));
    for number in 0..25 {
        world.change(service(2, &format!("v{number}")));
        for _ in 0..3 {
            world.step();
        }
    }
    assert!(world.revisions.len() <= REVISIONS_KEPT + 1, "{}", world.revisions.len());
    assert!(world.revisions.iter().any(|revision| revision.name_any() == "shop-1"), "the one that serves is kept");
}

#[test]
fn config_becomes_environment_and_routed_parts_get_a_probe() {
    let service = service(1, "1");
    let pod = render(&service.spec, &service.spec.parts[0]).spec.unwrap();
    assert_eq!(pod.containers[0].env.as_ref().unwrap()[0].value.as_deref(), Some("1"));
    assert!(pod.containers[0].readiness_probe.as_ref().unwrap().tcp_socket.is_some());
    let hash = part_hash(&service.spec, &service.spec.parts[0]);
    let other = super::tests::service(5, "1");
    assert_eq!(hash, part_hash(&other.spec, &other.spec.parts[0]), "the number of copies is no part of a copy");
    let other = super::tests::service(1, "2");
    assert_ne!(hash, part_hash(&other.spec, &other.spec.parts[0]));
}

#[test]
fn how_requests_are_carried_changes_without_a_new_copy() {
    let mut world = World::up(service(2, "1"));
    let mut changed = service(2, "1");
    changed.spec.routes[0].timeouts =
        Some(model::service::RouteTimeouts { request: Some(model::Duration::from_secs(5)), backend_request: None });
    let mut part = serde_json::to_value(&changed.spec.parts[0]).unwrap();
    part["pod"]["spec"]["containers"][0]["ports"][0]["appProtocol"] = json!("kubernetes.io/h2c");
    changed.spec.parts[0] = serde_json::from_value(part).unwrap();
    world.change(changed);
    let mut done = String::new();
    for _ in 0..4 {
        done += &world.step();
        world.seconds += 1;
    }
    assert!(done.contains("route shop-2 to [shop-web-1-0 shop-web-1-1]") && !done.contains("create"), "{done}");
    let route = &world.table.as_ref().unwrap().spec.routes[0];
    assert_eq!(route.speaks, model::route_table::Speaks::H2c);
    assert_eq!(route.timeouts.unwrap().request, Some(model::Duration::from_secs(5)));
}

/// What a copy's status says: `ready_at`, when it was last started, and when it last ended.
fn told(world: &mut World, name: &str, ready_at: i64, started: i64, ended: Option<i64>) {
    let text = |seconds| time(seconds).to_string();
    let end = ended.map(|at| json!({"terminated": {"exitCode": 1, "finishedAt": text(at), "message": "boom"}}));
    let value = json!({"phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": text(ready_at)}],
        "containerStatuses": [{"name": "web", "image": "", "imageID": "", "ready": true, "restartCount": i32::from(ended.is_some()),
            "state": {"running": {"startedAt": text(started)}}, "lastState": end}]});
    let pod = world.pods.iter_mut().find(|pod| pod.name_any() == name).unwrap();
    pod.status = Some(serde_json::from_value(value).unwrap());
    pod.annotations_mut().insert(labels::ENDPOINTS.into(), json!({"http": "127.0.0.1:20000"}).to_string());
}

fn changed(mut service: Service, change: impl Fn(&mut Value)) -> Service {
    let mut value = serde_json::to_value(&service).unwrap();
    change(&mut value);
    service = serde_json::from_value(value).unwrap();
    service
}

fn without_routes(service: Service) -> Service {
    changed(service, |value| value["spec"]["routes"] = json!([]))
}

fn is(world: &World, name: &str) -> bool {
    let conditions = world.service.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == name && condition.status == "True")
}

/// The message of the newest Revision's status.
fn said(world: &World) -> String {
    world.revisions.last().unwrap().status.clone().unwrap().message
}

#[test]
fn a_copy_counts_when_it_has_been_ready_for_long_enough() {
    let began = time(0);
    for (probe, rollout, ready_at, started, ended, expected) in [
        (false, json!({}), 10, 10, None, Some(13)),
        (false, json!({"progressDeadline": "2s"}), 10, 10, None, Some(12)),
        (true, json!({}), 10, 10, None, None),
        (true, json!({}), 10, 10, Some(9), Some(13)),
        (true, json!({}), 10, 10, Some(-50), None),
        (false, json!({"minReadySeconds": 0}), 10, 10, Some(9), None),
        (true, json!({"minReadySeconds": 30}), 10, 10, None, Some(41)),
        (false, json!({}), 10, 15, Some(14), Some(18)),
    ] {
        let mut world = World::new(without_routes(service(1, "1")));
        world.step();
        world.step();
        told(&mut world, "shop-web-1-0", ready_at, started, ended);
        if probe {
            world.pods[0].spec.as_mut().unwrap().containers[0].readiness_probe = Some(k8s_openapi::api::core::v1::Probe::default());
        }
        let rollout = serde_json::from_value(rollout.clone()).unwrap();
        let from = copies::counts_from(&world.pods[0], &rollout, began).unwrap();
        // What counts at once counts since ever.
        let expected = expected.map_or(Timestamp::MIN, time);
        let is_close = from == expected || from.duration_since(expected).as_secs().abs() < 1;
        assert!(is_close, "{rollout:?} {probe} {started} {ended:?}: {from}, not {expected}");
    }
}

#[test]
fn a_copy_that_crashes_just_after_its_start_is_not_ready() {
    let mut world = World::up(without_routes(service(2, "1")));
    world.change(without_routes(service(2, "2")));
    world.step();
    world.step();
    let (begun, names) = (world.seconds, ["shop-web-2-0", "shop-web-2-1"]);
    for second in 0..120 {
        world.seconds = begun + second;
        let start = begun + second / 2 * 2;
        names.iter().for_each(|name| told(&mut world, name, start, start, (second > 1).then_some(start - 1)));
        let done = world.step();
        assert!(!done.contains("route"), "{second}: {done}");
    }
    world.seconds = begun + 121;
    names.iter().for_each(|name| told(&mut world, name, begun + 120, begun + 120, Some(begun + 119)));
    assert_eq!(world.step(), "shop-2 is Failed for shop-web-2-0");
    assert_eq!(world.step(), "delete shop-web-2-0, delete shop-web-2-1");
    assert_eq!(world.table.as_ref().unwrap().spec.revision, "shop-1");
}

/// A second version that has just been switched to, while the first one's copies are still there.
fn switched(rollout: &Value) -> World {
    let with = |version: &str| changed(service(2, version), |value| value["spec"]["rollout"] = rollout.clone());
    let mut world = World::up(with("1"));
    world.change(with("2"));
    world.step();
    world.step();
    for name in ["shop-web-2-0", "shop-web-2-1"] {
        let at = world.seconds;
        told(&mut world, name, at, at, None);
    }
    assert!(world.step().starts_with("route shop-2"));
    world.acknowledge(true, false);
    assert_eq!(world.step(), "shop-2 is Switched");
    world
}

#[test]
fn a_version_whose_copy_ends_while_it_is_watched_is_taken_back() {
    let mut world = switched(&json!({"watch": "10s"}));
    world.seconds += 5;
    let at = world.seconds;
    told(&mut world, "shop-web-2-1", at, at, Some(at - 1));
    assert_eq!(world.step(), "shop-2 is Failed for shop-web-2-1, route shop-1 to [shop-web-1-0 shop-web-1-1]");
    let status = world.revisions[1].status.clone().unwrap();
    assert_eq!(status.rolled_back_to.as_deref(), Some("shop-1"));
    assert_eq!(status.failure.unwrap().reason, "CopyEnded");
    assert!(status.message.contains("taken back to shop-1") && status.message.contains("it last wrote: boom"), "{}", status.message);
    assert_eq!(world.step(), "", "its copies finish their requests");
    assert!(is(&world, "Available") && is(&world, "Stalled") && !is(&world, "Ready"));
    world.acknowledge(true, true);
    assert_eq!(world.step(), "delete shop-web-2-0, delete shop-web-2-1");
    for _ in 0..3 {
        assert_eq!(world.step(), "");
    }
    world.change(changed(service(2, "3"), |value| value["spec"]["rollout"] = json!({"watch": "10s"})));
    assert_eq!(world.step(), "freeze shop-3", "the next version is tried");
}

#[test]
fn what_fell_between_writing_down_and_moving_back_moves_back() {
    let mut world = switched(&json!({"watch": "10s"}));
    let at = world.seconds;
    told(&mut world, "shop-web-2-1", at, at, Some(at));
    let mut changes = world.plan().changes.into_iter();
    assert_eq!(world.perform(changes.next().unwrap()), "shop-2 is Failed for shop-web-2-1");
    assert_eq!(world.step(), "route shop-1 to [shop-web-1-0 shop-web-1-1]");
}

#[test]
fn a_copy_that_ends_later_is_the_business_of_restarts() {
    let mut world = switched(&json!({"watch": "10s"}));
    world.seconds += 10;
    world.acknowledge(true, true);
    let at = world.seconds;
    told(&mut world, "shop-web-2-1", at, at, Some(at - 1));
    assert_eq!(world.step(), "delete shop-web-1-0, delete shop-web-1-1");
    assert_eq!(world.step(), "shop-2 is Complete");
}

#[test]
fn too_many_failed_requests_take_a_version_back() {
    for (most, failed, is_back) in [(Some(5), 6, true), (Some(5), 5, false), (Some(0), 1, true), (None, 1_000, false)] {
        let mut world = switched(&json!({"watch": "1s", "maxFailedRequests": most}));
        world.acknowledge(true, true);
        world.table.as_mut().unwrap().status.as_mut().unwrap().routers[0].failed = Some(failed);
        let done = world.step();
        assert_eq!(done.starts_with("shop-2 is Failed, route shop-1"), is_back, "{most:?} {failed}: {done}");
        let receipt = world.revisions[1].status.clone().unwrap().receipt.unwrap();
        assert!(!is_back || receipt.failed == Some(failed), "the receipt says so: {receipt:?}");
    }
}

#[test]
fn a_first_version_that_crashes_in_the_watch_fails_and_is_complete_once_it_has_recovered() {
    let mut world = World::new(service(1, "1"));
    world.step();
    world.step();
    told(&mut world, "shop-web-1-0", 0, 0, None);
    world.step();
    assert_eq!(world.step(), "shop-1 is Switched");
    told(&mut world, "shop-web-1-0", 1, 1, Some(0));
    assert_eq!(world.step(), "shop-1 is Switched for shop-web-1-0");
    assert!(world.revisions[0].status.as_ref().unwrap().failure.is_some());
    assert!(is(&world, "Stalled") && !is(&world, "Ready"));
    world.acknowledge(true, true);
    assert_eq!(world.step(), "", "it has only just come back");
    world.seconds += 10;
    assert_eq!(world.step(), "shop-1 is Complete");
    assert!(world.revisions[0].status.as_ref().unwrap().failure.is_none() && is(&world, "Ready"));
}

#[test]
fn ready_means_that_the_newest_spec_serves() {
    let mut world = World::up(service(2, "1"));
    assert!(is(&world, "Ready") && is(&world, "Available") && !is(&world, "Reconciling") && !is(&world, "Stalled"));
    let mut next = service(2, "2");
    next.metadata.generation = Some(2);
    world.change(next);
    assert_eq!(world.step(), "freeze shop-2");
    assert_eq!(world.service.status.as_ref().unwrap().observed_generation, 1, "what is told is of the spec before");
    world.step();
    assert_eq!(world.service.status.as_ref().unwrap().observed_generation, 2);
    assert!(!is(&world, "Ready") && is(&world, "Available") && is(&world, "Reconciling"));
    world.seconds += 121;
    world.step();
    assert!(!is(&world, "Ready") && is(&world, "Available") && !is(&world, "Reconciling") && is(&world, "Stalled"));
}

#[test]
fn a_first_version_that_is_late_is_stalled_and_asks_for_no_more_looks() {
    let mut world = World::new(service(1, "1"));
    world.step();
    world.step();
    assert!(is(&world, "Reconciling") && world.plan().again_after.is_some());
    world.seconds = 121;
    world.step();
    world.step();
    assert!(is(&world, "Stalled") && !is(&world, "Reconciling"));
    assert_eq!(world.plan().again_after, None, "nothing is due");
}

#[test]
fn what_the_server_refuses_is_told_and_ends_at_the_deadline() {
    let refused = |is_refusal| Some(Obstacle { message: "could not create Pod shop-web-1-0: no".into(), is_refusal });
    let mut world = World::new(service(1, "1"));
    world.obstacle = refused(true);
    let plan = world.plan();
    assert_eq!(plan.status.observed_generation, 1);
    world.service.status = Some(plan.status);
    assert!(is(&world, "Stalled"), "without a Revision there is no deadline to wait for");
    world.obstacle = None;
    world.step();
    world.obstacle = refused(true);
    world.pods.clear();
    let status = world.plan().status;
    assert!(status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.message.contains("could not create Pod")));
    world.seconds = 121;
    world.step();
    let failure = world.revisions[0].status.clone().unwrap().failure.unwrap();
    assert_eq!((failure.reason.as_str(), failure.detail.as_str()), ("ProgressDeadlineExceeded", "could not create Pod shop-web-1-0: no"));
    let mut world = World::up(service(2, "1"));
    world.obstacle = refused(false);
    world.step();
    assert!(is(&world, "Ready") && !is(&world, "Stalled"), "what passes is no refusal");
    world.obstacle = refused(true);
    world.step();
    assert!(!is(&world, "Ready") && is(&world, "Stalled") && is(&world, "Available"));
}

#[test]
fn a_table_is_ready_when_every_router_has_it() {
    let mut world = World::up(service(2, "1"));
    let of = |world: &World, name: &str| {
        let conditions = world.table.as_ref().unwrap().status.clone().unwrap().conditions;
        conditions.iter().find(|condition| condition.type_ == name).map(|condition| condition.status.clone()).unwrap()
    };
    assert_eq!((of(&world, "Ready"), of(&world, "Reconciling")), ("True".into(), "False".into()));
    world.ready("shop-web-1-0", false);
    world.step();
    world.step();
    assert_eq!((of(&world, "Ready"), of(&world, "Reconciling")), ("False".into(), "True".into()));
    world.table.as_mut().unwrap().status.as_mut().unwrap().routers[0].problem = "too large".into();
    world.step();
    assert_eq!((of(&world, "Reconciling"), of(&world, "Stalled")), ("False".into(), "True".into()));
}

fn with_host_port(version: &str) -> Service {
    changed(service(1, version), |value| {
        value["spec"]["parts"][0]["pod"]["spec"]["containers"][0]["ports"][0]["hostPort"] = json!(18_077);
    })
}

/// A first version of one copy that holds a port of its node, or whose strategy is Recreate.
fn fixed(first: Service) -> World {
    let mut world = World::new(first);
    world.step();
    world.step();
    world.ready("shop-web-1-0", true);
    world.step();
    world.step();
    world.acknowledge(true, true);
    assert_eq!(world.step(), "shop-1 is Complete");
    world
}

#[test]
fn copies_that_cannot_run_side_by_side_make_room_first() {
    let recreate = |version: &str| changed(service(1, version), |value| value["spec"]["rollout"]["strategy"] = json!({"type": "Recreate"}));
    for make in [&with_host_port as &dyn Fn(&str) -> Service, &recreate] {
        let mut world = fixed(make("1"));
        world.change(make("2"));
        world.step();
        assert_eq!(world.step(), "route shop-1 to [], shop-2 is Starting");
        assert!(said(&world).contains("the copies before are stopped first"), "{}", said(&world));
        assert_eq!(world.step(), "", "its requests are finished first");
        world.acknowledge(true, true);
        assert_eq!(world.step(), "delete shop-web-1-0");
        assert!(world.step().starts_with("create shop-web-2-0"));
        world.ready("shop-web-2-0", true);
        assert!(world.step().starts_with("route shop-2 to [shop-web-2-0]"));
    }
}

#[test]
fn what_made_room_comes_back_when_the_new_version_fails() {
    let mut world = fixed(with_host_port("1"));
    world.change(with_host_port("2"));
    world.step();
    world.step();
    world.acknowledge(true, true);
    world.step();
    world.step();
    world.ready("shop-web-2-0", false);
    world.seconds += 121;
    assert_eq!(world.step(), "shop-2 is Failed for shop-web-2-0");
    assert_eq!(world.step(), "delete shop-web-2-0");
    assert_eq!(world.step(), "create shop-web-1-0");
    world.ready("shop-web-1-0", true);
    assert_eq!(world.step(), "route shop-1 to [shop-web-1-0]");
    assert!(is(&world, "Available") && is(&world, "Stalled"));
    world.acknowledge(true, true);
    assert_eq!(world.step(), "");
}

#[test]
fn a_copy_waits_until_what_holds_its_port_is_gone() {
    let mut world = fixed(with_host_port("1"));
    world.pods[0].metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time(world.seconds)));
    assert_eq!(world.step(), "route shop-1 to []", "it still ends");
    world.pods.clear();
    assert_eq!(world.step(), "create shop-web-1-0");
}

#[test]
fn who_asks_for_rolling_updates_gets_them() {
    let rolling =
        |version: &str| changed(with_host_port(version), |value| value["spec"]["rollout"]["strategy"] = json!({"type": "RollingUpdate"}));
    let mut world = fixed(rolling("1"));
    world.change(rolling("2"));
    world.step();
    assert_eq!(world.step(), "create shop-web-2-0, shop-2 is Starting");
}

#[test]
fn copies_are_made_in_waves() {
    let mut world = World::new(service(1_000, "1"));
    world.step();
    assert_eq!(world.step().matches("create").count(), WAVE);
    assert_eq!(world.step(), "", "the first wave is being made");
    for at in 0..5 {
        world.ready(&format!("shop-web-1-{at}"), false);
    }
    assert_eq!(world.step().matches("create").count(), 5);
}

#[test]
fn what_is_stopped_runs_no_copy_and_starts_again_as_it_was() {
    let mut world = World::up(service(2, "1"));
    world.change(changed(service(2, "1"), |value| value["spec"]["suspend"] = json!(true)));
    assert_eq!(world.step(), "route shop-1 to []");
    assert!(is(&world, "Suspended") && !is(&world, "Available"));
    world.acknowledge(true, true);
    assert_eq!(world.step(), "delete shop-web-1-0, delete shop-web-1-1");
    assert_eq!(world.step(), "");
    assert!(is(&world, "Suspended") && !is(&world, "Reconciling") && !is(&world, "Stalled") && !is(&world, "Degraded"));
    assert!(world.service.status.as_ref().unwrap().conditions.iter().all(|condition| condition.type_ != "Ready"));
    world.change(service(2, "1"));
    assert_eq!(world.step(), "create shop-web-1-0, create shop-web-1-1", "no new Revision");
    world.ready("shop-web-1-0", true);
    world.ready("shop-web-1-1", true);
    world.step();
    world.step();
    assert!(is(&world, "Ready") && !is(&world, "Suspended"));
}

#[test]
fn a_new_version_of_what_is_stopped_goes_live_without_a_copy() {
    let mut world = World::up(service(2, "1"));
    world.change(changed(service(2, "2"), |value| value["spec"]["suspend"] = json!(true)));
    assert_eq!(world.step(), "freeze shop-2");
    assert!(world.step().starts_with("route shop-2 to []"));
    assert!(!world.revisions[1].spec.template.suspend);
    world.acknowledge(true, true);
    world.step();
    for _ in 0..4 {
        world.step();
    }
    assert!(world.pods.is_empty());
    world.change(service(2, "2"));
    assert!(world.step().starts_with("create shop-web-2-0, create shop-web-2-1"));
}
