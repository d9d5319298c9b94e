//! A Service: one configured use of an application, and how its parts are run, reached and replaced.

mod pods;
mod routes;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use self::routes::place_problems;
use crate::kind::{begin_status, object_schema};
use crate::pod_template::{APP_PROTOCOLS, PodTemplate};
use crate::{Column, Duration, Kind, Problem, ProblemKind, Scale, ScaleRefused, check_label, problem};

/// The longest name of a Service: 63 characters of a label, without a dash and ten digits.
const NAME_LENGTH_MAX: usize = 52;
/// The most copies of one part.
pub const REPLICAS_MAX: i32 = 1_000;

/// What is wanted of a Service.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "conductor.dev",
    version = "v1",
    kind = "Service",
    namespaced,
    status = "ServiceStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[kube(crates(
    kube_core = "::kube_core",
    k8s_openapi = "::k8s_openapi",
    schemars = "::schemars",
    serde = "::serde",
    serde_json = "::serde_json"
))]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "dev.conductor.v1.ServiceSpec")]
pub struct ServiceSpec {
    /// What the software is: a name that all Services of one application share.
    pub application: String,
    /// Environment variables of every part. A value is text, or a reference to a key of a Secret or ConfigMap.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, ConfigValue>,
    /// What runs: each part is a pod of which there are some copies.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parts: Vec<Part>,
    /// Which requests reach which part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["host", "path"]))]
    pub routes: Vec<Route>,
    /// How a change is rolled out.
    #[serde(default)]
    pub rollout: Rollout,
    /// Whether it is stopped: no copy of any part runs, however many are asked for, and its routes answer 503.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

impl ServiceSpec {
    /// What a Revision freezes of it: all but whether it is stopped.
    pub fn frozen(&self) -> Self {
        Self { suspend: false, ..self.clone() }
    }
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "dev.conductor.v1.ConfigValue")]
pub enum ConfigValue {
    /// The text itself.
    Text(String),
    /// A reference to where the text is.
    Reference(ConfigReference),
}

/// Where the text of an environment variable is: exactly one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "dev.conductor.v1.ConfigReference")]
pub struct ConfigReference {
    /// A key of a Secret of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyOf>,
    /// A key of a ConfigMap of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyOf>,
}

/// A key of a named object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "dev.conductor.v1.KeyOf")]
pub struct KeyOf {
    /// The object's name.
    pub name: String,
    /// The key in its `data`.
    pub key: String,
}

/// One runnable element of a Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "dev.conductor.v1.Part")]
pub struct Part {
    /// Its name, unique within the Service; an RFC 1123 label.
    pub name: String,
    /// How many copies run, 0 to 1000; 1 where it is left out.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub replicas: i32,
    /// What a copy is: a pod, as Kubernetes writes it. Its `imagePullSecrets` are for the registries of its images.
    pub pod: PodTemplate,
}

/// Requests for a host and path prefix, and the part that answers them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "dev.conductor.v1.Route")]
pub struct Route {
    /// The host name, without port; `*.example.org` stands for every name below; empty for every host no other route names.
    #[serde(default)]
    pub host: String,
    /// The path prefix; `/a` matches `/a` and `/a/b` but not `/ab`. Encoded letters are the letters: `/ü` is `/%C3%BC`.
    /// `/` where it is left out.
    #[serde(default = "root_path", skip_serializing_if = "is_root_path")]
    pub path: String,
    /// The part that answers.
    pub part: String,
    /// The name of a port of that part's containers.
    pub port: String,
    /// How long requests may take. Without it, an answer must begin within the server's setting `http-answer-timeout`, and may
    /// go on for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RouteTimeouts>,
}

/// How long requests of a route may take, as in Kubernetes' Gateway API; 0s is for ever. WebSockets are not bounded by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "dev.conductor.v1.RouteTimeouts")]
pub struct RouteTimeouts {
    /// From the arrival of a request to the end of its answer, all tries included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// The same for each try at a copy; no more than `request`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
}

