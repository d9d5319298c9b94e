//! What Pods refer to, and what `kubectl apply` leaves alone.

use serde_json::{Value, json};

use crate::crud::service;
use crate::server::Server;

const PODS: &str = "/api/v1/namespaces/default/pods";
const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
const SERVICES: &str = "/apis/conductor.dev/v1/namespaces/default/services";

fn pod(name: &str, field: &str, value: &str) -> Value {
    let mut pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "c", "command": ["c"]}]}});
    pod["spec"][field] = json!(value);
    pod
}

fn class(name: &str, value: i64, is_default: bool) -> Value {
    json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value, "globalDefault": is_default})
}

#[tokio::test]
async fn a_pod_has_the_priority_of_its_class_and_refers_to_nothing_that_is_not_there() {
    let server = Server::start().await;
    let refused = server.post(PODS, pod("a", "priorityClassName", "nobody")).await.refused(403, "Forbidden");
    assert_eq!(refused, "pods \"a\" is forbidden: no PriorityClass with name nobody was found");
    let refused = server.post(PODS, pod("a", "serviceAccountName", "nobody")).await.refused(403, "Forbidden");
    assert_eq!(refused, "pods \"a\" is forbidden: error looking up service account default/nobody: serviceaccount \"nobody\" not found");
    let made = server.post(PODS, pod("critical", "priorityClassName", "system-node-critical")).await.expect(201).body;
    assert_eq!(made["spec"]["priority"], 2_000_001_000);
    let made = server.post(PODS, pod("plain", "restartPolicy", "Never")).await.expect(201).body;
    assert_eq!((&made["spec"]["priority"], &made["spec"]["priorityClassName"]), (&json!(0), &Value::Null));
    server.post(CLASSES, class("usual", 7, true)).await.expect(201);
    let refused = server.post(CLASSES, class("other", 8, true)).await.refused(403, "Forbidden");
    assert!(refused.contains("PriorityClass usual is already marked as default"), "{refused}");
    let other = server.post(CLASSES, class("other", 8, false)).await.expect(201).body;
    let at = format!("{CLASSES}/other");
    let changed = |mut object: Value| {
        object["globalDefault"] = json!(true);
        object
    };
    let refused = server.put(&at, changed(other)).await.refused(403, "Forbidden");
    assert!(refused.contains("PriorityClass usual is already marked as default"), "{refused}");
    server.merge(&at, json!({"globalDefault": true})).await.refused(403, "Forbidden");
    server.merge(&at, json!({"description": "another"})).await.expect(200);
    server.merge(&format!("{CLASSES}/usual"), json!({"description": "the usual one"})).await.expect(200);
    let made = server.post(PODS, pod("usual", "restartPolicy", "Never")).await.expect(201).body;
    assert_eq!((&made["spec"]["priority"], &made["spec"]["priorityClassName"]), (&json!(7), &json!("usual")));
    let mut asks = pod("asks", "priorityClassName", "usual");
    asks["spec"]["priority"] = json!(8);
    server.post(PODS, asks).await.refused(403, "Forbidden");
    server.post(CLASSES, class("system-mine", 7, false)).await.refused(422, "Invalid");
    server.post(CLASSES, class("high", 1_000_000_001, false)).await.refused(422, "Invalid");
    server.merge(&format!("{CLASSES}/usual"), json!({"value": 9})).await.refused(422, "Invalid");
    let mut above = pod("above", "restartPolicy", "Never");
    above["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "10Mi"}, "requests": {"memory": "1Gi"}});
    let refused = server.post(PODS, above).await.refused(422, "Invalid");
    assert!(refused.contains("spec.containers[0].resources.requests: Invalid value: \"1Gi\": must be less than"), "{refused}");
}

#[tokio::test]
async fn what_would_fail_later_is_refused_with_its_whole_path() {
    let server = Server::start().await;
    server.post(SERVICES, service(&"n".repeat(52))).await.expect(201);
    let with = |pointer: &str, value: Value| {
        let mut changed = service("a");
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    let container = |field: &str, value: Value| {
        let mut changed = service("a");
        changed["spec"]["parts"][0]["pod"]["spec"]["containers"][0][field] = value;
        changed
    };
    let mut deadline = service("a");
    deadline["spec"]["rollout"] = json!({"progressDeadline": "soon"});
    let mut labels = service("a");
    labels["spec"]["parts"][0]["pod"]["metadata"] = json!({"labels": {"not a key!": "x"}});
    for (object, field) in [
        (service(&"n".repeat(53)), "metadata.name"),
        (deadline, "spec.rollout.progressDeadline"),
        (labels, "spec.parts[0].pod.metadata.labels"),
        (container("resources", json!({"limits": {"cpu": "much"}})), "spec.parts[0].pod.spec.containers[0].resources.limits[cpu]"),
        (container("ports", json!("none")), "spec.parts[0].pod.spec.containers[0].ports"),
        (container("command", json!([1])), "spec.parts[0].pod.spec.containers[0].command[0]"),
        (with("/spec/parts/0/name", json!(7)), "spec.parts[0].name"),
        (with("/spec/application", json!({})), "spec.application"),
    ] {
        let refused = server.post(SERVICES, &object).await.expect(422).body;
        let fields: Vec<&str> =
            refused["details"]["causes"].as_array().unwrap().iter().filter_map(|cause| cause["field"].as_str()).collect();
        assert!(fields.contains(&field), "{field}: {refused}");
    }
    let twice = SERVICES.to_owned() + "?fieldValidation=Strict";
    let body = service("b").to_string().replacen("\"application\"", "\"application\":\"x\",\"application\"", 1);
    let refused = server.post(&twice, &body).await.refused(400, "BadRequest");
    assert!(refused.contains("duplicate field \"spec.application\""), "{refused}");
    assert_eq!(server.post(&(SERVICES.to_owned() + "?fieldValidation=Warn"), &body).await.expect(201).warnings.len(), 1);
}

/// What `kubectl apply` sends for a kind that it does not know: what is other than before, lists as a whole.
fn applied(manifest: &Value) -> Value {
    let mut patch = json!({"spec": manifest["spec"]});
    patch["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = json!(manifest.to_string());
    patch
}

#[tokio::test]
async fn a_scale_that_no_manifest_names_stays_whichever_way_it_is_applied() {
    let server = Server::start().await;
    let mut manifest = service("a");
    let uri = format!("{SERVICES}/a");
    let mut made = manifest.clone();
    made["metadata"]["annotations"] = applied(&manifest)["metadata"]["annotations"].clone();
    server.post(SERVICES, made).await.expect(201);
    server.merge(&format!("{uri}/scale"), json!({"spec": {"replicas": 3}})).await.expect(200);
    let of_part = |object: &Value| object["spec"]["parts"][0].clone();
    manifest["spec"]["parts"][0]["pod"]["spec"]["containers"][0]["command"] = json!(["/bin/other"]);
    let after = of_part(&server.merge(&uri, applied(&manifest)).await.expect(200).body);
    assert_eq!((&after["replicas"], &after["pod"]["spec"]["containers"][0]["command"]), (&json!(3), &json!(["/bin/other"])));
    // Once the manifest has named it, leaving it out takes it back.
    manifest["spec"]["parts"][0]["replicas"] = json!(5);
    assert_eq!(of_part(&server.merge(&uri, applied(&manifest)).await.expect(200).body)["replicas"], 5);
    manifest["spec"]["parts"][0].as_object_mut().unwrap().remove("replicas");
    assert_eq!(of_part(&server.merge(&uri, applied(&manifest)).await.expect(200).body)["replicas"], Value::Null);
    // A merge patch of others replaces lists, as RFC 7396 has it.
    server.merge(&format!("{uri}/scale"), json!({"spec": {"replicas": 3}})).await.expect(200);
    assert_eq!(of_part(&server.merge(&uri, json!({"spec": manifest["spec"]})).await.expect(200).body)["replicas"], Value::Null);

    let apply = async |manifest: &Value, manager: &str| {
        let uri = format!("{SERVICES}/b?fieldManager={manager}");
        server.send("PATCH", &uri, "application/apply-patch+yaml", manifest.to_string()).await
    };
    let mut manifest = service("b");
    apply(&manifest, "one").await.expect(201);
    server.merge(&format!("{SERVICES}/b/scale"), json!({"spec": {"replicas": 3}})).await.expect(200);
    manifest["spec"]["parts"][0]["pod"]["spec"]["containers"][0]["command"] = json!(["/bin/other"]);
    assert_eq!(of_part(&apply(&manifest, "one").await.expect(200).body)["replicas"], 3);
    // What two really contend for is refused, and names the one field.
    manifest["spec"]["parts"][0]["replicas"] = json!(4);
    let refused = apply(&manifest, "one").await.refused(409, "Conflict");
    assert!(refused.contains(".spec.parts[name=\"web\"].replicas"), "{refused}");
    let mut other = json!({"apiVersion": "conductor.dev/v1", "kind": "Service", "metadata": {"name": "b"}});
    other["spec"] = json!({"routes": [{"host": "other.test", "part": "web", "port": "http"}]});
    assert_eq!(apply(&other, "two").await.expect(200).body["spec"]["routes"].as_array().unwrap().len(), 2);
}
