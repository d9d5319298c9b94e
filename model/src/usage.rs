//! What nodes and Pods use: `metrics.k8s.io`, as `kubectl top` reads it. It is measured when it is asked for, and not kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Column, Kind, Scope, Source};

/// The API group.
pub const GROUP: &str = "metrics.k8s.io";
const VERSION: &str = "v1beta1";
/// How the names of definitions of this group begin.
const DEFINITIONS: &str = "io.k8s.metrics.pkg.apis.metrics.v1beta1";

/// What the agent of a node has measured: the answer to `GET /usage`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// When.
    pub at: Timestamp,
    /// The whole machine, where it tells.
    pub node: Option<Rate>,
    /// The containers that run, by the Pod's uid and their name.
    pub pods: BTreeMap<String, BTreeMap<String, Rate>>,
}

/// What something uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Over which time processor time was counted, in milliseconds.
    pub window_ms: u64,
    /// Billionths of a processor.
    pub cpu_nanos: u64,
    /// Memory at the end of that time, in bytes.
    pub memory_bytes: u64,
}

/// NodeMetrics, for [`crate::KINDS`].
pub fn node_metrics() -> Kind {
    let columns = columns(|object, _| object["usage"]["cpu"].clone(), |object, _| object["usage"]["memory"].clone());
    Kind { scope: Scope::Cluster, columns, ..kind("NodeMetrics", "nodes", node_schema) }
}

/// PodMetrics, for [`crate::KINDS`].
pub fn pod_metrics() -> Kind {
    let columns = columns(|object, _| cpu(sum(object, "cpu")), |object, _| memory(sum(object, "memory")));
    Kind { columns, ..kind("PodMetrics", "pods", pod_schema) }
}

fn kind(name: &str, plural: &str, schema: fn(&mut SchemaGenerator) -> Schema) -> Kind {
    Kind { source: Source::Measured, keeps_unknown: true, ..Kind::new(GROUP, VERSION, name, plural, schema) }
}

type Cell = fn(&Value, Timestamp) -> Value;

fn columns(cpu: Cell, memory: Cell) -> Vec<Column> {
    vec![
        Column::name(),
        Column::computed("CPU", "string", cpu, "The processors it uses, in billionths of one"),
        Column::computed("Memory", "string", memory, "The memory it uses"),
        Column::path("Window", "string", ".window", "Over which time the use of processors was counted"),
    ]
}

/// The NodeMetrics of a Node; `None` where the machine does not tell.
pub fn of_node(node: &Value, measured: &Measured) -> Option<Value> {
    let rate = measured.node?;
    let mut object = object("NodeMetrics", node, measured.at, rate.window_ms);
    object["usage"] = usage(&rate);
    Some(object)
}

/// The PodMetrics of a Pod; `None` for one of which nothing runs.
pub fn of_pod(pod: &Value, measured: &Measured) -> Option<Value> {
    let rates = measured.pods.get(pod["metadata"]["uid"].as_str()?)?;
    let window = rates.values().map(|rate| rate.window_ms).max()?;
    let mut object = object("PodMetrics", pod, measured.at, window);
    object["containers"] = rates.iter().map(|(name, rate)| json!({"name": name, "usage": usage(rate)})).collect();
    Some(object)
}

/// An object without what is used: named and labelled as what it is about.
fn object(kind: &str, about: &Value, at: Timestamp, window_ms: u64) -> Value {
    let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut metadata = json!({"name": about["metadata"]["name"], "creationTimestamp": at});
    for field in ["namespace", "labels"] {
        if !about["metadata"][field].is_null() {
            metadata[field] = about["metadata"][field].clone();
        }
    }
    let api_version = format!("{GROUP}/{VERSION}");
    json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "timestamp": at, "window": seconds(window_ms)})
}

fn usage(rate: &Rate) -> Value {
    json!({"cpu": cpu(rate.cpu_nanos), "memory": memory(rate.memory_bytes / 1_024)})
}

/// A length of time as Kubernetes' clients read it: `15.021s`.
fn seconds(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1_000, ms % 1_000);
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Billionths of a processor as an amount.
fn cpu(nanos: u64) -> Value {
    json!(if nanos == 0 { "0".to_owned() } else { format!("{nanos}n") })
}

/// Kibibytes as an amount.
fn memory(kibibytes: u64) -> Value {
    json!(if kibibytes == 0 { "0".to_owned() } else { format!("{kibibytes}Ki") })
}

