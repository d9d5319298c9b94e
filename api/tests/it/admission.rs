//! Policies and webhooks are asked before something is stored.

use std::sync::{Arc, Mutex};

use api::{WebhookCaller, WebhookTarget};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn rule(operations: &[&str], resources: &[&str]) -> Value {
    json!({"operations": operations, "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources})
}

async fn policy(server: &Server, spec: Value, binding: Value) {
    let object = |kind: &str, spec: &Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "p"}, "spec": spec});
    let policies = format!("{GROUP}/validatingadmissionpolicies");
    server.post(&policies, object("ValidatingAdmissionPolicy", &spec)).await.expect(201);
    let mut bound = json!({"policyName": "p", "validationActions": ["Deny"]});
    for (name, value) in binding.as_object().unwrap() {
        bound[name] = value.clone();
    }
    server
        .post(&format!("{GROUP}/validatingadmissionpolicybindings"), object("ValidatingAdmissionPolicyBinding", &bound))
        .await
        .expect(201);
}

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

#[tokio::test]
async fn a_policy_refuses_creations_changes_and_deletions_from_its_binding_on() {
    let server = Server::start().await;
    server.post(MAPS, map("kept", json!({"k": "v"}))).await.expect(201);
    let validations = json!([
        {"expression": "object == null || size(object.data) < 2", "message": "two are too many", "reason": "Forbidden"},
        {"expression": "request.operation != 'DELETE' || oldObject.data.k != 'v'", "message": "it is kept"},
    ]);
    let constraints = json!({"resourceRules": [rule(&["CREATE", "UPDATE", "DELETE"], &["configmaps"])]});
    policy(&server, json!({"matchConstraints": constraints, "validations": validations}), json!({})).await;
    let refused = server.post(MAPS, map("a", json!({"a": "1", "b": "2"}))).await.refused(403, "Forbidden");
    let by = "ValidatingAdmissionPolicy 'p' with binding 'p' denied request";
    assert_eq!(refused, format!("configmaps \"a\" is forbidden: {by}: two are too many"));
    server.merge(&format!("{MAPS}/kept"), json!({"data": {"x": "y"}})).await.refused(403, "Forbidden");
    server.delete(&format!("{MAPS}/kept")).await.refused(422, "Invalid");
    server.post(MAPS, map("ok", json!({"a": "1"}))).await.expect(201);
    server.delete(&format!("{GROUP}/validatingadmissionpolicybindings/p")).await.expect(200);
    server.delete(&format!("{MAPS}/kept")).await.expect(200);
}

#[tokio::test]
async fn a_policy_reads_parameters_and_only_warns_when_told_so() {
    let server = Server::start().await;
    let constraints = json!({"resourceRules": [rule(&["CREATE"], &["secrets"])]});
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "matchConstraints": constraints,
        "validations": [{"expression": "size(object.data) <= int(params.data.max)", "messageExpression": "'at most ' + params.data.max"}]});
    let reference = json!({"name": "limit", "parameterNotFoundAction": "Deny"});
    policy(&server, spec, json!({"paramRef": reference, "validationActions": ["Warn"]})).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = |name: &str| json!({"metadata": {"name": name}, "stringData": {"a": "1", "b": "2"}});
    let missing = server.post(secrets, secret("a")).await.expect(201);
    assert!(missing.warnings[0].contains("no params found"), "{:?}", missing.warnings);
    server.post(MAPS, map("limit", json!({"max": "1"}))).await.expect(201);
    let warned = server.post(secrets, secret("b")).await.expect(201).warnings;
    assert_eq!(warned, ["299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': at most 1\""]);
    server.merge(&format!("{MAPS}/limit"), json!({"data": {"max": "2"}})).await.expect(200);
    assert!(server.post(secrets, secret("c")).await.expect(201).warnings.is_empty());
}

