//! Whether an object can be read as one of Kubernetes' own types, and if not, why: in the words of Kubernetes' decoder.
//!
//! What came as JSON is decoded, what a strategic merge patch made is converted; the two have words of their own.

use serde_json::Value;

use super::core_types::{Field, Many, Type, fields};
use crate::quantity;

/// How an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// From JSON.
    Decoded,
    /// From the parts of an object that was read before.
    Converted,
}

/// Why an object cannot be read as a type of the table, such as `core.Pod`: what is found first in the order of the object.
pub fn problem(reading: Reading, message: &'static str, object: &Value) -> Option<String> {
    Reader { reading, path: Vec::new(), around: message }.object(message, object)
}

struct Reader<'a> {
    reading: Reading,
    path: Vec<&'a str>,
    /// The type that the field at hand is one of.
    around: &'static str,
}

impl<'a> Reader<'a> {
    fn object(&mut self, message: &'static str, value: &'a Value) -> Option<String> {
        let around = std::mem::replace(&mut self.around, message);
        let found = value.as_object().into_iter().flatten().find_map(|(name, value)| {
            let field = field_of(message, name)?;
            self.path.push(name);
            let found = self.field(field, value);
            self.path.pop();
            found
        });
        self.around = around;
        found
    }

    fn field(&mut self, field: &'static Field, value: &'a Value) -> Option<String> {
        let element = element(self.around, field);
        match (field.many, value) {
            (_, Value::Null) => None,
            (Many::One, value) => self.one(field.holds, &element, value),
            (Many::List, Value::Array(items)) => items.iter().find_map(|item| self.one(field.holds, &element, item)),
            (Many::Map, Value::Object(entries)) => entries.values().find_map(|item| self.one(field.holds, &element, item)),
            (Many::List, other) => self.mismatch(&format!("[]{element}"), "slice", other),
            (Many::Map, other) if field.holds == Type::Quantity => self.mismatch("v1.ResourceList", "map", other),
            (Many::Map, other) => self.mismatch(&format!("map[string]{element}"), "map", other),
        }
    }

    fn one(&mut self, holds: Type, name: &str, value: &'a Value) -> Option<String> {
        match (holds, value) {
            (_, Value::Null) | (Type::Text, Value::String(_)) | (Type::Boolean, Value::Bool(_)) | (Type::Float, Value::Number(_)) => None,
            (Type::Text, other) => self.mismatch(name, "string", other),
            (Type::Boolean, other) => self.mismatch(name, "bool", other),
            (Type::Float, other) => self.mismatch(name, "float64", other),
            (Type::Integer, Value::Number(number)) if fits(number, name) => None,
            (Type::Integer, other) => self.mismatch(name, name, other),
            (Type::Bytes, Value::String(text)) => base64_problem(text).map(|at| format!("illegal base64 data at input byte {at}")),
            (Type::Bytes, other) => self.mismatch("[]uint8", "slice", other),
            (Type::Time, Value::String(text)) => time_problem(text, "2006-01-02T15:04:05Z07:00"),
            (Type::MicroTime, Value::String(text)) => time_problem(text, "2006-01-02T15:04:05.000000Z07:00"),
            (Type::Time | Type::MicroTime | Type::Duration, other) => {
                (!other.is_string()).then(|| self.mismatch("string", "string", other)).flatten()
            }
            (Type::Quantity, Value::String(text)) => quantity_problem(text),
            (Type::Quantity, other) => (!other.is_number()).then(|| QUANTITY_RULE.to_owned()),
            (Type::IntOrString, Value::String(_)) => None,
            (Type::IntOrString, Value::Number(number)) if fits(number, "int32") => None,
            (Type::IntOrString, other) => self.mismatch("int32", "int32", other),
            (Type::Raw, _) => None,
            (Type::Texts, Value::Array(items)) => {
                items.iter().find(|item| !item.is_string()).and_then(|item| self.mismatch("string", "string", item))
            }
            (Type::Texts, other) => self.mismatch(name, "slice", other),
            (Type::SchemaOr(_), Value::Object(_)) => self.object("apiextensions.JSONSchemaProps", value),
            // What may stand instead is looked at where definitions are checked.
            (Type::SchemaOr(_), _) => None,
            (Type::Message(inner), Value::Object(_)) => self.object(inner, value),
            (Type::Message(_), other) => self.mismatch(name, "struct", other),
        }
    }

