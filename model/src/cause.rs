//! Why a controller wrote.

use serde::{Deserialize, Serialize};

/// What made a controller write an object: kept in the annotation [`crate::labels::CAUSE`] of what was written, so that the
/// chain from a person's change to its last effect can be read from records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The controller that wrote.
    pub actor: String,
    /// The kind of the object that made it write.
    pub kind: String,
    /// That object's namespace; empty for one that has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// That object's name.
    pub name: String,
    /// That object's uid.
    pub uid: String,
    /// The resourceVersion at which it was seen.
    pub revision: String,
    /// Why, in a short sentence.
    pub reason: String,
}

impl Cause {
    /// The annotation's value.
    pub fn to_annotation(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads an annotation's value; `None` when it is none of ours.
    pub fn from_annotation(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}
