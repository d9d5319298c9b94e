//! Kinds whose versions a webhook turns into each other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use api::{WebhookCaller, WebhookTarget};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::server::Server;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const NEW: &str = "/apis/example.dev/v1/namespaces/default/endpoints";
const OLD: &str = "/apis/example.dev/v1beta1/namespaces/default/endpoints";

fn definition(stored: &str) -> Value {
    let version = |name: &str, spec: Value| {
        json!({"name": name, "served": true, "storage": name == stored, "subresources": {"status": {}},
            "selectableFields": if name == "v1" { json!([{"jsonPath": ".spec.port"}]) } else { json!([]) },
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": spec},
                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}})
    };
    let text = json!({"type": "string"});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "endpoints.example.dev"},
        "spec": {
            "group": "example.dev", "scope": "Namespaced", "names": {"plural": "endpoints", "kind": "Endpoint"},
            "versions": [version("v1", json!({"host": text, "port": text})), version("v1beta1", json!({"hostPort": text}))],
            "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
                "clientConfig": {"url": "https://hooks.test/convert"}}},
        },
    })
}

fn old(name: &str, host_port: &str) -> Value {
    json!({"apiVersion": "example.dev/v1beta1", "kind": "Endpoint", "metadata": {"name": name}, "spec": {"hostPort": host_port}})
}

/// Splits `host:port` for v1 and joins it for v1beta1, unless it is away; and counts.
#[derive(Default)]
struct Converter {
    asked: AtomicUsize,
    is_away: AtomicBool,
    reviewed: Mutex<Vec<Value>>,
}

fn converted(object: &Value, wanted: &str) -> Value {
    let mut made = object.clone();
    made["apiVersion"] = json!(wanted);
    let spec = &object["spec"];
    made["spec"] = match (wanted, spec["hostPort"].as_str()) {
        ("example.dev/v1", Some(text)) => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            json!({"host": host, "port": port, "unknown": "to the schema"})
        }
        ("example.dev/v1beta1", None) => {
            json!({"hostPort": format!("{}:{}", spec["host"].as_str().unwrap_or_default(), spec["port"].as_str().unwrap_or_default())})
        }
        _ => spec.clone(),
    };
    made["metadata"]["annotations"]["converted"] = json!(wanted);
    made
}

