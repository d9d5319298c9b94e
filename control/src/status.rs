//! What to send so that a status becomes another one.

use logic::patch::tidy::tidy;
use serde::Serialize;
use serde_json::{Map, Value};

/// The merge patch from one status to another; `None` when they say the same. Both are compared as they are stored.
pub fn difference(from: &impl Serialize, to: &impl Serialize) -> Option<Value> {
    patch(&value(from), &value(to))
}

/// As `difference`, for a status of a type of Kubernetes', such as `core.PodStatus`: what is stored of it lacks what is empty.
pub fn difference_of(message: &str, from: &impl Serialize, to: &impl Serialize) -> Option<Value> {
    let stored = |status: Map<String, Value>| {
        let mut status = Value::Object(status);
        tidy(message, &mut status);
        if let Value::Object(fields) = status { fields } else { Map::new() }
    };
    patch(&stored(value(from)), &stored(value(to)))
}

fn patch(from: &Map<String, Value>, to: &Map<String, Value>) -> Option<Value> {
    let mut patch = Map::new();
    for (name, new) in to {
        if from.get(name) != Some(new) {
            patch.insert(name.clone(), new.clone());
        }
    }
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    // A part that is an object is replaced whole: what it no longer has must be named too.
    for (name, new) in &mut patch {
        if let (Some(Value::Object(old)), Value::Object(fields)) = (from.get(name), new) {
            for gone in old.keys() {
                fields.entry(gone.clone()).or_insert(Value::Null);
            }
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn value(status: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_stored_as_nothing_is_not_sent() {
        let status = |message: &str| {
            json!({"phase": "Running", "message": message, "containerStatuses": [
            {"name": "web", "image": "", "ready": false, "lastState": {"terminated": {"exitCode": 1, "message": message}}}]})
        };
        let stored = json!({"phase": "Running", "containerStatuses": [
            {"name": "web", "image": "", "ready": false, "lastState": {"terminated": {"exitCode": 1}}}]});
        assert_eq!(difference_of("core.PodStatus", &stored, &status("")), None);
        let patch = difference_of("core.PodStatus", &stored, &status("killed")).unwrap();
        assert_eq!(patch["containerStatuses"][0]["lastState"]["terminated"]["message"], "killed");
    }

    #[test]
    fn only_what_differs_is_sent() {
        assert_eq!(difference(&json!({"a": 1}), &json!({"a": 1, "b": null})), None);
        let patch = difference(&json!({"a": 1, "b": 2, "c": {"d": 1, "e": 2}}), &json!({"a": 3, "c": {"d": 1}}));
        assert_eq!(patch, Some(json!({"a": 3, "c": {"d": 1, "e": null}, "b": null})));
    }
}
