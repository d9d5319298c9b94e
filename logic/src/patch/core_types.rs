//! Facts about Kubernetes' own types: the numbers of their fields in protobuf, and how their lists and maps are merged.
//!
//! `core_types.txt` has a line for each type: its name (`;atomic` when it is owned as a whole), then `number:name:type` for each field. A type is `s` text, `i`
//! integer, `b` boolean, `f` float, `y` bytes, a special name, or another type of the table; `[]` after it makes a list of it,
//! `{}` a map from text; `?` says that a zero is kept. The name `^` means that the fields of the type are the outer type's own in JSON.
//! After a `;` come `map=KEYS` (items are told apart by keys), `set`, `atomic`, and for strategic merge patches `merge=KEY`,
//! `merge` (of plain values), `retain` (the patch may name the fields that stay).

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

static TYPES: LazyLock<HashMap<&'static str, Fields>> =
    LazyLock::new(|| include_str!("core_types.txt").lines().filter_map(parse).collect());

/// The fields of a type, and whether it is owned as a whole.
#[derive(Debug)]
struct Fields {
    fields: Vec<Field>,
    atomic: bool,
}

/// A field of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its number in protobuf.
    pub number: u32,
    /// Its name in JSON; empty when the fields of its type stand in its place.
    pub name: &'static str,
    /// What it holds, once or many times.
    pub holds: Type,
    /// How often.
    pub many: Many,
    /// Whether a zero, an empty text or an empty object is different from nothing.
    pub keeps_zero: bool,
    merge: Vec<&'static str>,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A number.
    Float,
    /// Bytes: base64 in JSON.
    Bytes,
    /// A time in whole seconds.
    Time,
    /// A time in microseconds.
    MicroTime,
    /// A time span: nanoseconds in protobuf, `1m30s` in JSON.
    Duration,
    /// A quantity such as `100m`: text in JSON.
    Quantity,
    /// A number or a text.
    IntOrString,
    /// JSON as it is.
    Raw,
    /// A list of texts that is a message of its own.
    Texts,
    /// A schema, or a list of them, or whether there may be anything, or names of fields: what a definition's schema may hold in their place.
    SchemaOr(Instead),
    /// Another type of the table.
    Message(&'static str),
}

/// What may stand in place of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// A list of schemas.
    List,
    /// True or false.
    Boolean,
    /// A list of texts.
    Texts,
}

/// How often a field holds what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Many {
    /// At most once.
    One,
    /// A list.
    List,
    /// A map from text.
    Map,
}

/// The fields of a type such as `core.Pod`, ascending by number.
pub fn fields(name: &str) -> Option<&'static [Field]> {
    TYPES.get(name).map(|found| found.fields.as_slice())
}

/// The names of all types.
pub fn names() -> impl Iterator<Item = &'static str> {
    TYPES.keys().copied()
}

/// The table's name of a kind, for kinds whose protobuf form is known.
pub fn message_of(group: &str, kind: &str) -> Option<&'static str> {
    let short = match group {
        "" => "core",
        "rbac.authorization.k8s.io" => "rbac",
        other => other.strip_suffix(".k8s.io").unwrap_or(other),
    };
    // Messages that are no kinds are not found by a group that somebody calls so.
    let short = if short == "openapi" { "" } else { short };
    [short, "meta"].into_iter().find_map(|group| TYPES.get_key_value(format!("{group}.{kind}").as_str())).map(|(name, _)| *name)
}

/// What JSON of an empty object of a type has: messages, texts and lists that are told even where there is nothing in them.
pub fn blank(name: &str) -> Value {
    let mut object = Map::new();
    for field in fields(name).unwrap_or_default().iter().filter(|field| field.name != "metadata" || name.ends_with("Spec")) {
        match (field.many, field.holds) {
            (Many::One, Type::Message(inner)) if !field.keeps_zero && !field.name.is_empty() => {
                drop(object.insert(field.name.into(), blank(inner)))
            }
            (Many::One, Type::Text) if field.keeps_zero => drop(object.insert(field.name.into(), json!(""))),
            // The one keyed list that Kubernetes tells when it is empty.
            (Many::List, _) if field.name == "containers" => drop(object.insert(field.name.into(), json!([]))),
            _ => {}
        }
    }
    Value::Object(object)
}

