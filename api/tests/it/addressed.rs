//! A body that is meant for something else changes nothing, whatever the verb and the subresource.

use serde_json::{Value, json};

use crate::crud::service;
use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const SERVICES: &str = "/apis/conductor.dev/v1/namespaces/default/services";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const JSON: &str = "application/json";
const OTHER: &str = "11111111-1111-4111-8111-111111111111";

/// What every request is sent, and the bodies that are to be refused with these codes.
type Refused = (&'static str, String, &'static str, Vec<(Value, u16)>);

fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[field] = value;
    body
}

/// Bodies like one that is right, each wrong in one way: kind, apiVersion, name, namespace, uid.
fn wrong(body: &Value, codes: [u16; 5]) -> Vec<(Value, u16)> {
    let ways = [
        ("/kind", json!("Secret")),
        ("/apiVersion", json!("other.example/v1")),
        ("/metadata/name", json!("b")),
        ("/metadata/namespace", json!("other")),
        ("/metadata/uid", json!(OTHER)),
    ];
    let ways = ways.into_iter().zip(codes).filter(|(_, code)| *code != 0);
    ways.map(|((pointer, value), code)| (with(body.clone(), pointer, value), code)).collect()
}

fn no_options() -> Vec<(Value, u16)> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    vec![
        (map, 400),
        (json!({"kind": "Secret"}), 400),
        (json!({"apiVersion": "v9", "kind": "DeleteOptions"}), 400),
        (json!({"apiVersion": "apps/v1", "kind": "DeleteOptions"}), 400),
        (json!([]), 400),
        (json!("a"), 400),
        (json!({"gracePeriodSeconds": "soon"}), 400),
        (json!({"preconditions": {"uid": OTHER}}), 409),
    ]
}