    /// The words for a value that is none of a type; `kind` is what the type is at bottom.
    fn mismatch(&self, expected: &str, kind: &str, value: &Value) -> Option<String> {
        if self.reading == Reading::Converted {
            return Some(conversion_problem(expected, kind, value));
        }
        let around = self.around.rsplit('.').next().unwrap_or_default();
        let found = match value {
            Value::Number(number) if kind.starts_with("int") => format!("number {number}"),
            other => json_type(other).to_owned(),
        };
        Some(format!("json: cannot unmarshal {found} into Go struct field {around}.{} of type {expected}", self.path.join(".")))
    }
}

/// What JSON's types are called in errors.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn conversion_problem(expected: &str, kind: &str, value: &Value) -> String {
    let found = match value {
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        other => json_type(other),
    };
    match kind {
        "slice" | "map" => format!("cannot restore {kind} from {found}"),
        "struct" => format!("cannot restore struct from: {found}"),
        "string" if found == "int64" => format!("cannot convert int64 to {expected}"),
        "float64" | "int32" | "int64" if ["int64", "float64"].contains(&found) => format!("cannot convert {found} to {expected}"),
        kind => format!("unrecognized type: {kind}"),
    }
}

/// The field of a type, among its own and those of the types that stand in its place.
fn field_of(message: &str, name: &str) -> Option<&'static Field> {
    let own = fields(message)?;
    let inner = |field: &'static Field| match field.holds {
        Type::Message(inner) if field.name.is_empty() => field_of(inner, name),
        _ => None,
    };
    own.iter().find(|field| field.name == name).or_else(|| own.iter().find_map(inner))
}

/// Integers of 64 bits; all others have 32.
const LONG: &str = "activeDeadlineSeconds deletionGracePeriodSeconds expirationSeconds fsGroup generation gracePeriodSeconds \
     observedGeneration runAsGroup runAsUser sizeBytes startingDeadlineSeconds supplementalGroups \
     terminationGracePeriodSeconds tolerationSeconds defaultUser";

/// Texts that are types of their own.
const NAMED: [(&str, &str, &str); 29] = [
    ("Capabilities", "add", "Capability"),
    ("Capabilities", "drop", "Capability"),
    ("Condition", "status", "ConditionStatus"),
    ("Container", "imagePullPolicy", "PullPolicy"),
    ("Container", "terminationMessagePolicy", "TerminationMessagePolicy"),
    ("Container", "restartPolicy", "ContainerRestartPolicy"),
    ("ContainerPort", "protocol", "Protocol"),
    ("CronJobSpec", "concurrencyPolicy", "ConcurrencyPolicy"),
    ("EmptyDirVolumeSource", "medium", "StorageMedium"),
    ("HTTPGetAction", "scheme", "URIScheme"),
    ("JobCondition", "status", "ConditionStatus"),
    ("JobCondition", "type", "JobConditionType"),
    ("JobSpec", "completionMode", "CompletionMode"),
    ("ManagedFieldsEntry", "operation", "ManagedFieldsOperationType"),
    ("NamespaceSpec", "finalizers", "FinalizerName"),
    ("NamespaceStatus", "phase", "NamespacePhase"),
    ("NodeCondition", "status", "ConditionStatus"),
    ("NodeCondition", "type", "NodeConditionType"),
    ("PodCondition", "status", "ConditionStatus"),
    ("PodCondition", "type", "PodConditionType"),
    ("PodSpec", "dnsPolicy", "DNSPolicy"),
    ("PodSpec", "preemptionPolicy", "PreemptionPolicy"),
    ("PodSpec", "restartPolicy", "RestartPolicy"),
    ("PodStatus", "phase", "PodPhase"),
    ("PodStatus", "qosClass", "PodQOSClass"),
    ("Secret", "type", "SecretType"),
    ("Taint", "effect", "TaintEffect"),
    ("Toleration", "effect", "TaintEffect"),
    ("Toleration", "operator", "TolerationOperator"),
];

