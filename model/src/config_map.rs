//! ConfigMap: plain settings by name.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::{Column, Kind, Problem, ProblemKind};

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        short_names: vec!["cm".into()],
        columns: vec![
            Column::name(),
            Column::computed("Data", "string", count, "How many entries the ConfigMap has, of text and of bytes"),
            Column::age(),
        ],
        validate: problems,
        validate_change: frozen,
        ..Kind::new("", "v1", "ConfigMap", "configmaps", |generator| generator.subschema_for::<ConfigMap>())
    }
}

fn count(object: &Value, _: jiff::Timestamp) -> Value {
    let entries = ["data", "binaryData"].iter().filter_map(|field| object[field].as_object());
    json!(entries.map(serde_json::Map::len).sum::<usize>())
}

/// The largest that all values of a ConfigMap or Secret may be together, in bytes.
const BYTES_MAX: usize = 1024 * 1024;

/// The problem of data that is too large, at the path where Kubernetes finds it.
pub(crate) fn size_problem(object: &Value, fields: &[&str], path: &str) -> Option<Problem> {
    let size = |field: &str| {
        let values = object[field].as_object().into_iter().flat_map(serde_json::Map::values).filter_map(Value::as_str);
        // What is stored as base64 counts as what it stands for.
        values
            .map(|text| if field == "data" && fields.len() > 1 { text.len() } else { text.trim_end_matches('=').len() * 3 / 4 })
            .sum::<usize>()
    };
    let bytes: usize = fields.iter().map(|field| size(field)).sum();
    let detail = || format!("may not be more than {BYTES_MAX} bytes");
    (bytes > BYTES_MAX).then(|| Problem::new(ProblemKind::TooLong, path, detail()))
}

fn problems(object: &Value) -> Vec<Problem> {
    let mut found = key_problems(object, &["data", "binaryData"]);
    let keys = object["data"].as_object().into_iter().flat_map(serde_json::Map::keys);
    let twice = keys.filter(|key| object["binaryData"].get(*key).is_some());
    found.extend(twice.map(|key| Problem::invalid(format!("data[{key}]"), format!("{key:?}: duplicate of key present in binaryData"))));
    found.extend(size_problem(object, &["data", "binaryData"], "[]"));
    found
}

/// Keys of `data` may be file names and no more.
pub(crate) fn key_problems(object: &Value, fields: &[&str]) -> Vec<Problem> {
    let mut found = Vec::new();
    for field in fields {
        for key in object[field].as_object().into_iter().flat_map(serde_json::Map::keys) {
            let mut refuse = |rule: &str| found.push(Problem::invalid(format!("{field}[{key}]"), format!("{key:?}: {rule}")));
            if key.len() > 253 {
                refuse("must be no more than 253 characters");
            }
            if key == "." || key == ".." {
                refuse(&format!("must not be '{key}'"));
            } else if key.starts_with("..") {
                refuse("must not start with '..'");
            }
            if !is_key(key) {
                let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
                            'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                refuse(rule);
            }
        }
    }
    found
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Nothing of an object marked `immutable` may change, nor may the mark be taken away.
pub(crate) fn frozen(before: &Value, after: &Value) -> Vec<Problem> {
    if before["immutable"] != true {
        return Vec::new();
    }
    let mut found = Vec::new();
    if after["immutable"] != true {
        found.push(Problem::new(ProblemKind::Forbidden, "immutable", "field is immutable when `immutable` is set"));
    }
    for field in ["data", "binaryData"] {
        if before[field] != after[field] {
            found.push(Problem::new(ProblemKind::Forbidden, field, "field is immutable when `immutable` is set"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_values_together_are_bounded_and_keys_are_there_once() {
        let found = problems(&json!({"data": {"a": "x".repeat(BYTES_MAX), "b": "y"}, "binaryData": {"b": ""}}));
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        let expected =
            ["data[b]: Invalid value: \"b\": duplicate of key present in binaryData", "[]: Too long: may not be more than 1048576 bytes"];
        assert_eq!(texts, expected);
        assert!(problems(&json!({"data": {"a": "x".repeat(BYTES_MAX)}})).is_empty());
    }

    #[test]
    fn keys_are_file_names() {
        assert!(key_problems(&json!({"data": {"a.b-c_D": ""}}), &["data"]).is_empty());
        for key in ["", "a/b", "..", ".", "..a", "a b"] {
            assert_eq!(key_problems(&json!({"data": {key: ""}}), &["data"]).len(), 1, "{key}");
        }
    }
}
