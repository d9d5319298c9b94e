//! Kubernetes' protobuf, as clients send and take it for core kinds: an envelope with apiVersion, kind and the object's bytes.
//!
//! The table of [`logic::patch::core_types`] says which field each number is; unknown numbers are passed over. No bytes make
//! this panic, and nesting is bounded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use logic::patch::core_types::{self, Field, Instead, Many, Type};
use serde_json::{Map, Number, Value, json};

mod encode;

pub use encode::{encode, encode_message, frame};

/// How every message begins.
pub const PREFIX: &[u8] = b"k8s\0";
/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// The media type of a watch.
pub const WATCH_MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";
/// A schema of a definition goes two messages deeper with each level.
const DEPTH_MAX: usize = 128;
/// The message of a schema.
const SCHEMA: &str = "apiextensions.JSONSchemaProps";

type Result<T> = std::result::Result<T, String>;

/// A value on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// An envelope as one JSON value. Errors: what about the bytes makes no sense.
pub fn decode(bytes: &[u8]) -> Result<Value> {
    let envelope = bytes.strip_prefix(PREFIX).ok_or("the prefix of a protobuf message is missing")?;
    let (mut api_version, mut kind, mut raw, mut encoding, mut media_type) = (String::new(), String::new(), &[][..], &[][..], &[][..]);
    for field in Reader(envelope) {
        match field? {
            (1, Wire::Bytes(of)) => (api_version, kind) = type_of(of)?,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            (3, Wire::Bytes(bytes)) => encoding = bytes,
            (4, Wire::Bytes(bytes)) => media_type = bytes,
            _ => {}
        }
    }
    if !encoding.is_empty() {
        return Err(format!("content encoding {:?} is not taken", text(encoding)));
    }
    if media_type == b"application/json" {
        return serde_json::from_slice(raw).map_err(|error| error.to_string());
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let name = core_types::message_of(group, &kind).ok_or_else(|| format!("no kind {kind:?} is registered for version {api_version:?}"))?;
    let mut object = Map::new();
    object.insert("apiVersion".into(), json!(api_version));
    object.insert("kind".into(), json!(kind));
    message(name, raw, 0, &mut object)?;
    Ok(Value::Object(object))
}

fn type_of(bytes: &[u8]) -> Result<(String, String)> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    for field in Reader(bytes) {
        match field? {
            (1, Wire::Bytes(bytes)) => api_version = text(bytes),
            (2, Wire::Bytes(bytes)) => kind = text(bytes),
            _ => {}
        }
    }
    Ok((api_version, kind))
}

fn message(name: &str, bytes: &[u8], depth: usize, object: &mut Map<String, Value>) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err("messages are nested too deeply".into());
    }
    let fields = core_types::fields(name).unwrap_or_default();
    for found in Reader(bytes) {
        let (number, wire) = found?;
        let Some(field) = fields.iter().find(|field| field.number == number) else { continue };
        match (field.many, field.holds) {
            (_, Type::Message(inner)) if field.name.is_empty() => message(inner, length_delimited(field, wire)?, depth + 1, object)?,
            (Many::One, Type::Message(inner)) => {
                let at = object.entry(field.name).or_insert_with(|| json!({}));
                if let Value::Object(nested) = at {
                    message(inner, length_delimited(field, wire)?, depth + 1, nested)?;
                }
                if !field.keeps_zero && at.as_object().is_some_and(Map::is_empty) {
                    object.shift_remove(field.name);
                }
            }
            (Many::One, _) => {
                let value = value(field, wire, depth)?;
                if value.is_null() || !field.keeps_zero && is_zero(&value) {
                    object.shift_remove(field.name);
                } else {
                    object.insert(field.name.into(), value);
                }
            }
            (Many::List, _) => list_item(field, wire, depth, object)?,
            (Many::Map, _) => map_entry(field, wire, depth, object)?,
        }
    }
    Ok(())
}

fn list_item(field: &Field, wire: Wire<'_>, depth: usize, object: &mut Map<String, Value>) -> Result<()> {
    let mut values = Vec::new();
    match (field.holds, wire) {
        (Type::Integer, Wire::Bytes(mut packed)) => {
            while !packed.is_empty() {
                values.push(json!(varint(&mut packed)?.cast_signed()));
            }
        }
        _ => values.push(value(field, wire, depth)?),
    }
    if let Value::Array(items) = object.entry(field.name).or_insert_with(|| json!([])) {
        items.append(&mut values);
    }
    Ok(())
}

fn map_entry(field: &Field, wire: Wire<'_>, depth: usize, object: &mut Map<String, Value>) -> Result<()> {
    let (mut key, mut found) = (String::new(), None);
    for part in Reader(length_delimited(field, wire)?) {
        match part? {
            (1, Wire::Bytes(bytes)) => key = text(bytes),
            (2, wire) => found = Some(value(field, wire, depth)?),
            _ => {}
        }
    }
    let empty = || if matches!(field.holds, Type::Message(_)) { json!({}) } else { json!("") };
    if let Value::Object(entries) = object.entry(field.name).or_insert_with(|| json!({})) {
        entries.insert(key, found.unwrap_or_else(empty));
    }
    Ok(())
}

