//! How a patch changes an object.

pub mod apply;
pub mod core_types;
mod index;
pub mod keyed;
pub mod order;
pub mod reading;
pub mod shape;
pub mod strategic;
pub mod tidy;

use json_patch::{AddOperation, PatchErrorKind, PatchOperation};
use serde_json::Value;

/// How much the `copy` operations of one JSON patch may copy in all, in bytes: each may double the object.
const COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Why a JSON patch is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undone {
    /// What a `test` expected is not so.
    #[error("a test operation failed")]
    TestFailed,
    /// What it names is not there, or it copies too much.
    #[error("{0}")]
    Impossible(String),
}

/// Carries out a JSON patch (RFC 6902), where replacing a key that an object lacks adds it, as Kubernetes does. Errors: the first
/// operation that cannot be; then the object is left between the two.
pub fn carry_out(object: &mut Value, patch: &json_patch::Patch) -> Result<(), Undone> {
    let mut copied: usize = 0;
    for operation in &patch.0 {
        let counted = index::from_the_end(object, operation);
        let operation = counted.as_ref().unwrap_or(operation);
        if let PatchOperation::Copy(copy) = operation {
            copied += object.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len());
            if copied > COPIED_BYTES_MAX {
                let why = "unable to complete the copy, the accumulated size increase of copy is";
                return Err(Undone::Impossible(format!("{why} {copied}, exceeding the limit {COPIED_BYTES_MAX}")));
            }
        }
        let added = added(object, operation);
        json_patch::patch(object, std::slice::from_ref(added.as_ref().unwrap_or(operation))).map_err(|error| match error.kind {
            PatchErrorKind::TestFailed => Undone::TestFailed,
            _ => Undone::Impossible(error.to_string()),
        })?;
    }
    Ok(())
}

/// What adds, where an operation would replace a key that its object lacks.
fn added(object: &Value, operation: &PatchOperation) -> Option<PatchOperation> {
    let PatchOperation::Replace(replace) = operation else { return None };
    let path = replace.path.as_str();
    if object.pointer(path).is_some() {
        return None;
    }
    let parent = path.rsplit_once('/').and_then(|(parent, _)| object.pointer(parent))?;
    parent.is_object().then(|| PatchOperation::Add(AddOperation { path: replace.path.clone(), value: replace.value.clone() }))
}

/// Applies a merge patch (RFC 7396): null removes, an object merges, all else replaces.
pub fn merge(object: &mut Value, patch: &Value) {
    json_patch::merge(object, patch);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_json_patch_that_would_fill_the_memory_is_not_carried_out() {
        let operation = |at: usize| json!({"op": "copy", "from": "/data", "path": format!("/data/{at}")});
        let patch = |count: usize| serde_json::from_value((0..count).map(operation).collect()).unwrap();
        let mut object = json!({"data": {"k": "v"}});
        assert_eq!(carry_out(&mut object, &patch(3)), Ok(()));
        assert_eq!(object["data"]["2"]["1"]["0"]["k"], "v");
        let refused = carry_out(&mut json!({"data": {"k": "v"}}), &patch(60)).unwrap_err();
        assert!(refused.to_string().contains("exceeding the limit 3145728"), "{refused}");
    }

    #[test]
    fn a_merge_patch_merges_replaces_and_removes() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        merge(&mut object, &json!({"a": {"b": null, "e": 3}, "d": [9]}));
        assert_eq!(object, json!({"a": {"c": 2, "e": 3}, "d": [9]}));
    }
}
