use model::route_table::{RouteTableStatus, RouterRow};
use serde_json::{Value, json};

use super::*;

/// A Service and all that belongs to it, to which plans can be done.
struct World {
    service: Service,
    revisions: Vec<Revision>,
    pods: Vec<Pod>,
    table: Option<RouteTable>,
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
        Self { service, revisions: Vec::new(), pods: Vec::new(), table: None, seconds: 0 }
    }

    fn plan(&self) -> Plan {
        let routers = ["here".to_owned()];
        let (revisions, pods) = (&self.revisions, &self.pods);
        plan(&Observed { service: &self.service, revisions, pods, table: self.table.as_ref(), routers: &routers, now: time(self.seconds) })
    }

    /// Plans, does all of it, and says what was done.
    fn step(&mut self) -> String {
        let plan = self.plan();
        self.service.status = Some(plan.status);
        let texts: Vec<String> = plan.changes.into_iter().map(|change| self.perform(change)).collect();
        texts.join(", ")
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
        }
        table.status = Some(RouteTableStatus { routers: vec![row], ..RouteTableStatus::default() });
    }

    /// Brings the first version up, to the end of its rollout.
    fn up(service: Service) -> Self {
        let mut world = Self::new(service);
        assert_eq!(world.step(), "freeze shop-1");
        assert_eq!(world.step(), "create shop-web-1-0, create shop-web-1-1, shop-1 is Starting");
        world.ready("shop-web-1-0", true);
        world.step();
        world.ready("shop-web-1-1", true);
        assert!(world.step().starts_with("route shop-1 to [shop-web-1-0 shop-web-1-1]"));
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
    assert_eq!(world.step(), "shop-2 is Switched, shop-1 is Superseded");
    assert_eq!(world.step(), "", "the old copies finish their requests");
    world.acknowledge(true, false);
    assert_eq!(world.step(), "delete shop-web-1-0, delete shop-web-1-1");
    assert_eq!(world.step(), "", "the counts are not in");
    world.acknowledge(true, true);
    assert_eq!(world.step(), "shop-2 is Complete");
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
    assert!(is("Ready") && is("Degraded") && !is("Progressing"));
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
    world.acknowledge(true, false);
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