fn value(field: &Field, wire: Wire<'_>, depth: usize) -> Result<Value> {
    match (field.holds, wire) {
        (Type::Integer, Wire::Varint(number)) => Ok(json!(number.cast_signed())),
        (Type::Boolean, Wire::Varint(number)) => Ok(json!(number != 0)),
        (Type::Float, Wire::Fixed64(bits)) => Ok(float(f64::from_bits(bits))),
        (Type::Float, Wire::Fixed32(bits)) => Ok(float(f64::from(f32::from_bits(bits)))),
        (Type::SchemaOr(instead), Wire::Bytes(bytes)) => schema_or(instead, bytes, depth + 1),
        (Type::Text, Wire::Bytes(bytes)) => Ok(json!(text(bytes))),
        (Type::Bytes, Wire::Bytes(bytes)) => Ok(json!(STANDARD.encode(bytes))),
        (Type::Message(name), Wire::Bytes(bytes)) => {
            let mut nested = Map::new();
            message(name, bytes, depth + 1, &mut nested)?;
            Ok(Value::Object(nested))
        }
        (special, Wire::Bytes(bytes)) => special_value(field, special, bytes),
        _ => Err(format!("field {:?} has a wrong wire type", field.name)),
    }
}

/// A number without a fraction is whole in JSON.
fn float(number: f64) -> Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
        return json!(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// A schema, or what stands in its place.
fn schema_or(instead: Instead, bytes: &[u8], depth: usize) -> Result<Value> {
    let schema = |bytes: &[u8]| {
        let mut nested = Map::new();
        message(SCHEMA, bytes, depth, &mut nested).map(|()| Value::Object(nested))
    };
    let (mut found, mut items, mut allows) = (None, Vec::new(), false);
    for field in Reader(bytes) {
        match (instead, field?) {
            (Instead::Boolean, (1, Wire::Varint(yes))) => allows = yes != 0,
            (Instead::Boolean, (2, Wire::Bytes(bytes))) | (_, (1, Wire::Bytes(bytes))) => found = Some(schema(bytes)?),
            (Instead::List, (2, Wire::Bytes(bytes))) => items.push(schema(bytes)?),
            (Instead::Texts, (2, Wire::Bytes(bytes))) => items.push(json!(text(bytes))),
            _ => {}
        }
    }
    Ok(match instead {
        _ if found.is_some() => found.unwrap_or_default(),
        Instead::Boolean => json!(allows),
        _ => Value::Array(items),
    })
}

/// The few types whose JSON is no object with their fields.
fn special_value(field: &Field, special: Type, bytes: &[u8]) -> Result<Value> {
    let parts: Vec<(u32, Wire<'_>)> = Reader(bytes).collect::<Result<_>>()?;
    let number = |wanted: u32| {
        parts.iter().rev().find_map(|part| match part {
            (number, Wire::Varint(value)) if *number == wanted => Some(value.cast_signed()),
            _ => None,
        })
    };
    let bytes = |wanted: u32| {
        parts.iter().rev().find_map(|part| match part {
            (number, Wire::Bytes(value)) if *number == wanted => Some(*value),
            _ => None,
        })
    };
    match special {
        Type::Time | Type::MicroTime if parts.is_empty() => Ok(Value::Null),
        Type::Time => time(number(1), None).map(|time| json!(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
        Type::MicroTime => time(number(1), number(2)).map(|time| json!(time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())),
        Type::Duration => {
            let span = jiff::SignedDuration::from_nanos(number(1).unwrap_or(0));
            Ok(json!(format!("{}s", span.as_secs_f64())))
        }
        Type::Quantity => Ok(json!(text(bytes(1).unwrap_or_default()))),
        Type::IntOrString if number(1).unwrap_or(0) == 0 => Ok(json!(number(2).unwrap_or(0))),
        Type::IntOrString => Ok(json!(text(bytes(3).unwrap_or_default()))),
        Type::Raw => match bytes(1) {
            None | Some([]) => Ok(Value::Null),
            Some(raw) => serde_json::from_slice(raw).map_err(|error| format!("field {:?}: {error}", field.name)),
        },
        Type::Texts => {
            let texts = parts.iter().filter_map(|part| if let (1, Wire::Bytes(bytes)) = part { Some(text(bytes)) } else { None });
            Ok(json!(texts.collect::<Vec<_>>()))
        }
        _ => Err(format!("field {:?} has a wrong wire type", field.name)),
    }
}

fn time(seconds: Option<i64>, nanoseconds: Option<i64>) -> Result<Timestamp> {
    let nanoseconds = i32::try_from(nanoseconds.unwrap_or(0)).unwrap_or(0);
    Timestamp::new(seconds.unwrap_or(0), nanoseconds).map_err(|error| error.to_string())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn length_delimited<'a>(field: &Field, wire: Wire<'a>) -> Result<&'a [u8]> {
    if let Wire::Bytes(bytes) = wire { Ok(bytes) } else { Err(format!("field {:?} has a wrong wire type", field.name)) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads fields one after another, until the bytes end or make no sense.
struct Reader<'a>(&'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.0 = &[];
        }
        Some(read)
    }
}

impl<'a> Reader<'a> {
    fn read(&mut self) -> Result<(u32, Wire<'a>)> {
        let tag = varint(&mut self.0)?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0).ok_or("illegal tag")?;
        let wire = match tag & 7 {
            0 => Wire::Varint(varint(&mut self.0)?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| "unexpected EOF")?)),
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).map_err(|_| "negative length")?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| "unexpected EOF")?)),
            other => return Err(format!("illegal wire type {other}")),
        };
        Ok((number, wire))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("unexpected EOF")?;
        self.0 = rest;
        Ok(taken)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or("unexpected EOF")?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number is too long".into())
}

#[cfg(test)]
mod tests;
