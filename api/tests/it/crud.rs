//! Objects are created, read, changed and deleted.

use serde_json::json;

use crate::server::{Server, ask};
use axum::body::Body;
use http::Request;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/apis/conductor.dev/v1/namespaces/default/services";

pub fn service(name: &str) -> serde_json::Value {
    json!({"apiVersion": "conductor.dev/v1", "kind": "Service", "metadata": {"name": name}, "spec": {"application": "shop",
        "parts": [{"name": "web", "pod": {"spec": {"containers": [
            {"name": "web", "command": ["/bin/web"], "ports": [{"name": "http", "containerPort": 8080}]}]}}}],
        "routes": [{"host": format!("{name}.test"), "part": "web", "port": "http"}]}})
}

#[tokio::test]
async fn an_object_is_created_read_changed_and_deleted() {
    let server = Server::start().await;
    let made = server.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await.expect(201).body;
    assert_eq!(made["kind"], "ConfigMap");
    assert!(made["metadata"]["uid"].is_string());
    assert_eq!(made["metadata"]["creationTimestamp"], "2026-01-02T03:04:05Z");
    let uri = format!("{MAPS}/a");
    assert_eq!(server.get(&uri).await.expect(200).body, made);
    let patched = server.merge(&uri, json!({"data": {"k": null, "n": "w"}})).await.expect(200).body;
    assert_eq!(patched["data"], json!({"n": "w"}));
    let again = server.merge(&uri, json!({"data": {"n": "w"}})).await.expect(200).body;
    assert_eq!(again["metadata"]["resourceVersion"], patched["metadata"]["resourceVersion"], "a change of nothing moves no version");
    server.put(&uri, &made).await.refused(409, "Conflict");
    let deleted = server.delete(&uri).await.expect(200).body;
    assert_eq!(deleted["details"]["uid"], made["metadata"]["uid"]);
    assert_eq!(server.get(&uri).await.refused(404, "NotFound"), "configmaps \"a\" not found");
}

#[tokio::test]
async fn kubernetes_own_kinds_need_not_be_named_in_a_body_that_is_sent_to_their_path() {
    let server = Server::start().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    for (uri, kind) in [(MAPS, "ConfigMap"), (roles, "Role"), ("/apis/coordination.k8s.io/v1/namespaces/default/leases", "Lease")] {
        let made = server.post(uri, json!({"metadata": {"name": "a"}})).await.expect(201).body;
        assert_eq!(made["kind"], kind);
    }
    let mut body = service("a");
    body.as_object_mut().unwrap().remove("kind");
    assert!(server.post(SERVICES, body).await.refused(400, "BadRequest").contains("'Kind' is missing"));
}

