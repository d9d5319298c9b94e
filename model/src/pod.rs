//! Pod: containers that run together on one node; a copy of a part.

mod changes;
mod container;
mod contradictions;
pub mod fields;
mod nodes;
mod problems;
mod security;
mod volumes;
mod warnings;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::{Value, json};

use crate::filling::{default_to, drop_nulls};
use crate::{Column, Kind, Problem};
pub use problems::spec_problems;

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    let verbs = |verbs: &[&str]| verbs.iter().map(ToString::to_string).collect::<Vec<_>>();
    Kind {
        short_names: vec!["po".into()],
        categories: vec!["all".into()],
        status: true,
        generation: true,
        subresources: [
            ("attach", &["create", "get"][..]),
            ("binding", &["create"]),
            ("eviction", &["create"]),
            ("exec", &["create", "get"]),
            ("log", &["get"]),
            ("portforward", &["create", "get"]),
        ]
        .map(|(name, of)| (name.into(), verbs(of)))
        .to_vec(),
        columns: vec![
            Column::name(),
            Column::computed("Ready", "string", ready_cell, "The containers that are ready, of those that the pod has"),
            Column::computed("Status", "string", status_cell, "What the containers of this pod do, in a word"),
            Column::computed("Restarts", "string", restarts_cell, "How often the containers of this pod were started again"),
            Column::age(),
            Column::path("IP", "string", ".status.podIP", "The address of the pod, empty as long as it has none").wide(),
            Column::path("Node", "string", ".spec.nodeName", "The node that this pod was given to and runs on").wide(),
            Column::path("Nominated Node", "string", ".status.nominatedNodeName", "The node that the pod would run on if others made room")
                .wide(),
            Column::computed("Readiness Gates", "string", gates_cell, "The conditions beside its containers that the pod waits for").wide(),
        ],
        selectable_fields: [
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ]
        .map(Into::into)
        .to_vec(),
        default: fill_in,
        complete,
        validate_new: |object| fields::refusals(&object["spec"], "spec"),
        validate,
        validate_change: change_problems,
        warnings: |object| template_warnings(&object["spec"], "spec"),
        ..Kind::new("", "v1", "Pod", "pods", |generator| generator.subschema_for::<Pod>())
    }
}

/// What whoever writes the spec of a pod, at `field` of an object, is warned of.
pub(crate) fn template_warnings(spec: &Value, field: &str) -> Vec<String> {
    [warnings::warnings(spec, field), fields::warnings(spec, field)].concat()
}

fn containers(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["containerStatuses"].as_array().into_iter().flatten()
}

fn ready_cell(object: &Value, _: jiff::Timestamp) -> Value {
    let ready = containers(object).filter(|status| status["ready"] == true).count();
    json!(format!("{ready}/{}", object["spec"]["containers"].as_array().map_or(0, Vec::len)))
}

fn restarts_cell(object: &Value, _: jiff::Timestamp) -> Value {
    json!(containers(object).filter_map(|status| status["restartCount"].as_i64()).sum::<i64>().to_string())
}

fn status_cell(object: &Value, _: jiff::Timestamp) -> Value {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return json!("Terminating");
    }
    let why = containers(object).find_map(|status| {
        let state = &status["state"];
        state["waiting"]["reason"].as_str().or_else(|| state["terminated"]["reason"].as_str())
    });
    let phase = object["status"]["reason"].as_str().or_else(|| object["status"]["phase"].as_str());
    json!(why.or(phase).unwrap_or("Pending"))
}

fn gates_cell(object: &Value, _: jiff::Timestamp) -> Value {
    let Some(gates) = object["spec"]["readinessGates"].as_array().filter(|gates| !gates.is_empty()) else { return json!("<none>") };
    let conditions = || object["status"]["conditions"].as_array().into_iter().flatten();
    let holds = |gate: &&Value| conditions().any(|condition| condition["type"] == gate["conditionType"] && condition["status"] == "True");
    json!(format!("{}/{}", gates.iter().filter(holds).count(), gates.len()))
}

