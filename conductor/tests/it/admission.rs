//! Webhooks and policies, made with kubectl, asked by the real server.

use std::sync::Arc;

use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::kubectl::{Kubectl, kubectl};
use crate::server::Server;

/// The answer to a review: `/mark` adds a label, `/check` refuses what has no owner, `/convert` joins or splits first and last names.
fn answer(path: &str, review: &Value) -> Json<Value> {
    let (uid, object) = (&review["request"]["uid"], &review["request"]["object"]);
    let response = match path {
        "convert" => {
            let wanted = &review["request"]["desiredAPIVersion"];
            let objects = review["request"]["objects"].as_array().unwrap().iter().map(|object| renamed(object, wanted));
            json!({"uid": uid, "result": {"status": "Success"}, "convertedObjects": objects.collect::<Vec<_>>()})
        }
        "mark" => {
            let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"seen-by": review["request"]["userInfo"]["username"]}}]);
            json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string())})
        }
        _ if object["data"]["owner"].is_string() => json!({"uid": uid, "allowed": true, "warnings": ["checked"]}),
        _ => json!({"uid": uid, "allowed": false, "status": {"code": 403, "message": "an owner is missing"}}),
    };
    Json(json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}))
}

/// v1 has first and last names apart, v1beta1 in one.
fn renamed(object: &Value, wanted: &Value) -> Value {
    let mut object = object.clone();
    let text = |field: &str| object["spec"][field].as_str().unwrap_or_default().to_owned();
    let spec = match text("name").split_once(' ') {
        Some((first, last)) if wanted == "people.dev/v1" => json!({"first": first, "last": last}),
        _ => json!({"name": format!("{} {}", text("first"), text("last"))}),
    };
    object["apiVersion"] = wanted.clone();
    object["spec"] = spec;
    object
}

/// An https server of webhooks; its port, and its certificate as a configuration has it.
async fn webhooks() -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let route = |path: &'static str| post(async move |Json(review): Json<Value>| answer(path, &review));
    let routes = Router::new().route("/mark", route("mark")).route("/check", route("check")).route("/convert", route("convert"));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, routes) = (acceptor.clone(), routes.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let service = TowerToHyperService::new(routes);
                let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (port, STANDARD.encode(made.cert.pem()))
}

fn configuration(kind: &str, path: &str, port: u16, authority: &str) -> String {
    let rule = json!({"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
    let webhook = json!({"name": format!("{path}.example.dev"), "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule],
        "clientConfig": {"url": format!("https://localhost:{port}/{path}"), "caBundle": authority}});
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": path}, "webhooks": [webhook]}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_change_and_refuse_what_kubectl_sends() {
    let Some(path) = kubectl() else { return };
    let kubectl = Kubectl { path, server: Server::start() };
    let (port, authority) = webhooks().await;
    kubectl.write("mark.yaml", &configuration("MutatingWebhookConfiguration", "mark", port, &authority));
    kubectl.write("check.yaml", &configuration("ValidatingWebhookConfiguration", "check", port, &authority));
    kubectl.good("create -f mark.yaml", "mutatingwebhookconfiguration.admissionregistration.k8s.io/mark created");
    kubectl.good("create configmap free --from-literal=a=b", "created");
    kubectl.good("get configmap free -o jsonpath={.metadata.labels}", "seen-by");
    kubectl.good("create -f check.yaml", "created");
    let refusal = "admission webhook \"check.example.dev\" denied the request: an owner is missing";
    kubectl.bad("create configmap refused --from-literal=a=b", refusal);
    kubectl.bad("get configmap refused", "not found");
    kubectl.good("create configmap owned --from-literal=owner=me", "Warning: checked");
    kubectl.bad("patch configmap owned --type=merge -p {\"data\":{\"owner\":null}}", refusal);
    kubectl.good("get configmap owned -o jsonpath={.data.owner}", "me");
    kubectl.write("other.yaml", &configuration("ValidatingWebhookConfiguration", "check", 1, &authority));
    kubectl.good("apply -f other.yaml", "configured");
    kubectl.bad("create configmap unheard --from-literal=owner=me", "failed calling webhook \"check.example.dev\"");
    kubectl.good("delete -f check.yaml -f mark.yaml", "deleted");
    kubectl.good("create configmap unheard --from-literal=a=b", "created");
    kubectl.good("get configmap unheard -o jsonpath=labels={.metadata.labels}", "labels=");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_converts_what_kubectl_asks_for() {
    let Some(path) = kubectl() else { return };
    let kubectl = Kubectl { path, server: Server::start() };
    let (port, authority) = webhooks().await;
    let text = json!({"type": "string"});
    let version = |name: &str, stored: bool, spec: Value| {
        json!({"name": name, "served": true, "storage": stored,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}}})
    };
    let client = json!({"url": format!("https://localhost:{port}/convert"), "caBundle": authority});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "persons.people.dev"},
        "spec": {"group": "people.dev", "scope": "Namespaced", "names": {"plural": "persons", "kind": "Person"},
            "versions": [version("v1", true, json!({"first": text, "last": text})), version("v1beta1", false, json!({"name": text}))],
            "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client}}}});
    kubectl.write("definition.yaml", &definition.to_string());
    let person = "{apiVersion: people.dev/v1beta1, kind: Person, metadata: {name: ada}, spec: {name: Ada Lovelace}}";
    kubectl.write("person.yaml", person);
    kubectl.good("apply -f definition.yaml", "persons.people.dev created");
    kubectl.good("apply -f person.yaml", "person.people.dev/ada created");
    kubectl.good("get persons.v1.people.dev ada -o jsonpath={.apiVersion},{.spec.last}", "people.dev/v1,Lovelace");
    kubectl.good("get persons.v1beta1.people.dev -o jsonpath={.items[*].spec.name}", "Ada Lovelace");
    kubectl.write("person.yaml", &person.replace("Lovelace", "King"));
    kubectl.good("apply -f person.yaml", "person.people.dev/ada configured");
    kubectl.good("apply -f person.yaml", "person.people.dev/ada unchanged");
    kubectl.good("get person ada -o jsonpath={.spec.last}", "King");
    kubectl.good("patch crd persons.people.dev --type=merge -p {\"spec\":{\"conversion\":{\"webhook\":{\"clientConfig\":{\"url\":\"https://localhost:1/\"}}}}}", "patched");
    kubectl.bad(
        "get persons.v1beta1.people.dev ada",
        "conversion webhook for people.dev/v1, Kind=Person failed: Post \"https://localhost:1/\"",
    );
    kubectl.good("delete crd persons.people.dev", "deleted");
}

#[test]
fn a_policy_is_made_and_taken_away_with_kubectl() {
    let Some(path) = kubectl() else { return };
    let kubectl = Kubectl { path, server: Server::start() };
    let policy = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: small}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
  validations: [{expression: "size(object.data) < 2", messageExpression: "'at most one, not ' + string(size(object.data))"}]
"#;
    let binding = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: small}
