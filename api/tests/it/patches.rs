//! Patches of every type, protobuf bodies, and who owns what.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::server::{Answer, Server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/apis/conductor.dev/v1/namespaces/default/services";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

async fn apply(server: &Server, uri: &str, object: &Value) -> Answer {
    server.send("PATCH", uri, "application/apply-patch+yaml", object.to_string()).await
}

fn map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries.iter().find(|entry| entry["manager"] == manager).map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

#[tokio::test]
async fn a_config_map_comes_in_protobuf_and_goes_with_options_in_protobuf() {
    let server = Server::start().await;
    // A ConfigMap `pb` with data {k: v}, as a typed Go client sends it.
    let body = STANDARD.decode("azhzAAoPCgJ2MRIJQ29uZmlnTWFwEg4KBAoCcGISBgoBaxIBdhoAIgA=").unwrap();
    let made = server.send("POST", MAPS, PROTOBUF, body.clone()).await.expect(201).body;
    assert_eq!((&made["metadata"]["name"], &made["data"]), (&json!("pb"), &json!({"k": "v"})));
    server.send("POST", MAPS, PROTOBUF, body.clone()).await.refused(409, "AlreadyExists");
    let message = server.send("POST", MAPS, PROTOBUF, "{}").await.refused(400, "BadRequest");
    assert!(message.contains("expected prefix [107 56 115 0]"), "{message}");
    server.send("POST", MAPS, PROTOBUF, body[..20].to_vec()).await.refused(400, "BadRequest");
    server.send("POST", SERVICES, PROTOBUF, body).await.refused(415, "UnsupportedMediaType");
    let options: Vec<u8> = [b"k8s\0".as_slice(), b"\x0a\x13\x0a\x02v1\x12\x0dDeleteOptions", b"\x12\x05\x2a\x03All"].concat();
    server.send("DELETE", &format!("{MAPS}/pb"), PROTOBUF, options).await.expect(200);
    server.get(&format!("{MAPS}/pb")).await.expect(200);
}

