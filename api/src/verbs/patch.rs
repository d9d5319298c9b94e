//! What a patch says, and how it changes an object.

use bytes::Bytes;
use http::HeaderMap;
use logic::patch::keyed;
use logic::patch::reading::{self, Reading, json_type};
use logic::patch::shape::Shape;
use logic::patch::strategic;
use model::Kind;
use serde_json::{Map, Value, json};

use crate::registry::Served;
use crate::status::{Result, Status};
use crate::{addressed, body};

/// More operations are not carried out at a time.
const OPERATIONS_MAX: usize = 10_000;
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// Server-side apply.
pub const APPLY: &str = "application/apply-patch+yaml";

/// What `kubectl apply` notes on an object: the manifest, as it was applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

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
    /// RFC 6902, and the fields of its operations that nobody knows.
    Json(json_patch::Patch, Vec<String>),
}

impl Patch {
    /// Reads the body of a request. Errors: 400, 415, 422.
    pub fn read(kind: &Kind, headers: &HeaderMap, body: &Bytes) -> Result<Self> {
        let patch = |prefix: &str| body::patch(body).map_err(|why| Status::bad_request(format!("{prefix}{why}")));
        let no_map = |prefix: &str, found: &Value| {
            let found = json_type(found);
            Status::bad_request(format!("{prefix}json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"))
        };
        match body::media_type(headers).as_str() {
            MERGE => match patch("error decoding patch: ")? {
                patch @ Value::Object(_) => Ok(Self::Merge(patch)),
                other => Err(no_map("error decoding patch: ", &other)),
            },
            STRATEGIC if kind.keeps_unknown => match patch("")? {
                Value::Object(patch) => Ok(Self::Strategic(patch)),
                other => Err(no_map("", &other)),
            },
            JSON => match patch("error decoding patch: ")? {
                Value::Array(list) => operations(list),
                other => {
                    let why = format!("cannot unmarshal {} into Go value of type []handlers.jsonPatchOp", json_type(&other));
                    Err(Status::bad_request(format!("error decoding patch: json: {why}")))
                }
            },
            _ => Err(Status::unsupported_media_type(&patch_types(kind))),
        }
    }

    /// The version that the patch asks for. Errors: 500 for one that is no number.
    pub fn version(&self) -> Result<Option<u64>> {
        match self {
            Self::Merge(patch) => addressed::version(patch),
            Self::Strategic(patch) => patch.get("metadata").map_or(Ok(None), |metadata| addressed::version(&json!({"metadata": metadata}))),
            Self::Json(..) => Ok(None),
        }
    }

    /// Changes an object. Errors: 422 for what cannot be carried out.
    pub fn apply(&self, shape: &Shape, object: &mut Value) -> Result<()> {
        match self {
            Self::Strategic(patch) => strategic::apply(shape, object, patch).map_err(|refused| Status::unexplained(refused.to_string())),
            Self::Merge(patch) => {
                let before = patch["metadata"]["annotations"][LAST_APPLIED].is_string().then(|| object.clone());
                logic::patch::merge(object, patch);
                if let Some(before) = before {
                    let last = before["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or_default();
                    let last = serde_json::from_str(last).unwrap_or_default();
                    keyed::keep_unspoken(shape.root(), &before, &last, object);
                }
                Ok(())
            }
            Self::Json(patch, _) => logic::patch::carry_out(object, patch).map_err(|_| Status::patch_rejected()),
        }
    }

    /// What is said of fields of operations that nobody knows.
    pub fn unknown(&self) -> Vec<String> {
        match self {
            Self::Json(_, unknown) => unknown.iter().map(|field| format!("json patch unknown field {field:?}")).collect(),
            _ => Vec::new(),
        }
    }

    /// Why what the patch made is no object of the kind, where a strategic merge patch made it.
    pub fn conversion_problem(&self, served: &Served, object: &Value) -> Option<String> {
        let message = served.message.filter(|_| matches!(self, Self::Strategic(_)))?;
        reading::problem(Reading::Converted, message, object)
    }

    /// What error texts show: a strategic patch itself, the object that any other made.
    pub fn shown(&self, object: &Value) -> String {
        match self {
            Self::Strategic(patch) => strategic::plain(&Value::Object(patch.clone())),
            _ => object.to_string(),
        }
    }
}

/// The operations of a JSON patch. Errors: 400 for one that cannot be read, 413 for too many, 422 for one that cannot be.
fn operations(list: Vec<Value>) -> Result<Patch> {
    if list.len() > OPERATIONS_MAX {
        return Err(Status::too_many_operations(OPERATIONS_MAX, list.len()));
    }
    let mut unknown = Vec::new();
    for (at, operation) in list.iter().enumerate() {
        let refuse = |found: &Value, what: &str| {
            Err(Status::bad_request(format!("error decoding patch: json: cannot unmarshal {} into Go {what}", json_type(found))))
        };
        let Some(fields) = operation.as_object() else {
            if operation.is_null() {
                continue;
            }
            return refuse(operation, "value of type handlers.jsonPatchOp");
        };
        for (name, value) in fields {
            match name.as_str() {
                "op" | "path" | "from" if !value.is_string() && !value.is_null() => {
                    return refuse(value, &format!("struct field jsonPatchOp.{name} of type string"));
                }
                "op" | "path" | "from" | "value" => {}
                _ => unknown.push(format!("[{at}].{name}")),
            }
        }
    }
    let patch = serde_json::from_value(Value::Array(list)).map_err(|_| Status::patch_rejected())?;
    Ok(Patch::Json(patch, unknown))
}