/// The name of the type of what a field holds once.
fn element(around: &str, field: &Field) -> String {
    let around = around.rsplit('.').next().unwrap_or_default();
    match field.holds {
        Type::Text if field.name == "uid" => "types.UID".into(),
        Type::Text => {
            let named = NAMED.iter().find(|(of, name, _)| *of == around && *name == field.name);
            named.map_or_else(|| "string".into(), |(_, _, named)| format!("v1.{named}"))
        }
        Type::Integer if LONG.split(' ').any(|name| name == field.name) => "int64".into(),
        Type::Integer => "int32".into(),
        Type::Boolean => "bool".into(),
        Type::Float => "float64".into(),
        Type::Bytes => "[]uint8".into(),
        Type::Time => "v1.Time".into(),
        Type::MicroTime => "v1.MicroTime".into(),
        Type::Duration => "v1.Duration".into(),
        Type::Quantity => "resource.Quantity".into(),
        Type::IntOrString => "intstr.IntOrString".into(),
        Type::Raw => "v1.FieldsV1".into(),
        Type::Texts => "v1.ExtraValue".into(),
        Type::SchemaOr(_) => "v1.JSONSchemaProps".into(),
        Type::Message(inner) => format!("v1.{}", inner.rsplit('.').next().unwrap_or_default()),
    }
}

fn fits(number: &serde_json::Number, name: &str) -> bool {
    number.as_i64().is_some_and(|number| name == "int64" || i32::try_from(number).is_ok())
}

/// Where a text stops being base64, in bytes: at the first wrong one, or at the start of a group of four that it breaks off in.
pub fn base64_problem(text: &str) -> Option<usize> {
    let bytes: Vec<(usize, u8)> = text.bytes().enumerate().filter(|(_, byte)| *byte != b'\n' && *byte != b'\r').collect();
    for (group, quad) in bytes.chunks(4).enumerate() {
        let digits = quad.iter().take_while(|(_, byte)| byte.is_ascii_alphanumeric() || b"+/".contains(byte)).count();
        let Some((wrong, byte)) = quad.get(digits).copied() else {
            if digits < 4 {
                return Some(text.len() - digits);
            }
            continue;
        };
        if byte != b'=' || digits < 2 {
            return Some(wrong);
        }
        if digits == 2 && quad.get(3).is_none() {
            return Some(text.len());
        }
        if digits == 2 && quad.get(3).is_some_and(|(_, byte)| *byte != b'=') {
            return Some(wrong);
        }
        return bytes.get(group * 4 + 4).map(|(at, _)| *at);
    }
    None
}

const QUANTITY_RULE: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

fn quantity_problem(text: &str) -> Option<String> {
    let number = text.strip_prefix(['+', '-']).unwrap_or(text);
    if quantity::is_quantity(number) {
        return None;
    }
    let digits = number.len() - number.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let suffix = number.get(digits..).unwrap_or_default();
    let is_written_so = digits > 0 && suffix.chars().all(|c| "eEinumkKMGTP+-0123456789".contains(c));
    Some(if is_written_so { "unable to parse quantity's suffix".into() } else { QUANTITY_RULE.into() })
}

