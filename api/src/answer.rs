//! What is sent back, in the form the caller asked for.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, IF_NONE_MATCH, RETRY_AFTER, WARNING};
use http::{HeaderMap, HeaderValue, StatusCode};
use model::Kind;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::protobuf;
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
    /// Kubernetes' protobuf.
    Protobuf,
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

/// Whether metadata was asked for as that of one object or of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// `PartialObjectMetadata`.
    One,
    /// `PartialObjectMetadataList`.
    List,
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
    /// Of what metadata is asked for.
    pub number: Number,
}

impl Accepted {
    /// Whole objects as JSON.
    pub const WHOLE: Self = Self { format: Format::Json, view: View::Whole, meta: META, number: Number::One };

    /// The form that the Accept header likes best of those that can be given; `protobuf` says whether whole objects have that
    /// form. Errors: 406.
    pub fn from_headers(headers: &HeaderMap, protobuf: bool) -> Result<Self> {
        let ranges = ranges(headers);
        if ranges.is_empty() {
            return Ok(Self::WHOLE);
        }
        ranges.into_iter().filter_map(Self::from_range).find(|accepted| accepted.can_be_given(protobuf)).ok_or_else(Status::not_acceptable)
    }

    /// Checks that metadata was asked for as what is answered. It is found when all is done, so what was written stays. Errors: 406.
    pub fn check_number(self, kind: &Kind, number: Number) -> Result<()> {
        if self.view != View::Metadata || self.number == number {
            return Ok(());
        }
        let is_list = number == Number::List;
        let wanted = if is_list { "PartialObjectMetadata" } else { "PartialObjectMetadataList" };
        let found = match kind.package() {
            Some(package) => format!("{package}.{}", if is_list { &kind.list_kind } else { &kind.kind }),
            None => format!("unstructured.Unstructured{}", if is_list { "List" } else { "" }),
        };
        Err(Status::of_other_number(wanted, &found, is_list))
    }

    /// Tables are JSON or YAML; metadata has every form.
    fn can_be_given(self, protobuf: bool) -> bool {
        self.format != Format::Protobuf || self.view == View::Metadata || (self.view == View::Whole && protobuf)
    }

    fn from_range(range: &str) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        let format = match parts.next()? {
            "application/json" | "*/*" | "application/*" => Format::Json,
            "application/yaml" => Format::Yaml,
            protobuf::MEDIA_TYPE => Format::Protobuf,
            _ => return None,
        };
        let version = parts.clone().find_map(|part| part.strip_prefix("v=")).unwrap_or("v1");
        let meta = [META, "meta.k8s.io/v1beta1"].into_iter().find(|meta| meta.rsplit('/').next() == Some(version));
        let (view, number) = match parts.find_map(|part| part.strip_prefix("as=")) {
            None => (View::Whole, Number::One),
            Some("Table") => (View::Table, Number::One),
            Some("PartialObjectMetadata") => (View::Metadata, Number::One),
            Some("PartialObjectMetadataList") => (View::Metadata, Number::List),
            Some(_) => return None,
        };
        if view == View::Whole {
            return Some(Self { format, ..Self::WHOLE });
        }
        Some(Self { format, view, meta: meta?, number })
    }
}

/// What an Accept header asks for, best first: by weight, then what is named before what is any.
pub fn ranges(headers: &HeaderMap) -> Vec<&str> {
    let text = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut ranges: Vec<&str> = text.split(',').map(str::trim).filter(|range| !range.is_empty()).collect();
    let weight = |range: &str| {
        let weight = range.split(';').find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        ((1.0 - weight.clamp(0.0, 1.0)) * 1_000.0) as u32
    };
    let vague = |range: &str| range.split(';').next().unwrap_or_default().matches('*').count();
    ranges.sort_by_key(|range| (weight(range), vague(range)));
    ranges
}

/// The format of a refusal: the first that a Status can be given in, JSON if there is none.
pub fn format_of_refusal(headers: &HeaderMap) -> Format {
    let accepted = ranges(headers).into_iter().filter_map(Accepted::from_range).find(|accepted| accepted.view == View::Whole);
    accepted.map_or(Format::Json, |accepted| accepted.format)
}

/// A refusal.
pub fn refusal(format: Format, status: &Status) -> Response {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = value(format, code, &status.to_value());
    if let Some(seconds) = status.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An answer with a JSON value.
pub fn value(format: Format, code: StatusCode, value: &Value) -> Response {
    match format {
        Format::Json => json_bytes(format, code, json(value)),
        Format::Yaml => bytes(code, "application/yaml", logic::yaml::write(value).into()),
        Format::Protobuf => match protobuf::encode(value) {
            Some(encoded) => bytes(code, protobuf::MEDIA_TYPE, encoded.into()),
            None => bytes(code, "application/json", value.to_string().into()),
        },
    }
}

/// A value as JSON, as it stands in answers.
pub fn json(value: &Value) -> Vec<u8> {
    logic::json::escaped(value.to_string().into_bytes())
}

/// An answer with JSON bytes, which end a line, or are turned into another format where that was asked for.
pub fn json_bytes(format: Format, code: StatusCode, mut json: Vec<u8>) -> Response {
    match format {
        Format::Json => {
            json.push(b'\n');
            bytes(code, "application/json", json.into())
        }
        Format::Yaml | Format::Protobuf => value(format, code, &serde_json::from_slice(&json).unwrap_or_default()),
    }
}

/// An answer with bytes of any type.
pub fn bytes(code: StatusCode, content_type: &'static str, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A word that changes with what is answered, as ETag has it.
pub fn tag(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    format!("\"{}\"", digest.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
}

/// Whether the caller has what bears this tag already.
pub fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    let sent = headers.get(IF_NONE_MATCH).and_then(|sent| sent.to_str().ok()).unwrap_or_default();
    sent.split(',').any(|sent| sent.trim().trim_start_matches("W/") == tag || sent.trim() == "*")
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
        let accepted = |text: &str, protobuf: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, text.parse().unwrap());
            Accepted::from_headers(&headers, protobuf)
        };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(accepted(table, true).unwrap().view, View::Table);
        let (protobuf, table) =
            ("application/vnd.kubernetes.protobuf, */*", "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io");
        assert_eq!(accepted(protobuf, false).unwrap(), Accepted::WHOLE);
        assert_eq!(accepted(protobuf, true).unwrap().format, Format::Protobuf);
        assert_eq!(accepted(table, true).unwrap_err().code, 406);
        assert_eq!(accepted(&table.replace("Table", "PartialObjectMetadata"), false).unwrap().format, Format::Protobuf);
        assert_eq!(accepted("application/json;as=Table;v=v1beta1;g=meta.k8s.io", true).unwrap().meta, "meta.k8s.io/v1beta1");
        assert_eq!(accepted("application/json;as=Table;v=v9", true).unwrap_err().code, 406);
        assert_eq!(accepted("application/json;q=0.5, application/yaml", true).unwrap().format, Format::Yaml);
        assert_eq!(accepted("*/*, application/yaml", true).unwrap().format, Format::Yaml);
        assert_eq!(accepted("text/html", true).unwrap_err().code, 406);
    }
}