/// Adds to schemas of Kubernetes' own types, by their names in `definitions`, how their lists and maps are merged.
pub fn annotate(definitions: &mut Map<String, Value>) {
    for (name, schema) in definitions {
        let Some(found) = message_of_definition(name).and_then(|name| TYPES.get(name)) else { continue };
        annotate_fields(&found.fields, schema);
        require_no_metadata(&found.fields, schema);
        if found.atomic {
            schema["x-kubernetes-map-type"] = json!("atomic");
        }
    }
}

/// `core.Pod` for `io.k8s.api.core.v1.Pod`.
fn message_of_definition(name: &str) -> Option<&'static str> {
    // The pods of a part are Kubernetes' own with a word more.
    if let Some(kind) = name.strip_prefix("dev.conductor.v1.").filter(|kind| kind.starts_with("Pod") || kind.starts_with("Container")) {
        return TYPES.get_key_value(format!("core.{kind}").as_str()).map(|(name, _)| *name);
    }
    let (path, kind) = name.strip_prefix("io.k8s.")?.rsplit_once('.')?;
    let group = path.strip_suffix(".v1")?.rsplit('.').next()?;
    TYPES.get_key_value(format!("{group}.{kind}").as_str()).map(|(name, _)| *name)
}

fn annotate_fields(of: &[Field], schema: &mut Value) {
    for field in of {
        if let (true, Type::Message(inner)) = (field.name.is_empty(), field.holds) {
            annotate_fields(fields(inner).unwrap_or_default(), schema);
        }
        let Some(property) = schema["properties"].get_mut(field.name).and_then(Value::as_object_mut) else { continue };
        for fact in &field.merge {
            let (word, value) = fact.split_once('=').unwrap_or((fact, ""));
            match word {
                "map" => {
                    property.insert("x-kubernetes-list-type".into(), json!("map"));
                    property.insert("x-kubernetes-list-map-keys".into(), json!(value.split(',').collect::<Vec<_>>()));
                }
                "set" => drop(property.insert("x-kubernetes-list-type".into(), json!("set"))),
                "atomic" if field.many != Many::List => drop(property.insert("x-kubernetes-map-type".into(), json!("atomic"))),
                "merge" => {
                    let strategy = if field.merge.contains(&"retain") { "merge,retainKeys" } else { "merge" };
                    property.insert("x-kubernetes-patch-strategy".into(), json!(strategy));
                    if !value.is_empty() {
                        property.insert("x-kubernetes-patch-merge-key".into(), json!(value));
                    }
                }
                "retain" if !field.merge.iter().any(|fact| fact.starts_with("merge")) => {
                    property.insert("x-kubernetes-patch-strategy".into(), json!("retainKeys"));
                }
                _ => {}
            }
        }
        default_empty(field, property);
        if field.many == Many::List && !property.contains_key("x-kubernetes-list-type") {
            property.insert("x-kubernetes-list-type".into(), json!("atomic"));
        }
    }
}

/// Metadata is asked for only of the few types that say so.
fn require_no_metadata(of: &[Field], schema: &mut Value) {
    let is_optional = of.iter().any(|field| field.name == "metadata" && !field.keeps_zero);
    let Some(fields) = schema.as_object_mut().filter(|_| is_optional) else { return };
    if let Some(required) = fields.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "metadata");
    }
    if fields.get("required").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        fields.shift_remove("required");
    }
}

/// Messages that are there even when they are empty have that for a default; so have those of lists.
fn default_empty(field: &Field, property: &mut Map<String, Value>) {
    let wrap = |of: &mut Map<String, Value>| {
        if let Some(reference) = of.shift_remove("$ref") {
            of.insert("allOf".into(), json!([{"$ref": reference}]));
        }
        of.insert("default".into(), json!({}));
    };
    match (field.many, field.holds) {
        (Many::One, Type::Message(_)) if !field.keeps_zero => wrap(property),
        (Many::List, Type::Message(_)) => {
            if let Some(items) = property.get_mut("items").and_then(Value::as_object_mut) {
                wrap(items);
            }
        }
        _ => {}
    }
}