#[tokio::test]
async fn a_policy_asks_what_somebody_may_do() {
    let server = Server::start().await;
    let may = "authorizer.group('').resource('secrets').namespace(namespaceObject.metadata.name).check('get').allowed()";
    let spec = json!({"matchConstraints": {"resourceRules": [rule(&["CREATE"], &["configmaps"])]},
        "matchConditions": [{"name": "c", "expression": "authorizer.requestResource.check('create').allowed()"}],
        "variables": [{"name": "trusted", "expression": may}],
        "validations": [{"expression": "variables.trusted || object.data.k != 'secret'", "message": "it is secret"}]});
    policy(&server, spec, json!({})).await;
    for (name, rules) in [("writer", json!(["configmaps"])), ("reader", json!(["secrets"]))] {
        let verb = if name == "writer" { "create" } else { "get" };
        let role = json!({"metadata": {"name": name}, "rules": [{"verbs": [verb], "apiGroups": [""], "resources": rules}]});
        server.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", role).await.expect(201);
    }
    let bind = async |role: &str| {
        let binding = json!({"metadata": {"name": role}, "roleRef": {"kind": "Role", "name": role, "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]});
        server.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await.expect(201);
    };
    bind("writer").await;
    let jane = server.as_user("jane");
    assert!(jane.post(MAPS, map("a", json!({"k": "secret"}))).await.refused(422, "Invalid").ends_with("it is secret"));
    jane.post(MAPS, map("b", json!({"k": "plain"}))).await.expect(201);
    server.post(MAPS, map("c", json!({"k": "secret"}))).await.expect(201);
    bind("reader").await;
    jane.post(MAPS, map("a", json!({"k": "secret"}))).await.expect(201);
}

/// Answers as it was told, and remembers what it was asked.
#[derive(Default)]
struct Teller {
    asked: Mutex<Vec<(WebhookTarget, Value)>>,
}

#[async_trait::async_trait]
impl WebhookCaller for Teller {
    async fn post(&self, target: &WebhookTarget, body: Bytes) -> Result<Bytes, String> {
        let review: Value = serde_json::from_slice(&body).unwrap();
        let uid = review["request"]["uid"].clone();
        let path = target.url.rsplit('/').next().unwrap().to_owned();
        self.asked.lock().unwrap().push((target.clone(), review.clone()));
        let response = match path.as_str() {
            "away" => return Err("connection refused".into()),
            "no" => json!({"uid": uid, "allowed": false, "status": {"code": 403, "reason": "Forbidden", "message": "not today"}}),
            "mark" => {
                let patch = json!([{"op": "add", "path": "/data/marked", "value": "yes"}]).to_string();
                json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch), "warnings": ["marked"]})
            }
            "own" => {
                let taken = json!([{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "hook"}]).to_string();
                json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(taken)})
            }
            "spoil" => {
                let spoilt = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{"operation": "Stolen"}]}]).to_string();
                json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(spoilt)})
            }
            "wreck" => {
                let (path, value) = match review["request"]["name"].as_str().unwrap() {
                    "whole" => ("", json!("x")),
                    "metadata" => ("/metadata", json!("x")),
                    "namespace" => ("/metadata/namespace", json!("other")),
                    _ => ("/kind", json!(5)),
                };
                let wrecked = json!([{"op": "replace", "path": path, "value": value}]).to_string();
                json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(wrecked)})
            }
            "name" => {
                let named = json!([{"op": "add", "path": "/data", "value": {"right": "1"}}]).to_string();
                json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(named)})
            }
            _ => json!({"uid": uid, "allowed": true}),
        };
        Ok(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}).to_string().into())
    }
}

