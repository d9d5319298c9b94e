//! How the parts of an object are merged and owned: which lists have keys, which maps and lists are one piece.
//!
//! A [`Shape`] is compiled once from an OpenAPI v3 schema with `x-kubernetes-` facts. Shapes share the nodes of their
//! definitions, and all plain values share one node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

/// The shape of one kind.
#[derive(Debug, Clone)]
pub struct Shape {
    nodes: Arc<Vec<Node>>,
    root: usize,
}

/// A place in a shape.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    nodes: &'a [Node],
    node: &'a Node,
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ListKind {
    /// Not at all: the list is one piece.
    #[default]
    Atomic,
    /// By their value.
    Set,
    /// By the values of these fields.
    Keyed(Vec<String>),
}

#[derive(Debug, Clone, Default)]
struct Node {
    holds: Holds,
    fields: BTreeMap<String, usize>,
    additional: Option<usize>,
    items: Option<usize>,
    key_defaults: BTreeMap<String, Value>,
    atomic: bool,
    list: ListKind,
    patch: PatchFacts,
    /// Whether there may be a plain value as well.
    may_be_plain: bool,
    /// What a plain value here is.
    plain: Option<Plain>,
}

/// What a plain value is, where the schema says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// A number.
    Number,
    /// A text.
    Text,
    /// True or false.
    Truth,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Holds {
    /// A plain value, or what no schema describes.
    #[default]
    Anything,
    /// An object with known fields.
    Fields,
    /// An object with any keys.
    Map,
    /// A list.
    List,
}

/// How a strategic merge patch treats a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchFacts {
    /// Whether lists are merged rather than replaced.
    pub merges: bool,
    /// The field that tells items apart; empty for plain values.
    pub merge_key: String,
}

/// The node of what is not described, and those of plain values.
const ANYTHING: usize = 0;
const PLAIN: [(usize, Plain); 3] = [(1, Plain::Number), (2, Plain::Text), (3, Plain::Truth)];

/// Types that are written as text or as something else, whatever their schema says of it.
const NOT_PLAIN: [&str; 5] = ["Quantity", "IntOrString", "Time", "MicroTime", "Duration"];

fn is_plain(at: usize) -> bool {
    at == ANYTHING || PLAIN.iter().any(|(plain, _)| *plain == at)
}

/// The node of the plain values that a schema asks for.
fn plain(schema: &Value) -> usize {
    let is_either = schema["x-kubernetes-int-or-string"] == true;
    let wanted = match (schema["type"].as_str(), schema["format"].as_str()) {
        _ if is_either => None,
        (Some("integer" | "number"), _) => Some(Plain::Number),
        (Some("string"), Some("int-or-string" | "byte" | "date-time")) => None,
        (Some("string"), _) => Some(Plain::Text),
        (Some("boolean"), _) => Some(Plain::Truth),
        _ => None,
    };
    PLAIN.iter().find(|(_, plain)| Some(*plain) == wanted).map_or(ANYTHING, |(at, _)| *at)
}

/// Compiles shapes that share one set of definitions.
#[derive(Debug)]
pub struct Compiler {
    nodes: Vec<Node>,
    named: HashMap<String, usize>,
}

impl Default for Compiler {
    fn default() -> Self {
        let plain = PLAIN.iter().map(|(_, plain)| Node { plain: Some(*plain), ..Node::default() });
        Self { nodes: std::iter::once(Node::default()).chain(plain).collect(), named: HashMap::new() }
    }
}

