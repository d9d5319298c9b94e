//! What is sent back, in the form the caller asked for.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, WARNING};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

use crate::status::{Result, Status};

/// The version of tables and metadata that is given when none is asked for.
pub const META: &str = "meta.k8s.io/v1";

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// How much of each object an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// All of it.
    Whole,
    /// A row of a table.
    Table,
    /// Its metadata.
    Metadata,
}

/// What the caller takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The encoding.
    pub format: Format,
    /// The view.
    pub view: View,
    /// The version of tables and metadata.
    pub meta: &'static str,
}

impl Accepted {
    /// Whole objects as JSON.
    pub const WHOLE: Self = Self { format: Format::Json, view: View::Whole, meta: META };

    /// The first form in the Accept header that can be given. Errors: 406.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self> {
        let text = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if text.trim().is_empty() {
            return Ok(Self::WHOLE);
        }
        text.split(',')
            .find_map(Self::from_range)
            .ok_or_else(|| Status::not_acceptable("application/json, application/yaml, application/vnd.kubernetes.protobuf"))
    }

    fn from_range(range: &str) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        let format = match parts.next()? {
            "application/json" | "*/*" | "application/*" => Format::Json,
            "application/yaml" => Format::Yaml,
            _ => return None,
        };
        let version = parts.clone().find_map(|part| part.strip_prefix("v=")).unwrap_or("v1");
        let meta = [META, "meta.k8s.io/v1beta1"].into_iter().find(|meta| meta.rsplit('/').next() == Some(version));
        let view = match parts.find_map(|part| part.strip_prefix("as=")) {
            None => View::Whole,
            Some("Table") => View::Table,
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => View::Metadata,
            Some(_) => return None,
        };
        if view == View::Whole {
            return Some(Self { format, ..Self::WHOLE });
        }
        Some(Self { format, view, meta: meta? })
    }
}

/// An answer with a JSON value.
pub fn value(format: Format, code: StatusCode, value: &Value) -> Response {
    match format {
        Format::Json => json_bytes(format, code, json(value)),
        Format::Yaml => bytes(code, "application/yaml", logic::yaml::write(value).into()),
    }
}

/// A value as JSON, as it stands in answers.
pub fn json(value: &Value) -> Vec<u8> {
    logic::json::escaped(value.to_string().into_bytes())
}

/// An answer with JSON bytes, which end a line, or are turned into YAML where that was asked for.
pub fn json_bytes(format: Format, code: StatusCode, mut json: Vec<u8>) -> Response {
    match format {
        Format::Json => {
            json.push(b'\n');
            bytes(code, "application/json", json.into())
        }
        Format::Yaml => value(format, code, &serde_json::from_slice(&json).unwrap_or_default()),
    }
}

/// An answer with bytes of any type.
pub fn bytes(code: StatusCode, content_type: &'static str, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Adds a warning header for each text.
pub fn warn(response: &mut Response, warnings: &[String]) {
    for text in warnings {
        let quoted = format!("299 - \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " "));
        if let Ok(header) = HeaderValue::from_str(&quoted) {
            response.headers_mut().append(WARNING, header);
        }
    }
}

/// The metadata of an object and nothing else, in a version of the group of metadata.
pub fn metadata_only(meta: &str, object: &Value) -> Value {
    serde_json::json!({"kind": "PartialObjectMetadata", "apiVersion": meta, "metadata": object["metadata"]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_can_be_given_is_given() {
        let accepted = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, text.parse().unwrap());
            Accepted::from_headers(&headers)
        };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(accepted(table).unwrap().view, View::Table);
        assert_eq!(accepted("application/vnd.kubernetes.protobuf, */*").unwrap(), Accepted::WHOLE);
        assert_eq!(accepted("application/json;as=Table;v=v1beta1;g=meta.k8s.io").unwrap().meta, "meta.k8s.io/v1beta1");
        assert_eq!(accepted("application/json;as=Table;v=v9").unwrap_err().code, 406);
        assert_eq!(accepted("application/yaml").unwrap().format, Format::Yaml);
        assert_eq!(accepted("text/html").unwrap_err().code, 406);
    }
}