/// What is wrong with a time, by the parts of its layout.
fn time_problem(text: &str, layout: &str) -> Option<String> {
    if text.parse::<jiff::Timestamp>().is_ok() {
        return None;
    }
    let wrong = |rest: &str, part: &str| Some(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {part:?}"));
    let mut rest = text;
    for (part, length) in
        [("2006", 4), ("-", 1), ("01", 2), ("-", 1), ("02", 2), ("T", 1), ("15", 2), (":", 1), ("04", 2), (":", 1), ("05", 2)]
    {
        let is_number = part.starts_with(|c: char| c.is_ascii_digit());
        let fits =
            rest.get(..length).filter(|found| if is_number { found.bytes().all(|byte| byte.is_ascii_digit()) } else { *found == part });
        match fits {
            Some(found) => rest = rest.get(found.len()..).unwrap_or_default(),
            None => return wrong(rest, part),
        }
    }
    let fraction = rest.strip_prefix('.').map_or(rest, |digits| digits.trim_start_matches(|c: char| c.is_ascii_digit()));
    if fraction != "Z" && !fraction.starts_with(['+', '-']) {
        return wrong(fraction, "Z07:00");
    }
    let part = |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<u32>().ok()).unwrap_or_default();
    let limits =
        [("month", 5..7, 1, 12), ("hour", 11..13, 0, 23), ("minute", 14..16, 0, 59), ("second", 17..19, 0, 59), ("day", 8..10, 1, 0)];
    let out = limits
        .into_iter()
        .find(|(_, range, least, most)| !(*least..=*most).contains(&part(range.clone())))
        .map_or("day", |(name, ..)| name);
    Some(format!("parsing time {text:?}: {out} out of range"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_decoder_names_the_field_by_its_types() {
        for (message, object, expected) in [
            ("core.ConfigMap", json!({"metadata": {"name": "a"}, "data": {"a": "b"}, "extra": 1}), ""),
            ("core.ConfigMap", json!({"metadata": "x"}), "string into Go struct field ConfigMap.metadata of type v1.ObjectMeta"),
            (
                "core.ConfigMap",
                json!({"metadata": {"labels": {"k": 1}}}),
                "number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            ("core.ConfigMap", json!({"data": []}), "array into Go struct field ConfigMap.data of type map[string]string"),
            ("core.ConfigMap", json!({"data": {"k": {}}, "metadata": 1}), "object into Go struct field ConfigMap.data of type string"),
            ("core.Pod", json!({"spec": {"containers": {}}}), "object into Go struct field PodSpec.spec.containers of type []v1.Container"),
            (
                "core.Pod",
                json!({"spec": {"containers": ["a"]}}),
                "string into Go struct field PodSpec.spec.containers of type v1.Container",
            ),
            (
                "core.Pod",
                json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": "x"}]}]}}),
                "string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
            ),
            ("core.Pod", json!({"spec": {"priority": 1.5}}), "number 1.5 into Go struct field PodSpec.spec.priority of type int32"),
            (
                "core.Pod",
                json!({"spec": {"restartPolicy": true}}),
                "bool into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
            ),
            ("core.Secret", json!({"immutable": "yes"}), "string into Go struct field Secret.immutable of type bool"),
        ] {
            let expected = if expected.is_empty() { String::new() } else { format!("json: cannot unmarshal {expected}") };
            assert_eq!(problem(Reading::Decoded, message, &object).unwrap_or_default(), expected, "{object}");
        }
    }

    #[test]
    fn types_that_read_themselves_have_words_of_their_own() {
        for (message, object, expected) in [
            ("core.Secret", json!({"data": {"a": "MQ=="}}), ""),
            ("core.Secret", json!({"data": {"a": "***"}}), "illegal base64 data at input byte 0"),
            ("core.Secret", json!({"data": {"a": "MQ="}}), "illegal base64 data at input byte 3"),
            ("core.Secret", json!({"data": {"a": "M"}}), "illegal base64 data at input byte 0"),
            (
                "core.Event",
                json!({"firstTimestamp": "yesterday"}),
                "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
            ),
            ("core.Event", json!({"firstTimestamp": "2001-13-01T00:00:00Z"}), "parsing time \"2001-13-01T00:00:00Z\": month out of range"),
            ("core.Pod", json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "a lot"}}}]}}), QUANTITY_RULE),
            ("core.Pod", json!({"spec": {"containers": [{"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}]}}), ""),
        ] {
            assert_eq!(problem(Reading::Decoded, message, &object).unwrap_or_default(), expected, "{object}");
        }
    }

    #[test]
    fn a_conversion_names_no_field() {
        for (object, expected) in [
            (json!({"data": {"k": 5}}), "cannot convert int64 to string"),
            (json!({"data": {"k": true}}), "unrecognized type: string"),
            (json!({"data": "x"}), "cannot restore map from string"),
            (json!({"metadata": "x"}), "cannot restore struct from: string"),
            (json!({"metadata": {"finalizers": "x"}}), "cannot restore slice from string"),
            (json!({"immutable": "x"}), "unrecognized type: bool"),
            (json!({"binaryData": {"a": "*"}}), "illegal base64 data at input byte 0"),
        ] {
            assert_eq!(problem(Reading::Converted, "core.ConfigMap", &object).as_deref(), Some(expected), "{object}");
        }
    }
}