/// How a change is rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "dev.conductor.v1.Rollout")]
pub struct Rollout {
    /// How long the new copies may take to become ready before the change is given up.
    pub progress_deadline: Duration,
    /// How long the old copies may take to finish their requests once they get no new ones.
    pub drain: Duration,
    /// How long the new version is watched and its requests counted for the receipt, from the switch on; at least until the old
    /// copies are drained. When a new copy ends in that time, or `maxFailedRequests` is passed, the version before is put back.
    pub watch: Duration,
    /// How many seconds a new copy must have been ready, without a restart, before it counts; less than `progressDeadline`.
    /// Left out, it is 0 where every container has a readiness probe and the copy was not seen to end, and otherwise 2, but at
    /// most half of the deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ready_seconds: Option<i32>,
    /// How many requests may fail while the new version is watched; with more the version before is put back. Left out, any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failed_requests: Option<i64>,
    /// In what order copies are replaced. Left out, old copies are stopped first only where two cannot run side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
}

/// In what order copies are replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "dev.conductor.v1.Strategy")]
pub struct Strategy {
    /// `RollingUpdate` or `Recreate`.
    #[serde(rename = "type")]
    pub order: StrategyType,
}

/// Which comes first, the end of the old copies or the start of the new ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "dev.conductor.v1.StrategyType")]
pub enum StrategyType {
    /// New copies start beside the old ones, which are stopped when the routes have moved.
    #[default]
    RollingUpdate,
    /// Old copies are stopped before new ones start, and come back when these fail.
    Recreate,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            progress_deadline: Duration::from_secs(120),
            drain: Duration::from_secs(10),
            watch: Duration::from_secs(1),
            min_ready_seconds: None,
            max_failed_requests: None,
            strategy: None,
        }
    }
}

/// What is so of a Service. Written by the Service controller alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "dev.conductor.v1.ServiceStatus")]
pub struct ServiceStatus {
    /// The generation of the spec that this status speaks of.
    pub observed_generation: i64,
    /// The Revision that the routes point to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_revision: Option<String>,
    /// The newest Revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_revision: Option<String>,
    /// Wanted copies of all parts.
    pub replicas: i32,
    /// Copies of the active Revision that are ready.
    pub ready_replicas: i32,
    /// The selector of this Service's Pods, for `/scale`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Ready when the newest spec serves with all its copies; Available while anything serves; Reconciling and Progressing while a
    /// change is on its way, Stalled when it failed; Degraded when something is amiss; Suspended while it is stopped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::kind::conditions_schema")]
    pub conditions: Vec<Condition>,
}

fn one() -> i32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_one(replicas: &i32) -> bool {
    *replicas == 1
}

fn root_path() -> String {
    "/".into()
}

// A default inside a list is left out of what is stored: `kubectl apply` compares lists whole, and would find a change in
// one that was filled in.
fn is_root_path(path: &str) -> bool {
    path == "/"
}

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    let condition = |name: &'static str, cell| Column::computed(name, "string", cell, "A condition of the Service");
    Kind {
        short_names: vec!["svc".into(), "csvc".into()],
        categories: vec!["all".into()],
        status: true,
        generation: true,
        scale: Some(Scale { read: read_scale, write: write_scale }),
        columns: vec![
            Column::name(),
            Column::path("Revision", "string", ".status.activeRevision", "The Revision that serves"),
            Column::computed("Ready", "string", ready_cell, "Ready copies of those wanted"),
            condition("State", state_cell),
            Column::computed("Routes", "string", routes_cell, "Host and path of each route").wide(),
            Column::age(),
        ],
        validate_new,
        validate,
        validate_change: pods::refusals_of_change,
        warnings: |object| pods::warnings(object).into_iter().chain(routes::warnings(object)).collect(),
        complete: |object| begin_status(object, "the Service is new"),
        claims: Some(routes::claims),
        ..Kind::new("conductor.dev", "v1", "Service", "services", |generator| {
            object_schema::<ServiceSpec, ServiceStatus>(generator, "Service", "One configured use of an application.")
        })
    }
}

fn ready_cell(object: &Value, _: jiff::Timestamp) -> Value {
    let status = &object["status"];
    json!(format!("{}/{}", status["readyReplicas"].as_i64().unwrap_or(0), wanted(object)))
}

fn wanted(object: &Value) -> i64 {
    let parts = object["spec"]["parts"].as_array();
    parts.into_iter().flatten().map(|part| part["replicas"].as_i64().unwrap_or(1)).sum()
}