impl Compiler {
    /// Compiles `schema`; references are looked up in `definitions` by the last part of their path.
    pub fn compile(&mut self, schema: &Value, definitions: &Map<String, Value>) -> usize {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            return self.named(name, definitions);
        }
        if let Some([only]) = schema["allOf"].as_array().map(Vec::as_slice) {
            let inner = self.compile(only, definitions);
            let is_atomic = schema["x-kubernetes-map-type"] == "atomic";
            return if is_atomic { self.push(Node { atomic: true, ..self.nodes[inner].clone() }) } else { inner };
        }
        if let Some(choices) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()).filter(|_| schema["type"].is_null()) {
            let compiled: Vec<usize> = choices.iter().map(|choice| self.compile(choice, definitions)).collect();
            let chosen: Vec<usize> =
                choices.iter().zip(&compiled).filter(|(choice, _)| choice["type"] != "null").map(|(_, at)| *at).collect();
            let may_be_plain = chosen.iter().any(|at| is_plain(*at));
            return match (compiled.into_iter().find(|at| !is_plain(*at)), chosen.as_slice()) {
                (Some(inner), _) if may_be_plain => self.push(Node { may_be_plain, ..self.nodes[inner].clone() }),
                (Some(inner), _) => inner,
                (None, [only]) => *only,
                (None, _) => ANYTHING,
            };
        }
        let node = self.node(schema, definitions);
        if node.holds == Holds::Anything { plain(schema) } else { self.push(node) }
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn named(&mut self, name: &str, definitions: &Map<String, Value>) -> usize {
        if let Some(&at) = self.named.get(name) {
            return at;
        }
        let Some(schema) = definitions.get(name) else { return ANYTHING };
        if NOT_PLAIN.contains(&name.rsplit('.').next().unwrap_or_default()) {
            return ANYTHING;
        }
        let at = self.push(Node::default());
        self.named.insert(name.to_owned(), at);
        let compiled = self.compile(schema, definitions);
        if is_plain(compiled) {
            self.named.insert(name.to_owned(), compiled);
        }
        self.nodes[at] = self.nodes[compiled].clone();
        if is_plain(compiled) { compiled } else { at }
    }

    fn node(&mut self, schema: &Value, definitions: &Map<String, Value>) -> Node {
        let mut fields = BTreeMap::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            fields.insert(name.clone(), self.compile(property, definitions));
        }
        let inner = |name: &str| schema.get(name).filter(|value| value.is_object());
        let additional = inner("additionalProperties").map(|value| self.compile(value, definitions));
        let items = inner("items").map(|value| self.compile(value, definitions));
        let preserves = schema["x-kubernetes-preserve-unknown-fields"] == true || schema["additionalProperties"] == true;
        let holds = match (items, additional, fields.is_empty()) {
            (Some(_), ..) => Holds::List,
            (None, Some(_), _) => Holds::Map,
            (None, None, false) if !preserves => Holds::Fields,
            (None, None, false) => Holds::Map,
            _ => Holds::Anything,
        };
        let list = list_kind(schema);
        let key_defaults = match &list {
            ListKind::Keyed(keys) => key_defaults(keys, inner("items"), definitions),
            _ => BTreeMap::new(),
        };
        let text = |name: &str| schema[name].as_str().unwrap_or_default();
        let merges = text("x-kubernetes-patch-strategy").split(',').any(|word| word == "merge");
        let patch = PatchFacts { merges, merge_key: text("x-kubernetes-patch-merge-key").to_owned() };
        let atomic = schema["x-kubernetes-map-type"] == "atomic";
        Node { holds, fields, additional, items, key_defaults, atomic, list, patch, may_be_plain: false, plain: None }
    }

    /// The shapes compiled so far, by the positions that [`Compiler::compile`] gave.
    pub fn finish(self) -> impl Fn(usize) -> Shape {
        let nodes = Arc::new(self.nodes);
        move |root| Shape { nodes: Arc::clone(&nodes), root }
    }
}

fn list_kind(schema: &Value) -> ListKind {
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => ListKind::Set,
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
            ListKind::Keyed(keys.map(str::to_owned).collect())
        }
        _ => ListKind::Atomic,
    }
}

fn key_defaults(keys: &[String], items: Option<&Value>, definitions: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut items = items.unwrap_or(&Value::Null);
    if let Some(name) = items["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        items = definitions.get(name).unwrap_or(&Value::Null);
    }
    let default = |key: &String| match &items["properties"][key]["default"] {
        // The schemas of Kubernetes' own types carry no defaults; this is the only one that a key has.
        Value::Null if key == "protocol" => Some(Value::from("TCP")),
        Value::Null => None,
        default => Some(default.clone()),
    };
    keys.iter().filter_map(|key| Some((key.clone(), default(key)?))).collect()
}

impl Shape {
    /// The whole object.
    pub fn root(&self) -> Place<'_> {
        Place { nodes: &self.nodes, node: self.nodes.get(self.root).unwrap_or(&self.nodes[ANYTHING]) }
    }
}

impl<'a> Place<'a> {
    fn at(self, at: usize) -> Self {
        Self { node: self.nodes.get(at).unwrap_or(self.node), ..self }
    }

    /// What lies under a key of an object.
    pub fn field(self, name: &str) -> Self {
        self.at(self.node.fields.get(name).copied().or(self.node.additional).unwrap_or(ANYTHING))
    }

