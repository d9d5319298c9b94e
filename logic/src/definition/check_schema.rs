//! Whether a schema is structural: every place has a type, and says of itself what it holds.

use std::collections::HashMap;

use model::{Problem, ProblemKind};
use serde_json::Value;

use super::structural::{Node, Structural};
use crate::rules::{self, Known, Program};

/// The keys that a schema may not have: they are JSON Schema's, but say what a structural schema cannot.
const REFUSED: [&str; 8] =
    ["$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id", "$schema", "x-kubernetes-group-version-kind"];

/// Problems of a whole schema, whose place in its definition is `at`.
pub(super) fn problems(schema: &Value, at: &str) -> Vec<Problem> {
    let mut found = Vec::new();
    if schema["type"] != "object" {
        let detail = format!("{}: must be object at the root", schema["type"].as_str().map_or("\"\"".into(), |type_| format!("{type_:?}")));
        found.push(Problem::invalid(format!("{at}.type"), detail));
    }
    place(schema, at, Part::Root, &mut found);
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Root,
    Property,
    Item,
    /// Inside of `allOf` and the like, where nothing may be said of the shape.
    Condition,
}

fn place(schema: &Value, at: &str, part: Part, found: &mut Vec<Problem>) {
    for key in REFUSED.iter().filter(|key| schema.get(**key).is_some()) {
        found.push(Problem::new(ProblemKind::Forbidden, format!("{at}.{key}"), "is not supported"));
    }
    if part == Part::Condition {
        condition(schema, at, found);
    } else {
        shape(schema, at, part, found);
    }
    extensions(schema, at, found);
    bounds(schema, at, found);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        place(property, &format!("{at}.properties[{name}]"), inner(part, Part::Property), found);
    }
    for (key, of) in [("items", Part::Item), ("additionalProperties", Part::Property), ("not", Part::Condition)] {
        if schema[key].is_object() {
            place(&schema[key], &format!("{at}.{key}"), inner(part, of), found);
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (index, schema) in schema[key].as_array().into_iter().flatten().enumerate() {
            place(schema, &format!("{at}.{key}[{index}]"), Part::Condition, found);
        }
    }
}

fn inner(outer: Part, part: Part) -> Part {
    if outer == Part::Condition { Part::Condition } else { part }
}

fn is(schema: &Value, key: &str) -> bool {
    schema[key] == true
}

