//! PriorityClass: a number for a name, which Pods give as `priorityClassName`.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::{Value, json};

use crate::{Column, Kind, Problem, ProblemKind, Scope};

/// The group of the kind.
pub const GROUP: &str = "scheduling.k8s.io";
/// The highest number that people may give.
const VALUE_MAX: i64 = 1_000_000_000;
/// The names that are there from the start, with their numbers.
const SYSTEM: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
];

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        scope: Scope::Cluster,
        keeps_unknown: true,
        generation: true,
        short_names: vec!["pc".into()],
        columns: vec![
            Column::name(),
            Column::path("Value", "integer", ".value", "The number of the class"),
            Column::computed(
                "Global-Default",
                "boolean",
                |object, _| json!(object["globalDefault"] == true),
                "Whether Pods of no class have it",
            ),
            Column::age(),
            Column::path("PreemptionPolicy", "string", ".preemptionPolicy", "Whether others make room for its Pods"),
        ],
        default: |object| {
            if object["preemptionPolicy"].is_null() {
                object["preemptionPolicy"] = json!("PreemptLowerPriority");
            }
        },
        validate,
        validate_change,
        ..Kind::new(GROUP, "v1", "PriorityClass", "priorityclasses", |generator| generator.subschema_for::<PriorityClass>())
    }
}

/// The classes that are there from the start.
pub fn defaults() -> Vec<Value> {
    let class = |(name, value, description): (&str, i64, &str)| {
        json!({"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1", "metadata": {"name": name, "generation": 1}, "value": value,
            "description": description, "preemptionPolicy": "PreemptLowerPriority"})
    };
    SYSTEM.into_iter().map(class).collect()
}

fn validate(object: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let value = object["value"].as_i64().unwrap_or_default();
    if name.starts_with("system-") {
        if !SYSTEM.iter().any(|(known, wanted, _)| *known == name && *wanted == value && object["globalDefault"] != true) {
            let why = "priority class names with 'system-' prefix are reserved for system use only";
            found.push(Problem::new(ProblemKind::Forbidden, "metadata.name", why));
        }
    } else if value > VALUE_MAX {
        let why = format!("maximum allowed value of a user defined priority is {VALUE_MAX}");
        found.push(Problem::new(ProblemKind::Forbidden, "value", why));
    }
    let policy = object["preemptionPolicy"].as_str().unwrap_or_default();
    if !["Never", "PreemptLowerPriority"].contains(&policy) {
        let detail = format!("{policy:?}: supported values: \"Never\", \"PreemptLowerPriority\"");
        found.push(Problem::new(ProblemKind::NotSupported, "preemptionPolicy", detail));
    }
    found
}

fn validate_change(before: &Value, after: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    if before["value"] != after["value"] {
        found.push(Problem::new(ProblemKind::Forbidden, "value", "may not be changed in an update."));
    }
    if before["preemptionPolicy"] != after["preemptionPolicy"] {
        found.push(Problem::invalid("preemptionPolicy", format!("{}: field is immutable", after["preemptionPolicy"])));
    }
    found
}