fn state_cell(object: &Value, _: jiff::Timestamp) -> Value {
    let is_true = |name: &str| {
        let conditions = object["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|condition| condition["type"] == name && condition["status"] == "True")
    };
    let state = ["Suspended", "Degraded", "Progressing", "Ready"].into_iter().find(|name| is_true(name));
    json!(state.unwrap_or("Pending"))
}

fn routes_cell(object: &Value, _: jiff::Timestamp) -> Value {
    let routes = object["spec"]["routes"].as_array();
    let texts = routes.into_iter().flatten().map(|route| {
        let (host, path) = (route["host"].as_str().unwrap_or(""), route["path"].as_str().unwrap_or("/"));
        format!("{}{path}", if host.is_empty() { "*" } else { host })
    });
    json!(texts.collect::<Vec<_>>().join(","))
}

fn read_scale(object: &Value) -> Result<(i64, i64, String), ScaleRefused> {
    let part = only_part(object)?;
    let replicas = object["spec"]["parts"][part]["replicas"].as_i64().unwrap_or(1);
    let status = &object["status"];
    Ok((replicas, status["replicas"].as_i64().unwrap_or(0), status["selector"].as_str().unwrap_or("").to_owned()))
}

fn write_scale(object: &mut Value, replicas: i64) -> Result<(), ScaleRefused> {
    let part = only_part(object)?;
    object["spec"]["parts"][part]["replicas"] = json!(replicas);
    Ok(())
}

fn only_part(object: &Value) -> Result<usize, ScaleRefused> {
    let name = object["metadata"]["name"].as_str().unwrap_or("NAME");
    match object["spec"]["parts"].as_array().map_or(&[][..], Vec::as_slice) {
        [_] => Ok(0),
        [] => Err(ScaleRefused(format!("Service {name} has no parts to scale"))),
        [first, ..] => Err(ScaleRefused(format!(
            "Service {name} has several parts: scale one of them with `conductor scale {name}/{}=N`",
            first["name"].as_str().unwrap_or("PART"),
        ))),
    }
}

/// The names of Revisions are labels of what belongs to them: a Service's, a dash and as many digits as any number of them has.
fn validate_new(object: &Value) -> Vec<Problem> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let detail = format!("{name:?}: must be no more than {NAME_LENGTH_MAX} characters, so that its Revisions have names too");
    let too_long = (name.len() > NAME_LENGTH_MAX).then(|| Problem::invalid("metadata.name", detail));
    too_long.into_iter().chain(pods::refusals(object)).collect()
}

fn validate(object: &Value) -> Vec<Problem> {
    match problem::read::<ServiceSpec>(&object["spec"], "spec") {
        Ok(spec) => problems(&spec),
        Err(problem) => vec![problem],
    }
}

fn problems(spec: &ServiceSpec) -> Vec<Problem> {
    let mut found = Vec::new();
    if spec.application.is_empty() {
        found.push(Problem::required("spec.application", "what the software is"));
    }
    for (name, value) in &spec.config {
        config_problems(name, value, &mut found);
    }
    for (at, part) in spec.parts.iter().enumerate() {
        let field = format!("spec.parts[{at}]");
        if spec.parts[..at].iter().any(|other| other.name == part.name) {
            found.push(Problem::duplicate(format!("{field}.name"), &part.name));
        }
        part_problems(part, &field, &mut found);
    }
    for (at, route) in spec.routes.iter().enumerate() {
        let field = format!("spec.routes[{at}]");
        if spec.routes[..at].iter().any(|other| other.claim() == route.claim()) {
            found.push(Problem::duplicate(&field, &route.claim()));
        }
        routes::problems(route, spec, &field, &mut found);
    }
    rollout_problems(&spec.rollout, &mut found);
    found
}