fn fill_in(object: &mut Value) {
    if object["spec"].is_object() {
        default_spec(&mut object["spec"]);
    }
}

/// What the server says of every Pod: that it waits for five minutes on a node that is lost, and how it is weighed.
fn complete(object: &mut Value) {
    let spec = &mut object["spec"];
    if spec.is_object() {
        default_to(spec, "priority", json!(0));
        default_to(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            tolerate(spec, key);
        }
    }
    if !object["status"]["phase"].is_string() {
        object["status"]["phase"] = json!("Pending");
    }
    if !object["status"]["qosClass"].is_string() {
        object["status"]["qosClass"] = json!(quality(&object["spec"]));
    }
}

fn tolerate(spec: &mut Value, key: &str) {
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    let is_tolerated = |toleration: &Value| {
        let is = |field: &str, value: &str| toleration[field].as_str().is_none_or(|found| found.is_empty() || found == value);
        is("key", key) && is("effect", "NoExecute")
    };
    if !tolerations.iter().any(is_tolerated) {
        tolerations.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
    }
    spec["tolerations"] = json!(tolerations);
}

/// How sure a Pod is of what it asks for: of all, of some, or of nothing.
fn quality(spec: &Value) -> &'static str {
    let containers: Vec<&Value> =
        ["initContainers", "containers"].iter().flat_map(|list| spec[list].as_array().into_iter().flatten()).collect();
    let amount = |container: &Value, list: &str, resource: &str| container["resources"][list][resource].clone();
    let of = ["cpu", "memory"];
    let asks = |container: &&Value| {
        ["limits", "requests"].iter().any(|list| of.iter().any(|resource| !amount(container, list, resource).is_null()))
    };
    let is_sure = |container: &&Value| {
        of.iter().all(|resource| {
            let limit = amount(container, "limits", resource);
            !limit.is_null() && amount(container, "requests", resource) == limit
        })
    };
    if !containers.iter().any(asks) {
        return "BestEffort";
    }
    if containers.iter().all(is_sure) { "Guaranteed" } else { "Burstable" }
}

/// Problems of a change. What was stored before a default was known is read with it.
fn change_problems(before: &Value, after: &Value) -> Vec<Problem> {
    let mut before = before.clone();
    fill_in(&mut before);
    complete(&mut before);
    changes::problems(&before["spec"], &after["spec"])
}

fn default_spec(spec: &mut Value) {
    let defaults = [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
        ("enableServiceLinks", json!(true)),
    ];
    for (field, value) in defaults {
        default_to(spec, field, value);
    }
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten().filter(|container| container.is_object()) {
            for port in container["ports"].as_array_mut().into_iter().flatten().filter(|port| port.is_object()) {
                default_to(port, "protocol", json!("TCP"));
            }
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                default_probe(&mut container[probe]);
            }
            default_container(container);
            drop_nulls(container);
        }
    }
    volumes::fill_in(spec);
    drop_nulls(spec);
}

/// Fills in a template that pods are made from, as Kubernetes does.
pub(crate) fn default_template(template: &mut Value) {
    default_to(template, "metadata", json!({}));
    let spec = &mut template["spec"];
    if !spec.is_object() {
        return;
    }
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten().filter(|container| container.is_object()) {
            let image = container["image"].as_str().unwrap_or_default();
            let newest = image.ends_with(":latest") || !image.is_empty() && !image.rsplit('/').next().unwrap_or(image).contains([':', '@']);
            default_to(container, "imagePullPolicy", json!(if newest { "Always" } else { "IfNotPresent" }));
        }
    }
    default_spec(spec);
    for (field, value) in [("schedulerName", json!("default-scheduler")), ("securityContext", json!({}))] {
        default_to(spec, field, value);
    }
    drop_nulls(spec);
}