async fn webhook(server: &Server, kind: &str, path: &str, more: Value) {
    let mut hook = json!({"name": format!("{path}.example.dev"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": [rule(&["CREATE"], &["configmaps"])], "clientConfig": {"url": format!("https://hooks.test/{path}")}});
    for (name, value) in more.as_object().unwrap() {
        hook[name] = value.clone();
    }
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": path}, "webhooks": [hook]});
    server.post(&format!("{GROUP}/{}s", kind.to_lowercase()), object).await.expect(201);
}

#[tokio::test]
async fn webhooks_change_and_refuse() {
    let (server, teller) = (Server::start().await, Arc::new(Teller::default()));
    server.api.call_webhooks_by(teller.clone());
    webhook(&server, "MutatingWebhookConfiguration", "mark", json!({})).await;
    let made = server.post(MAPS, map("a", json!({"k": "v"}))).await.expect(201);
    assert_eq!((&made.body["data"]["marked"], made.warnings.len()), (&json!("yes"), 1));
    let (target, review) = teller.asked.lock().unwrap()[0].clone();
    assert_eq!((target.url.as_str(), target.timeout.as_secs()), ("https://hooks.test/mark", 10));
    assert_eq!((&review["request"]["object"]["data"], &review["request"]["userInfo"]["username"]), (&json!({"k": "v"}), &json!("admin")));
    let condition = json!([{"name": "c", "expression": "object.metadata.name.startsWith('n')"}]);
    webhook(&server, "ValidatingWebhookConfiguration", "no", json!({"matchConditions": condition})).await;
    server.post(MAPS, map("b", json!({}))).await.expect(201);
    let refused = server.post(MAPS, map("n", json!({}))).await;
    assert_eq!(refused.warnings.len(), 1, "a refusal too is told with the warnings");
    assert_eq!(refused.refused(403, "Forbidden"), "admission webhook \"no.example.dev\" denied the request: not today");
    server.get(&format!("{MAPS}/n")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_webhook_that_is_away_refuses_unless_that_is_to_be_ignored() {
    let (server, teller) = (Server::start().await, Arc::new(Teller::default()));
    server.api.call_webhooks_by(teller);
    webhook(&server, "ValidatingWebhookConfiguration", "away", json!({"failurePolicy": "Ignore"})).await;
    server.post(MAPS, map("a", json!({}))).await.expect(201);
    let service = json!({"service": {"namespace": "default", "name": "hooks"}});
    webhook(&server, "ValidatingWebhookConfiguration", "service", json!({"clientConfig": service})).await;
    let why = server.post(MAPS, map("b", json!({}))).await.refused(500, "InternalError");
    assert!(why.contains("failed calling webhook \"service.example.dev\"") && why.contains("no Service of that name routes"), "{why}");
    server.delete(&format!("{GROUP}/validatingwebhookconfigurations/service")).await.expect(200);
    server.post(MAPS, map("b", json!({}))).await.expect(201);
}

/// Who owns which keys of a ConfigMap's data.
fn owners(object: &Value) -> Vec<(String, Vec<String>)> {
    let keys = |entry: &Value| entry["fieldsV1"]["f:data"].as_object().into_iter().flat_map(|keys| keys.keys().cloned()).collect();
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| (entry["manager"].as_str().unwrap().to_owned(), keys(entry))).collect()
}

fn own(manager: &str, keys: &[&str]) -> (String, Vec<String>) {
    (manager.to_owned(), keys.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn what_a_webhook_changes_belongs_to_nobody() {
    let (server, teller) = (Server::start().await, Arc::new(Teller::default()));
    server.api.call_webhooks_by(teller.clone());
    let rules = json!({"rules": [rule(&["CREATE", "UPDATE"], &["configmaps"])]});
    webhook(&server, "MutatingWebhookConfiguration", "mark", rules.clone()).await;
    let made = server.post(&format!("{MAPS}?fieldManager=jane"), map("a", json!({"k": "v"}))).await.expect(201).body;
    assert_eq!((&made["data"]["marked"], owners(&made)), (&json!("yes"), vec![own("jane", &[".", "f:k"])]));
    let asked = teller.asked.lock().unwrap()[0].1["request"]["object"].clone();
    assert_eq!(owners(&asked), owners(&made), "webhooks are shown who owns what");
    let uri = |name: &str, manager: &str| format!("{MAPS}/{name}?fieldManager={manager}");
    server.merge(&uri("a", "joe"), json!({"data": {"marked": null, "x": "1"}})).await.expect(200);
    let mut changed = server.merge(&uri("a", "joe"), json!({"data": {"marked": "no", "y": "1"}})).await.expect(200).body;
    let expected = [own("jane", &[".", "f:k"]), own("joe", &["f:marked", "f:x", "f:y"])];
    assert_eq!((&changed["data"]["marked"], owners(&changed)), (&json!("yes"), expected.to_vec()), "what was asked for is owned");
    changed["data"] = json!({"k": "v", "z": "1"});
    let replaced = server.put(&uri("a", "jim"), changed).await.expect(200).body;
    let expected = vec![own("jane", &[".", "f:k"]), own("jim", &["f:z"])];
    assert_eq!((&replaced["data"]["marked"], owners(&replaced)), (&json!("yes"), expected));
    for data in [json!({"k": "v"}), json!({"k": "w"})] {
        let applied = server.send("PATCH", &uri("b", "jane"), "application/apply-patch+yaml", map("b", data).to_string()).await.body;
        assert_eq!((&applied["data"]["marked"], owners(&applied)), (&json!("yes"), vec![own("jane", &["f:k"])]));
    }
}

#[tokio::test]
async fn a_webhook_may_say_who_owns_what_but_not_so_that_nobody_can_read_it() {
    let (server, teller) = (Server::start().await, Arc::new(Teller::default()));
    server.api.call_webhooks_by(teller);
    let rules = json!({"rules": [rule(&["CREATE", "UPDATE"], &["configmaps"])]});
    webhook(&server, "MutatingWebhookConfiguration", "own", rules.clone()).await;
    let made = server.post(&format!("{MAPS}?fieldManager=jane"), map("a", json!({"k": "v"}))).await.expect(201).body;
    assert_eq!(owners(&made), [own("hook", &[".", "f:k"])]);
    server.delete(&format!("{GROUP}/mutatingwebhookconfigurations/own")).await.expect(200);
    webhook(&server, "MutatingWebhookConfiguration", "spoil", rules).await;
    let changed = server.merge(&format!("{MAPS}/a?fieldManager=joe"), json!({"data": {"x": "1"}})).await.expect(200);
    assert_eq!(owners(&changed.body), [own("hook", &[".", "f:k"]), own("joe", &["f:x"])]);
    assert!(changed.warnings[0].contains(".metadata.managedFields was in an invalid state after admission"), "{:?}", changed.warnings);
}

#[tokio::test]
async fn what_a_webhook_or_a_policy_makes_of_an_object_is_still_one_of_its_kind_and_place() {
    let (server, teller) = (Server::start().await, Arc::new(Teller::default()));
    server.api.call_webhooks_by(teller);
    server.post(MAPS, map("kept", json!({"k": "v"}))).await.expect(201);
    let rules = json!({"rules": [rule(&["CREATE"], &["*"])]});
    webhook(&server, "MutatingWebhookConfiguration", "wreck", rules).await;
    for name in ["whole", "metadata", "namespace", "kind"] {
        for (path, object) in
            [(MAPS, map(name, json!({}))), ("/apis/conductor.dev/v1/namespaces/default/services", crate::crud::service(name))]
        {
            let answer = server.post(path, object).await;
            assert!(answer.code >= 400 && answer.body["kind"] == "Status", "{name}: {}", answer.text);
            server.get(&format!("{path}/{name}")).await.refused(404, "NotFound");
        }
    }
    for (at, value) in
        [("/metadata", "'x'"), ("/metadata/namespace", "'other'"), ("/data", "'x'"), ("/none", "'x'"), ("/metadata/name", "'other'")]
    {
        let expression = format!("[JSONPatch{{op: 'replace', path: '{at}', value: {value}}}]");
        changing(&server, "wreck", json!({}), json!([patched(&expression)]), json!({})).await;
        let answer = server.merge(&format!("{MAPS}/kept"), json!({"data": {"x": "y"}})).await;
        assert!(answer.code >= 400 && answer.body["kind"] == "Status", "{at}: {}", answer.text);
        for kind in ["mutatingadmissionpolicybindings", "mutatingadmissionpolicies"] {
            server.delete(&format!("{GROUP}/{kind}/wreck")).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_webhook_may_mend_what_would_be_refused() {
    let (server, teller) = (Server::start().await, Arc::new(Teller::default()));
    server.api.call_webhooks_by(teller);
    server.post(MAPS, map("a", json!({"k": "v"}))).await.expect(201);
    let wrong = json!({"data": {"no key": "1"}});
    server.merge(&format!("{MAPS}/a"), wrong.clone()).await.refused(422, "Invalid");
    server.post(MAPS, map("b", wrong["data"].clone())).await.refused(422, "Invalid");
    let rules = json!({"rules": [rule(&["CREATE", "UPDATE"], &["configmaps"])]});
    webhook(&server, "MutatingWebhookConfiguration", "name", rules).await;
    for answer in [server.merge(&format!("{MAPS}/a"), wrong.clone()).await, server.post(MAPS, map("b", wrong["data"].clone())).await] {
        assert_eq!(answer.body["data"], json!({"right": "1"}), "{}", answer.body);
    }
}

/// Puts a policy in force that makes these changes to ConfigMaps.
async fn changing(server: &Server, name: &str, more: Value, mutations: Value, binding: Value) {
    let object = |kind: &str, spec: &Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let constraints = json!({"resourceRules": [rule(&["CREATE", "UPDATE"], &["configmaps"])]});
    let mut spec = json!({"matchConstraints": constraints, "reinvocationPolicy": "Never", "mutations": mutations});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    server.post(&format!("{GROUP}/mutatingadmissionpolicies"), object("MutatingAdmissionPolicy", &spec)).await.expect(201);
    let mut bound = json!({"policyName": name});
    for (field, value) in binding.as_object().unwrap() {
        bound[field] = value.clone();
    }
    server.post(&format!("{GROUP}/mutatingadmissionpolicybindings"), object("MutatingAdmissionPolicyBinding", &bound)).await.expect(201);
}

fn applied(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn patched(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

#[tokio::test]
async fn a_policy_changes_what_is_stored_from_its_binding_on_and_owns_nothing() {
    let server = Server::start().await;
    let mutations = json!([
        applied("Object{metadata: Object.metadata{labels: {'by': request.userInfo.username}}}"),
        patched("[JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('size'), value: string(size(object.data))}]"),
    ]);
    changing(&server, "p", json!({}), mutations, json!({})).await;
    let made = server.post(&format!("{MAPS}?fieldManager=jane"), map("a", json!({"k": "v"}))).await.expect(201).body;
    assert_eq!((&made["metadata"]["labels"], &made["data"]), (&json!({"by": "admin"}), &json!({"k": "v", "size": "1"})));
    assert_eq!(owners(&made), [own("jane", &[".", "f:k"])]);
    assert!(!made["metadata"]["managedFields"].to_string().contains("f:labels"), "{made}");
    let changed = server.merge(&format!("{MAPS}/a"), json!({"data": {"x": "y"}})).await.expect(200).body;
    assert_eq!(changed["data"], json!({"k": "v", "size": "3", "x": "y"}));
    assert_eq!(server.get(&format!("{MAPS}/a")).await.body["data"], changed["data"]);
    server.delete(&format!("{MAPS}/a")).await.expect(200);
    server.delete(&format!("{GROUP}/mutatingadmissionpolicybindings/p")).await.expect(200);
    let made = server.post(MAPS, map("a", json!({"k": "v"}))).await.expect(201).body;
    assert_eq!((&made["metadata"]["labels"], &made["data"]), (&Value::Null, &json!({"k": "v"})));
}

#[tokio::test]
async fn a_policy_is_asked_again_when_a_webhook_changed_the_object_after_it() {
    for (again, expected) in [("IfNeeded", "2"), ("Never", "1")] {
        let (server, teller) = (Server::start().await, Arc::new(Teller::default()));
        server.api.call_webhooks_by(teller.clone());
        webhook(&server, "MutatingWebhookConfiguration", "mark", json!({})).await;
        let condition = json!([{"name": "c", "expression": "!has(object.data.size) || object.data.size == '1'"}]);
        let more = json!({"reinvocationPolicy": again, "matchConditions": condition});
        changing(
            &server,
            "p",
            more,
            json!([applied("Object{data: {'size': string(size(object.data) - (has(object.data.size) ? 1 : 0))}}")]),
            json!({}),
        )
        .await;
        let made = server.post(MAPS, map("a", json!({"k": "v"}))).await.expect(201).body;
        assert_eq!(made["data"], json!({"k": "v", "marked": "yes", "size": expected}), "{again}");
        let asked = teller.asked.lock().unwrap()[0].1["request"]["object"]["data"].clone();
        assert_eq!(asked, json!({"k": "v", "size": "1"}), "policies are before webhooks");
    }
}

#[tokio::test]
async fn a_policy_that_cannot_change_what_it_should_refuses_unless_that_is_to_be_ignored() {
    let server = Server::start().await;
    let atomic =
        applied("Object{spec: Object.spec{template: Object.spec.template{}, selector: Object.spec.selector{matchLabels: {'a': 'b'}}}}");
    let unknown = applied("Object{specs: Object.specs{a: 1}}");
    let missing = applied("Object{data: {'x': params.data.x}}");
    let params = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}});
    let reference = json!({"paramRef": {"name": "params", "parameterNotFoundAction": "Deny"}, "matchResources": {"objectSelector": {"matchLabels": {"on": "yes"}}}});
    changing(&server, "missing", params, json!([missing]), reference).await;
    let mut on = map("a", json!({"k": "v"}));
    on["metadata"]["labels"] = json!({"on": "yes"});
    let refused = server.post(MAPS, &on).await.refused(403, "Invalid");
    assert!(
        refused.starts_with("policy 'missing' with binding 'missing' denied request: ") && refused.contains("no params found"),
        "{refused}"
    );
    server.post(MAPS, map("params", json!({"x": "from params"}))).await.expect(201);
    assert_eq!(server.post(MAPS, &on).await.expect(201).body["data"]["x"], "from params");
    changing(&server, "ignored", json!({"failurePolicy": "Ignore"}), json!([unknown.clone()]), json!({})).await;
    server.post(MAPS, map("b", json!({}))).await.expect(201);
    changing(&server, "unknown", json!({}), json!([unknown]), json!({})).await;
    let refused = server.post(MAPS, map("c", json!({}))).await.refused(403, "Invalid");
    assert!(
        refused.contains("error applying patch: failed to convert patch object to typed object: .specs: field not declared"),
        "{refused}"
    );
    let jobs = json!({"matchConstraints": {"resourceRules": [rule(&["CREATE"], &["jobs"])]}});
    changing(&server, "atomic", jobs, json!([atomic]), json!({})).await;
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let refused = server.post("/apis/batch/v1/namespaces/default/jobs", job).await.refused(403, "Invalid");
    assert!(refused.contains("may not mutate atomic arrays, maps or structs: .spec.selector"), "{refused}");
    let wrong = json!({"metadata": {"name": "w"}, "spec": {"reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": [rule(&["CREATE"], &["pods"])]},
        "mutations": [applied("Object{spec: Object.other{}}")]}});
    let refused = server.post(&format!("{GROUP}/mutatingadmissionpolicies"), wrong).await.refused(422, "Invalid");
    assert!(refused.contains("spec.mutations[0].applyConfiguration.expression") && refused.contains("unexpected type name"), "{refused}");
}
