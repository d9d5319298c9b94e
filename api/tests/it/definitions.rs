//! Kinds that people define themselves.

use serde_json::{Value, json};

use crate::server::Server;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.dev/v1/namespaces/default/widgets";

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.dev"},
        "spec": {
            "group": "example.dev", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true,
                    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                    "additionalPrinterColumns": [{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}],
                    "selectableFields": [{"jsonPath": ".spec.size"}],
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                        "spec": {"type": "object", "properties": {
                            "size": {"type": "string", "enum": ["small", "large"]}, "replicas": {"type": "integer", "default": 1}}},
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
                {"name": "v1beta1", "served": true, "storage": false,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
            ],
        },
    })
}

fn widget(name: &str) -> Value {
    json!({"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": "small"}})
}

async fn started() -> Server {
    let server = Server::start().await;
    server.post(DEFINITIONS, definition()).await.expect(201);
    server
}

#[tokio::test]
async fn a_defined_kind_is_served_as_soon_as_it_is_defined() {
    let server = started().await;
    let found = server.get(&format!("{DEFINITIONS}/widgets.example.dev")).await.expect(200);
    let types: Vec<&Value> = found.body["status"]["conditions"].as_array().unwrap().iter().map(|condition| &condition["type"]).collect();
    assert_eq!(types, ["NamesAccepted", "Established"]);
    assert_eq!(found.body["status"]["storedVersions"], json!(["v1"]));
    let mut sent = widget("a");
    sent["spec"]["bogus"] = json!(1);
    let created = server.post(WIDGETS, &sent).await.expect(201);
    assert_eq!(created.body["spec"], json!({"size": "small", "replicas": 1}));
    assert_eq!(created.warnings, ["299 - \"unknown field \\\"spec.bogus\\\"\""]);
    let strict = server.post(&format!("{WIDGETS}?fieldValidation=Strict"), &sent).await;
    assert!(strict.refused(400, "BadRequest").contains("strict decoding error: unknown field \"spec.bogus\""));
    sent["spec"] = json!({"size": "huge"});
    assert!(server.post(WIDGETS, &sent).await.refused(422, "Invalid").contains("spec.size: Unsupported value: \"huge\""));
    let list = server.get(&format!("{WIDGETS}?fieldSelector=spec.size%3Dsmall")).await.expect(200);
    assert_eq!((&list.body["kind"], list.body["items"].as_array().unwrap().len()), (&json!("WidgetList"), 1));
    let discovered = server.get("/apis/example.dev").await.expect(200);
    assert_eq!(discovered.body["preferredVersion"]["version"], "v1");
    let document = server.get("/openapi/v3/apis/example.dev/v1").await.expect(200);
    assert_eq!(
        document.body["components"]["schemas"]["dev.example.v1.Widget"]["properties"]["spec"]["properties"]["replicas"]["default"],
        1
    );
}

#[tokio::test]
async fn every_version_shows_the_same_objects() {
    let server = started().await;
    server.post(WIDGETS, widget("a")).await.expect(201);
    let beta = "/apis/example.dev/v1beta1/namespaces/default/widgets";
    let found = server.get(&format!("{beta}/a")).await.expect(200).body;
    assert_eq!((&found["apiVersion"], &found["spec"]["size"]), (&json!("example.dev/v1beta1"), &json!("small")));
    server.merge(&format!("{beta}/a"), json!({"spec": {"size": "large"}})).await.expect(200);
    let list = server.get(WIDGETS).await.expect(200).body;
    assert_eq!((&list["items"][0]["apiVersion"], &list["items"][0]["spec"]["size"]), (&json!("example.dev/v1"), &json!("large")));
}

#[tokio::test]
async fn objects_of_before_are_read_by_the_schema_of_now() {
    let server = started().await;
    server.post(WIDGETS, widget("a")).await.expect(201);
    let colour = json!({"type": "string", "default": "grey"});
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/colour";
    let patch = json!([{"op": "add", "path": path, "value": colour}]);
    let uri = format!("{DEFINITIONS}/widgets.example.dev");
    server.send("PATCH", &uri, "application/json-patch+json", patch.to_string()).await.expect(200);
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.expect(200).body["spec"]["colour"], "grey");
    assert_eq!(server.get(WIDGETS).await.expect(200).body["items"][0]["spec"]["colour"], "grey");
    let patch = json!([{"op": "remove", "path": path}]);
    server.send("PATCH", &uri, "application/json-patch+json", patch.to_string()).await.expect(200);
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.expect(200).body["spec"]["colour"], Value::Null);
    let immutable = server.merge(&uri, json!({"spec": {"scope": "Cluster"}})).await.refused(422, "Invalid");
    assert!(immutable.contains("spec.scope: Invalid value: \"Cluster\": field is immutable"), "{immutable}");
}