#[tokio::test]
async fn a_strategic_merge_patch_knows_the_keys_of_lists() {
    let server = Server::start().await;
    let uri = format!("{PODS}/p");
    let container = |name: &str, image: &str| json!({"name": name, "image": image});
    server
        .post(PODS, json!({"metadata": {"name": "p"}, "spec": {"containers": [container("a", "a:1"), container("b", "b:1")]}}))
        .await
        .expect(201);
    let patch = json!({"spec": {"containers": [container("b", "b:2")]}}).to_string();
    let patched = server.send("PATCH", &uri, STRATEGIC, patch).await.expect(200).body;
    let images: Vec<&Value> = patched["spec"]["containers"].as_array().unwrap().iter().map(|container| &container["image"]).collect();
    assert_eq!(images, ["a:1", "b:2"]);
    let message = server.send("PATCH", &uri, STRATEGIC, r#"{"spec": {"containers": [{"image": "c"}]}}"#).await.refused(500, "");
    assert_eq!(message, "map: map[image:c] does not contain declared merge key: name");
    server.post(SERVICES, crate::crud::service("shop")).await.expect(201);
    server.send("PATCH", &format!("{SERVICES}/shop"), STRATEGIC, "{}").await.refused(415, "UnsupportedMediaType");
}

#[tokio::test]
async fn a_json_patch_that_fails_changes_nothing() {
    let server = Server::start().await;
    let uri = format!("{MAPS}/a");
    server.post(MAPS, map("a", &json!({"a": "1"}))).await.expect(201);
    let patch = |operations: Value| server.send("PATCH", &uri, "application/json-patch+json", operations.to_string());
    let added = patch(json!([{"op": "replace", "path": "/data/b", "value": "2"}])).await.expect(200).body;
    assert_eq!(added["data"], json!({"a": "1", "b": "2"}), "replacing a key that is not there adds it");
    patch(json!([{"op": "remove", "path": "/data/b"}, {"op": "test", "path": "/data/a", "value": "9"}])).await.refused(422, "Invalid");
    patch(json!([{"op": "juggle", "path": "/data/a"}])).await.refused(422, "Invalid");
    patch(json!({"op": "remove"})).await.refused(400, "BadRequest");
    let doubled: Value = (0..60).map(|at| json!({"op": "copy", "from": "/data", "path": format!("/data/x{at}")})).collect();
    patch(doubled).await.refused(422, "Invalid");
    patch(json!([{"op": "replace", "path": "/data/a", "value": 5}])).await.refused(422, "Invalid");
    assert_eq!(server.get(&uri).await.body["data"], json!({"a": "1", "b": "2"}));
}

#[tokio::test]
async fn applying_creates_changes_conflicts_and_lets_go() {
    let server = Server::start().await;
    let uri = |manager: &str| format!("{MAPS}/a?fieldManager={manager}");
    let made = apply(&server, &uri("one"), &map("a", &json!({"a": "1", "b": "2"}))).await.expect(201).body;
    assert_eq!(owned(&made, "one"), json!({"f:data": {"f:a": {}, "f:b": {}}}));
    let again = apply(&server, &uri("one"), &map("a", &json!({"a": "1", "b": "2"}))).await.expect(200).body;
    assert_eq!(again, made, "applying the same again moves no version");
    let message = apply(&server, &uri("two"), &map("a", &json!({"a": "9"}))).await.refused(409, "Conflict");
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    let forced = apply(&server, &format!("{}&force=true", uri("two")), &map("a", &json!({"a": "9"}))).await.expect(200).body;
    assert_eq!((&forced["data"], owned(&forced, "one")), (&json!({"a": "9", "b": "2"}), json!({"f:data": {"f:b": {}}})));
    let dropped =
        apply(&server, &uri("one"), &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})).await.expect(200).body;
    assert_eq!(dropped["data"], json!({"a": "9"}));
    server.merge(&format!("{MAPS}/a?fieldManager=hand"), json!({"data": {"a": "3"}})).await.expect(200);
    let message = apply(&server, &uri("two"), &map("a", &json!({"a": "9"}))).await.refused(409, "Conflict");
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"hand\" using v1: .data.a");
}

#[tokio::test]
async fn an_apply_that_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let uri = format!("{MAPS}/a?fieldManager=one");
    apply(&server, &format!("{MAPS}/a"), &map("a", &json!({}))).await.refused(422, "Invalid");
    let mut object = map("a", &json!({}));
    object["colour"] = json!("red");
    let message = apply(&server, &uri, &object).await.refused(500, "");
    assert_eq!(message, "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .colour: field not declared in schema");
    let message =
        apply(&server, &uri, &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})).await.refused(400, "BadRequest");
    assert_eq!(message, "invalid object type: /v1, Kind=Secret");
    apply(&server, &uri, &map("b", &json!({}))).await.refused(400, "BadRequest");
    apply(&server, &format!("{SERVICES}/shop/status?fieldManager=one"), &crate::crud::service("shop")).await.refused(404, "NotFound");
    server.get(&format!("{MAPS}/a")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn the_status_of_a_service_is_owned_apart() {
    let server = Server::start().await;
    let uri = format!("{SERVICES}/shop");
    apply(&server, &format!("{uri}?fieldManager=people"), &crate::crud::service("shop")).await.expect(201);
    let wanted =
        json!({"apiVersion": "conductor.dev/v1", "kind": "Service", "metadata": {"name": "shop"}, "status": {"activeRevision": "shop-1"}});
    let changed = apply(&server, &format!("{uri}/status?fieldManager=controller"), &wanted).await.expect(200).body;
    assert_eq!((&changed["status"]["activeRevision"], &changed["spec"]["application"]), (&json!("shop-1"), &json!("shop")));
    assert_eq!(owned(&changed, "controller"), json!({"f:status": {"f:activeRevision": {}}}));
    let again = apply(&server, &format!("{uri}?fieldManager=people"), &crate::crud::service("shop")).await.expect(200).body;
    assert_eq!(again["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"]);
}