/// The sum over the containers of what [`cpu`] or [`memory`] wrote.
fn sum(object: &Value, resource: &str) -> u64 {
    let number = |text: &str| text.trim_end_matches(char::is_alphabetic).parse::<u64>().unwrap_or(0);
    let containers = object["containers"].as_array().into_iter().flatten();
    containers.filter_map(|container| container["usage"][resource].as_str()).map(number).fold(0, u64::saturating_add)
}

fn node_schema(generator: &mut SchemaGenerator) -> Schema {
    let usage = usage_schema(generator);
    whole(generator, "NodeMetrics", "What a node uses.", "usage", usage)
}

fn pod_schema(generator: &mut SchemaGenerator) -> Schema {
    let usage = usage_schema(generator);
    let container = json_schema!({
        "type": "object",
        "description": "What a container uses.",
        "required": ["name", "usage"],
        "properties": {"name": {"type": "string", "description": "The name of the container."}, "usage": usage},
    });
    let container = define(generator, "ContainerMetrics", container);
    let containers = json_schema!({"type": "array", "description": "What its containers use.", "items": container});
    whole(generator, "PodMetrics", "What the containers of a pod use.", "containers", containers)
}

fn usage_schema(generator: &mut SchemaGenerator) -> Schema {
    let quantity = generator.subschema_for::<Quantity>();
    json_schema!({"type": "object", "description": "How much of each resource.", "additionalProperties": quantity})
}

fn whole(generator: &mut SchemaGenerator, name: &str, description: &str, field: &str, of: Schema) -> Schema {
    let metadata = generator.subschema_for::<ObjectMeta>();
    let mut schema = json_schema!({
        "type": "object",
        "description": description,
        "required": ["timestamp", "window", field],
        "properties": {
            "apiVersion": {"type": "string", "description": "The group and version."},
            "kind": {"type": "string", "description": "The kind."},
            "metadata": metadata,
            "timestamp": {"type": "string", "format": "date-time", "description": "When it was measured."},
            "window": {"type": "string", "description": "Over which time, up to then, the use of processors was counted."},
        },
    });
    schema.ensure_object()["properties"][field] = of.to_value();
    define(generator, name, schema)
}

/// Adds a definition, and refers to it.
fn define(generator: &mut SchemaGenerator, name: &str, schema: Schema) -> Schema {
    let key = format!("{DEFINITIONS}.{name}");
    generator.definitions_mut().insert(key.clone(), schema.into());
    Schema::new_ref(format!("#/components/schemas/{key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(cpu_nanos: u64, memory_bytes: u64, window_ms: u64) -> Rate {
        Rate { window_ms, cpu_nanos, memory_bytes }
    }

    fn measured() -> Measured {
        let containers = [("side".to_owned(), rate(0, 1_023, 500)), ("web".to_owned(), rate(250_000_000, 3 << 20, 61_500))];
        let pods = [("u".to_owned(), containers.into()), ("v".to_owned(), BTreeMap::new())].into();
        Measured { at: "2026-01-02T03:04:05.6Z".parse().unwrap(), node: Some(rate(1, 2_048, 15_000)), pods }
    }

    #[test]
    fn what_was_measured_is_told_as_clients_of_kubernetes_read_it() {
        let pod = json!({"metadata": {"name": "web-1", "namespace": "shop", "uid": "u", "labels": {"a": "b"}, "annotations": {}}});
        let told = of_pod(&pod, &measured()).unwrap();
        assert_eq!(
            told,
            json!({"kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1", "timestamp": "2026-01-02T03:04:05Z", "window": "61.5s",
                "metadata": {"name": "web-1", "namespace": "shop", "labels": {"a": "b"}, "creationTimestamp": "2026-01-02T03:04:05Z"},
                "containers": [{"name": "side", "usage": {"cpu": "0", "memory": "0"}},
                    {"name": "web", "usage": {"cpu": "250000000n", "memory": "3072Ki"}}]})
        );
        assert_eq!((sum(&told, "cpu"), sum(&told, "memory")), (250_000_000, 3_072));
        let node = of_node(&json!({"metadata": {"name": "here"}}), &measured()).unwrap();
        assert_eq!((&node["usage"], &node["window"]), (&json!({"cpu": "1n", "memory": "2Ki"}), &json!("15s")));
    }

    #[test]
    fn of_what_was_not_measured_nothing_is_told() {
        for uid in ["v", "w", ""] {
            assert_eq!(of_pod(&json!({"metadata": {"name": "a", "uid": uid}}), &measured()), None, "{uid}");
        }
        assert_eq!(of_node(&json!({"metadata": {"name": "here"}}), &Measured { node: None, ..measured() }), None);
    }
}
