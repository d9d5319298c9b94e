//! How a patch changes an object.

pub mod apply;
pub mod core_types;
pub mod order;
pub mod reading;
pub mod shape;
pub mod strategic;
pub mod tidy;

use serde_json::Value;

/// Applies a merge patch (RFC 7396): null removes, an object merges, all else replaces.
pub fn merge(object: &mut Value, patch: &Value) {
    json_patch::merge(object, patch);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_merges_replaces_and_removes() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        merge(&mut object, &json!({"a": {"b": null, "e": 3}, "d": [9]}));
        assert_eq!(object, json!({"a": {"c": 2, "e": 3}, "d": [9]}));
    }
}
