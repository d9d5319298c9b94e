//! The order of an object's fields in answers: that of Kubernetes' types, and the alphabet for what is no type of theirs.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::core_types::{Field, Many, Type, fields, names};

/// Fields that do not stand where their number puts them: each comes before the field named after it.
const MOVED: &[(&str, &[(&str, &str)])] = &[
    ("batch.CronJobSpec", &[("timeZone", "startingDeadlineSeconds")]),
    (
        "batch.JobSpec",
        &[
            ("backoffLimit", "selector"),
            ("podFailurePolicy", "backoffLimit"),
            ("successPolicy", "backoffLimit"),
            ("backoffLimitPerIndex", "selector"),
            ("maxFailedIndexes", "selector"),
        ],
    ),
    ("batch.JobStatus", &[("terminating", "completedIndexes"), ("failedIndexes", "uncountedTerminatedPods")]),
    ("core.ConfigMap", &[("immutable", "data")]),
    (
        "core.Container",
        &[
            ("envFrom", "env"),
            ("resizePolicy", "volumeMounts"),
            ("restartPolicy", "volumeMounts"),
            ("restartPolicyRules", "volumeMounts"),
            ("volumeDevices", "livenessProbe"),
            ("startupProbe", "lifecycle"),
            ("terminationMessagePolicy", "imagePullPolicy"),
        ],
    ),
    ("core.NodeSpec", &[("podCIDRs", "providerID"), ("taints", "configSource")]),
    ("core.PodCondition", &[("observedGeneration", "status")]),
    (
        "core.PodSecurityContext",
        &[("windowsOptions", "runAsUser"), ("runAsGroup", "runAsNonRoot"), ("supplementalGroupsPolicy", "fsGroup")],
    ),
    (
        "core.PodSpec",
        &[
            ("initContainers", "containers"),
            ("ephemeralContainers", "restartPolicy"),
            ("automountServiceAccountToken", "nodeName"),
            ("shareProcessNamespace", "securityContext"),
        ],
    ),
    (
        "core.PodStatus",
        &[
            ("observedGeneration", "phase"),
            ("nominatedNodeName", "hostIP"),
            ("hostIPs", "podIP"),
            ("podIPs", "startTime"),
            ("initContainerStatuses", "containerStatuses"),
        ],
    ),
    ("core.Secret", &[("immutable", "data"), ("stringData", "type")]),
    ("core.SecurityContext", &[("windowsOptions", "runAsUser"), ("runAsGroup", "runAsNonRoot")]),
    ("core.VolumeMount", &[("recursiveReadOnly", "mountPath")]),
    ("meta.OwnerReference", &[("apiVersion", "kind")]),
];

/// The fields of each type in order.
static ORDERS: LazyLock<HashMap<&'static str, Vec<&'static Field>>> =
    LazyLock::new(|| names().filter_map(|name| Some((name, order(name)?))).collect());

/// Puts the fields of an object into the order of its type. Maps go by the alphabet; fields that the type lacks come last.
pub fn ordered(message: &str, object: &mut Value) {
    let (Value::Object(object), Some(order)) = (object, ORDERS.get(message)) else { return };
    let place = |name: &str| order.iter().position(|field| field.name == name).unwrap_or(order.len());
    let (mut last, mut is_ordered) = (0, true);
    for (name, value) in object.iter_mut() {
        let at = place(name);
        if let Some(field) = order.get(at) {
            order_field(field, value);
        }
        is_ordered &= last <= at;
        last = at;
    }
    if !is_ordered {
        let mut entries: Vec<(usize, (String, Value))> = std::mem::take(object).into_iter().map(|entry| (place(&entry.0), entry)).collect();
        entries.sort_by_key(|(at, _)| *at);
        object.extend(entries.into_iter().map(|(_, entry)| entry));
    }
}

/// Puts the fields of an object, and of all in it, into the order of the alphabet.
pub fn alphabetical(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.sort_keys();
            object.values_mut().for_each(alphabetical);
        }
        Value::Array(items) => items.iter_mut().for_each(alphabetical),
        _ => {}
    }
}

fn order_field(field: &Field, value: &mut Value) {
    let one = |value: &mut Value| match field.holds {
        Type::Message(inner) => ordered(inner, value),
        _ => alphabetical(value),
    };
    match (field.many, value) {
        (Many::List, Value::Array(items)) => items.iter_mut().for_each(one),
        (Many::Map, Value::Object(entries)) => {
            entries.sort_keys();
            entries.values_mut().for_each(one);
        }
        (_, value) => one(value),
    }
}

/// The fields of a type in order; those of types that stand in a field's place are in that place.
fn order(message: &str) -> Option<Vec<&'static Field>> {
    let mut order = Vec::new();
    for field in fields(message)? {
        match field.holds {
            Type::Message(inner) if field.name.is_empty() => order.extend(self::order(inner).unwrap_or_default()),
            _ => order.push(field),
        }
    }
    let moves = MOVED.iter().find(|(of, _)| *of == message).map_or(&[][..], |(_, moves)| moves);
    for (name, before) in moves {
        let at = |wanted: &str| order.iter().position(|field| field.name == wanted);
        if let (Some(from), Some(to)) = (at(name), at(before)) {
            let field = order.remove(from);
            order.insert(if from < to { to - 1 } else { to }, field);
        }
    }
    Some(order)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_stand_as_in_their_type() {
        let mut pod = json!({
            "status": {"phase": "Pending"},
            "spec": {"containers": [{"env": [], "image": "i", "name": "n", "envFrom": [], "ours": 1}], "volumes": [], "nodeSelector": {"b": "", "a": ""}},
            "metadata": {"labels": {"z": "", "a": ""}, "uid": "u", "name": "n",
                "ownerReferences": [{"uid": "u", "name": "n", "kind": "k", "apiVersion": "v"}]},
        });
        ordered("core.Pod", &mut pod);
        let expected = concat!(
            r#"{"metadata":{"name":"n","uid":"u","labels":{"a":"","z":""},"ownerReferences":[{"apiVersion":"v","kind":"k","name":"n","uid":"u"}]},"#,
            r#""spec":{"volumes":[],"containers":[{"name":"n","image":"i","envFrom":[],"env":[],"ours":1}],"nodeSelector":{"a":"","b":""}},"#,
            r#""status":{"phase":"Pending"}}"#
        );
        assert_eq!(pod.to_string(), expected);
    }

    #[test]
    fn every_field_that_is_moved_is_there() {
        for (message, moves) in MOVED {
            let order = order(message).unwrap();
            let at = |name: &str| order.iter().position(|field| field.name == name).unwrap_or_else(|| panic!("{message} has no {name}"));
            for (name, before) in *moves {
                assert!(at(name) < at(before), "{message}: {name} before {before}");
            }
        }
    }

    #[test]
    fn what_has_no_type_goes_by_the_alphabet() {
        let mut value = json!({"b": [{"d": 1, "c": 2}], "a": {"z": 1, "y": {"x": 1, "w": 2}}});
        alphabetical(&mut value);
        assert_eq!(value.to_string(), r#"{"a":{"y":{"w":2,"x":1},"z":1},"b":[{"c":2,"d":1}]}"#);
    }
}