fn rollout_problems(rollout: &Rollout, found: &mut Vec<Problem>) {
    let deadline = rollout.progress_deadline.get();
    if deadline.is_zero() {
        found.push(Problem::invalid("spec.rollout.progressDeadline", "\"0s\": must be longer than 0s"));
    }
    match rollout.min_ready_seconds.map(u64::try_from) {
        Some(Err(_)) => found.push(negative("minReadySeconds", rollout.min_ready_seconds)),
        Some(Ok(seconds)) if seconds > 0 && std::time::Duration::from_secs(seconds) >= deadline => {
            let detail = format!("{seconds}: must be less than progressDeadline, which is {}", rollout.progress_deadline);
            found.push(Problem::invalid("spec.rollout.minReadySeconds", detail));
        }
        _ => {}
    }
    if rollout.max_failed_requests.is_some_and(|most| most < 0) {
        found.push(negative("maxFailedRequests", rollout.max_failed_requests));
    }
}

fn negative(name: &str, value: Option<impl Into<i64>>) -> Problem {
    Problem::invalid(format!("spec.rollout.{name}"), format!("{}: must be greater than or equal to 0", value.map_or(0, Into::into)))
}

fn config_problems(name: &str, value: &ConfigValue, found: &mut Vec<Problem>) {
    let field = format!("spec.config[{name}]");
    if !is_variable_name(name) {
        found.push(Problem::invalid(&field, "a variable's name is letters, digits and _, and begins with no digit"));
    }
    match value {
        ConfigValue::Text(text) if text.contains('\0') => found.push(Problem::invalid(field, "may not contain a NUL character")),
        ConfigValue::Reference(
            ConfigReference { secret_ref: Some(_), config_map_ref: Some(_) } | ConfigReference { secret_ref: None, config_map_ref: None },
        ) => {
            found.push(Problem::invalid(field, "expected text, or exactly one of secretRef and configMapRef"));
        }
        ConfigValue::Text(_) | ConfigValue::Reference(_) => {}
    }
}

fn is_variable_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

