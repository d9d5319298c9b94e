//! Whether an object has the shape its kind says: types, required and unknown fields, bounds, defaults.
//!
//! A [`Schema`] is compiled once from an OpenAPI v3 schema and shares its definitions with every other one; it keeps no
//! descriptions, so that all kinds together take little memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::{Problem, ProblemKind};
use serde_json::{Map, Value};

mod format;

use crate::nearest::nearest;
use format::Format;

/// The compiled schema of one kind.
#[derive(Debug, Clone)]
pub struct Schema {
    nodes: Arc<Vec<Node>>,
    root: usize,
}

/// What one place of an object may hold.
#[derive(Debug, Clone, Default)]
struct Node {
    types: Vec<Type>,
    properties: BTreeMap<String, usize>,
    required: Vec<String>,
    additional: Option<usize>,
    items: Option<usize>,
    one_of: Vec<usize>,
    allowed: Vec<Value>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    nullable: bool,
    format: Option<Format>,
    keeps_unknown: bool,
    default: Option<Value>,
    list_map_keys: Vec<String>,
    is_set: bool,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// Compiles schemas that share one set of definitions.
#[derive(Debug, Default)]
pub struct Compiler {
    nodes: Vec<Node>,
    named: HashMap<String, usize>,
}

/// What a check of an object found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Values of a wrong type, out of bounds, or missing.
    pub problems: Vec<Problem>,
    /// Fields that the schema does not know, with the nearest name that it does know in the detail.
    pub unknown: Vec<Problem>,
}

const TOO_DEEP: usize = 64;

impl Compiler {
    /// Compiles `schema`; references are looked up in `definitions` by the last part of their path.
    pub fn compile(&mut self, schema: &Value, definitions: &Map<String, Value>) -> usize {
        if let Some(name) = reference(schema) {
            return self.named(name, definitions);
        }
        self.nodes.push(Node::default());
        let at = self.nodes.len() - 1;
        let node = self.node(schema, definitions);
        self.nodes[at] = node;
        at
    }

    fn named(&mut self, name: &str, definitions: &Map<String, Value>) -> usize {
        if let Some(&at) = self.named.get(name) {
            return at;
        }
        self.nodes.push(Node::default());
        let at = self.nodes.len() - 1;
        self.named.insert(name.to_owned(), at);
        let node = match definitions.get(name) {
            // Kubernetes' schemas say of an amount only that it is text.
            Some(schema) if name.ends_with(".Quantity") => Node { format: Some(Format::Quantity), ..self.node(schema, definitions) },
            Some(schema) => self.node(schema, definitions),
            None => Node { keeps_unknown: true, ..Node::default() },
        };
        self.nodes[at] = node;
        at
    }

