//! A structural schema, compiled.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::pattern::{self, Pattern};
use crate::rules::{self, Rule};
use crate::schema::{Type, texts};

/// The compiled schema of one version of a defined kind.
#[derive(Debug)]
pub struct Structural {
    pub(super) root: Node,
    pub(super) defaults: bool,
}

/// What one place of an object may hold.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub type_: Option<Type>,
    pub int_or_string: bool,
    pub nullable: bool,
    pub preserves: bool,
    pub embedded: bool,
    pub properties: BTreeMap<String, Node>,
    pub additional: Additional,
    pub items: Option<Box<Node>>,
    pub default: Option<Value>,
    pub list: List,
    pub required: Vec<String>,
    pub bounds: Bounds,
    pub all_of: Vec<Node>,
    pub any_of: Vec<Node>,
    pub one_of: Vec<Node>,
    pub not: Option<Box<Node>>,
    pub rules: Vec<Rule>,
}

/// What keys an object may have beside its properties.
#[derive(Debug, Default)]
pub(super) enum Additional {
    /// None.
    #[default]
    Refused,
    /// Any, with any value.
    Anything,
    /// Any, with values of a schema.
    Of(Box<Node>),
}

/// How the items of a list are told apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum List {
    #[default]
    Atomic,
    Set,
    Map(Vec<String>),
}

/// What a value is held to.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    pub allowed: Option<Vec<Value>>,
    pub pattern: Option<Pattern>,
    pub format: Option<String>,
    pub minimum: Option<(f64, bool)>,
    pub maximum: Option<(f64, bool)>,
    pub multiple_of: Option<f64>,
    pub length: (Option<u64>, Option<u64>),
    pub items: (Option<u64>, Option<u64>),
    pub properties: (Option<u64>, Option<u64>),
}

impl Structural {
    /// Compiles a schema that [`super::check`] has passed; what it would have refused is left out here.
    pub fn compile(schema: &Value) -> Self {
        let root = Node::compile(schema);
        let defaults = root.has_defaults();
        Self { root, defaults }
    }

    /// Whether objects are filled in at all.
    pub fn has_defaults(&self) -> bool {
        self.defaults
    }
}

impl Node {
    pub fn compile(schema: &Value) -> Self {
        let is = |name: &str| schema[name] == true;
        let nodes = |name: &str| schema[name].as_array().into_iter().flatten().map(Self::compile).collect();
        let inner = |name: &str| schema.get(name).filter(|inner| inner.is_object()).map(|inner| Box::new(Self::compile(inner)));
        let additional = match &schema["additionalProperties"] {
            Value::Bool(true) => Additional::Anything,
            inner @ Value::Object(_) => Additional::Of(Box::new(Self::compile(inner))),
            _ => Additional::Refused,
        };
        let list = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => List::Set,
            Some("map") => List::Map(texts(&schema["x-kubernetes-list-map-keys"])),
            _ => List::Atomic,
        };
        let properties = schema["properties"].as_object().into_iter().flatten();
        Self {
            type_: schema["type"].as_str().and_then(Type::parse),
            int_or_string: is("x-kubernetes-int-or-string"),
            nullable: is("nullable"),
            preserves: is("x-kubernetes-preserve-unknown-fields"),
            embedded: is("x-kubernetes-embedded-resource"),
            properties: properties.map(|(name, property)| (name.clone(), Self::compile(property))).collect(),
            additional,
            items: inner("items"),
            default: schema.get("default").cloned(),
            list,
            required: texts(&schema["required"]),
            bounds: Bounds::compile(schema),
            all_of: nodes("allOf"),
            any_of: nodes("anyOf"),
            one_of: nodes("oneOf"),
            not: inner("not"),
            rules: rules::compile(&schema["x-kubernetes-validations"]),
        }
    }

    fn has_defaults(&self) -> bool {
        let of = |node: &Node| node.has_defaults();
        let additional = if let Additional::Of(inner) = &self.additional { inner.has_defaults() } else { false };
        self.default.is_some() || additional || self.properties.values().any(of) || self.items.as_deref().is_some_and(of)
    }

    /// What lies under a key: a property, or any other value.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.additional {
            Additional::Of(inner) => Some(inner),
            _ => None,
        })
    }
}

impl Bounds {
    fn compile(schema: &Value) -> Self {
        let number = |name: &str| schema[name].as_f64();
        let count = |low: &str, high: &str| (schema[low].as_u64(), schema[high].as_u64());
        Self {
            allowed: schema["enum"].as_array().cloned(),
            pattern: schema["pattern"].as_str().and_then(|pattern| pattern::compile(pattern).ok()),
            format: schema["format"].as_str().map(str::to_owned),
            minimum: number("minimum").map(|bound| (bound, schema["exclusiveMinimum"] == true)),
            maximum: number("maximum").map(|bound| (bound, schema["exclusiveMaximum"] == true)),
            multiple_of: number("multipleOf").filter(|factor| *factor > 0.0),
            length: count("minLength", "maxLength"),
            items: count("minItems", "maxItems"),
            properties: count("minProperties", "maxProperties"),
        }
    }
}