fn refused(own: &Value) -> Vec<Refused> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "changed"}});
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 5}});
    let mut scales = wrong(&scale, [400, 400, 400, 400, 409]);
    scales.extend([
        (json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 0}}), 400),
        (with(scale.clone(), "/spec", json!("none")), 400),
        (with(scale.clone(), "/spec", json!({"replicas": "5"})), 400),
        (with(scale, "/metadata/resourceVersion", json!("1")), 409),
        (own.clone(), 400),
    ]);
    let mut scale_patches = wrong(&json!({"metadata": {}, "spec": {"replicas": 5}}), [422, 422, 400, 400, 409]);
    scale_patches.extend([(json!([]), 400), (json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 5}}), 409)]);
    let scale_operations = ["/kind", "/metadata/name"]
        .into_iter()
        .zip([422, 400])
        .map(|(path, code)| (json!([{"op": "replace", "path": path, "value": "b"}]), code));
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    let mut evictions = wrong(&eviction, [400, 400, 400, 400, 0]);
    evictions.push((with(eviction.clone(), "/deleteOptions", json!({"kind": "ConfigMap"})), 400));
    evictions.push((with(eviction, "/deleteOptions", json!({"preconditions": {"uid": OTHER}})), 409));
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    let mut bindings = wrong(&binding, [400, 400, 400, 400, 409]);
    bindings.push((with(binding.clone(), "/target/kind", json!("Pod")), 422));
    bindings.push((with(binding, "/metadata/resourceVersion", json!("1")), 409));
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {"name": "a"}, "spec": {}});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}, "spec": {"finalizers": []}});
    let (mut changed, mut patch) = (own.clone(), json!({"metadata": {}, "spec": {"application": "changed"}}));
    changed["spec"]["application"] = json!("changed");
    changed["status"] = json!({"observedGeneration": 7});
    patch["status"] = json!({"observedGeneration": 7});
    vec![
        ("DELETE", format!("{MAPS}/a"), JSON, no_options()),
        ("DELETE", MAPS.to_owned(), JSON, no_options().into_iter().filter(|(_, code)| *code == 400).collect()),
        ("DELETE", format!("{SERVICES}/a"), JSON, no_options()),
        ("DELETE", "/api/v1/namespaces/other".into(), JSON, no_options()),
        ("POST", MAPS.to_owned(), JSON, wrong(&map, [400, 400, 0, 400, 0])),
        ("POST", SERVICES.to_owned(), JSON, wrong(&changed, [422, 400, 0, 400, 0])),
        ("PUT", format!("{MAPS}/a"), JSON, wrong(&map, [400, 400, 400, 400, 409])),
        ("PUT", format!("{MAPS}/a"), JSON, vec![(json!({"data": {}}), 400)]),
        ("PUT", format!("{SERVICES}/a"), JSON, wrong(&changed, [422, 400, 400, 400, 409])),
        ("PUT", format!("{SERVICES}/a/status"), JSON, wrong(&changed, [422, 400, 400, 400, 409])),
        ("PATCH", format!("{MAPS}/a"), MERGE, wrong(&json!({"metadata": {}, "data": {"k": "changed"}}), [422, 422, 400, 400, 422])),
        ("PATCH", format!("{MAPS}/a"), STRATEGIC, wrong(&json!({"metadata": {}, "data": {"k": "changed"}}), [422, 422, 400, 400, 422])),
        ("PATCH", format!("{SERVICES}/a"), MERGE, wrong(&patch, [422, 400, 400, 400, 422])),
        ("PATCH", format!("{SERVICES}/a/status"), MERGE, wrong(&patch, [422, 400, 400, 400, 422])),
        ("PATCH", format!("{MAPS}/a?fieldManager=m"), APPLY, wrong(&map, [400, 400, 400, 400, 422])),
        ("PATCH", format!("{SERVICES}/a/scale"), MERGE, scale_patches),
        ("PATCH", format!("{SERVICES}/a/scale"), "application/json-patch+json", scale_operations.collect()),
        ("PUT", format!("{SERVICES}/a/scale"), JSON, scales),
        ("POST", format!("{PODS}/a/eviction"), JSON, evictions),
        ("POST", format!("{PODS}/a/binding"), JSON, bindings),
        ("POST", format!("{ACCOUNTS}/a/token"), JSON, wrong(&token, [400, 400, 422, 400, 0])),
        ("PUT", "/api/v1/namespaces/default/finalize".into(), JSON, wrong(&namespace, [400, 400, 400, 0, 409])),
    ]
}

#[tokio::test]
async fn a_body_that_is_meant_for_something_else_changes_nothing() {
    let server = Server::start().await;
    server.post("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await.expect(201);
    server.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await.expect(201);
    server.post(ACCOUNTS, json!({"metadata": {"name": "a"}})).await.expect(201);
    server.post(PODS, json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "command": ["c"]}]}})).await.expect(201);
    let own = server.post(SERVICES, service("a")).await.expect(201).body;
    let there = [format!("{MAPS}/a"), format!("{SERVICES}/a"), format!("{PODS}/a"), "/api/v1/namespaces/other".into()];
    let mut versions = Vec::new();
    for path in &there {
        versions.push(server.get(path).await.expect(200).body);
    }
    let mut faults = Vec::new();
    for (method, path, content_type, bodies) in refused(&own) {
        for (body, code) in bodies {
            let answer = server.send(method, &path, content_type, body.to_string()).await;
            if answer.code != code || answer.body["kind"] != "Status" {
                faults.push(format!("{method} {path} {content_type} {body}\n  wanted {code}, got {}", answer.text));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (path, before) in there.iter().zip(versions) {
        assert_eq!(server.get(path).await.expect(200).body, before);
    }
    for options in [json!({"kind": "DeleteOptions", "apiVersion": "conductor.dev/v1"}), json!({"kind": "DeleteOptions"})] {
        server
            .send("DELETE", &format!("{SERVICES}/a?dryRun=All"), JSON, with(options, "/dryRun", json!(["All"])).to_string())
            .await
            .expect(200);
    }
}