fn parse(line: &'static str) -> Option<(&'static str, Fields)> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let (name, atomic) = name.strip_suffix(";atomic").map_or((name, false), |name| (name, true));
    Some((name, Fields { fields: words.filter_map(parse_field).collect(), atomic }))
}

fn parse_field(text: &'static str) -> Option<Field> {
    let (text, facts) = text.split_once(';').unwrap_or((text, ""));
    let mut parts = text.splitn(3, ':');
    let (number, name, of) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let (of, keeps_zero) = of.strip_suffix('?').map_or((of, false), |of| (of, true));
    let (of, many) = match (of.strip_suffix("[]"), of.strip_suffix("{}")) {
        (Some(of), _) => (of, Many::List),
        (_, Some(of)) => (of, Many::Map),
        _ => (of, Many::One),
    };
    let holds = match of {
        "s" => Type::Text,
        "i" => Type::Integer,
        "b" => Type::Boolean,
        "f" => Type::Float,
        "y" => Type::Bytes,
        "Time" => Type::Time,
        "MicroTime" => Type::MicroTime,
        "Duration" => Type::Duration,
        "Quantity" => Type::Quantity,
        "IntOrString" => Type::IntOrString,
        "Raw" => Type::Raw,
        "Strings" => Type::Texts,
        "SchemaOrList" => Type::SchemaOr(Instead::List),
        "SchemaOrBoolean" => Type::SchemaOr(Instead::Boolean),
        "SchemaOrTexts" => Type::SchemaOr(Instead::Texts),
        other => Type::Message(other),
    };
    let merge = facts.split(';').filter(|fact| !fact.is_empty()).collect();
    Some(Field { number, name: if name == "^" { "" } else { name }, holds, many, keeps_zero, merge })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_and_every_reference_of_the_table_is_understood() {
        let words: usize = include_str!("core_types.txt").lines().map(|line| line.split(' ').count() - 1).sum();
        assert_eq!(TYPES.values().map(|found| found.fields.len()).sum::<usize>(), words);
        for (name, Fields { fields, .. }) in TYPES.iter() {
            assert!(fields.is_sorted_by_key(|field| field.number), "{name}");
            for field in fields {
                if let Type::Message(inner) = field.holds {
                    assert!(TYPES.contains_key(inner), "{name} refers to {inner}");
                }
            }
        }
    }

    #[test]
    fn kinds_are_found_in_their_group_and_among_the_shared_ones() {
        for (group, kind, expected) in [
            ("", "Pod", Some("core.Pod")),
            ("", "DeleteOptions", Some("meta.DeleteOptions")),
            ("rbac.authorization.k8s.io", "Role", Some("rbac.Role")),
            ("coordination.k8s.io", "Lease", Some("coordination.Lease")),
            ("batch.example.dev", "Job", None),
            ("openapi", "Schema", None),
            ("conductor.dev", "Service", None),
        ] {
            assert_eq!(message_of(group, kind), expected);
        }
    }

    #[test]
    fn definitions_learn_how_their_lists_are_merged() {
        let mut definitions =
            json!({"io.k8s.api.core.v1.PodSpec": {"properties": {"containers": {}, "tolerations": {}, "volumes": {}, "nodeSelector": {}}}});
        annotate(definitions.as_object_mut().unwrap());
        let mut of_parts = json!({"dev.conductor.v1.PodSpec": {"properties": {"containers": {}}}});
        annotate(of_parts.as_object_mut().unwrap());
        let containers = &of_parts["dev.conductor.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        let properties = &definitions["io.k8s.api.core.v1.PodSpec"]["properties"];
        assert_eq!(properties["containers"]["x-kubernetes-list-map-keys"], json!(["name"]));
        assert_eq!(properties["containers"]["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(properties["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
        assert_eq!(properties["tolerations"]["x-kubernetes-list-type"], "atomic");
        assert_eq!(properties["nodeSelector"]["x-kubernetes-map-type"], "atomic");
    }
}