spec: {policyName: small, validationActions: [Deny], matchResources: {namespaceSelector: {matchLabels: {strict: 'yes'}}}}
";
    kubectl.write("policy.yaml", policy);
    kubectl.write("binding.yaml", binding);
    kubectl.good("apply -f policy.yaml -f binding.yaml", "validatingadmissionpolicybinding.admissionregistration.k8s.io/small created");
    kubectl.good("create configmap two --from-literal=a=b --from-literal=c=d", "created");
    kubectl.good("label namespace default strict=yes", "labeled");
    let refusal = "ValidatingAdmissionPolicy 'small' with binding 'small' denied request: at most one, not 2";
    kubectl.bad("create configmap more --from-literal=a=b --from-literal=c=d", refusal);
    kubectl.good("create configmap one --from-literal=a=b", "created");
    kubectl.bad("patch configmap one --type=merge -p {\"data\":{\"c\":\"d\"}}", refusal);
    kubectl.write("bad.yaml", &policy.replace("size(object.data) < 2", "size(thing) < 2"));
    kubectl.bad("apply -f bad.yaml", "undeclared reference to 'thing'");
    kubectl.good("delete -f binding.yaml", "deleted");
    kubectl.good("patch configmap one --type=merge -p {\"data\":{\"c\":\"d\"}}", "patched");
}

#[test]
fn a_policy_that_changes_pods_is_made_and_taken_away_with_kubectl() {
    let Some(path) = kubectl() else { return };
    let kubectl = Kubectl { path, server: Server::start() };
    // As Kubernetes' own pages have it.
    let policy = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: sidecar-policy.example.com}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"]}]
  matchConditions:
  - name: does-not-already-have-sidecar
    expression: "!object.spec.?initContainers.orValue([]).exists(ic, ic.name == \"mesh-proxy\")"
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  mutations:
  - patchType: "ApplyConfiguration"
    applyConfiguration:
      expression: >
        Object{
          spec: Object.spec{
            initContainers: [
              Object.spec.initContainers{
                name: "mesh-proxy",
                image: "mesh/proxy:v1.0.0",
                restartPolicy: "Always"
              }
            ]
          }
        }
"#;
    let binding = "
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: sidecar-binding.example.com}
spec: {policyName: sidecar-policy.example.com}
";
    kubectl.write("policy.yaml", policy);
    kubectl.write("binding.yaml", binding);
    kubectl.good(
        "apply -f policy.yaml -f binding.yaml",
        "mutatingadmissionpolicybinding.admissionregistration.k8s.io/sidecar-binding.example.com created",
    );
    kubectl.good("get mutatingadmissionpolicies", "MUTATIONS");
    // What a policy adds is held to what runtimes can do, as what people write is.
    kubectl.bad("run a --image=none", "spec.initContainers[0].restartPolicy: Forbidden: the runtime docker cannot do this");
    let once = policy.replace("image: \"mesh/proxy:v1.0.0\",\n                restartPolicy: \"Always\"", "image: \"mesh/proxy:v1.0.0\"");
    assert_ne!(once, policy);
    kubectl.write("policy.yaml", &once);
    kubectl.good("apply -f policy.yaml", "sidecar-policy.example.com configured");
    kubectl.good("run a --image=none", "created");
    kubectl
        .good("get pod a -o jsonpath={.spec.initContainers[*].name}={.spec.initContainers[*].imagePullPolicy}", "mesh-proxy=IfNotPresent");
    kubectl.write("bad.yaml", &policy.replace("Object.spec.initContainers{", "Object.spec.containers{"));
    kubectl.bad("apply -f bad.yaml", "unexpected type name \"Object.spec.containers\", expected \"Object.spec.initContainers\"");
    kubectl.good("delete -f binding.yaml", "deleted");
    kubectl.good("run b --image=none", "created");
    let unchanged = kubectl.good("get pod b -o jsonpath=containers={.spec.initContainers}", "containers=");
    assert_eq!(unchanged.trim(), "containers=");
}