#[tokio::test]
async fn a_list_is_paged_and_selected() {
    let server = Server::start().await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        server.post(MAPS, json!({"metadata": {"name": name, "labels": {"app": app}}})).await.expect(201);
    }
    let names = |body: &serde_json::Value| -> Vec<String> {
        body["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = server.get(&format!("{MAPS}?limit=2")).await.expect(200).body;
    assert_eq!((names(&first), first["metadata"]["remainingItemCount"].clone()), (vec!["a".into(), "b".into()], json!(1)));
    let next = format!("{MAPS}?limit=2&continue={}", first["metadata"]["continue"].as_str().unwrap());
    server.post(MAPS, json!({"metadata": {"name": "bb"}})).await.expect(201);
    assert_eq!(names(&server.get(&next).await.expect(200).body), ["c"], "a later page is of the first page's version");
    assert_eq!(names(&server.get(&format!("{MAPS}?labelSelector=app%3Dx")).await.expect(200).body), ["a", "c"]);
    assert_eq!(names(&server.get(&format!("{MAPS}?fieldSelector=metadata.name=b")).await.expect(200).body), ["b"]);
    server.get(&format!("{MAPS}?fieldSelector=data.k=b")).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn a_service_has_generations_a_status_and_a_scale() {
    let server = Server::start().await;
    let made = server.post(SERVICES, service("shop")).await.expect(201).body;
    assert_eq!(made["metadata"]["generation"], 1);
    let uri = format!("{SERVICES}/shop");
    let status =
        server.merge(&format!("{uri}/status"), json!({"status": {"activeRevision": "shop-1"}, "spec": {"application": "no"}})).await;
    let status = status.expect(200).body;
    assert_eq!((&status["spec"]["application"], &status["metadata"]["generation"]), (&json!("shop"), &json!(1)));
    let changed = server.merge(&uri, json!({"spec": {"config": {"A": "1"}}, "status": {"activeRevision": "no"}})).await.expect(200).body;
    assert_eq!((&changed["status"]["activeRevision"], &changed["metadata"]["generation"]), (&json!("shop-1"), &json!(2)));
    let scale = server.merge(&format!("{uri}/scale"), json!({"spec": {"replicas": 3}})).await.expect(200).body;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    assert_eq!(server.get(&uri).await.body["spec"]["parts"][0]["replicas"], 3);
}

#[tokio::test]
async fn mistakes_are_named() {
    let server = Server::start().await;
    let mut object = service("shop");
    object["spec"]["parts"][0]["replica"] = json!(2);
    let message = server.post(SERVICES, &object).await.refused(422, "Invalid");
    assert!(message.contains("spec.parts[0].replica: Unknown field: did you mean \"replicas\"?"), "{message}");
    object = service("shop");
    object["spec"]["parts"][0]["replicas"] = json!("two");
    let message = server.post(SERVICES, &object).await.refused(422, "Invalid");
    assert!(message.contains("spec.parts[0].replicas: Invalid value: \"string\": must be of type integer"), "{message}");
    object = service("shop");
    object["spec"]["parts"][0]["pod"]["spec"]["containers"][0]["readinesProbe"] = json!({});
    let message = server.post(SERVICES, &object).await.refused(422, "Invalid");
    assert!(message.contains("did you mean \"readinessProbe\"?"), "{message}");
    server.post(SERVICES, "{this is not").await.refused(400, "BadRequest");
    server.post(SERVICES, "[]").await.refused(400, "BadRequest");
    server.post(SERVICES, vec!['x'; 4 * 1024 * 1024].iter().collect::<String>()).await.refused(413, "RequestEntityTooLarge");
    server.send("PATCH", &format!("{MAPS}/a"), "application/juggle-patch+yaml", "a: 1").await.refused(415, "UnsupportedMediaType");
    let nowhere = "/api/v1/namespaces/nowhere/configmaps";
    assert_eq!(server.post(nowhere, json!({"metadata": {"name": "a"}})).await.refused(404, "NotFound"), "namespaces \"nowhere\" not found");
    server.post(SERVICES, service("shop")).await.expect(201);
    let mut other = service("other");
    other["spec"]["routes"][0]["host"] = json!("Shop.test");
    let message = server.post(SERVICES, &other).await.refused(422, "Invalid");
    assert!(message.contains("spec.routes[0]: Duplicate value: \"shop.test/\" is held by Service default/shop"), "{message}");
    server.delete(&format!("{SERVICES}/shop")).await.expect(200);
    server.post(SERVICES, &other).await.expect(201);
}

#[tokio::test]
async fn finalizers_and_grace_hold_an_object() {
    let server = Server::start().await;
    let uri = format!("{MAPS}/held");
    server.post(MAPS, json!({"metadata": {"name": "held", "finalizers": ["a.dev/b"]}})).await.expect(201);
    let deleted = server.delete(&uri).await.expect(200).body;
    assert!(deleted["metadata"]["deletionTimestamp"].is_string());
    let message = server.post(MAPS, json!({"metadata": {"name": "held"}})).await.refused(409, "AlreadyExists");
    assert!(message.starts_with("object is being deleted"), "{message}");
    server.merge(&uri, json!({"metadata": {"finalizers": null}})).await.expect(200);
    server.get(&uri).await.refused(404, "NotFound");

    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "command": ["/bin/true"]}]}});
    server.post(pods, &pod).await.expect(201);
    server.post(&format!("{pods}/p/binding"), json!({"target": {"name": "here"}})).await.expect(201);
    server.post(&format!("{pods}/p/binding"), json!({"target": {"name": "there"}})).await.refused(409, "Conflict");
    let marked = server.delete(&format!("{pods}/p")).await.expect(200).body;
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    server.delete(&format!("{pods}/p?gracePeriodSeconds=0")).await.expect(200);
    server.get(&format!("{pods}/p")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn who_shows_no_token_may_only_look_at_health_and_version() {
    let server = Server::start().await;
    let request = |uri: &str| Request::builder().uri(uri).body(Body::empty()).unwrap();
    for uri in ["/version", "/livez", "/readyz"] {
        ask(&server.stranger, request(uri)).await.expect(200);
    }
    for uri in [MAPS, SERVICES, "/api/v1/namespaces"] {
        let message = ask(&server.stranger, request(uri)).await.refused(403, "Forbidden");
        assert!(message.contains("system:anonymous"), "{message}");
    }
    let with = |token: &str| Request::builder().uri(MAPS).header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
    ask(&server.stranger, with("secret")).await.expect(200);
    ask(&server.stranger, with("wrong")).await.refused(401, "Unauthorized");
}

#[tokio::test]
async fn unknown_fields_warn_where_that_is_asked_for() {
    let server = Server::start().await;
    let object = json!({"metadata": {"name": "w"}, "dta": {"k": "v"}});
    server.post(&format!("{MAPS}?fieldValidation=Strict"), &object).await.refused(400, "BadRequest");
    let made = server.post(&format!("{MAPS}?fieldValidation=Warn"), &object).await.expect(201);
    assert_eq!(made.warnings, [r#"299 - "unknown field \"dta\"""#]);
    assert!(made.body.get("dta").is_none(), "an unknown field is dropped");
}