    fn node(&mut self, schema: &Value, definitions: &Map<String, Value>) -> Node {
        if let Some([only]) = schema["allOf"].as_array().map(Vec::as_slice) {
            let inner = self.compile(only, definitions);
            let default = schema.get("default").cloned();
            let node = self.nodes[inner].clone();
            return Node { default: default.or(node.default), nullable: node.nullable || schema["nullable"] == true, ..node };
        }
        let mut one_of = Vec::new();
        for choice in schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()).into_iter().flatten() {
            one_of.push(self.compile(choice, definitions));
        }
        if let Some(merged) = self.as_one_enum(&one_of) {
            return Node { default: schema.get("default").cloned(), nullable: schema["nullable"] == true, ..merged };
        }
        let mut properties = BTreeMap::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            properties.insert(name.clone(), self.compile(property, definitions));
        }
        let additional = schema.get("additionalProperties").filter(|value| value.is_object()).map(|value| self.compile(value, definitions));
        let items = schema.get("items").filter(|value| value.is_object()).map(|value| self.compile(value, definitions));
        let keeps_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true
            || schema["additionalProperties"] == true
            || (properties.is_empty() && additional.is_none());
        Node {
            types: types(schema),
            required: texts(&schema["required"]),
            allowed: schema["enum"].as_array().cloned().unwrap_or_default(),
            minimum: schema["minimum"].as_f64(),
            maximum: schema["maximum"].as_f64(),
            nullable: schema["nullable"] == true,
            format: Format::of(schema),
            default: schema.get("default").cloned(),
            list_map_keys: texts(&schema["x-kubernetes-list-map-keys"]),
            is_set: schema["x-kubernetes-list-type"] == "set",
            properties,
            additional,
            items,
            one_of,
            keeps_unknown,
        }
    }

    /// Choices that are but single values of one type, written apart so that each can be described, are one enumeration.
    fn as_one_enum(&self, choices: &[usize]) -> Option<Node> {
        let first = self.nodes.get(*choices.first()?)?;
        let is_value = |node: &Node| !node.allowed.is_empty() && node.types == first.types && node.properties.is_empty();
        let nodes: Vec<&Node> = choices.iter().filter_map(|at| self.nodes.get(*at)).collect();
        nodes.iter().all(|node| is_value(node)).then(|| Node {
            types: first.types.clone(),
            allowed: nodes.iter().flat_map(|node| node.allowed.iter().cloned()).collect(),
            ..Node::default()
        })
    }

    /// The schemas compiled so far, by the positions that [`Compiler::compile`] gave.
    pub fn finish(self) -> impl Fn(usize) -> Schema {
        let nodes = Arc::new(self.nodes);
        move |root| Schema { nodes: Arc::clone(&nodes), root }
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

/// The texts of a list.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn types(schema: &Value) -> Vec<Type> {
    if schema["x-kubernetes-int-or-string"] == true || schema["format"] == "int-or-string" {
        return vec![Type::Integer, Type::String];
    }
    let names = match &schema["type"] {
        Value::String(name) => vec![name.clone()],
        list => texts(list),
    };
    names.iter().filter_map(|name| Type::parse(name)).collect()
}

impl Type {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    pub(crate) fn fits(self, value: &Value) -> bool {
        match self {
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }
}

/// The name of a value's type, for error texts.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Schema {
    /// Checks a whole object.
    pub fn check(&self, object: &Value) -> Findings {
        let mut findings = Findings::default();
        self.visit(self.root, object, &mut String::new(), 0, &mut findings);
        findings
    }

    /// Takes away every field that the schema does not know.
    pub fn prune(&self, object: &mut Value) {
        self.prune_at(self.root, object);
    }

    /// Fills in what was left out and has a default.
    pub fn fill_defaults(&self, object: &mut Value) {
        self.default_at(self.root, object);
    }

    fn visit(&self, at: usize, value: &Value, path: &mut String, depth: usize, findings: &mut Findings) {
        let node = &self.nodes[at];
        if depth > TOO_DEEP {
            findings.problems.push(Problem::invalid(path.as_str(), "is nested too deeply"));
            return;
        }
        if !node.one_of.is_empty() {
            self.visit_choice(node, value, path, depth, findings);
            return;
        }
        if value.is_null() {
            return; // as good as left out: whoever requires the field says so
        }
        if !node.types.is_empty() && !node.types.iter().any(|type_| type_.fits(value)) {
            findings.problems.push(wrong_type(path, node.types.iter().copied(), value));
            return;
        }
        check_bounds(node, value, path, findings);
        match value {
            Value::Object(fields) => self.visit_fields(node, fields, path, depth, findings),
            Value::Array(items) => self.visit_items(node, items, path, depth, findings),
            _ => {}
        }
    }

    fn visit_choice(&self, node: &Node, value: &Value, path: &mut String, depth: usize, findings: &mut Findings) {
        let fits = |at: &&usize| self.nodes[**at].types.is_empty() || self.nodes[**at].types.iter().any(|type_| type_.fits(value));
        if value.is_null() {
            return;
        }
        match node.one_of.iter().find(fits) {
            Some(&at) => self.visit(at, value, path, depth + 1, findings),
            None => {
                let types = node.one_of.iter().flat_map(|&at| self.nodes[at].types.iter().copied());
                findings.problems.push(wrong_type(path, types, value));
            }
        }
    }

