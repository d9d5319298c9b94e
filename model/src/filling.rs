//! Filling in what was left out of an object.

use serde_json::Value;

/// Sets a field that is not there, or null.
pub(crate) fn default_to(object: &mut Value, field: &str, value: Value) {
    if object[field].is_null() {
        object[field] = value;
    }
}

/// Takes away the nulls that indexing for writing leaves, and that people send for "not set".
pub fn drop_nulls(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}