#[tokio::test]
async fn status_and_scale_are_resources_of_their_own() {
    let server = started().await;
    server.post(WIDGETS, widget("a")).await.expect(201);
    let ready = json!({"status": {"replicas": 1, "conditions": [{"type": "Ready", "status": "True"}]}, "spec": {"size": "large"}});
    let answer = server.merge(&format!("{WIDGETS}/a/status"), ready).await.expect(200).body;
    assert_eq!((&answer["spec"]["size"], &answer["metadata"]["generation"]), (&json!("small"), &json!(1)));
    let scaled = server.merge(&format!("{WIDGETS}/a/scale"), json!({"spec": {"replicas": 3}})).await.expect(200).body;
    assert_eq!((&scaled["spec"]["replicas"], &scaled["status"]["replicas"]), (&json!(3), &json!(1)));
    let found = server.get(&format!("{WIDGETS}/a")).await.expect(200).body;
    assert_eq!((&found["spec"]["replicas"], &found["metadata"]["generation"]), (&json!(3), &json!(2)));
    server.get("/apis/example.dev/v1beta1/namespaces/default/widgets/a/scale").await.refused(404, "NotFound");
}

#[tokio::test]
async fn with_its_definition_a_kind_goes_and_its_objects_go_first() {
    let server = started().await;
    server.post(WIDGETS, widget("free")).await.expect(201);
    let mut held = widget("held");
    held["metadata"]["finalizers"] = json!(["example.dev/hold"]);
    server.post(WIDGETS, held).await.expect(201);
    let uri = format!("{DEFINITIONS}/widgets.example.dev");
    let answer = server.delete(&uri).await.expect(200).body;
    assert_eq!(answer["status"]["conditions"][2]["type"], "Terminating");
    server.get(&format!("{WIDGETS}/free")).await.refused(404, "NotFound");
    assert!(server.get(&format!("{WIDGETS}/held")).await.expect(200).body["metadata"]["deletionTimestamp"].is_string());
    server.post(WIDGETS, widget("late")).await.refused(405, "MethodNotAllowed");
    server.merge(&format!("{WIDGETS}/held"), json!({"metadata": {"finalizers": null}})).await.expect(200);
    server.get(&uri).await.refused(404, "NotFound");
    assert_eq!(server.get(WIDGETS).await.expect(404).text, "404 page not found\n");
    server.post(DEFINITIONS, definition()).await.expect(201);
    assert_eq!(server.get(WIDGETS).await.expect(200).body["items"], json!([]));
}

#[tokio::test]
async fn a_server_that_starts_again_knows_what_was_defined() {
    let server = started().await;
    server.post(WIDGETS, widget("a")).await.expect(201);
    let again = server.again();
    assert_eq!(again.get(&format!("{WIDGETS}/a")).await.expect(200).body["spec"]["replicas"], 1);
    again.post(WIDGETS, widget("b")).await.expect(201);
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_given_twice() {
    let server = started().await;
    let mut other = definition();
    other["metadata"]["name"] = json!("gadgets.example.dev");
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget", "singular": "gadget"});
    server.post(DEFINITIONS, other).await.expect(201);
    let found = server.get(&format!("{DEFINITIONS}/gadgets.example.dev")).await.expect(200).body;
    let reasons: Vec<&Value> = found["status"]["conditions"].as_array().unwrap().iter().map(|condition| &condition["reason"]).collect();
    assert_eq!(reasons, ["ListKindConflict", "NotAccepted"]);
    assert_eq!(server.get("/apis/example.dev/v1/namespaces/default/gadgets").await.expect(404).text, "404 page not found\n");
    server.delete(&format!("{DEFINITIONS}/widgets.example.dev")).await.expect(200);
    server.get("/apis/example.dev/v1/namespaces/default/gadgets").await.expect(200);
}

/// A definition whose versions know different fields, and whose rule is about spec and status.
fn versions() -> Value {
    let schema = |spec: Value| {
        json!({"openAPIV3Schema": {
            "type": "object", "x-kubernetes-validations": [{"rule": "!has(self.status) || self.status.used <= self.spec.size"}],
            "properties": {
                "spec": {"type": "object", "properties": spec},
                "status": {"type": "object", "properties": {"used": {"type": "integer"}}}}}})
    };
    let parts = json!({"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.used"}});
    let (size, text) = (json!({"type": "integer", "minimum": 0}), json!({"type": "string"}));
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "tanks.example.dev"},
        "spec": {"group": "example.dev", "scope": "Namespaced", "names": {"plural": "tanks", "kind": "Tank"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "subresources": parts, "schema": schema(json!({"size": size, "new": text}))},
            {"name": "v1beta1", "served": true, "storage": false, "deprecated": true, "deprecationWarning": "use v1", "subresources": parts,
                "schema": schema(json!({"size": size, "old": {"type": "string", "default": "o"}}))},
        ]},
    })
}

