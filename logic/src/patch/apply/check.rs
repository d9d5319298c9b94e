//! Whether what somebody applies has the shape that ownership needs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fields::shown;
use crate::patch::shape::{ListKind, Place};
use crate::patch::strategic::plain;

/// The first thing that is wrong: an unknown field, a list or object where the other belongs, an item without its key, an item
/// twice. The words are Kubernetes'.
pub fn check(place: Place<'_>, value: &Value) -> Option<String> {
    check_at(place, value, &mut String::new())
}

fn check_at(place: Place<'_>, value: &Value, path: &mut String) -> Option<String> {
    match value {
        Value::Null => None,
        value if place.is_object() && !value.is_object() => Some(format!("{path}: expected map, got &{{{}}}", plain(value))),
        value if place.is_list() && !value.is_array() => Some(format!("{path}: expected list, got &{{{}}}", plain(value))),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let length = path.len();
            path.push('.');
            path.push_str(name);
            let problem = if place.is_closed() && !place.declares(name) {
                Some(format!("{path}: field not declared in schema"))
            } else {
                check_at(place.field(name), value, path)
            };
            path.truncate(length);
            problem
        }),
        Value::Array(items) => check_items(place, items, path),
        _ => None,
    }
}

fn check_items(place: Place<'_>, items: &[Value], path: &mut String) -> Option<String> {
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let element = place.element(item);
        if let (ListKind::Keyed(keys), None) = (place.list(), &element) {
            let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
            let why = "associative list with keys has an element that omits all key fields";
            let rest = "(and doesn't have default values for any key fields)";
            return Some(format!("{path}: element {at}: {why} [{}] {rest}", keys.join(" ")));
        }
        let length = path.len();
        match &element {
            Some(element) if !seen.insert(element.clone()) => {
                return Some(format!("{path}: duplicate entries for key {}", shown(element)));
            }
            Some(element) => path.push_str(&shown(element)),
            None => path.push_str(&format!("[{at}]")),
        }
        let problem = check_at(place.items(), item, path);
        path.truncate(length);
        if problem.is_some() {
            return problem;
        }
    }
    None
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
