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

fn problems(object: &Value) -> Vec<Problem> {
    let mut found = key_problems(object, &["data", "binaryData"]);
    for (field, other) in [("data", "binaryData"), ("binaryData", "data")] {
        let twice = object[field].as_object().into_iter().flat_map(serde_json::Map::keys).filter(|key| object[other].get(*key).is_some());
        found.extend(twice.map(|key| Problem::invalid(format!("{field}[{key}]"), format!("{key:?}: duplicate of key present in {other}"))));
    }
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
    fn keys_are_file_names() {
        assert!(key_problems(&json!({"data": {"a.b-c_D": ""}}), &["data"]).is_empty());
        for key in ["", "a/b", "..", "a b"] {
            assert_eq!(key_problems(&json!({"data": {key: ""}}), &["data"]).len(), 1, "{key}");
        }
    }
}
