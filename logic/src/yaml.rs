//! YAML as Kubernetes' tools read it: version 1.1's `on` and `0755`, whole floats as integers, several documents.

use serde_json::{Number, Value};

/// The text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotYaml(String);

/// Every document in `text` that is not empty. Errors name line and column.
pub fn parse(text: &str) -> Result<Vec<Value>, NotYaml> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| NotYaml(first_line(&error.to_string())))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).map(whole_numbers).collect())
}

/// Writes one document. Text that would be read as something else is quoted.
pub fn write(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_default()
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
        ] {
            assert_eq!(Value::from(parse(text).unwrap()), expected, "{text}");
        }
        for text in ["a: [", "a: 1\na: 2", "\t- x: y: z"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let value = json!({"a": "yes", "b": ["0755", 1, null, {"c": ""}], "d": "x: y\nz"});
        assert_eq!(parse(&write(&value)).unwrap(), vec![value]);
    }
}
