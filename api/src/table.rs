//! Objects as rows of a table, for `kubectl get`.

use jiff::Timestamp;
use model::{Cell, Column, Kind};
use serde_json::{Value, json};

use crate::answer::metadata_only;
use crate::status::{Result, Status};

/// How much of each object its row carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Include {
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
    /// Nothing.
    None,
}

impl Include {
    /// As the query asks. Errors: 400.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        match text {
            Some("Object") => Ok(Self::Object),
            Some("None") => Ok(Self::None),
            None | Some("Metadata") => Ok(Self::Metadata),
            Some(other) => {
                let rule = "must be 'Metadata', 'Object', 'None', or empty";
                Err(Status::bad_request(format!(
                    "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: {rule}"
                )))
            }
        }
    }
}

/// A table of objects, in the version `meta`; `metadata` is the list's. A watch sends column definitions with its first table only.
pub fn table(meta: &str, kind: &Kind, objects: &[Value], metadata: &Value, include: Include, headed: bool, now: Timestamp) -> Value {
    let rows: Vec<Value> = objects.iter().map(|object| row(meta, kind, object, include, now)).collect();
    let columns: Vec<Value> = kind.columns.iter().map(definition).collect();
    let columns = if headed { json!(columns) } else { Value::Null };
    json!({"kind": "Table", "apiVersion": meta, "metadata": metadata, "columnDefinitions": columns, "rows": rows})
}

fn definition(column: &Column) -> Value {
    json!({"name": column.name, "type": column.type_name, "format": column.format, "description": column.description, "priority": column.priority})
}

fn row(meta: &str, kind: &Kind, object: &Value, include: Include, now: Timestamp) -> Value {
    let cells: Vec<Value> = kind.columns.iter().map(|column| cell(column, object, now)).collect();
    match include {
        Include::None => json!({"cells": cells, "object": null}),
        Include::Object => json!({"cells": cells, "object": object}),
        Include::Metadata => json!({"cells": cells, "object": metadata_only(meta, object)}),
    }
}

fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let value = match &column.cell {
        Cell::Computed(compute) => compute(object, now),
        Cell::Found(find) => return find(object, now),
        Cell::Path(path) => path.split('.').filter(|key| !key.is_empty()).fold(object, |value, key| &value[key]).clone(),
    };
    match value {
        Value::Null if !column.absent.is_empty() => json!(column.absent),
        Value::Null if column.type_name == "string" && column.priority > 0 => json!("<none>"),
        Value::Null if column.type_name == "string" => json!(""),
        Value::Null => json!("<none>"),
        other => other,
    }
}
