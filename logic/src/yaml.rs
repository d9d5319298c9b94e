//! YAML as Kubernetes' tools read it: version 1.1's `on` and `0755`, whole floats as integers, several documents.

mod document;
mod order;

use serde_json::{Number, Value};
use serde_saphyr::options::DuplicateKeyPolicy;

use document::Document;
use order::sorted;

/// The text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotYaml(String);

/// Every document in `text` that is not empty. Errors name line and column.
pub fn parse(text: &str) -> Result<Vec<Value>, NotYaml> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true, duplicate_keys: DuplicateKeyPolicy::LastWins };
    let documents: Vec<Document> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| NotYaml(first_line(&error.to_string())))?;
    Ok(documents.into_iter().map(|Document(value)| value).filter(|value| !value.is_null()).map(whole_numbers).collect())
}

/// The first key that is there twice, with its line, in the words of Kubernetes' parser. None when there is none or the text is no YAML.
pub fn duplicate(text: &str) -> Option<String> {
    let found = serde_saphyr::from_multiple::<Value>(text).err()?.to_string();
    let (place, rest) =
        first_line(&found).split_once(": duplicate mapping key: ").map(|(place, rest)| (place.to_owned(), rest.to_owned()))?;
    let line = place.split("line ").nth(1)?.split(' ').next()?.to_owned();
    let key = rest.split(", set DuplicateKeyPolicy").next()?;
    Some(format!("line {line}: key {key:?} already set in map"))
}

/// Writes one document, with its keys in the order in which Kubernetes' tools write them. Text that would be read as something else
/// is quoted.
pub fn write(value: &Value) -> String {
    serde_saphyr::to_string(&sorted(value)).unwrap_or_default()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// `1e3` and `08` arrive as floats; Kubernetes reads whole numbers as integers.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(whole(number)),
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, whole_numbers(value))).collect(),
        other => other,
    }
}

fn whole(number: Number) -> Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "within the bounds that a float holds exactly")]
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => Number::from(float as i64),
        _ => number,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_is_read_as_kubernetes_tools_read_it() {
        for (text, expected) in [
            ("a: on\nb: 0755\nc: 1e3\nd: '1'\n", json!([{"a": true, "b": 493, "c": 1000, "d": "1"}])),
            ("---\n---\na: 1\n---\nb: 2\n", json!([{"a": 1}, {"b": 2}])),
            ("", json!([])),
            ("on: 1\nyes: 2\n'off': 3\n0x10: 4\n1.5: 5\n", json!([{"true": 2, "off": 3, "16": 4, "1.5": 5}])),
            ("a: {b: [1, ~, x]}\n", json!([{"a": {"b": [1, null, "x"]}}])),
        ] {
            assert_eq!(Value::from(parse(text).unwrap()), expected, "{text}");
        }
        for text in ["a: [", "\t- x: y: z"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_of_a_key_that_is_there_twice_counts_and_the_place_is_known() {
        let text = "a: 1\nb:\n  c: 2\n  c: 3\n";
        assert_eq!(parse(text).unwrap(), [json!({"a": 1, "b": {"c": 3}})]);
        assert_eq!(duplicate(text).as_deref(), Some("line 4: key \"c\" already set in map"));
        assert_eq!(duplicate("a: 1\nb: 1\n"), None);
    }

    #[test]
    fn what_is_written_reads_back() {
        let value = json!({"a": "yes", "b": ["0755", 1, null, {"c": ""}], "d": "x: y\nz"});
        assert_eq!(parse(&write(&value)).unwrap(), vec![value]);
    }
}