/// An image that is on the machine is not fetched, whatever its tag, unless the container asks for it.
fn default_container(container: &mut Value) {
    if container["image"].as_str().is_some_and(|image| !image.is_empty()) {
        default_to(container, "imagePullPolicy", json!("IfNotPresent"));
    }
    default_to(container, "resources", json!({}));
    default_to(container, "terminationMessagePath", json!("/dev/termination-log"));
    default_to(container, "terminationMessagePolicy", json!("File"));
    let limits = container["resources"]["limits"].as_object().cloned().unwrap_or_default();
    for (resource, amount) in limits {
        default_to(&mut container["resources"]["requests"], &resource, amount);
    }
    drop_nulls(&mut container["resources"]);
    for variable in container["env"].as_array_mut().into_iter().flatten().filter(|variable| variable["valueFrom"]["fieldRef"].is_object()) {
        default_to(&mut variable["valueFrom"]["fieldRef"], "apiVersion", json!("v1"));
    }
}

fn default_probe(probe: &mut Value) {
    if !probe.is_object() {
        return;
    }
    for (field, value) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
        default_to(probe, field, json!(value));
    }
    if probe["httpGet"].is_object() {
        default_to(&mut probe["httpGet"], "path", json!("/"));
        default_to(&mut probe["httpGet"], "scheme", json!("HTTP"));
    }
    drop_nulls(probe);
}

fn validate(object: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    let spec = if object["spec"].is_null() { json!({"containers": []}) } else { object["spec"].clone() };
    match crate::problem::read::<PodSpec>(&spec, "spec") {
        Ok(spec) => spec_problems(&spec, "spec", &mut found),
        Err(problem) => found.push(problem),
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: Value, expected: &[&str]) {
        let found: Vec<String> = validate(&json!({"spec": spec})).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found} lacks {expected}");
        }
    }

    #[test]
    fn each_mistake_names_its_field() {
        check(json!({"containers": [{"name": "a"}]}), &[]);
        check(json!({"containers": []}), &["spec.containers"]);
        check(json!({"containers": [{"name": "a"}, {"name": "a"}]}), &["spec.containers[1].name: Duplicate"]);
        check(json!({"containers": [{"name": "a", "ports": [{"containerPort": 0}]}]}), &["ports[0].containerPort"]);
        check(json!({"containers": [{"name": "a", "readinessProbe": {}}]}), &["readinessProbe: Required"]);
        check(json!({"containers": [{"name": "a", "readinessProbe": {"httpGet": {"port": "http"}}}]}), &["is no named port"]);
        check(
            json!({"containers": [{"name": "a"}], "restartPolicy": "Sometimes"}),
            &["spec.restartPolicy: Unsupported value: \"Sometimes\""],
        );
        check(json!({"containers": [{"name": "a"}], "activeDeadlineSeconds": 0}), &["spec.activeDeadlineSeconds: Invalid value: 0: must"]);
        check(json!({"containers": [{"name": "a", "imagePullPolicy": "x"}]}), &["imagePullPolicy: Unsupported value: \"x\": supported"]);
        check(json!({"containers": [{"name": "a", "env": [{"name": ""}]}]}), &["env[0].name: Required value"]);
        check(json!({"containers": [{"name": "a", "image": " i"}]}), &["image: Invalid value: \" i\": must not have leading"]);
        check(
            json!({"containers": [{"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
            &["volumeMounts[0].name: Not found: \"v\""],
        );
        check(
            json!({"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]}),
            &["spec.volumes[1].name: Duplicate"],
        );
        check(json!({"containers": "a"}), &["spec.containers: Invalid value"]);
    }

    #[test]
    fn defaults_fill_in_and_add_no_nulls() {
        let mut object = json!({"spec": {"containers": [{"name": "a", "readinessProbe": {"httpGet": {"port": 80}}}]}});
        fill_in(&mut object);
        complete(&mut object);
        let before = object.clone();
        fill_in(&mut object);
        complete(&mut object);
        assert_eq!(object, before);
        assert_eq!(
            (&object["spec"]["tolerations"][1]["tolerationSeconds"], &object["status"]["qosClass"]),
            (&json!(300), &json!("BestEffort"))
        );
        assert_eq!(object["spec"]["restartPolicy"], "Always");
        assert_eq!(object["spec"]["containers"][0]["readinessProbe"]["periodSeconds"], 10);
        assert!(!object.to_string().contains("null"), "{object}");
    }
}
