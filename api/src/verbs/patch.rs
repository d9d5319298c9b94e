//! What a patch says, and how it changes an object.

use json_patch::{AddOperation, PatchOperation};
use logic::patch::shape::Shape;
use logic::patch::strategic;
use model::Kind;
use serde_json::{Map, Value, json};

use super::update::sent_version;
use crate::body;
use crate::serve::Call;
use crate::status::{Result, Status};

const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// Server-side apply.
pub const APPLY: &str = "application/apply-patch+yaml";

/// The types of patches that a kind takes.
pub fn patch_types(kind: &Kind) -> Vec<&'static str> {
    let strategic = kind.keeps_unknown.then_some(STRATEGIC);
    [JSON, MERGE].into_iter().chain(strategic).chain([APPLY]).collect()
}

/// A patch of a type that is taken.
pub enum Patch {
    /// RFC 7396.
    Merge(Value),
    /// Kubernetes' own, for its own kinds.
    Strategic(Map<String, Value>),
    /// RFC 6902.
    Json(json_patch::Patch),
}

impl Patch {
    /// Reads the body of a request. Errors: 400, 415, 422.
    pub fn read(call: &Call) -> Result<Self> {
        let patch = |prefix: &str| body::patch(&call.body).map_err(|why| Status::bad_request(format!("{prefix}{why}")));
        let no_map = |prefix: &str, found: &Value| {
            let found = logic::schema::type_name(found);
            Status::bad_request(format!("{prefix}json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"))
        };
        match body::media_type(&call.headers).as_str() {
            MERGE => match patch("error decoding patch: ")? {
                patch @ Value::Object(_) => Ok(Self::Merge(patch)),
                other => Err(no_map("error decoding patch: ", &other)),
            },
            STRATEGIC if call.kind().keeps_unknown => match patch("")? {
                Value::Object(patch) => Ok(Self::Strategic(patch)),
                other => Err(no_map("", &other)),
            },
            JSON => match patch("error decoding patch: ")? {
                list @ Value::Array(_) => serde_json::from_value(list).map(Self::Json).map_err(|_| Status::patch_rejected()),
                other => {
                    let why = format!("cannot unmarshal {} into Go value of type []handlers.jsonPatchOp", logic::schema::type_name(&other));
                    Err(Status::bad_request(format!("error decoding patch: json: {why}")))
                }
            },
            other => Err(Status::unsupported_media_type(other, &patch_types(call.kind()))),
        }
    }

    /// The version that the patch asks for. Errors: 500 for one that is no number.
    pub fn version(&self) -> Result<Option<u64>> {
        match self {
            Self::Merge(patch) => sent_version(patch),
            Self::Strategic(patch) => patch.get("metadata").map_or(Ok(None), |metadata| sent_version(&json!({"metadata": metadata}))),
            Self::Json(_) => Ok(None),
        }
    }

    /// Changes an object. Errors: 422 for what cannot be carried out.
    pub fn apply(&self, shape: &Shape, object: &mut Value) -> Result<()> {
        match self {
            Self::Strategic(patch) => strategic::apply(shape, object, patch).map_err(|refused| Status::unexplained(refused.to_string())),
            Self::Merge(patch) => {
                logic::patch::merge(object, patch);
                Ok(())
            }
            Self::Json(patch) => patch.0.iter().try_for_each(|operation| operate(object, operation)),
        }
    }

    /// What error texts show: a strategic patch itself, the object that any other made.
    pub fn shown(&self, object: &Value) -> String {
        match self {
            Self::Strategic(patch) => strategic::plain(&Value::Object(patch.clone())),
            _ => object.to_string(),
        }
    }
}

/// Carries out one operation; replacing a key that an object lacks adds it.
fn operate(object: &mut Value, operation: &PatchOperation) -> Result<()> {
    let added = match operation {
        PatchOperation::Replace(replace) if object.pointer(replace.path.as_str()).is_none() => {
            let parent = replace.path.as_str().rsplit_once('/').and_then(|(parent, _)| object.pointer(parent));
            parent
                .is_some_and(Value::is_object)
                .then(|| PatchOperation::Add(AddOperation { path: replace.path.clone(), value: replace.value.clone() }))
        }
        _ => None,
    };
    json_patch::patch(object, std::slice::from_ref(added.as_ref().unwrap_or(operation))).map_err(|_| Status::patch_rejected())
}
