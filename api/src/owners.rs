//! Who owns which field: `metadata.managedFields`, kept up with each write.

use http::header::USER_AGENT;
use logic::patch::apply::{self, Conflict, Entry, Operation, Part, Write, Writer};
use serde_json::{Value, json};

use crate::admit;
use crate::serve::Call;
use crate::status::Status;

/// The longest name of a writer that gives itself none, in characters.
const MANAGER_LENGTH_MAX: usize = 128;

/// The write that a request makes.
pub fn write(call: &Call, operation: Operation) -> Write {
    let kind = call.kind();
    let subresource = call.place.subresource.clone().unwrap_or_default();
    let part = match subresource.as_str() {
        "status" => Part::Status,
        _ if kind.status => Part::ButStatus,
        _ => Part::Everything,
    };
    let writer = Writer { manager: manager(call), operation, api_version: kind.api_version(), subresource };
    // Who scales is noted without a time, as Kubernetes has it.
    let time = (call.place.subresource.as_deref() != Some("scale")).then(|| admit::timestamp(call.server.clock.now()));
    Write { part, writer, time, blank: call.served.blank.clone() }
}

/// The writer's name: as the query says, or its program's.
fn manager(call: &Call) -> String {
    if let Some(name) = call.query.get("fieldManager") {
        return name.to_owned();
    }
    let agent = call.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let name: String = agent.split('/').next().unwrap_or_default().chars().take(MANAGER_LENGTH_MAX).collect();
    if name.is_empty() { "unknown".into() } else { name }
}

/// The `managedFields` of a new object.
pub fn created(call: &Call, object: &Value) -> Value {
    apply::to_value(&apply::created(&call.served.shape, object, &write(call, Operation::Update)))
}

/// The `managedFields` of a changed object. `sent` are those that came with the change: an empty list gives up all ownership,
/// and what cannot be read counts as left out. An object without owners stays without until somebody applies it.
pub fn updated(call: &Call, before: &Value, after: &Value, sent: &Value) -> Value {
    let empty = json!([{}]);
    if sent.as_array().is_some_and(Vec::is_empty) || *sent == empty {
        return Value::Null;
    }
    let live = &before["metadata"]["managedFields"];
    let entries = apply::entries(sent).filter(|entries| !entries.is_empty()).or_else(|| apply::entries(live)).unwrap_or_default();
    if entries.is_empty() {
        return Value::Null;
    }
    apply::to_value(&apply::updated(&call.served.shape, before, after, entries, &write(call, Operation::Update)))
}

/// The entries of a stored object.
pub fn entries(object: &Value) -> Vec<Entry> {
    apply::entries(&object["metadata"]["managedFields"]).unwrap_or_default()
}

/// 409: what is applied would change fields of other owners.
pub fn conflict(conflicts: &[Conflict]) -> Status {
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|conflict| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {}", owner(&conflict.writer)), "field": conflict.path})
        })
        .collect();
    let message = match conflicts {
        [only] => format!("Apply failed with 1 conflict: conflict with {}: {}", owner(&only.writer), only.path),
        many => format!("Apply failed with {} conflicts: {}", many.len(), by_owner(many)),
    };
    Status::conflict_with(causes, message)
}

fn by_owner(conflicts: &[Conflict]) -> String {
    let mut owners: Vec<String> = conflicts.iter().map(|conflict| owner(&conflict.writer)).collect();
    owners.sort();
    owners.dedup();
    let lines = |name: &String| {
        let paths = conflicts.iter().filter(|conflict| owner(&conflict.writer) == *name).map(|conflict| format!("\n- {}", conflict.path));
        format!("conflicts with {name}:{}", paths.collect::<String>())
    };
    owners.iter().map(lines).collect::<Vec<_>>().join("\n")
}

fn owner(writer: &Writer) -> String {
    let mut text = format!("{:?}", writer.manager);
    if !writer.subresource.is_empty() {
        text.push_str(&format!(" with subresource {:?}", writer.subresource));
    }
    if writer.operation == Operation::Update {
        text.push_str(&format!(" using {}", writer.api_version));
    }
    text
}