#[tokio::test]
async fn what_the_kept_version_does_not_know_is_not_kept_and_deprecation_is_told_to_whoever_asks() {
    let server = Server::start().await;
    server.post(DEFINITIONS, versions()).await.expect(201);
    let (old, new) = ("/apis/example.dev/v1beta1/namespaces/default/tanks", "/apis/example.dev/v1/namespaces/default/tanks");
    let tank = |version: &str, spec: Value| json!({"apiVersion": format!("example.dev/{version}"), "kind": "Tank", "metadata": {"name": "t"}, "spec": spec});
    let made = server.post(old, tank("v1beta1", json!({"size": 3, "old": "x"}))).await.expect(201);
    assert_eq!((&made.body["spec"], made.warnings.as_slice()), (&json!({"size": 3}), &["299 - \"use v1\"".to_owned()][..]));
    assert_eq!(server.get(&format!("{new}/t")).await.expect(200).body["spec"], json!({"size": 3}));
    server.merge(&format!("{new}/t"), json!({"spec": {"new": "n"}})).await.expect(200);
    for uri in [old.to_owned(), format!("{old}/t")] {
        assert_eq!(server.get(&uri).await.expect(200).warnings, ["299 - \"use v1\""], "{uri}");
    }
    assert_eq!(server.get(&format!("{old}/t")).await.expect(200).body["spec"], json!({"size": 3}), "the old version does not know it");
    assert_eq!(server.get(&format!("{new}/t")).await.expect(200).body["spec"], json!({"size": 3, "new": "n"}));
    assert!(server.get(new).await.expect(200).warnings.is_empty());
}

#[tokio::test]
async fn a_status_is_held_to_rules_about_the_whole_and_a_scale_to_the_schema() {
    let server = Server::start().await;
    server.post(DEFINITIONS, versions()).await.expect(201);
    let tanks = "/apis/example.dev/v1/namespaces/default/tanks";
    let tank = json!({"apiVersion": "example.dev/v1", "kind": "Tank", "metadata": {"name": "t"}, "spec": {"size": 3}});
    server.post(tanks, tank).await.expect(201);
    let status = format!("{tanks}/t/status");
    server.merge(&status, json!({"status": {"used": 3}})).await.expect(200);
    server.merge(&status, json!({"status": {"used": 4}})).await.refused(422, "Invalid");
    server.merge(&status, json!({"status": {"used": "x"}})).await.refused(422, "Invalid");
    server.merge(&format!("{tanks}/t"), json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
    let scale = format!("{tanks}/t/scale");
    for (size, code) in [(-1, 422), (2, 422), (5, 200)] {
        server.merge(&scale, json!({"spec": {"replicas": size}})).await.expect(code);
    }
    let refused = server.merge(&scale, json!({"spec": {"replicas": -1}})).await.refused(422, "Invalid");
    assert!(refused.starts_with("Tank.example.dev \"t\" is invalid"), "{refused}");
    let owners = server.get(&format!("{tanks}/t")).await.expect(200).body["metadata"]["managedFields"].clone();
    let scaled = owners.as_array().unwrap().iter().find(|owner| owner["subresource"] == "scale").unwrap();
    assert!(scaled["time"].is_null(), "{scaled}");
}
