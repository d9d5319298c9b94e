//! What Kubernetes' own types leave out, and what not: lists and maps without items and zeros that mean nothing go, but some fields
//! are there in every object.

use serde_json::{Map, Value, json};

use super::core_types::{Field, Many, Type, fields};

/// Takes out of an object of a type of the table what its JSON would not carry. Fields that the table lacks stay.
pub fn tidy(message: &str, object: &mut Value) {
    if let (Value::Object(inner), Some(fields)) = (&mut *object, fields(message)) {
        tidy_fields(fields, inner);
        add_always_there(message, object);
    }
}

/// Adds to an object the fields that every object of its type has.
pub fn add_always_there(message: &str, object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    for (name, form) in always_there(message) {
        let empty = match form {
            Empty::Null => Value::Null,
            Empty::Text => json!(""),
            Empty::Object => json!({}),
        };
        object.entry(*name).or_insert(empty);
    }
}

/// Takes out of an object the fields that it has only because every object of its type has them.
pub fn without_always_there(message: &str, object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    for (name, form) in always_there(message) {
        let is_empty = |value: &Value| match form {
            Empty::Null => value.is_null(),
            Empty::Text => value == "",
            Empty::Object => value.as_object().is_some_and(Map::is_empty),
        };
        if object.get(*name).is_some_and(is_empty) {
            object.shift_remove(*name);
        }
    }
}

/// How a field without a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// As null.
    Null,
    /// As a text.
    Text,
    /// As an object.
    Object,
}

/// The fields that every object of a type has, and what they hold when nobody said anything.
pub fn always_there(message: &str) -> &'static [(&'static str, Empty)] {
    match message {
        "core.ContainerStateRunning" => &[("startedAt", Empty::Null)],
        "core.ContainerStateTerminated" => &[("startedAt", Empty::Null), ("finishedAt", Empty::Null)],
        "core.ContainerStatus" => {
            &[("state", Empty::Object), ("lastState", Empty::Object), ("image", Empty::Text), ("imageID", Empty::Text)]
        }
        "core.Event" => &[
            ("involvedObject", Empty::Object),
            ("source", Empty::Object),
            ("firstTimestamp", Empty::Null),
            ("lastTimestamp", Empty::Null),
            ("eventTime", Empty::Null),
            ("reportingComponent", Empty::Text),
            ("reportingInstance", Empty::Text),
        ],
        "core.NamespaceCondition" => &[("lastTransitionTime", Empty::Null)],
        "core.NodeCondition" => &[("lastHeartbeatTime", Empty::Null), ("lastTransitionTime", Empty::Null)],
        "core.PodCondition" => &[("lastProbeTime", Empty::Null), ("lastTransitionTime", Empty::Null)],
        "rbac.ClusterRole" | "rbac.Role" => &[("rules", Empty::Null)],
        _ => &[],
    }
}

fn tidy_fields(of: &[Field], object: &mut Map<String, Value>) {
    object.retain(|name, value| {
        let Some(field) = field(of, name) else { return true };
        if let Type::Message(inner) = field.holds {
            match (field.many, &mut *value) {
                (Many::One, value) => tidy(inner, value),
                (Many::List, Value::Array(items)) => items.iter_mut().for_each(|item| tidy(inner, item)),
                (Many::Map, Value::Object(entries)) => entries.values_mut().for_each(|entry| tidy(inner, entry)),
                _ => {}
            }
        }
        !is_left_out(field, value)
    });
}

/// The field of this name, of a type or of those that stand in a field's place.
fn field<'a>(of: &'a [Field], name: &str) -> Option<&'a Field> {
    of.iter().find_map(|field| match field.holds {
        Type::Message(inner) if field.name.is_empty() => self::field(fields(inner).unwrap_or_default(), name),
        _ => (field.name == name).then_some(field),
    })
}

fn is_left_out(field: &Field, value: &Value) -> bool {
    match (field.many, value) {
        (_, Value::Null) => true,
        (Many::List, Value::Array(items)) => items.is_empty(),
        (Many::Map, Value::Object(entries)) => entries.is_empty(),
        (Many::One, Value::String(text)) => !field.keeps_zero && field.holds == Type::Text && text.is_empty(),
        (Many::One, Value::Number(number)) => !field.keeps_zero && number.as_i64() == Some(0),
        (Many::One, Value::Bool(yes)) => !field.keeps_zero && !yes,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_means_nothing_goes_and_what_means_something_stays() {
        let mut pod = json!({
            "metadata": {"name": "p", "labels": {}, "finalizers": [], "generateName": ""},
            "spec": {"hostNetwork": false, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "", "args": [], "stdin": false, "env": [{"name": "X", "value": ""}], "resources": {"limits": {}}}], "ours": []},
        });
        tidy("core.Pod", &mut pod);
        let expected = json!({
            "metadata": {"name": "p"},
            "spec": {"automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "", "env": [{"name": "X"}], "resources": {}}], "ours": []},
        });
        assert_eq!(pod, expected);
    }

    #[test]
    fn some_fields_are_always_there() {
        let mut event = json!({"metadata": {}, "reason": "", "source": {"component": "c"}});
        tidy("core.Event", &mut event);
        assert_eq!((&event["source"]["component"], &event["reportingComponent"], event.get("reason")), (&json!("c"), &json!(""), None));
        assert_eq!(event.get("eventTime"), Some(&Value::Null));
        let mut pod = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        tidy("core.Pod", &mut pod);
        assert!(pod["status"]["conditions"][0].as_object().unwrap().contains_key("lastProbeTime"));
        for (message, name) in [("core.Event", "eventTime"), ("core.PodCondition", "lastProbeTime"), ("rbac.Role", "rules")] {
            assert!(fields(message).unwrap().iter().any(|field| field.name == name), "{message}");
        }
    }
}