    /// The items of a list.
    pub fn items(self) -> Self {
        self.at(self.node.items.unwrap_or(ANYTHING))
    }

    /// Whether a key is one of the fields that the schema names.
    pub fn declares(self, name: &str) -> bool {
        self.node.fields.contains_key(name)
    }

    /// Whether an object may hold no other fields than those that the schema names.
    pub fn is_closed(self) -> bool {
        self.node.holds == Holds::Fields
    }

    /// Whether the schema says that there is an object here, and nothing else.
    pub fn is_object(self) -> bool {
        matches!(self.node.holds, Holds::Fields | Holds::Map) && !self.node.may_be_plain
    }

    /// Whether the schema says that there is a list here, and nothing else.
    pub fn is_list(self) -> bool {
        self.node.holds == Holds::List && !self.node.may_be_plain
    }

    /// What a plain value here is, where nothing else may be here.
    pub fn plain(self) -> Option<Plain> {
        self.node.plain
    }

    /// Whether an object is one piece.
    pub fn is_atomic(self) -> bool {
        self.node.atomic
    }

    /// How the items of a list are told apart.
    pub fn list(self) -> &'a ListKind {
        &self.node.list
    }

    /// How a strategic merge patch treats what is here.
    pub fn patch(self) -> &'a PatchFacts {
        &self.node.patch
    }

    /// What tells an item of a keyed list or a set apart, as it is written in field sets: `k:{"name":"a"}`, `v:"a"`.
    /// `None` when the item has none of the keys, or the list is one piece.
    pub fn element(self, item: &Value) -> Option<String> {
        match &self.node.list {
            ListKind::Atomic => None,
            ListKind::Set => Some(format!("v:{item}")),
            ListKind::Keyed(keys) => {
                let mut found = BTreeMap::new();
                for key in keys {
                    if let Some(value) = item.get(key).filter(|value| !value.is_null()).or_else(|| self.node.key_defaults.get(key)) {
                        found.insert(key.as_str(), value);
                    }
                }
                if found.is_empty() { None } else { serde_json::to_string(&found).ok().map(|text| format!("k:{text}")) }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A pod-like shape for the tests of this folder.
    pub fn sample() -> Shape {
        let definitions = json!({
            "Container": {"type": "object", "properties": {
                "name": {"type": "string"}, "image": {"type": "string"},
                "env": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "string"}}},
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name"},
                "ports": {"type": "array", "items": {"type": "object", "properties": {"containerPort": {"type": "integer"},
                        "protocol": {"type": "string"}, "name": {"type": "string"}}},
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
                    "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "containerPort"},
                "args": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"},
            }},
            "Reference": {"type": "object", "properties": {"secretRef": {"type": "string"}}},
        });
        let schema = json!({"type": "object", "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {
                "name": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "finalizers": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"},
            }},
            "data": {"type": "object", "additionalProperties": {"type": "string"}},
            "config": {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/Reference"}]}},
            "spec": {"type": "object", "properties": {
                "size": {"type": "integer"},
                "containers": {"type": "array", "items": {"$ref": "#/components/schemas/Container"},
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name"},
                "selector": {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic"},
                "template": {"allOf": [{"$ref": "#/components/schemas/Container"}], "description": "one"},
            }},
            "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
        }});
        let mut compiler = Compiler::default();
        let root = compiler.compile(&schema, definitions.as_object().unwrap());
        compiler.finish()(root)
    }

    #[test]
    fn items_are_told_apart_by_keys_defaults_and_values() {
        let shape = sample();
        let containers = shape.root().field("spec").field("containers");
        assert_eq!(containers.element(&json!({"name": "a", "image": "b"})).as_deref(), Some("k:{\"name\":\"a\"}"));
        assert_eq!(containers.element(&json!({"image": "b"})), None);
        let ports = containers.items().field("ports");
        assert_eq!(ports.element(&json!({"containerPort": 80})).as_deref(), Some("k:{\"containerPort\":80,\"protocol\":\"TCP\"}"));
        assert_eq!(shape.root().field("metadata").field("finalizers").element(&json!("a.dev/b")).as_deref(), Some("v:\"a.dev/b\""));
        assert!(shape.root().field("spec").field("template").declares("image"));
        assert!(shape.root().field("spec").field("selector").is_atomic());
        assert!(!shape.root().field("nowhere").field("deeper").is_object());
    }
}
