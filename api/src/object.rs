//! Objects as they are stored: JSON that begins with apiVersion, kind and metadata, and leaves out its resourceVersion.
//!
//! The resourceVersion is the revision at which the entry was modified, known only once the store has committed. It is
//! spliced in when an object is read, which needs no parsing.

use model::Kind;
use serde_json::{Map, Value, json};
use store::Entry;

/// The key under which an object is stored.
pub fn key(kind: &Kind, namespace: Option<&str>, name: &str) -> String {
    format!("{}{name}", prefix(kind, namespace))
}

/// What the keys of all objects of a kind, or of those in one namespace, begin with.
pub fn prefix(kind: &Kind, namespace: Option<&str>) -> String {
    let group = Some(kind.kept_group()).filter(|group| !group.is_empty()).unwrap_or("core");
    match namespace {
        Some(namespace) if kind.is_namespaced() => format!("/{group}/{}/{namespace}/", kind.plural),
        _ => format!("/{group}/{}/", kind.plural),
    }
}

/// How every stored object of a kind begins.
pub fn head(kind: &Kind) -> String {
    format!("{{\"apiVersion\":{},\"kind\":{},\"metadata\":{{", json!(kind.kept_api_version()), json!(kind.kind))
}

/// The bytes to store.
pub fn encode(kind: &Kind, mut object: Value) -> Vec<u8> {
    if let Some(form) = kind.form {
        (form.keep)(&mut object);
    }
    let mut ordered = Map::new();
    ordered.insert("apiVersion".into(), json!(kind.kept_api_version()));
    ordered.insert("kind".into(), json!(kind.kind));
    ordered.insert("metadata".into(), Value::Null);
    if let Value::Object(fields) = object {
        for (name, value) in fields {
            if name != "apiVersion" && name != "kind" && !value.is_null() {
                ordered.insert(name, value);
            }
        }
    }
    for field in kind.nulls {
        ordered.entry(*field).or_insert(Value::Null);
    }
    if let Some(metadata) = ordered.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("resourceVersion");
        metadata.retain(|_, value| !value.is_null());
    }
    let mut bytes = serde_json::to_vec(&ordered).unwrap_or_default();
    // They stay in memory for as long as the object does.
    bytes.shrink_to_fit();
    bytes
}

/// An entry as an object, with its resourceVersion; one that was never stored has none.
pub fn decode(entry: &Entry) -> Value {
    let mut object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    if entry.modified > 0 {
        object["metadata"]["resourceVersion"] = json!(entry.modified.to_string());
    }
    object
}

/// Appends an entry's object as JSON; `typed` says whether apiVersion and kind are written.
pub fn write(out: &mut Vec<u8>, head: &str, entry: &Entry, typed: bool) {
    let rest = rest(&entry.value, head);
    out.extend_from_slice(if typed { head.as_bytes() } else { b"{\"metadata\":{" });
    if entry.modified > 0 {
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(entry.modified.to_string().as_bytes());
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(rest);
}

/// What follows the head of stored bytes. An object of a defined kind may have been stored in another version than asked for.
fn rest<'a>(stored: &'a [u8], head: &str) -> &'a [u8] {
    const METADATA: &[u8] = b"\"metadata\":{";
    if let Some(rest) = stored.strip_prefix(head.as_bytes()) {
        return rest;
    }
    let at = stored.windows(METADATA.len()).position(|window| window == METADATA);
    at.and_then(|at| stored.get(at + METADATA.len()..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_spliced_in() {
        let kind = model::config_map::kind();
        let object = json!({"data": {"a": "b"}, "metadata": {"resourceVersion": "1", "name": "x", "labels": null}, "kind": "?"});
        let entry = Entry { key: key(&kind, Some("n"), "x"), value: encode(&kind, object).into(), created: 3, modified: 7 };
        assert_eq!(entry.key, "/core/configmaps/n/x");
        let mut out = Vec::new();
        write(&mut out, &head(&kind), &entry, true);
        let expected =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": "7", "name": "x"}, "data": {"a": "b"}});
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
        assert_eq!(decode(&entry), expected);
        out.clear();
        write(&mut out, &head(&kind), &entry, false);
        assert!(out.starts_with(b"{\"metadata\":{\"resourceVersion\":\"7\""));
    }
}
