//! What a request's body says: JSON, YAML or protobuf, always turned into one JSON value.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use model::Kind;
use serde_json::Value;

use crate::protobuf;
use crate::status::{Result, Status};

const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// The media type of a body, without parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_lowercase()
}

/// A body as an object of `kind`. Errors: 400 for what cannot be read, 415 for an unknown media type.
pub fn object(kind: &Kind, headers: &HeaderMap, body: &Bytes) -> Result<Value> {
    let has_protobuf = logic::patch::core_types::message_of(&kind.group, &kind.kind).is_some();
    let value = decode(&kind.kind, has_protobuf, headers, body)?;
    if value.is_null() && kind.group.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    if !value.is_object() {
        let why = format!("expected an object, found {}", logic::schema::type_name(&value));
        return Err(unrecognized(&kind.kind, &format!("couldn't get version/kind; json parse error: {why}")));
    }
    Ok(value)
}

/// The fields that a JSON body has twice.
pub fn duplicates(headers: &HeaderMap, body: &Bytes) -> Vec<String> {
    match media_type(headers).as_str() {
        "" | "application/json" | "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
            logic::duplicates::duplicates(&String::from_utf8_lossy(body))
        }
        _ => Vec::new(),
    }
}

/// A body as an object of a kind that is no resource, such as an Eviction; one that is empty has no fields.
/// Errors: 400 for what cannot be read or is another kind, 415 for an unknown media type.
pub fn typed(group: &str, kind: &str, headers: &HeaderMap, body: &Bytes) -> Result<Value> {
    let value = if body.is_empty() { Value::Null } else { decode(kind, true, headers, body)? };
    let (api_version, found) = (value["apiVersion"].as_str().unwrap_or_default(), value["kind"].as_str().unwrap_or_default());
    let is_other = !found.is_empty() && found != kind || !api_version.is_empty() && !api_version.starts_with(&format!("{group}/"));
    if is_other || !(value.is_object() || value.is_null()) {
        return Err(unrecognized(kind, &format!("expected {group}, Kind={kind}, found {api_version}, Kind={found}")));
    }
    Ok(value)
}

/// A body as the options of a deletion; an empty one has none.
pub fn options(headers: &HeaderMap, body: &Bytes) -> Result<Value> {
    if body.is_empty() { Ok(Value::Null) } else { decode("DeleteOptions", true, headers, body) }
}

fn decode(kind: &str, has_protobuf: bool, headers: &HeaderMap, body: &Bytes) -> Result<Value> {
    match media_type(headers).as_str() {
        protobuf::MEDIA_TYPE if has_protobuf => protobuf(kind, body),
        "" | "application/json" => json(kind, body),
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml(kind, body),
        other => Err(Status::unsupported_media_type(other, if has_protobuf { &ACCEPTED } else { &ACCEPTED[..2] })),
    }
}

/// The JSON of a patch. Errors: what is wrong with it.
pub fn patch(body: &Bytes) -> std::result::Result<Value, String> {
    serde_json::from_str(&String::from_utf8_lossy(body))
        .map_err(|error| if body.is_empty() { "unexpected end of JSON input".into() } else { error.to_string() })
}

/// JSON bytes as a value; invalid UTF-8 becomes U+FFFD. Errors: 400.
pub fn json(kind: &str, body: &Bytes) -> Result<Value> {
    let text = String::from_utf8_lossy(body);
    let why = match serde_json::from_str(&text) {
        Ok(value) => return Ok(value),
        Err(_) if body.is_empty() => "unexpected end of JSON input (<empty>)".into(),
        Err(error) => format!("{error} ({})", excerpt(&text)),
    };
    Err(unrecognized(kind, &format!("couldn't get version/kind; json parse error: {why}")))
}

fn excerpt(text: &str) -> String {
    if text.chars().count() <= 30 { text.to_owned() } else { format!("{} ...", text.chars().take(30).collect::<String>()) }
}

fn yaml(kind: &str, body: &Bytes) -> Result<Value> {
    logic::yaml::parse(&String::from_utf8_lossy(body))
        .map_err(|error| unrecognized(kind, &format!("yaml: {error}")))
        .map(|mut documents| if documents.is_empty() { Value::Null } else { documents.swap_remove(0) })
}

/// The body of an apply, YAML or JSON; null when it is empty. Errors: 400.
pub fn applied(body: &Bytes) -> Result<Value> {
    let mut documents = logic::yaml::parse(&String::from_utf8_lossy(body))
        .map_err(|error| Status::bad_request(format!("error decoding YAML: error converting YAML to JSON: yaml: {error}")))?;
    Ok(if documents.is_empty() { Value::Null } else { documents.swap_remove(0) })
}

fn protobuf(kind: &str, body: &Bytes) -> Result<Value> {
    if !body.starts_with(protobuf::PREFIX) {
        let why = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
        return Err(unrecognized(kind, &format!("{why} ({})", excerpt(&String::from_utf8_lossy(body)))));
    }
    protobuf::decode(body).map_err(|why| unrecognized(kind, &format!("couldn't get version/kind; proto: {why}")))
}

fn unrecognized(kind: &str, why: &str) -> Status {
    Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why}"))
}
