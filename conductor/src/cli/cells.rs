//! Cells of a kind's table, as the kind itself defines them.

use jiff::Timestamp;
use model::{Cell, Kind};
use serde_json::Value;

/// What a kind shows of an object in the column of this name; empty where there is no such column or nothing in it.
pub fn cell(kind: &Kind, column: &str, object: &Value, now: Timestamp) -> String {
    let Some(column) = kind.columns.iter().find(|candidate| candidate.name.eq_ignore_ascii_case(column)) else { return String::new() };
    let value = match &column.cell {
        Cell::Computed(compute) => compute(object, now),
        Cell::Found(find) => find(object, now),
        Cell::Path(path) => path.split('.').filter(|key| !key.is_empty()).fold(object, |value, key| &value[key]).clone(),
    };
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_is_what_its_kind_makes_it() {
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let object = json!({
            "metadata": {"name": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"parts": [{"replicas": 2}]}, "status": {"readyReplicas": 1, "activeRevision": "shop-1"},
        });
        let kind = model::service::kind();
        for (column, expected) in [("READY", "1/2"), ("Revision", "shop-1"), ("AGE", "60s"), ("Colour", "")] {
            assert_eq!(cell(&kind, column, &object, now), expected);
        }
    }
}
