//! From JSON to Kubernetes' protobuf, by the same table that reads it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use logic::patch::core_types::{self, Field, Instead, Many, Type};
use serde_json::{Map, Value};

use super::{DEPTH_MAX, PREFIX, SCHEMA};

/// An object, a list or a Status as an envelope; `None` for kinds whose protobuf form is not known.
pub fn encode(object: &Value) -> Option<Vec<u8>> {
    let (api_version, kind) = (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str()?);
    let fields = object.as_object()?;
    let mut raw = Vec::new();
    match Form::of(api_version, kind)? {
        Form::Message(name) => message(&mut raw, core_types::fields(name).unwrap_or_default(), fields, 0),
        Form::List(of) => {
            if let Some(metadata) = fields.get("metadata").and_then(Value::as_object) {
                nested(&mut raw, 1, |out| message(out, core_types::fields("meta.ListMeta").unwrap_or_default(), metadata, 0));
            }
            for item in fields.get("items").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
                nested(&mut raw, 2, |out| message(out, core_types::fields(of).unwrap_or_default(), item, 1));
            }
        }
    }
    let mut out = Vec::with_capacity(raw.len() + 64);
    out.extend_from_slice(PREFIX);
    nested(&mut out, 1, |out| {
        bytes(out, 1, api_version.as_bytes());
        bytes(out, 2, kind.as_bytes());
    });
    bytes(&mut out, 2, &raw);
    bytes(&mut out, 3, b"");
    bytes(&mut out, 4, b"");
    Some(out)
}

/// A message of the table without an envelope.
pub fn encode_message(name: &str, object: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if let (Some(fields), Some(object)) = (core_types::fields(name), object.as_object()) {
        message(&mut out, fields, object, 0);
    }
    out
}

/// A change as a frame of a watch: its length in four bytes, then what happened and to what.
pub fn frame(event: &str, object: &Value) -> Option<Vec<u8>> {
    let object = encode(object)?;
    let mut change = Vec::with_capacity(object.len() + 32);
    bytes(&mut change, 1, event.as_bytes());
    nested(&mut change, 2, |out| bytes(out, 1, &object));
    let mut framed = u32::try_from(change.len()).ok()?.to_be_bytes().to_vec();
    framed.append(&mut change);
    Some(framed)
}

enum Form {
    Message(&'static str),
    List(&'static str),
}

impl Form {
    fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let listed = || kind.strip_suffix("List").and_then(|kind| core_types::message_of(group, kind));
        core_types::message_of(group, kind).map(Self::Message).or_else(|| listed().map(Self::List))
    }
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

fn number(out: &mut Vec<u8>, field: u32, value: i64) {
    varint(out, u64::from(field) << 3);
    varint(out, value.cast_unsigned());
}

fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    varint(out, u64::from(field) << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn nested(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    bytes(out, field, &inner);
}

fn message(out: &mut Vec<u8>, fields: &[Field], object: &Map<String, Value>, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    for field in fields {
        if let (true, Type::Message(inner)) = (field.name.is_empty(), field.holds) {
            // What stands in the outer object's place: only its own fields are taken from there.
            nested(out, field.number, |out| message(out, core_types::fields(inner).unwrap_or_default(), object, depth + 1));
            continue;
        }
        let Some(found) = object.get(field.name).filter(|value| !value.is_null()) else { continue };
        match (field.many, found) {
            (Many::One, value) => one(out, field.number, field.holds, value, depth),
            (Many::List, Value::Array(items)) => items.iter().for_each(|item| one(out, field.number, field.holds, item, depth)),
            (Many::Map, Value::Object(entries)) => {
                for (key, value) in entries {
                    nested(out, field.number, |out| {
                        bytes(out, 1, key.as_bytes());
                        one(out, 2, field.holds, value, depth);
                    });
                }
            }
            _ => {}
        }
    }
}

fn one(out: &mut Vec<u8>, field: u32, holds: Type, value: &Value, depth: usize) {
    let text = value.as_str().unwrap_or_default();
    match holds {
        Type::Text => bytes(out, field, text.as_bytes()),
        Type::Bytes => bytes(out, field, &STANDARD.decode(text).unwrap_or_default()),
        Type::Integer => number(out, field, whole(value)),
        Type::Boolean => number(out, field, i64::from(value == true)),
        Type::Float => {
            varint(out, u64::from(field) << 3 | 1);
            out.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
        }
        Type::Time | Type::MicroTime => {
            if let Ok(time) = text.parse::<Timestamp>() {
                nested(out, field, |out| {
                    number(out, 1, time.as_second());
                    number(out, 2, i64::from(time.subsec_nanosecond()));
                });
            }
        }
        Type::Duration => {
            let nanoseconds = text.parse::<jiff::SignedDuration>().map_or(0, |span| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX));
            nested(out, field, |out| number(out, 1, nanoseconds));
        }
        Type::Quantity => {
            let plain = if value.is_string() { text.to_owned() } else { value.to_string() };
            nested(out, field, |out| bytes(out, 1, plain.as_bytes()));
        }
        Type::IntOrString => nested(out, field, |out| {
            number(out, 1, i64::from(value.is_string()));
            number(out, 2, whole(value));
            bytes(out, 3, text.as_bytes());
        }),
        Type::Raw => nested(out, field, |out| bytes(out, 1, value.to_string().as_bytes())),
        Type::Texts => {
            let items = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            nested(out, field, |out| items.for_each(|item| bytes(out, 1, item.as_bytes())));
        }
        Type::SchemaOr(instead) => nested(out, field, |out| schema_or(out, instead, value, depth + 1)),
        Type::Message(inner) => {
            if let Some(object) = value.as_object() {
                nested(out, field, |out| message(out, core_types::fields(inner).unwrap_or_default(), object, depth + 1));
            }
        }
    }
}

fn whole(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_f64().map(|number| number as i64)).unwrap_or_default()
}

fn schema_or(out: &mut Vec<u8>, instead: Instead, value: &Value, depth: usize) {
    let schema = |out: &mut Vec<u8>, field, value: &Value| one(out, field, Type::Message(SCHEMA), value, depth);
    match (instead, value) {
        (Instead::Boolean, Value::Object(_)) => {
            number(out, 1, 1);
            schema(out, 2, value);
        }
        (Instead::Boolean, other) => number(out, 1, i64::from(other == true)),
        (_, Value::Object(_)) => schema(out, 1, value),
        (Instead::List, Value::Array(items)) => items.iter().for_each(|item| schema(out, 2, item)),
        (Instead::Texts, Value::Array(items)) => items.iter().filter_map(Value::as_str).for_each(|item| bytes(out, 2, item.as_bytes())),
        _ => {}
    }
}
