//! Whether an object's metadata is well formed: labels, annotations, finalizers, owners.

use model::{Problem, ProblemKind, check_subdomain};
use serde_json::Value;

const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED: &str = "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
     start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// What is wrong with a label's or annotation's key.
pub fn qualified_name_problem(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((_, name)) if name.contains('/') => return Some(QUALIFIED.into()),
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    match prefix {
        Some("") => return Some("prefix part must be non-empty".into()),
        Some(prefix) => {
            if let Some(problem) = check_subdomain(prefix).into_iter().next() {
                let problem = if prefix.len() > 253 { "must be no more than 253 bytes".to_owned() } else { problem };
                return Some(format!("prefix part {problem}"));
            }
        }
        None => {}
    }
    if name.is_empty() {
        return Some("name part must be non-empty".into());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".into());
    }
    (!is_word(name)).then(|| NAME_PART.into())
}

/// What is wrong with a label's value.
pub fn label_value_problem(value: &str) -> Option<String> {
    if value.len() > 63 {
        return Some("must be no more than 63 bytes".into());
    }
    (!value.is_empty() && !is_word(value)).then(|| LABEL_VALUE.into())
}

fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Problems of the metadata of an object whose types have been checked. Its name is not looked at.
pub fn problems(metadata: &Value, standard: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    let invalid = |field: &str, value: &str, problem: String| Problem::invalid(field, format!("{value:?}: {problem}"));
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        found.extend(qualified_name_problem(key).map(|problem| invalid("metadata.labels", key, problem)));
        let value = value.as_str().unwrap_or_default();
        found.extend(label_value_problem(value).map(|problem| invalid("metadata.labels", value, problem)));
    }
    let mut bytes = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        found.extend(qualified_name_problem(&key.to_lowercase()).map(|problem| invalid("metadata.annotations", key, problem)));
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        let detail = format!("may not be more than {ANNOTATIONS_BYTES_MAX} bytes");
        found.push(Problem::new(ProblemKind::TooLong, "metadata.annotations", detail));
    }
    finalizer_problems(&metadata["finalizers"], standard, &mut found);
    owner_problems(&metadata["ownerReferences"], &mut found);
    found
}

fn finalizer_problems(finalizers: &Value, standard: bool, found: &mut Vec<Problem>) {
    for (at, finalizer) in finalizers.as_array().into_iter().flatten().enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        let field = format!("metadata.finalizers[{at}]");
        if let Some(problem) = qualified_name_problem(finalizer) {
            found.push(Problem::invalid(field, format!("{finalizer:?}: {problem}")));
        } else if standard && !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer) {
            let detail = format!("{finalizer:?}: name is neither a standard finalizer name nor is it fully qualified");
            found.push(Problem::invalid(field, detail));
        }
    }
}

/// What somebody who names finalizers is told: those without a path may meet those of others.
pub fn finalizer_warnings(metadata: &Value) -> Vec<String> {
    let finalizers = metadata["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let bare = finalizers.filter(|finalizer| !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(finalizer));
    let why = "prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers";
    bare.map(|finalizer| format!("metadata.finalizers: {finalizer:?}: {why}")).collect()
}

fn owner_problems(owners: &Value, found: &mut Vec<Problem>) {
    let owners = owners.as_array().map_or(&[][..], Vec::as_slice);
    for owner in owners {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                found.push(Problem::invalid(format!("metadata.ownerReferences.{field}"), "\"\": must not be empty"));
            }
        }
    }
    let controllers: Vec<String> = owners
        .iter()
        .filter(|owner| owner["controller"] == true)
        .map(|owner| format!("{}/{}", owner["kind"].as_str().unwrap_or(""), owner["name"].as_str().unwrap_or("")))
        .collect();
    if let [first, second, ..] = controllers.as_slice() {
        let owners = serde_json::to_string(owners).unwrap_or_default();
        let rule = "Only one reference can have Controller set to true. Found \"true\" in references for";
        found.push(Problem::invalid("metadata.ownerReferences", format!("{owners}: {rule} {first} and {second}")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_mistake_names_its_field() {
        for (metadata, expected) in [
            (json!({"labels": {"a.b/c": "d"}, "annotations": {"x": "anything at all"}, "finalizers": ["a.dev/b", "orphan"]}), None),
            (json!({"labels": {"bad key": ""}}), Some("metadata.labels")),
            (json!({"labels": {"a": "not valid!"}}), Some("metadata.labels")),
            (json!({"labels": {"/a": ""}}), Some("prefix part must be non-empty")),
            (json!({"annotations": {"a/b/c": ""}}), Some("metadata.annotations")),
            (json!({"annotations": {"a": "x".repeat(300_000)}}), Some("Too long")),
            (json!({"finalizers": ["nodomain"]}), Some("metadata.finalizers[0]")),
            (json!({"ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "b"}]}), Some("ownerReferences.uid")),
        ] {
            let found = problems(&metadata, true);
            let text = found.first().map(ToString::to_string);
            assert_eq!(text.is_some(), expected.is_some(), "{metadata} {text:?}");
            assert!(text.unwrap_or_default().contains(expected.unwrap_or_default()), "{metadata}");
        }
    }
}