    fn visit_fields(&self, node: &Node, fields: &Map<String, Value>, path: &mut String, depth: usize, findings: &mut Findings) {
        for name in &node.required {
            if fields.get(name).is_none_or(Value::is_null) {
                findings.problems.push(Problem::new(ProblemKind::Required, join(path, name), ""));
            }
        }
        for (name, value) in fields {
            let property = node.properties.get(name).copied();
            match property.or(node.additional) {
                Some(at) => {
                    let length = path.len();
                    match property {
                        Some(_) => push_field(path, name),
                        None => path.push_str(&format!("[{name}]")),
                    }
                    self.visit(at, value, path, depth + 1, findings);
                    path.truncate(length);
                }
                None if node.keeps_unknown => {}
                None => {
                    let meant = nearest(name, node.properties.keys().map(String::as_str));
                    let detail = meant.map(|meant| format!("did you mean {meant:?}?")).unwrap_or_default();
                    findings.unknown.push(Problem::new(ProblemKind::Unknown, join(path, name), detail));
                }
            }
        }
    }

    fn visit_items(&self, node: &Node, items: &[Value], path: &mut String, depth: usize, findings: &mut Findings) {
        for (index, item) in items.iter().enumerate() {
            let length = path.len();
            path.push_str(&format!("[{index}]"));
            if let Some(at) = node.items {
                self.visit(at, item, path, depth + 1, findings);
            }
            if is_repeated(node, items, index) {
                findings.problems.push(Problem::duplicate(path.as_str(), &key_text(node, item)));
            }
            path.truncate(length);
        }
    }

    fn prune_at(&self, at: usize, value: &mut Value) {
        let node = &self.nodes[at];
        match value {
            Value::Object(fields) => {
                if !node.keeps_unknown && node.additional.is_none() && node.one_of.is_empty() {
                    fields.retain(|name, _| node.properties.contains_key(name));
                }
                for (name, value) in fields.iter_mut() {
                    if let Some(at) = node.properties.get(name).copied().or(node.additional) {
                        self.prune_at(at, value);
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    if let Some(at) = node.items {
                        self.prune_at(at, item);
                    }
                }
            }
            _ => {}
        }
    }

    fn default_at(&self, at: usize, value: &mut Value) {
        let node = &self.nodes[at];
        match value {
            Value::Object(fields) => {
                for (name, &property) in &node.properties {
                    let child = &self.nodes[property];
                    if let Some(default) = &child.default
                        && fields.get(name).is_none_or(|value| value.is_null() && !child.nullable)
                    {
                        fields.insert(name.clone(), default.clone());
                    }
                }
                for (name, value) in fields.iter_mut() {
                    if let Some(at) = node.properties.get(name).copied().or(node.additional) {
                        self.default_at(at, value);
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    if let Some(at) = node.items {
                        self.default_at(at, item);
                    }
                }
            }
            _ => {}
        }
    }
}

fn check_bounds(node: &Node, value: &Value, path: &str, findings: &mut Findings) {
    if let Some(problem) = node.format.and_then(|format| format.problem(value, path)) {
        findings.problems.push(problem);
    }
    if !node.allowed.is_empty() && !node.allowed.contains(value) {
        let allowed: Vec<String> = node.allowed.iter().filter(|value| !value.is_null()).map(Value::to_string).collect();
        let detail = format!("{value}: supported values: {}", allowed.join(", "));
        findings.problems.push(Problem::new(ProblemKind::NotSupported, path, detail));
    }
    if let Some(number) = value.as_f64() {
        if let Some(minimum) = node.minimum.filter(|minimum| number < *minimum) {
            let detail = format!("{value}: {path} in body should be greater than or equal to {minimum}");
            findings.problems.push(Problem::invalid(path, detail));
        }
        if let Some(maximum) = node.maximum.filter(|maximum| number > *maximum) {
            let detail = format!("{value}: {path} in body should be less than or equal to {maximum}");
            findings.problems.push(Problem::invalid(path, detail));
        }
    }
}

fn is_repeated(node: &Node, items: &[Value], index: usize) -> bool {
    if node.is_set {
        return items[..index].contains(&items[index]);
    }
    !node.list_map_keys.is_empty()
        && items[..index].iter().any(|other| node.list_map_keys.iter().all(|key| other.get(key) == items[index].get(key)))
}

fn key_text(node: &Node, item: &Value) -> String {
    let keys: Vec<String> = node.list_map_keys.iter().map(|key| item[key].as_str().unwrap_or_default().to_owned()).collect();
    if keys.is_empty() { item.to_string() } else { keys.join(",") }
}

fn wrong_type(path: &str, expected: impl Iterator<Item = Type>, value: &Value) -> Problem {
    let expected: Vec<&str> = expected.map(Type::name).collect();
    let hint = if expected == ["string"] && (value.is_number() || value.is_boolean()) { "; quote it" } else { "" };
    let detail = format!("{:?}: must be of type {}, not {}{hint}", type_name(value), expected.join(" or "), type_name(value));
    Problem::new(ProblemKind::TypeInvalid, path, detail)
}

fn join(path: &str, name: &str) -> String {
    let mut joined = path.to_owned();
    push_field(&mut joined, name);
    joined
}

fn push_field(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compiled(schema: &Value, definitions: &Value) -> Schema {
        let mut compiler = Compiler::default();
        let root = compiler.compile(schema, definitions.as_object().unwrap());
        compiler.finish()(root)
    }

    fn sample() -> Schema {
        compiled(
            &json!({"$ref": "#/components/schemas/Thing"}),
            &json!({
                "Thing": {"type": "object", "required": ["size"], "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 9},
                    "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "port": {"x-kubernetes-int-or-string": true},
                    "phase": {"oneOf": [{"type": "string", "enum": ["On"]}, {"type": "string", "enum": ["Off"]}]},
                    "value": {"anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/Thing"}]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                    "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
                        "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
                }},
            }),
        )
    }

