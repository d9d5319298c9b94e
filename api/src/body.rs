//! What a request's body says: JSON, YAML or protobuf, always turned into one JSON value.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use logic::patch::reading::json_type;
use model::Kind;
use serde_json::Value;

use crate::protobuf;
use crate::status::{Result, Status};

const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// Fields that a body has twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Twice {
    /// Their paths.
    Json(Vec<String>),
    /// The line and the key of the first.
    Yaml(String),
}

impl Default for Twice {
    fn default() -> Self {
        Self::Json(Vec::new())
    }
}

impl Twice {
    /// What whoever wrote them is told.
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Self::Json(paths) => paths.iter().map(|path| format!("duplicate field {path:?}")).collect(),
            Self::Yaml(text) => vec![text.clone()],
        }
    }

    /// What makes a strict reader refuse them.
    pub fn refusals(&self) -> Vec<String> {
        match self {
            Self::Json(_) => self.warnings(),
            Self::Yaml(text) => vec![format!("yaml: unmarshal errors:\n  {text}")],
        }
    }
}

/// The media type of a body, without parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_lowercase()
}

/// The media type of a body without parameters, as it was written.
pub fn plain_media_type(headers: &HeaderMap) -> &str {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// A body as an object of `kind`. Errors: 400 for what cannot be read, 415 for an unknown media type.
pub fn object(kind: &Kind, headers: &HeaderMap, body: &Bytes) -> Result<Value> {
    let is_typed = logic::patch::core_types::message_of(&kind.group, &kind.kind).is_some() && !kind.defined;
    let value = decode(&kind.kind, is_typed, headers, body)?;
    if value.is_null() && is_typed {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    check_type_fields(&kind.kind, &value, body)?;
    if !is_typed && value["kind"].as_str().is_none_or(str::is_empty) {
        let text = String::from_utf8_lossy(body);
        let why = format!("Object 'Kind' is missing in '{text}' ({})", excerpt(body));
        return Err(unrecognized(&kind.kind, &why));
    }
    Ok(value)
}

/// Errors: 400 for what is no object, or has an apiVersion or kind that is no text.
fn check_type_fields(kind: &str, value: &Value, body: &Bytes) -> Result<()> {
    let place = if value.is_object() {
        let Some(field) = ["apiVersion", "kind"].into_iter().find(|field| !value[field].is_null() && !value[field].is_string()) else {
            return Ok(());
        };
        format!("{} into Go struct field .{field} of type string", json_type(&value[field]))
    } else {
        let of = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
        format!("{} into Go value of type {of}", json_type(value))
    };
    let why = format!("couldn't get version/kind; json parse error: json: cannot unmarshal {place} ({})", excerpt(body));
    Err(unrecognized(kind, &why))
}

/// A body as something that is no resource, such as an Eviction; null when it is empty. Errors: 400 for what cannot be read, 415 for
/// an unknown media type.
pub fn typed(kind: &str, headers: &HeaderMap, body: &Bytes) -> Result<Value> {
    let value = if body.is_empty() { Value::Null } else { decode(kind, true, headers, body)? };
    if !value.is_null() {
        check_type_fields(kind, &value, body)?;
    }
    Ok(value)
}

/// What is said of the fields that a body has twice.
pub fn duplicates(headers: &HeaderMap, body: &Bytes) -> Twice {
    let text = String::from_utf8_lossy(body);
    match media_type(headers).as_str() {
        "" | "application/json" | "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
            Twice::Json(logic::duplicates::duplicates(&text))
        }
        "application/yaml" | "text/yaml" | "application/x-yaml" => logic::yaml::duplicate(&text).map_or_else(Twice::default, Twice::Yaml),
        _ => Twice::default(),
    }
}

fn decode(kind: &str, has_protobuf: bool, headers: &HeaderMap, body: &Bytes) -> Result<Value> {
    match media_type(headers).as_str() {
        protobuf::MEDIA_TYPE if has_protobuf => protobuf(kind, body),
        "" | "application/json" => json(kind, body),
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml(kind, body),
        // All three are named even where the kind has no protobuf form: they are what the server reads.
        _ => Err(Status::unsupported_media_type(&ACCEPTED)),
    }
}

/// The JSON of a patch. Errors: what is wrong with it.
pub fn patch(body: &Bytes) -> std::result::Result<Value, String> {
    serde_json::from_str(&String::from_utf8_lossy(body)).map_err(|error| said_of(body, &error))
}

/// JSON bytes as a value; invalid UTF-8 becomes U+FFFD. Errors: 400.
pub fn json(kind: &str, body: &Bytes) -> Result<Value> {
    plain_json(body).map_err(|why| unrecognized(kind, &format!("{why} ({})", excerpt(body))))
}

fn plain_json(body: &Bytes) -> std::result::Result<Value, String> {
    let text = String::from_utf8_lossy(body);
    serde_json::from_str(&text).map_err(|error| format!("couldn't get version/kind; json parse error: {}", said_of(body, &error)))
}

/// A body that holds the options of a deletion; null when it is empty. What is wrong with it is said without naming an object, since
/// it is none. Errors: 400, 415.
pub fn options(headers: &HeaderMap, body: &Bytes) -> Result<Value> {
    if ["", "application/json"].contains(&media_type(headers).as_str()) && !body.is_empty() {
        plain_json(body).map_err(Status::bad_request)?;
    }
    typed("DeleteOptions", headers, body)
}

/// What our parser refused, in the words of Kubernetes' where it refuses it too.
fn said_of(body: &[u8], error: &serde_json::Error) -> String {
    logic::json::syntax_error(body).unwrap_or_else(|| error.to_string())
}

/// How a body begins: as it is when it may be JSON, else in hexadecimal digits.
fn excerpt(body: &[u8]) -> String {
    const BYTES_MAX: usize = 30;
    let start = body.get(..BYTES_MAX).unwrap_or(body);
    let shown = match start.first() {
        None => return "<empty>".into(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => start.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > BYTES_MAX { format!("{shown} ...") } else { shown }
}

fn yaml(kind: &str, body: &Bytes) -> Result<Value> {
    let parsed = logic::yaml::parse(&String::from_utf8_lossy(body));
    let mut documents = parsed.map_err(|error| unrecognized(kind, &format!("yaml: {error} ({})", excerpt(body))))?;
    Ok(if documents.is_empty() { Value::Null } else { documents.swap_remove(0) })
}

/// The body of an apply, YAML or JSON; null when it is empty. Errors: 400, also for a key that is there twice when that is `strict`.
pub fn applied(body: &Bytes, strict: bool) -> Result<Value> {
    let text = String::from_utf8_lossy(body);
    let refused = |what: &str, why: String| Status::bad_request(format!("error {what} YAML: error converting YAML to JSON: yaml: {why}"));
    let mut documents = logic::yaml::parse(&text).map_err(|error| refused("decoding", error.to_string()))?;
    if strict && let Some(twice) = logic::yaml::duplicate(&text) {
        return Err(refused("strict decoding", format!("unmarshal errors:\n  {twice}")));
    }
    Ok(if documents.is_empty() { Value::Null } else { documents.swap_remove(0) })
}

fn protobuf(kind: &str, body: &Bytes) -> Result<Value> {
    if !body.starts_with(protobuf::PREFIX) {
        let why = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
        return Err(unrecognized(kind, &format!("{why} ({})", excerpt(body))));
    }
    protobuf::decode(body).map_err(|why| unrecognized(kind, &format!("couldn't get version/kind; proto: {why}")))
}

fn unrecognized(kind: &str, why: &str) -> Status {
    Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why}"))
}
