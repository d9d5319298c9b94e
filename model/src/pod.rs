//! Pod: containers that run together on one node; a copy of a part.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use crate::{Column, Kind, Problem, ProblemKind, check_label};

/// The sources of volumes in the order in which they are looked at: of two, the later is one too many.
const SOURCES: [&str; 8] = ["emptyDir", "hostPath", "secret", "nfs", "persistentVolumeClaim", "configMap", "downwardAPI", "projected"];

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
            Column::computed("Ready", "string", ready_cell, "Ready containers of those there are"),
            Column::computed("Status", "string", status_cell, "What it does"),
            Column::computed("Restarts", "string", restarts_cell, "How often its containers were started again"),
            Column::age(),
            Column::path("IP", "string", ".status.podIP", "Its address").wide(),
            Column::path("Node", "string", ".spec.nodeName", "The node it runs on").wide(),
            Column::path("Nominated Node", "string", ".status.nominatedNodeName", "The node it would run on").wide(),
            Column::computed("Readiness Gates", "string", |_, _| json!("<none>"), "Its readiness gates").wide(),
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
        validate,
        ..Kind::new("", "v1", "Pod", "pods", |generator| generator.subschema_for::<Pod>())
    }
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

fn fill_in(object: &mut Value) {
    if object["spec"].is_object() {
        default_spec(&mut object["spec"]);
    }
    if !object["status"]["phase"].is_string() {
        object["status"]["phase"] = json!("Pending");
    }
}

fn default_spec(spec: &mut Value) {
    let defaults = [("restartPolicy", json!("Always")), ("terminationGracePeriodSeconds", json!(30)), ("dnsPolicy", json!("ClusterFirst"))];
    for (field, value) in defaults {
        default_to(spec, field, &value);
    }
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten().filter(|container| container.is_object()) {
            for port in container["ports"].as_array_mut().into_iter().flatten().filter(|port| port.is_object()) {
                default_to(port, "protocol", &json!("TCP"));
            }
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                default_probe(&mut container[probe]);
            }
            drop_nulls(container);
        }
    }
    drop_nulls(spec);
}

/// Fills in a template that pods are made from, as Kubernetes does.
pub(crate) fn default_template(template: &mut Value) {
    default_to(template, "metadata", &json!({}));
    let spec = &mut template["spec"];
    if !spec.is_object() {
        return;
    }
    default_spec(spec);
    for (field, value) in [("schedulerName", json!("default-scheduler")), ("securityContext", json!({}))] {
        default_to(spec, field, &value);
    }
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten().filter(|container| container.is_object()) {
            let image = container["image"].as_str().unwrap_or_default();
            let newest = image.ends_with(":latest") || !image.is_empty() && !image.rsplit('/').next().unwrap_or(image).contains([':', '@']);
            for (field, value) in [
                ("imagePullPolicy", json!(if newest { "Always" } else { "IfNotPresent" })),
                ("resources", json!({})),
                ("terminationMessagePath", json!("/dev/termination-log")),
                ("terminationMessagePolicy", json!("File")),
            ] {
                default_to(container, field, &value);
            }
        }
    }
    drop_nulls(spec);
}

/// Indexing a JSON object for writing leaves a null where nothing was.
fn drop_nulls(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}

fn default_probe(probe: &mut Value) {
    if !probe.is_object() {
        return;
    }
    for (field, value) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
        default_to(probe, field, &json!(value));
    }
    if probe["httpGet"].is_object() {
        default_to(&mut probe["httpGet"], "path", &json!("/"));
        default_to(&mut probe["httpGet"], "scheme", &json!("HTTP"));
    }
    drop_nulls(probe);
}

fn default_to(object: &mut Value, field: &str, value: &Value) {
    if object[field].is_null() {
        object[field] = value.clone();
    }
}

fn validate(object: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    match serde_json::from_value::<PodSpec>(object["spec"].clone()) {
        Ok(spec) => spec_problems(&spec, "spec", &mut found),
        Err(error) => found.push(Problem::invalid("spec", error.to_string())),
    }
    found
}

