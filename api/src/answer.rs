//! What is sent back, in the form the caller asked for.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, WARNING};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

use crate::status::{Result, Status};

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
}

impl Accepted {
    /// The first form in the Accept header that can be given. Errors: 406.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self> {
        let text = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if text.trim().is_empty() {
            return Ok(Self { format: Format::Json, view: View::Whole });
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
        let view = match parts.find_map(|part| part.strip_prefix("as=")) {
            None => View::Whole,
            Some(_) if parts.clone().any(|part| part.starts_with("v=") && part != "v=v1") => return None,
            Some("Table") => View::Table,
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => View::Metadata,
            Some(_) => return None,
        };
        Some(Self { format, view })
    }
}

/// An answer with a JSON value.
pub fn value(format: Format, code: StatusCode, value: &Value) -> Response {
    match format {
        Format::Json => bytes(code, "application/json", value.to_string().into()),
        Format::Yaml => bytes(code, "application/yaml", logic::yaml::write(value).into()),
    }
}

/// An answer with JSON bytes, which are turned into YAML where that was asked for.
pub fn json_bytes(format: Format, code: StatusCode, json: Vec<u8>) -> Response {
    match format {
        Format::Json => bytes(code, "application/json", json.into()),
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

/// The metadata of an object and nothing else.
pub fn metadata_only(object: &Value) -> Value {
    serde_json::json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
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
        assert_eq!(accepted("application/vnd.kubernetes.protobuf, */*").unwrap(), Accepted { format: Format::Json, view: View::Whole });
        assert_eq!(accepted("application/yaml").unwrap().format, Format::Yaml);
        assert_eq!(accepted("text/html").unwrap_err().code, 406);
    }
}