fn shape(schema: &Value, at: &str, part: Part, found: &mut Vec<Problem>) {
    let type_ = schema["type"].as_str().unwrap_or_default();
    let typeless = is(schema, "x-kubernetes-int-or-string") || is(schema, "x-kubernetes-preserve-unknown-fields");
    if type_.is_empty() && !typeless {
        let of = if part == Part::Item { "array items" } else { "object fields" };
        found.push(Problem::required(format!("{at}.type"), format!("must not be empty for specified {of}")));
    }
    if !type_.is_empty() && !["array", "boolean", "integer", "number", "object", "string"].contains(&type_) {
        let detail = format!("{type_:?}: supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"");
        found.push(Problem::new(ProblemKind::NotSupported, format!("{at}.type"), detail));
    }
    if !type_.is_empty() && is(schema, "x-kubernetes-int-or-string") {
        found.push(Problem::invalid(format!("{at}.type"), format!("{type_:?}: must be empty if x-kubernetes-int-or-string is true")));
    }
    if type_ == "array" && !schema["items"].is_object() {
        found.push(Problem::required(format!("{at}.items"), "must be specified"));
    }
    if is(schema, "x-kubernetes-embedded-resource") && type_ != "object" {
        let detail = format!("{type_:?}: must be object if x-kubernetes-embedded-resource is true");
        found.push(Problem::invalid(format!("{at}.type"), detail));
    }
    if is(schema, "uniqueItems") {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        found.push(Problem::new(ProblemKind::Forbidden, format!("{at}.uniqueItems"), detail));
    }
    default(schema, at, found);
}

fn condition(schema: &Value, at: &str, found: &mut Vec<Problem>) {
    let keys = [
        "type",
        "default",
        "nullable",
        "additionalProperties",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-validations",
    ];
    // Whether something is a number or a text may be said, once the place itself says that it is one of the two.
    let is_choice = |key: &&&str| **key == "type" && ["integer", "string"].contains(&schema["type"].as_str().unwrap_or_default());
    for key in keys.iter().filter(|key| schema.get(**key).is_some_and(|value| *value != false)).filter(|key| !is_choice(key)) {
        found.push(Problem::new(ProblemKind::Forbidden, format!("{at}.{key}"), "must be empty to be structural"));
    }
}

fn extensions(schema: &Value, at: &str, found: &mut Vec<Problem>) {
    let keys = schema["x-kubernetes-list-map-keys"].as_array().filter(|keys| !keys.is_empty());
    let list = schema["x-kubernetes-list-type"].as_str();
    let keys_at = format!("{at}.x-kubernetes-list-map-keys");
    match (list, keys) {
        (None | Some("atomic" | "set"), None) => {}
        (Some("map"), Some(keys)) => {
            let items = &schema["items"];
            for key in keys.iter().filter_map(Value::as_str) {
                if items["properties"].get(key).is_none() {
                    found.push(Problem::invalid(&keys_at, format!("{key:?}: entries must all be names of item properties")));
                }
            }
        }
        (Some("map"), None) => found.push(Problem::required(&keys_at, "must not be empty if x-kubernetes-list-type is map")),
        (None | Some("atomic" | "set"), Some(_)) => {
            found.push(Problem::new(ProblemKind::Forbidden, &keys_at, "must be empty if x-kubernetes-list-type is not map"));
        }
        (Some(other), _) => {
            let detail = format!("{other:?}: supported values: \"atomic\", \"set\", \"map\"");
            found.push(Problem::new(ProblemKind::NotSupported, format!("{at}.x-kubernetes-list-type"), detail));
        }
    }
    if list.is_some() && schema["type"] != "array" {
        found.push(Problem::invalid(
            format!("{at}.type"),
            format!("{}: must be array if x-kubernetes-list-type is specified", schema["type"]),
        ));
    }
    match schema["x-kubernetes-map-type"].as_str() {
        None | Some("atomic" | "granular") => {}
        Some(other) => {
            let detail = format!("{other:?}: supported values: \"atomic\", \"granular\"");
            found.push(Problem::new(ProblemKind::NotSupported, format!("{at}.x-kubernetes-map-type"), detail));
        }
    }
    for (index, rule) in schema["x-kubernetes-validations"].as_array().into_iter().flatten().enumerate() {
        check_rule(rule, schema, &format!("{at}.x-kubernetes-validations[{index}]"), found);
    }
}

fn check_rule(rule: &Value, schema: &Value, at: &str, found: &mut Vec<Problem>) {
    let source = rule["rule"].as_str().unwrap_or_default();
    if source.trim().is_empty() {
        found.push(Problem::required(format!("{at}.rule"), ""));
        return;
    }
    let known: Known<'_> = HashMap::from(["self", "oldSelf"].map(|name| {
        let optional = name == "oldSelf" && rule["optionalOldSelf"] == true;
        (name.to_owned(), (!optional).then_some(schema))
    }));
    for (field, source) in [("rule", Some(source)), ("messageExpression", rule["messageExpression"].as_str())] {
        let Some(source) = source else { continue };
        let why = match Program::parse(source) {
            Ok(program) if field == "rule" => rules::rule_problem(program.expression(), &known),
            Ok(program) => rules::text_problem(program.expression(), &known),
            Err(why) => Some(why),
        };
        if let Some(why) = why {
            found.push(Problem::invalid(format!("{at}.{field}"), format!("{source:?}: compilation failed: {why}")));
        }
    }
    let reasons = ["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"];
    if let Some(reason) = rule["reason"].as_str().filter(|reason| !reasons.contains(reason)) {
        let supported: Vec<String> = reasons.iter().map(|reason| format!("{reason:?}")).collect();
        let detail = format!("{reason:?}: supported values: {}", supported.join(", "));
        found.push(Problem::new(ProblemKind::NotSupported, format!("{at}.reason"), detail));
    }
}

fn bounds(schema: &Value, at: &str, found: &mut Vec<Problem>) {
    if let Some(pattern) = schema["pattern"].as_str()
        && let Err(error) = crate::pattern::compile(pattern)
    {
        let why = format!("{pattern:?}: must be a valid regular expression, but isn't: {error}");
        found.push(Problem::invalid(format!("{at}.pattern"), why));
    }
    if schema["multipleOf"].as_f64().is_some_and(|factor| factor <= 0.0) {
        found.push(Problem::invalid(format!("{at}.multipleOf"), format!("{}: must be greater than 0", schema["multipleOf"])));
    }
}

/// A default must be as the schema asks, and without fields that the schema does not know.
fn default(schema: &Value, at: &str, found: &mut Vec<Problem>) {
    let Some(value) = schema.get("default") else { return };
    let at = format!("{at}.default");
    let compiled = Structural { root: Node { default: None, ..Node::compile(schema) }, defaults: true };
    let mut pruned = value.clone();
    compiled.fill_defaults(&mut pruned);
    if !compiled.prune_value(&mut pruned.clone()).is_empty() {
        found.push(Problem::invalid(&at, format!("{value}: must not have unknown fields")));
    }
    if pruned.is_null() && !compiled.root.nullable {
        found.push(Problem::invalid(&at, "null: must not be null unless the field is nullable"));
        return;
    }
    for problem in compiled.problems(&pruned, None) {
        let field = if problem.field.is_empty() { at.clone() } else { format!("{at}.{}", problem.field) };
        found.push(Problem { field, ..problem });
    }
}