fn part_problems(part: &Part, field: &str, found: &mut Vec<Problem>) {
    for problem in check_label(&part.name) {
        found.push(Problem::invalid(format!("{field}.name"), problem));
    }
    if !(0..=REPLICAS_MAX).contains(&part.replicas) {
        found.push(Problem::invalid(format!("{field}.replicas"), format!("{}: must be between 0 and {REPLICAS_MAX}", part.replicas)));
    }
    match &part.pod.spec {
        Some(spec) => {
            crate::pod::spec_problems(spec, &format!("{field}.pod.spec"), found);
            if spec.restart_policy.as_deref().is_some_and(|policy| policy != "Always") {
                found.push(Problem::invalid(
                    format!("{field}.pod.spec.restartPolicy"),
                    "the copies of a part run until they are replaced: expected Always",
                ));
            }
            if spec.active_deadline_seconds.is_some() {
                let why = "the copies of a part run until they are replaced: only Pods and Jobs have a deadline";
                found.push(Problem::new(ProblemKind::Forbidden, format!("{field}.pod.spec.activeDeadlineSeconds"), why));
            }
        }
        None => found.push(Problem::required(format!("{field}.pod.spec"), "the containers of a copy")),
    }
    for (place, said) in part.pod.unknown_protocols() {
        let known: Vec<&str> = APP_PROTOCOLS.iter().map(|(name, _)| *name).collect();
        found.push(Problem::invalid(format!("{field}.pod.{place}"), format!("{said:?}: expected one of {}", known.join(", "))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Value {
        json!({"metadata": {"name": "shop"}, "spec": {"application": "shop", "config": {"LOG": "info"},
            "parts": [{"name": "web", "replicas": 2, "pod": {"spec": {"containers": [
                {"name": "web", "command": ["/bin/web"], "ports": [{"name": "http", "containerPort": 8080}]}]}}}],
            "routes": [{"host": "shop.test", "part": "web", "port": "http"}]}})
    }

    fn check(change: impl Fn(&mut Value), expected: &[&str]) {
        let mut object = shop();
        change(&mut object);
        let found: Vec<String> = validate(&object).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found} lacks {expected}");
        }
    }

    #[test]
    fn a_good_service_has_no_problems() {
        check(|_| (), &[]);
    }

    #[test]
    fn each_mistake_names_its_field() {
        check(|o| o["spec"]["application"] = json!(""), &["spec.application"]);
        check(|o| o["spec"]["config"]["9A"] = json!("x"), &["spec.config[9A]"]);
        check(|o| o["spec"]["config"]["A"] = json!({}), &["exactly one of secretRef"]);
        check(|o| o["spec"]["parts"][0]["replicas"] = json!(-1), &["spec.parts[0].replicas"]);
        check(|o| o["spec"]["parts"][0]["name"] = json!("Web"), &["spec.parts[0].name", "is no part of this Service"]);
        check(|o| o["spec"]["routes"][0]["port"] = json!("https"), &["which has http"]);
        check(|o| o["spec"]["routes"][0]["path"] = json!("shop"), &["spec.routes[0].path"]);
        check(|o| o["spec"]["routes"][0]["host"] = json!("a b"), &["spec.routes[0].host: Invalid value: \"a b\": is no host name"]);
        check(|o| o["spec"]["routes"][0]["host"] = json!("shop.test:80"), &["without a port"]);
        check(|o| o["spec"]["routes"][0]["path"] = json!("/a/{id}"), &["not a pattern"]);
        check(|o| o["spec"]["routes"][0]["path"] = json!("/a*"), &["spec.routes[0].path: Invalid value: \"/a*\": a path is a prefix"]);
        check(|o| o["spec"]["routes"][0]["path"] = json!("/ü"), &[]);
        check(|o| o["spec"]["routes"][0]["timeouts"] = json!({"request": "0s", "backendRequest": "5s"}), &[]);
        check(
            |o| o["spec"]["routes"][0]["timeouts"] = json!({"request": "4s", "backendRequest": "5s"}),
            &["spec.routes[0].timeouts.backendRequest"],
        );
        check(
            |o| o["spec"]["parts"][0]["pod"]["spec"]["containers"][0]["ports"][0]["appProtocol"] = json!("mongo"),
            &["spec.parts[0].pod.spec.containers[0].ports[0].appProtocol: Invalid value: \"mongo\": expected one of http, "],
        );
        check(|o| o["spec"]["parts"][0]["pod"]["spec"]["containers"][0]["ports"][0]["appProtocol"] = json!("kubernetes.io/ws"), &[]);
        check(
            |o| {
                let route = o["spec"]["routes"][0].clone();
                o["spec"]["routes"] = json!([route, route]);
                o["spec"]["routes"][0]["path"] = json!("/ü/");
                o["spec"]["routes"][1]["path"] = json!("/%c3%bc");
            },
            &["spec.routes[1]: Duplicate"],
        );
        check(
            |o| o["spec"]["parts"][0]["pod"]["spec"]["activeDeadlineSeconds"] = json!(60),
            &["spec.parts[0].pod.spec.activeDeadlineSeconds: Forbidden"],
        );
        check(|o| o["spec"]["rollout"] = json!({"drain": "soon"}), &["is no duration"]);
        check(|o| o["spec"]["rollout"] = json!({"minReadySeconds": -1}), &["spec.rollout.minReadySeconds"]);
        check(|o| o["spec"]["rollout"] = json!({"minReadySeconds": 9, "progressDeadline": "9s"}), &["must be less than progressDeadline"]);
        check(|o| o["spec"]["rollout"] = json!({"minReadySeconds": 8, "progressDeadline": "9s"}), &[]);
        check(|o| o["spec"]["rollout"] = json!({"maxFailedRequests": -1}), &["spec.rollout.maxFailedRequests"]);
        check(|o| o["spec"]["rollout"] = json!({"strategy": {"type": "Recreate"}}), &[]);
        check(
            |o| {
                let route = o["spec"]["routes"][0].clone();
                o["spec"]["routes"] = json!([route, route]);
            },
            &["spec.routes[1]: Duplicate"],
        );
        check(
            |o| {
                let part = o["spec"]["parts"][0].clone();
                o["spec"]["parts"] = json!([part, part]);
            },
            &["spec.parts[1].name: Duplicate"],
        );
    }

    #[test]
    fn only_a_service_of_one_part_has_a_scale() {
        let mut object = shop();
        write_scale(&mut object, 5).unwrap();
        assert_eq!(read_scale(&object).unwrap().0, 5);
        let part = object["spec"]["parts"][0].clone();
        object["spec"]["parts"] = json!([part, part]);
        assert!(read_scale(&object).unwrap_err().0.contains("conductor scale shop/web=N"));
    }
}