/// Problems of a pod's spec wherever it stands; `field` is its path.
pub fn spec_problems(spec: &PodSpec, field: &str, found: &mut Vec<Problem>) {
    if spec.containers.is_empty() {
        found.push(Problem::required(format!("{field}.containers"), "at least one container"));
    }
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        found.push(Problem::invalid(format!("{field}.terminationGracePeriodSeconds"), "must be 0 or more"));
    }
    if let Some(policy) = &spec.restart_policy
        && !["Always", "OnFailure", "Never"].contains(&policy.as_str())
    {
        found.push(Problem::invalid(format!("{field}.restartPolicy"), format!("{policy:?}: expected Always, OnFailure or Never")));
    }
    volume_problems(spec, field, found);
    let mut names = BTreeSet::new();
    let mut ports = BTreeSet::new();
    let lists = [("initContainers", spec.init_containers.as_deref().unwrap_or(&[])), ("containers", spec.containers.as_slice())];
    for (list, containers) in lists {
        for (at, container) in containers.iter().enumerate() {
            let field = format!("{field}.{list}[{at}]");
            if !names.insert(container.name.as_str()) {
                found.push(Problem::duplicate(format!("{field}.name"), &container.name));
            }
            container_problems(container, &field, &mut ports, found);
        }
    }
}

/// A volume has one source.
fn volume_problems(spec: &PodSpec, field: &str, found: &mut Vec<Problem>) {
    let volumes = serde_json::to_value(spec.volumes.as_deref().unwrap_or(&[])).unwrap_or_default();
    for (at, volume) in volumes.as_array().into_iter().flatten().enumerate() {
        let mut sources: Vec<&String> =
            volume.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| *name != "name").collect();
        sources.sort_by_key(|name| SOURCES.iter().position(|known| known == name));
        let field = format!("{field}.volumes[{at}]");
        for source in sources.iter().skip(1) {
            let detail = "may not specify more than 1 volume type";
            found.push(Problem::new(ProblemKind::Forbidden, format!("{field}.{source}"), detail));
        }
        if sources.is_empty() {
            found.push(Problem::required(field, "must specify a volume type"));
        }
    }
}

fn container_problems<'a>(container: &'a Container, field: &str, ports: &mut BTreeSet<&'a str>, found: &mut Vec<Problem>) {
    for problem in check_label(&container.name) {
        found.push(Problem::invalid(format!("{field}.name"), problem));
    }
    for (at, port) in container.ports.iter().flatten().enumerate() {
        let field = format!("{field}.ports[{at}]");
        for (name, number) in [("containerPort", Some(port.container_port)), ("hostPort", port.host_port)] {
            if number.is_some_and(|number| !(1..=65_535).contains(&number)) {
                found.push(Problem::invalid(format!("{field}.{name}"), "must be between 1 and 65535, inclusive"));
            }
        }
        if let Some(name) = &port.name
            && !ports.insert(name)
        {
            found.push(Problem::duplicate(format!("{field}.name"), name));
        }
    }
    for (name, probe) in [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ] {
        if let Some(probe) = probe {
            probe_problems(probe, container, &format!("{field}.{name}"), found);
        }
    }
}

fn probe_problems(probe: &Probe, container: &Container, field: &str, found: &mut Vec<Problem>) {
    let checks = [probe.exec.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.grpc.is_some()];
    if checks.iter().filter(|set| **set).count() != 1 {
        found.push(Problem::required(field, "exactly one of exec, httpGet and tcpSocket"));
    }
    if probe.grpc.is_some() {
        found.push(Problem::invalid(format!("{field}.grpc"), "not available: use httpGet, tcpSocket or exec"));
    }
    let ports =
        [("httpGet", probe.http_get.as_ref().map(|get| &get.port)), ("tcpSocket", probe.tcp_socket.as_ref().map(|socket| &socket.port))];
    for (check, port) in ports {
        if let Some(IntOrString::String(name)) = port
            && !container.ports.iter().flatten().any(|port| port.name.as_ref() == Some(name))
        {
            found.push(Problem::invalid(format!("{field}.{check}.port"), format!("{name:?} is no named port of this container")));
        }
    }
    let counts = [
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("failureThreshold", probe.failure_threshold),
        ("successThreshold", probe.success_threshold),
    ];
    for (name, value) in counts {
        if value.is_some_and(|value| value < 0) {
            found.push(Problem::invalid(format!("{field}.{name}"), "must be greater than or equal to 0"));
        }
    }
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
        check(json!({"containers": [{"name": "a"}], "restartPolicy": "Sometimes"}), &["spec.restartPolicy"]);
        check(json!({"containers": "a"}), &["spec: Invalid value"]);
    }

    #[test]
    fn defaults_fill_in_and_add_no_nulls() {
        let mut object = json!({"spec": {"containers": [{"name": "a", "readinessProbe": {"httpGet": {"port": 80}}}]}});
        fill_in(&mut object);
        assert_eq!(object["spec"]["restartPolicy"], "Always");
        assert_eq!(object["spec"]["containers"][0]["readinessProbe"]["periodSeconds"], 10);
        assert!(!object.to_string().contains("null"), "{object}");
    }
}