    fn check(object: &Value, expected: &[&str]) {
        let findings = sample().check(object);
        let texts: Vec<String> = findings.problems.iter().chain(&findings.unknown).map(ToString::to_string).collect();
        assert_eq!(texts.len(), expected.len(), "{texts:?}");
        for (text, expected) in texts.iter().zip(expected) {
            assert!(text.contains(expected), "{text} lacks {expected}");
        }
    }

    #[test]
    fn each_mistake_names_its_field_and_what_was_expected() {
        check(&json!({"size": 1, "parts": [{"size": 2}], "port": "http", "value": {"size": 3}}), &[]);
        check(&json!({}), &["size: Required"]);
        check(&json!({"size": "1"}), &["size: Invalid value: \"string\": must be of type integer"]);
        check(&json!({"size": 1.5}), &["must be of type integer, not number"]);
        check(&json!({"size": 10}), &["less than or equal to 9"]);
        check(&json!({"size": 1, "colour": "green"}), &["supported values: \"red\", \"blue\""]);
        check(
            &json!({"size": 1, "labels": {"a": 1}}),
            &["labels[a]: Invalid value: \"integer\": must be of type string, not integer; quote it"],
        );
        check(&json!({"size": 1, "port": true}), &["must be of type integer or string"]);
        check(&json!({"size": 1, "value": 7}), &["value: Invalid value"]);
        check(&json!({"size": 1, "phase": "Off"}), &[]);
        check(&json!({"size": 1, "phase": "off"}), &["supported values: \"On\", \"Off\""]);
        check(&json!({"size": 1, "parts": [{"size": 1, "colr": "red"}]}), &["parts[0].colr: Unknown field: did you mean \"colour\"?"]);
        check(&json!({"size": 1, "ports": [{"n": 1}, {"n": 1}]}), &["ports[1]: Duplicate"]);
        check(&json!([]), &["must be of type object"]);
    }

    #[test]
    fn pruning_and_defaulting_reach_every_depth() {
        let mut object = json!({"size": 1, "x": 1, "parts": [{"size": 2, "y": 1, "colour": null}]});
        sample().prune(&mut object);
        sample().fill_defaults(&mut object);
        assert_eq!(object, json!({"size": 1, "colour": "red", "parts": [{"size": 2, "colour": "red"}]}));
    }

    #[test]
    fn an_object_nested_without_end_is_refused() {
        let mut object = json!({"size": 1});
        for _ in 0..200 {
            object = json!({"size": 1, "parts": [object]});
        }
        check(&object, &["nested too deeply", "nested too deeply"]);
    }
}
