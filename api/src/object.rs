//! Objects as they are stored: JSON that begins with apiVersion, kind and metadata, and has an empty resourceVersion.
//!
//! The resourceVersion is the revision at which the entry was modified, known only once the store has committed. It is
//! put in when an object is read, which needs no parsing.

use logic::patch::tidy::{add_always_there, always_there};
use logic::patch::{core_types, order};
use model::{Kind, drop_nulls};
use serde_json::{Value, json};
use store::Entry;

const METADATA: &[u8] = b"\"metadata\":{";
/// Where the version goes. No text of an object can look like this: JSON is written without spaces, and quotes in texts are escaped.
const VERSION: &[u8] = b"\"resourceVersion\": \"\"";

/// The key under which an object is stored.
pub fn key(kind: &Kind, namespace: Option<&str>, name: &str) -> String {
    format!("{}{name}", prefix(kind, namespace))
}

/// The key under which a namespace is stored.
pub fn namespace_key(name: &str) -> String {
    format!("/core/namespaces/{name}")
}

/// What the keys of all objects of a kind, or of those in one namespace, begin with.
pub fn prefix(kind: &Kind, namespace: Option<&str>) -> String {
    let group = Some(kind.kept_group()).filter(|group| !group.is_empty()).unwrap_or("core");
    match namespace {
        Some(namespace) if kind.is_namespaced() => format!("/{group}/{}/{namespace}/", kind.plural),
        _ => format!("/{group}/{}/", kind.plural),
    }
}

/// How every object of a kind begins: what stands before its metadata.
pub fn head(kind: &Kind) -> String {
    head_in(kind, &kind.api_version())
}

fn head_in(kind: &Kind, api_version: &str) -> String {
    let (api_version, name) = (json!(api_version), json!(kind.kind));
    if kind.defined {
        format!("{{\"apiVersion\":{api_version},\"kind\":{name},")
    } else {
        format!("{{\"kind\":{name},\"apiVersion\":{api_version},")
    }
}

/// The bytes to store, with all fields in the order of answers.
pub fn encode(kind: &Kind, object: Value) -> Vec<u8> {
    encode_in(kind, &kind.kept_api_version(), object)
}

/// As `encode`, for an object that is in this version.
pub fn encode_in(kind: &Kind, api_version: &str, mut object: Value) -> Vec<u8> {
    let message = core_types::message_of(kind.kept_group(), &kind.kind).filter(|_| !kind.defined);
    if let Some(form) = kind.form {
        (form.keep)(&mut object);
        message.inspect(|message| add_always_there(message, &mut object));
    }
    let mut metadata = object["metadata"].take();
    if !metadata.is_object() {
        metadata = json!({});
    }
    metadata["resourceVersion"] = json!("");
    drop_nulls(&mut metadata);
    let always = message.map_or(&[][..], always_there);
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|name, value| !is_type(name) && (!value.is_null() || always.iter().any(|(other, _)| other == name)));
    }
    if kind.defined {
        order::alphabetical(&mut metadata);
        order::alphabetical(&mut object);
    } else {
        order::ordered("meta.ObjectMeta", &mut metadata);
        if let Some(message) = message {
            order::ordered(message, &mut object);
        }
    }
    let mut bytes = head_in(kind, api_version).into_bytes();
    bytes.extend_from_slice(METADATA);
    let mut fields = metadata.as_object().into_iter().flatten().peekable();
    while let Some((name, value)) = fields.next() {
        if name == "resourceVersion" {
            bytes.extend_from_slice(VERSION);
        } else {
            append(&mut bytes, name, value);
        }
        if fields.peek().is_some() {
            bytes.push(b',');
        }
    }
    bytes.push(b'}');
    for (name, value) in object.as_object().into_iter().flatten() {
        bytes.push(b',');
        append(&mut bytes, name, value);
    }
    bytes.push(b'}');
    let mut bytes = logic::json::escaped(bytes);
    // They stay in memory for as long as the object does.
    bytes.shrink_to_fit();
    bytes
}

/// Whether a field says what an object is.
fn is_type(name: &str) -> bool {
    name == "apiVersion" || name == "kind"
}

/// Appends a field. A value always has a JSON, and memory takes it.
fn append(out: &mut Vec<u8>, name: &str, value: &Value) {
    let _ = serde_json::to_writer(&mut *out, name);
    out.push(b':');
    let _ = serde_json::to_writer(out, value);
}

/// An entry as an object, with its resourceVersion; one that was never stored has none.
pub fn decode(entry: &Entry) -> Value {
    let mut object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    if entry.modified > 0 {
        object["metadata"]["resourceVersion"] = json!(entry.modified.to_string());
    } else if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.shift_remove("resourceVersion");
    }
    object
}