#[async_trait::async_trait]
impl WebhookCaller for Converter {
    async fn post(&self, target: &WebhookTarget, body: Bytes) -> Result<Bytes, String> {
        let review: Value = serde_json::from_slice(&body).unwrap();
        let request = &review["request"];
        let mut said = json!({"uid": request["uid"]});
        if target.url.ends_with("/admit") {
            self.reviewed.lock().unwrap().push(request.clone());
            let patch = json!([{"op": "add", "path": "/spec/port", "value": "443"}]).to_string();
            said["allowed"] = json!(true);
            said["patch"] = json!(STANDARD.encode(patch));
            said["patchType"] = json!("JSONPatch");
        } else if self.is_away.load(Ordering::SeqCst) {
            return Err("connection refused".to_owned());
        } else {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let wanted = request["desiredAPIVersion"].as_str().unwrap();
            let objects = request["objects"].as_array().unwrap().iter().map(|object| converted(object, wanted));
            said["convertedObjects"] = objects.collect();
            said["result"] = json!({"status": "Success"});
        }
        Ok(json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": said}).to_string().into())
    }
}

async fn started() -> (Server, Arc<Converter>) {
    let (server, converter) = (Server::start().await, Arc::new(Converter::default()));
    server.api.call_webhooks_by(converter.clone());
    server.post(DEFINITIONS, definition("v1")).await.expect(201);
    (server, converter)
}

/// The first lines of a watch.
async fn watched(server: &Server, uri: &str, count: usize) -> Vec<Value> {
    let response = server.router.clone().oneshot(Request::get(uri).body(Body::empty()).unwrap()).await.unwrap();
    let (mut body, mut text) = (response.into_body(), String::new());
    while text.lines().count() < count {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(10), body.frame()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn an_object_is_shown_in_every_version_and_kept_in_one() {
    let (server, converter) = started().await;
    let made = server.post(OLD, old("a", "here:80")).await.expect(201).body;
    assert_eq!((&made["apiVersion"], &made["spec"]), (&json!("example.dev/v1beta1"), &json!({"hostPort": "here:80"})));
    let asked = converter.asked.load(Ordering::SeqCst);
    let new = server.get(&format!("{NEW}/a")).await.expect(200).body;
    assert_eq!(new["spec"], json!({"host": "here", "port": "80"}), "it was converted, and what no schema knows left out");
    assert_eq!(new["metadata"]["annotations"]["converted"], "example.dev/v1");
    assert_eq!(new["metadata"]["uid"], made["metadata"]["uid"]);
    assert_eq!(converter.asked.load(Ordering::SeqCst), asked, "what is kept in v1 is shown in v1 as it is");
    server.merge(&format!("{OLD}/a"), json!({"spec": {"hostPort": "there:81"}})).await.expect(200);
    let list = server.get(NEW).await.expect(200).body;
    assert_eq!(list["items"][0]["spec"], json!({"host": "there", "port": "81"}));
    let apply = json!({"apiVersion": "example.dev/v1beta1", "kind": "Endpoint", "metadata": {"name": "b"}, "spec": {"hostPort": "b:1"}});
    let uri = format!("{OLD}/b?fieldManager=me");
    for code in [201, 200] {
        let applied = server.send("PATCH", &uri, "application/apply-patch+yaml", apply.to_string()).await.expect(code).body;
        assert_eq!(applied["spec"], json!({"hostPort": "b:1"}));
    }
    server.send("PATCH", &format!("{OLD}/b/status"), "application/merge-patch+json", r#"{"status": {"up": true}}"#).await.expect(200);
    let list = server.get(OLD).await.expect(200).body;
    let specs: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["spec"]["hostPort"]).collect();
    assert_eq!((specs, &list["items"][1]["status"]), (vec![&json!("there:81"), &json!("b:1")], &json!({"up": true})));
    let chosen = server.get(&format!("{NEW}?fieldSelector=spec.port%3D81")).await.expect(200).body;
    assert_eq!(chosen["items"].as_array().unwrap().len(), 1);
    server.delete(&format!("{OLD}/b")).await.expect(200);
    server.get(&format!("{NEW}/b")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_watch_shows_its_version_and_a_field_chooses_what_it_shows() {
    let (server, _) = started().await;
    let revision = server.get(NEW).await.expect(200).body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    server.post(OLD, old("a", "a:80")).await.expect(201);
    server.post(OLD, old("b", "b:81")).await.expect(201);
    server.merge(&format!("{OLD}/b"), json!({"spec": {"hostPort": "b:80"}})).await.expect(200);
    server.delete(&format!("{NEW}/a")).await.expect(200);
    let seen = watched(&server, &format!("{OLD}?watch=true&resourceVersion={revision}"), 4).await;
    let short = |event: &Value| format!("{} {}", event["type"].as_str().unwrap(), event["object"]["spec"]["hostPort"].as_str().unwrap());
    assert_eq!(seen.iter().map(short).collect::<Vec<_>>(), ["ADDED a:80", "ADDED b:81", "MODIFIED b:80", "DELETED a:80"]);
    assert!(seen.iter().all(|event| event["object"]["apiVersion"] == "example.dev/v1beta1"));
    let chosen = watched(&server, &format!("{NEW}?watch=true&resourceVersion={revision}&fieldSelector=spec.port%3D80"), 3).await;
    let short = |event: &Value| format!("{} {}", event["type"].as_str().unwrap(), event["object"]["metadata"]["name"].as_str().unwrap());
    assert_eq!(chosen.iter().map(short).collect::<Vec<_>>(), ["ADDED a", "ADDED b", "DELETED a"]);
}

#[tokio::test]
async fn a_webhook_that_is_away_keeps_nobody_from_deleting() {
    let (server, converter) = started().await;
    for name in ["a", "b", "c"] {
        server.post(OLD, old(name, "here:80")).await.expect(201);
    }
    let revision = server.get(NEW).await.expect(200).body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    server.post(OLD, old("e", "here:80")).await.expect(201);
    converter.is_away.store(true, Ordering::SeqCst);
    let refused = server.post(OLD, old("d", "x:1")).await.refused(500, "InternalError");
    let why = "conversion webhook for example.dev/v1beta1, Kind=Endpoint failed: connection refused";
    assert!(refused.ends_with(why), "{refused}");
    server.get(&format!("{NEW}/d")).await.refused(404, "NotFound");
    server.get(&format!("{NEW}/a")).await.expect(200);
    let refused = server.get(&format!("{OLD}/a")).await.refused(500, "InternalError");
    assert!(refused.contains("conversion webhook for example.dev/v1, Kind=Endpoint failed"), "{refused}");
    let lines = watched(&server, &format!("{OLD}?watch=true&resourceVersion={revision}"), 1).await;
    assert_eq!((&lines[0]["type"], &lines[0]["object"]["code"]), (&json!("ERROR"), &json!(500)));
    let partial = Request::get(OLD).header("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let metadata = crate::server::ask(&server.router, partial.body(Body::empty()).unwrap()).await.expect(200).body;
    assert_eq!(metadata["items"].as_array().unwrap().len(), 4, "metadata needs no webhook");
    server.delete(&format!("{OLD}/a")).await.expect(200);
    server.delete(&format!("{OLD}?labelSelector=none%3Dsuch")).await.expect(200);
    server.delete(OLD).await.expect(200);
    assert_eq!(server.get(NEW).await.expect(200).body["items"], json!([]));
}

#[tokio::test]
async fn when_another_version_is_kept_what_was_kept_before_is_converted() {
    let (server, _) = started().await;
    server.post(OLD, old("a", "here:80")).await.expect(201);
    let path = format!("{DEFINITIONS}/endpoints.example.dev");
    server.merge(&path, json!({"spec": {"versions": definition("v1beta1")["spec"]["versions"]}})).await.expect(200);
    assert_eq!(server.get(&format!("{OLD}/a")).await.expect(200).body["spec"], json!({"hostPort": "here:80"}));
    assert_eq!(server.get(&format!("{NEW}/a")).await.expect(200).body["spec"], json!({"host": "here", "port": "80"}));
    server.merge(&format!("{NEW}/a"), json!({"spec": {"port": "82"}})).await.expect(200);
    assert_eq!(server.get(&format!("{OLD}/a")).await.expect(200).body["spec"], json!({"hostPort": "here:82"}));
    let again = server.again();
    again.api.call_webhooks_by(Arc::new(Converter::default()));
    assert_eq!(again.get(&format!("{NEW}/a")).await.expect(200).body["spec"], json!({"host": "here", "port": "82"}));
    let stored = server.get(&path).await.expect(200).body["status"]["storedVersions"].clone();
    assert_eq!(stored, json!(["v1", "v1beta1"]));
}

#[tokio::test]
async fn whoever_is_asked_about_another_version_sees_that_version() {
    let (server, converter) = started().await;
    let rule = json!({"operations": ["CREATE"], "apiGroups": ["example.dev"], "apiVersions": ["v1"], "resources": ["endpoints"]});
    let hook = json!({"name": "admit.example.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule],
        "clientConfig": {"url": "https://hooks.test/admit"}});
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "p"}, "webhooks": [hook]});
    server.post("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", object).await.expect(201);
    let made = server.post(OLD, old("a", "here:80")).await.expect(201).body;
    assert_eq!(made["spec"], json!({"hostPort": "here:443"}), "what it changed in v1 is there in v1beta1");
    let reviewed = converter.reviewed.lock().unwrap()[0].clone();
    assert_eq!((&reviewed["kind"]["version"], &reviewed["requestKind"]["version"]), (&json!("v1"), &json!("v1beta1")));
    assert_eq!((&reviewed["object"]["apiVersion"], &reviewed["object"]["spec"]["port"]), (&json!("example.dev/v1"), &json!("80")));
}
