//! What a schema's `format` says of a value beyond its type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use model::{Duration, Problem, ProblemKind};
use serde_json::Value;

use crate::quantity;

/// A form that values of a type have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Bytes,
    Int32,
    Int64,
    Duration,
    DateTime,
    /// An amount; what names it is its definition, not a format.
    Quantity,
}

impl Format {
    pub(super) fn of(schema: &Value) -> Option<Self> {
        Some(match schema["format"].as_str()? {
            "byte" => Self::Bytes,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "duration" => Self::Duration,
            "date-time" => Self::DateTime,
            _ => return None,
        })
    }

    /// What is wrong with a value of the right type.
    pub(super) fn problem(self, value: &Value, path: &str) -> Option<Problem> {
        if let Self::Bytes = self {
            let error = STANDARD.decode(value.as_str()?).err()?;
            return Some(Problem::new(ProblemKind::TypeInvalid, path, format!("must be base64: {error}")));
        }
        let why = match self {
            Self::Bytes => return None,
            Self::Int32 => whole(value, i32::MIN.into(), i32::MAX.into(), 32)?,
            Self::Int64 => whole(value, i64::MIN, i64::MAX, 64)?,
            Self::Duration => value.as_str()?.parse::<Duration>().err()?.to_string(),
            Self::DateTime => {
                let text = value.as_str()?;
                text.parse::<Timestamp>().err().map(|_| format!("{text:?}: expected a time such as 2026-01-02T03:04:05Z"))?
            }
            Self::Quantity => {
                let text = value.as_str()?;
                let is_amount = quantity::is_quantity(text.trim_start_matches(['+', '-']));
                (!is_amount).then(|| format!("{text:?}: expected an amount such as 500m, 2 or 256Mi"))?
            }
        };
        Some(Problem::invalid(path, why))
    }
}

fn whole(value: &Value, least: i64, most: i64, bits: u8) -> Option<String> {
    let fits = value.as_i64().is_some_and(|number| (least..=most).contains(&number));
    (value.is_number() && !fits).then(|| format!("{value}: must be a whole number of {bits} bits, between {least} and {most}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_format_is_told_from_what_it_is_not() {
        for (format, good, bad) in [
            ("byte", json!("YQ=="), json!("%%")),
            ("int32", json!(2_147_483_647), json!(2_147_483_648_u64)),
            ("int32", json!(-2_147_483_648), json!(-2_147_483_649_i64)),
            ("int64", json!(i64::MAX), json!(u64::MAX)),
            ("duration", json!("1m30s"), json!("soon")),
            ("duration", json!("24h"), json!("25h")),
            ("date-time", json!("2026-01-02T03:04:05.6Z"), json!("yesterday")),
        ] {
            let format = Format::of(&json!({"format": format})).unwrap();
            assert_eq!(format.problem(&good, "a.b"), None, "{good}");
            assert_eq!(format.problem(&bad, "a.b").unwrap().field, "a.b", "{bad}");
        }
        for (text, is_amount) in [("500m", true), ("1.5Gi", true), ("-1", true), ("much", false), ("", false), ("1 Gi", false)] {
            assert_eq!(Format::Quantity.problem(&json!(text), "a").is_none(), is_amount, "{text}");
        }
        assert_eq!(Format::of(&json!({"format": "hostname"})), None);
    }
}