/// Appends an entry's object as JSON; `typed` says whether apiVersion and kind are written.
pub fn write(out: &mut Vec<u8>, head: &str, entry: &Entry, typed: bool) {
    out.extend_from_slice(if typed { head.as_bytes() } else { b"{" });
    versioned(out, rest(&entry.value, head), entry);
}

/// Appends the metadata of an entry's object, as a field of JSON.
pub fn write_metadata(out: &mut Vec<u8>, head: &str, entry: &Entry) {
    let rest = rest(&entry.value, head);
    // What follows the object of the field is of no concern.
    versioned(out, rest.get(..logic::json::object_length(rest)).unwrap_or_default(), entry);
}

/// Appends what follows the head of an entry's object, with its version.
fn versioned(out: &mut Vec<u8>, rest: &[u8], entry: &Entry) {
    // What another program stored has no place for the version: it goes first.
    let at = memchr::memmem::find(rest, VERSION);
    let (before, after) = rest.split_at(at.unwrap_or(METADATA.len().min(rest.len())));
    let after = if at.is_some() { after.get(VERSION.len()..).unwrap_or_default() } else { after };
    if entry.modified > 0 {
        out.extend_from_slice(before);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(entry.modified.to_string().as_bytes());
        out.extend_from_slice(if at.is_some() { b"\"" } else { b"\"," });
        out.extend_from_slice(after);
    } else if let Some(after) = after.strip_prefix(b",") {
        out.extend_from_slice(before);
        out.extend_from_slice(after);
    } else {
        out.extend_from_slice(before.strip_suffix(b",").unwrap_or(before));
        out.extend_from_slice(after);
    }
}

/// What follows the head of stored bytes. An object of a defined kind may have been stored in another version than asked for.
fn rest<'a>(stored: &'a [u8], head: &str) -> &'a [u8] {
    if let Some(rest) = stored.strip_prefix(head.as_bytes()) {
        return rest;
    }
    memchr::memmem::find(stored, METADATA).and_then(|at| stored.get(at..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &Kind, object: Value, modified: u64) -> Entry {
        Entry { key: key(kind, Some("n"), "x"), value: encode(kind, object).into(), created: 3, modified }
    }

    fn written(kind: &Kind, entry: &Entry, typed: bool) -> String {
        let mut out = Vec::new();
        write(&mut out, &head(kind), entry, typed);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_namespace_has_the_key_of_its_kind() {
        assert_eq!(namespace_key("n"), key(&model::namespace::kind(), None, "n"));
    }

    #[test]
    fn the_version_is_put_in_where_it_belongs() {
        let kind = model::config_map::kind();
        let tricky = r#"say "resourceVersion": """#;
        let object = json!({"data": {"b": "<", "a": tricky}, "kind": "?", "metadata": {
            "labels": null, "resourceVersion": "1", "creationTimestamp": "t", "annotations": {"resourceVersion": ""}, "name": "x"}});
        let stored = entry(&kind, object, 7);
        assert_eq!(stored.key, "/core/configmaps/n/x");
        let metadata = r#""metadata":{"name":"x","resourceVersion":"7","creationTimestamp":"t","annotations":{"resourceVersion":""}}"#;
        let data = r#""data":{"a":"say \"resourceVersion\": \"\"","b":"\u003c"}"#;
        assert_eq!(written(&kind, &stored, true), format!(r#"{{"kind":"ConfigMap","apiVersion":"v1",{metadata},{data}}}"#));
        assert_eq!(written(&kind, &stored, false), format!("{{{metadata},{data}}}"));
        let mut alone = Vec::new();
        write_metadata(&mut alone, &head(&kind), &stored);
        assert_eq!(String::from_utf8(alone).unwrap(), metadata);
        assert_eq!(decode(&stored), serde_json::from_str::<Value>(&written(&kind, &stored, true)).unwrap());
        let never = entry(&kind, json!({"metadata": {"name": "x"}}), 0);
        assert_eq!(written(&kind, &never, false), r#"{"metadata":{"name":"x"}}"#);
        assert_eq!(decode(&never)["metadata"], json!({"name": "x"}));
    }

    #[test]
    fn defined_kinds_go_by_the_alphabet_and_are_read_in_any_version() {
        let mut kind = Kind { defined: true, ..Kind::new("a.dev", "v1", "Thing", "things", |_| schemars::json_schema!({})) };
        let stored = entry(&kind, json!({"spec": {"b": 1, "a": {}}, "metadata": {"uid": "u", "name": "x", "labels": {}}, "more": []}), 7);
        kind.version = "v2".into();
        let rest = r#""metadata":{"labels":{},"name":"x","resourceVersion":"7","uid":"u"},"more":[],"spec":{"a":{},"b":1}}"#;
        assert_eq!(written(&kind, &stored, true), format!(r#"{{"apiVersion":"a.dev/v2","kind":"Thing",{rest}"#));
    }
}
