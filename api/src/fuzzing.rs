//! What may be tried with any bytes: bodies, patches, headers and queries. Each function panics only where we are wrong.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use logic::patch::apply::{self, Operation, Part, Write, Writer};
use serde_json::{Value, json};

use crate::answer::{self, Accepted};
use crate::path::Place;
use crate::query::{FieldValidation, Query};
use crate::registry::{Registry, Served};
use crate::verbs::Patch;
use crate::{admit, body, protobuf};

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::new(model::KINDS.iter().map(|kind| kind())));

fn served(group: &str, plural: &str) -> &'static Arc<Served> {
    REGISTRY.find(group, "v1", plural).expect("the kinds are served")
}

/// Kubernetes' protobuf: what it says of an object can be written as protobuf again, and then says the same.
pub fn protobuf(bytes: &[u8]) {
    let Ok(first) = protobuf::decode(bytes) else { return };
    let Some(written) = protobuf::encode(&first) else { return };
    let second = protobuf::decode(&written).expect("what we write can be read");
    assert_eq!(protobuf::encode(&second), Some(written), "{second}");
}

/// A patch of any type, named by the first byte, of a sample object, and all that is made of it before it is stored.
pub fn patches(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let types = ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(types[usize::from(*first) % types.len()]));
    let (body, pods, mut object) = (Bytes::copy_from_slice(rest), served("", "pods"), sample());
    if first % 8 == 7 {
        return applied(pods, &body);
    }
    let Ok(patch) = Patch::read(&pods.kind, &headers, &body) else { return };
    let _ = (patch.version(), patch.unknown());
    if patch.apply(&pods.shape, &mut object).is_ok() && patch.conversion_problem(pods, &object).is_none() {
        admitted(pods, &headers, &body, object);
    }
}

/// Server-side apply over the sample, whose fields another has.
fn applied(served: &Served, body: &Bytes) {
    let Ok(wanted) = body::applied(body, false) else { return };
    if apply::check(served.shape.root(), &wanted).is_some() {
        return;
    }
    let by = |manager: &str, operation| Write {
        part: Part::ButStatus,
        writer: Writer { manager: manager.into(), operation, api_version: "v1".into(), subresource: String::new() },
        time: Some("2001-01-01T00:00:00Z".into()),
        blank: served.blank.clone(),
    };
    let live = sample();
    let others = apply::created(&served.shape, &live, &by("other", Operation::Update));
    let write = by("mine", Operation::Apply);
    if let Ok(found) = apply::apply(&served.shape, &live, &wanted, others, &write, body.len().is_multiple_of(2)) {
        let managed = apply::to_value(&found.entries);
        assert!(apply::entries(&managed).is_some(), "what we write can be read: {managed}");
        let again = apply::apply(&served.shape, &found.object, &json!({"metadata": {}}), found.entries, &write, false);
        assert!(again.is_ok(), "whoever gives up all fields is in nobody's way");
        admitted(served, &HeaderMap::new(), body, found.object);
    }
}

fn admitted(served: &Served, headers: &HeaderMap, body: &Bytes, mut object: Value) {
    let place = Place { namespace: Some("default".into()), ..Place::default() };
    if crate::addressed::place(&served.kind, &place, &mut object).is_err() {
        return;
    }
    let twice = body::duplicates(headers, body);
    if admit::shape_of(served, &mut object, FieldValidation::Warn, &twice).is_err() {
        return;
    }
    object["metadata"]["resourceVersion"] = Value::Null;
    if admit::new_object(served, &mut object, jiff::Timestamp::UNIX_EPOCH, "u", "s").is_ok() {
        let encoded = protobuf::encode(&object).map(|encoded| protobuf::decode(&encoded));
        assert!(!matches!(encoded, Some(Err(_))), "what we write can be read: {object}");
    }
}

/// Bodies of objects of several kinds, in JSON, YAML and protobuf.
pub fn bodies(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let kinds =
        [("", "pods"), ("conductor.dev", "services"), ("", "secrets"), ("batch", "cronjobs"), ("rbac.authorization.k8s.io", "roles")];
    let (group, plural) = kinds[usize::from(first / 4) % kinds.len()];
    let types = ["application/json", "application/yaml", protobuf::MEDIA_TYPE, ""];
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(types[usize::from(first % 4)]));
    let (served, body) = (served(group, plural), Bytes::copy_from_slice(rest));
    let _ = body::typed("DeleteOptions", &headers, &body);
    if let Ok(object) = body::object(&served.kind, &headers, &body) {
        admitted(served, &headers, &body, object);
    }
}

/// An Accept header, a query and a path, each in a line.
pub fn requests(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (accept, query, path) = (line(), Query::parse(line()), line());
    let mut headers = HeaderMap::new();
    headers.extend(HeaderValue::from_str(accept).map(|value| (ACCEPT, value)));
    for has_protobuf in [true, false] {
        let _ = Accepted::from_headers(&headers, has_protobuf);
    }
    let _ = (answer::format_of_refusal(&headers), Place::parse(path));
    for (name, _) in query.pairs() {
        let _ = (query.number(name), query.is_true(name), query.get(name), query.has(name));
    }
    let _ = (query.dry_run("O"), query.field_validation("O"), query.check_manager("O"), query.number("limit"));
}

fn sample() -> Value {
    let container = json!({"name": "web", "image": "i", "args": ["a", "b"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {"limits": {"cpu": "1"}}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default", "labels": {"app": "a"}, "finalizers": ["x/y"]},
        "spec": {"containers": [container, {"name": "side"}], "nodeSelector": {"a": "b"}, "volumes": [{"name": "v", "emptyDir": {}}],
            "tolerations": [{"key": "k", "operator": "Exists"}]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, count: usize, target: fn(&[u8])) {
        let folder = format!("{}/../fuzz/seeds/{name}", env!("CARGO_MANIFEST_DIR"));
        let seeds: Vec<Vec<u8>> = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(!seeds.is_empty());
        seeds.iter().for_each(|seed| target(seed));
        logic::fuzzing::mutations(&seeds, count).for_each(|input| target(&input));
    }

    #[test]
    fn no_protobuf_breaks_us() {
        check("protobuf", 10_000, protobuf);
    }

    #[test]
    fn no_patch_breaks_us() {
        check("patches", 3_000, patches);
    }

    #[test]
    fn no_body_breaks_us() {
        check("bodies", 3_000, bodies);
    }

    #[test]
    fn no_header_and_no_query_break_us() {
        check("requests", 10_000, requests);
    }
}
