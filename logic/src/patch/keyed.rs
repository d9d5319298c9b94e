//! What `kubectl apply` means by a list whose items have keys, where all it can send is a JSON merge patch, which replaces lists.
//!
//! A merge patch says nothing of the fields that its writer left out of an item, so they would go: the scale that somebody else set
//! would fall back to 1. Here an item keeps what it has unless the writer had it before (`last`) and has it no more, which is how
//! Kubernetes' own kinds are applied.

use serde_json::{Map, Value};

use super::shape::{ListKind, Place};

/// Puts back into `after` what the items of keyed lists had in `before`, where neither `last` nor `after` speaks of it.
pub fn keep_unspoken(place: Place<'_>, before: &Value, last: &Value, after: &mut Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) if !place.is_atomic() => {
            for (name, value) in after {
                if let Some(old) = before.get(name) {
                    keep_unspoken(place.field(name), old, &last[name.as_str()], value);
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if matches!(place.list(), ListKind::Keyed(_)) => keep_items(place, before, last, after),
        _ => {}
    }
}

fn keep_items(place: Place<'_>, before: &[Value], last: &Value, after: &mut Vec<Value>) {
    let said = last.as_array().map_or(&[][..], Vec::as_slice);
    let of_key = |items: &[Value], key: &Option<String>| items.iter().position(|item| key.is_some() && place.element(item) == *key);
    for item in after.iter_mut() {
        let key = place.element(item);
        let Some(old) = of_key(before, &key).and_then(|at| before.get(at)) else { continue };
        let last = of_key(said, &key).and_then(|at| said.get(at)).unwrap_or(&Value::Null);
        merge(place.items(), old, last, item);
    }
    for old in before {
        let key = place.element(old);
        if key.is_some() && of_key(after, &key).is_none() && of_key(said, &key).is_none() {
            after.push(old.clone());
        }
    }
}

/// As `keep_unspoken`, within an item, where fields that are left out are still to be put back.
fn merge(place: Place<'_>, before: &Value, last: &Value, after: &mut Value) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) if !place.is_atomic() => merge_fields(place, old, last, new),
        (Value::Array(old), Value::Array(new)) if matches!(place.list(), ListKind::Keyed(_)) => keep_items(place, old, last, new),
        _ => {}
    }
}

fn merge_fields(place: Place<'_>, before: &Map<String, Value>, last: &Value, after: &mut Map<String, Value>) {
    for (name, old) in before {
        match after.get_mut(name) {
            Some(new) => merge(place.field(name), old, &last[name.as_str()], new),
            None if last.get(name).is_none() => drop(after.insert(name.clone(), old.clone())),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::shape::tests::sample;
    use super::*;

    #[track_caller]
    fn check(before: &Value, last: &Value, after: &Value, expected: &Value) {
        let mut found = json!({"spec": {"containers": after}});
        let spec = |containers: &Value| json!({"spec": {"containers": containers}});
        keep_unspoken(sample().root(), &spec(before), &spec(last), &mut found);
        assert_eq!(found["spec"]["containers"], *expected);
    }

    #[test]
    fn an_item_keeps_what_its_writer_never_spoke_of() {
        let stored = json!([{"name": "a", "image": "1", "args": ["x"]}]);
        let said = json!([{"name": "a", "image": "1"}]);
        check(&stored, &said, &json!([{"name": "a", "image": "2"}]), &json!([{"name": "a", "image": "2", "args": ["x"]}]));
        // What was said and is said no more goes; so does an item.
        check(&stored, &stored, &json!([{"name": "a", "image": "2"}]), &json!([{"name": "a", "image": "2"}]));
        check(&stored, &said, &json!([{"name": "b"}]), &json!([{"name": "b"}]));
        // An item that the writer never had is somebody else's.
        let two = json!([{"name": "a", "image": "1"}, {"name": "other", "image": "9"}]);
        check(&two, &said, &json!([{"name": "a", "image": "2"}]), &json!([{"name": "a", "image": "2"}, {"name": "other", "image": "9"}]));
        // A list without keys is one piece, also within an item.
        check(&stored, &said, &json!([{"name": "a", "args": []}]), &json!([{"name": "a", "args": []}]));
        // Without a record of what was said before, nothing is taken to be the writer's.
        check(&stored, &Value::Null, &json!([{"name": "a"}]), &json!([{"name": "a", "image": "1", "args": ["x"]}]));
    }

    #[test]
    fn lists_within_items_are_merged_too() {
        let before = json!([{"name": "a", "env": [{"name": "E", "value": "1"}, {"name": "F", "value": "2"}], "ports": [{"containerPort": 80, "name": "p"}]}]);
        let last = json!([{"name": "a", "env": [{"name": "E", "value": "1"}]}]);
        let after = json!([{"name": "a", "env": [{"name": "E", "value": "3"}], "ports": [{"containerPort": 80, "protocol": "TCP"}]}]);
        let expected = json!([{"name": "a", "env": [{"name": "E", "value": "3"}, {"name": "F", "value": "2"}],
            "ports": [{"containerPort": 80, "protocol": "TCP", "name": "p"}]}]);
        check(&before, &last, &after, &expected);
    }
}
