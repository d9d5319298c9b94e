//! Whether what somebody applies has the shape that ownership needs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fields::shown;
use crate::patch::shape::{ListKind, Place, Plain};
use crate::patch::strategic::plain;

/// All that is wrong: unknown fields, values of one kind where another belongs, items without their keys, items twice. The words are
/// Kubernetes'.
pub fn check(place: Place<'_>, value: &Value) -> Option<String> {
    let mut found = Vec::new();
    check_at(place, value, &mut String::new(), &mut found);
    match found.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        many => Some(format!("errors:{}", many.iter().map(|one| format!("\n  {one}")).collect::<String>())),
    }
}

fn check_at(place: Place<'_>, value: &Value, path: &mut String, found: &mut Vec<String>) {
    if let Some(why) = wrong_kind(place, value) {
        found.push(format!("{path}: {why}"));
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let length = path.len();
                path.push('.');
                path.push_str(name);
                if place.is_closed() && !place.declares(name) {
                    found.push(format!("{path}: field not declared in schema"));
                } else {
                    check_at(place.field(name), value, path, found);
                }
                path.truncate(length);
            }
        }
        Value::Array(items) => check_items(place, items, path, found),
        _ => {}
    }
}

/// Why a value is not of the kind that the schema has here.
fn wrong_kind(place: Place<'_>, value: &Value) -> Option<String> {
    if value.is_null() {
        return None;
    }
    if place.is_object() && !value.is_object() {
        return Some(format!("expected map, got &{{{}}}", plain(value)));
    }
    if place.is_list() && !value.is_array() {
        return Some(format!("expected list, got &{{{}}}", plain(value)));
    }
    match place.plain()? {
        Plain::Number if !value.is_number() => Some(format!("expected numeric (int or float), got {}", go_type(value))),
        Plain::Text if !value.is_string() => Some(format!("expected string, got &{{{}}}", plain(value))),
        Plain::Truth if !value.is_boolean() => Some(format!("expected boolean, got &{{{}}}", plain(value))),
        _ => None,
    }
}

/// The type of a value in Kubernetes' code.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn check_items(place: Place<'_>, items: &[Value], path: &mut String, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let element = place.element(item);
        if let (ListKind::Keyed(keys), None) = (place.list(), &element) {
            let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
            let why = "associative list with keys has an element that omits all key fields";
            let rest = "(and doesn't have default values for any key fields)";
            found.push(format!("{path}: element {at}: {why} [{}] {rest}", keys.join(" ")));
            continue;
        }
        let length = path.len();
        match &element {
            Some(element) if !seen.insert(element.clone()) => {
                found.push(format!("{path}: duplicate entries for key {}", shown(element)));
                continue;
            }
            Some(element) => path.push_str(&shown(element)),
            None => path.push_str(&format!("[{at}]")),
        }
        check_at(place.items(), item, path, found);
        path.truncate(length);
    }
}

/// The paths of all objects and lists in a value that are one piece.
pub fn in_one_piece(place: Place<'_>, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    pieces(place, value, String::new(), &mut found);
    found
}

fn pieces(place: Place<'_>, value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                pieces(place.field(name), value, format!("{path}.{name}"), found);
            }
            found.extend(Some(path).filter(|_| place.is_atomic()));
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                pieces(place.items(), item, format!("{path}[{at}]"), found);
            }
            found.extend(Some(path).filter(|_| place.is_list() && *place.list() == ListKind::Atomic));
        }
        _ => {}
    }
}
