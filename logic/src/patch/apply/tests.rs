//! Owners, one write after another.

use serde_json::json;

use super::*;
use crate::patch::shape::tests::sample;

const TIME: &str = "2026-01-02T03:04:05Z";

/// An object with its owners.
struct Held {
    shape: Shape,
    object: Value,
    entries: Vec<Entry>,
}

fn write(manager: &str, operation: Operation, part: Part) -> Write {
    let writer = Writer { manager: manager.into(), operation, api_version: "v1".into(), subresource: String::new() };
    Write { part, writer, time: Some(TIME.into()), blank: json!({"spec": {}, "status": {}}) }
}

impl Held {
    fn nothing() -> Self {
        Self { shape: sample(), object: Value::Null, entries: Vec::new() }
    }

    fn try_apply(&mut self, manager: &str, wanted: &Value, force: bool) -> Result<(), Vec<String>> {
        let write = write(manager, Operation::Apply, Part::ButStatus);
        match apply(&self.shape, &self.object, wanted, self.entries.clone(), &write, force) {
            Ok(applied) => {
                self.object = applied.object;
                self.entries = applied.entries;
                Ok(())
            }
            Err(conflicts) => Err(conflicts.into_iter().map(|found| format!("{} {}", found.writer.manager, found.path)).collect()),
        }
    }

    #[track_caller]
    fn apply(&mut self, manager: &str, wanted: &Value) {
        self.try_apply(manager, wanted, false).unwrap();
    }

    fn update(&mut self, manager: &str, after: Value) {
        let write = write(manager, Operation::Update, Part::ButStatus);
        self.entries = updated(&self.shape, &self.object, &after, self.entries.clone(), &write);
        self.object = after;
    }

    fn fields(&self, manager: &str) -> Value {
        self.entries.iter().find(|entry| entry.writer.manager == manager).map_or(Value::Null, |entry| entry.fields.to_value())
    }

    fn without_metadata(&self) -> Value {
        let mut object = self.object.clone();
        object.as_object_mut().unwrap().shift_remove("metadata");
        object
    }
}

#[test]
fn an_applied_field_that_is_left_out_goes() {
    let mut held = Held::nothing();
    held.apply("one", &json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "data": {"a": "1", "b": "2"}}));
    assert_eq!(held.fields("one"), json!({"f:data": {"f:a": {}, "f:b": {}}, "f:metadata": {"f:labels": {"f:x": {}}}}));
    held.apply("one", &json!({"data": {"a": "1", "c": "3"}}));
    assert_eq!(held.without_metadata(), json!({"data": {"a": "1", "c": "3"}}));
    assert_eq!(held.object["metadata"]["labels"], Value::Null);
    held.apply("two", &json!({"data": {"d": "4"}}));
    held.apply("one", &json!({}));
    assert_eq!(held.without_metadata(), json!({"data": {"d": "4"}}));
    assert_eq!(held.fields("one"), Value::Null);
}

#[test]
fn a_shared_field_stays_until_its_last_owner_lets_go() {
    let mut held = Held::nothing();
    held.apply("one", &json!({"data": {"a": "1"}}));
    held.apply("two", &json!({"data": {"a": "1"}}));
    held.apply("one", &json!({}));
    assert_eq!(held.without_metadata(), json!({"data": {"a": "1"}}));
    held.apply("two", &json!({}));
    assert_eq!(held.without_metadata(), json!({}));
}

#[test]
fn an_update_takes_fields_and_an_apply_must_ask() {
    let mut held = Held::nothing();
    held.object = json!({"metadata": {"name": "a"}, "data": {"a": "1"}});
    held.entries = created(&held.shape, &held.object, &write("exchange", Operation::Update, Part::ButStatus));
    assert_eq!(held.fields("exchange"), json!({"f:data": {".": {}, "f:a": {}}}));
    assert_eq!(held.try_apply("one", &json!({"data": {"a": "2"}}), false), Err(vec!["exchange .data.a".to_owned()]));
    held.apply("one", &json!({"data": {"a": "1"}}));
    assert_eq!(held.entries.iter().find(|entry| entry.writer.manager == "one").unwrap().time, None, "only the ownership changed");
    held.update("two", json!({"metadata": {"name": "a"}, "data": {"a": "3"}}));
    assert_eq!(
        (held.fields("exchange"), held.fields("one"), held.fields("two")),
        (json!({"f:data": {}}), Value::Null, json!({"f:data": {"f:a": {}}}))
    );
    assert_eq!(held.try_apply("one", &json!({"data": {"a": "1"}}), false), Err(vec!["two .data.a".to_owned()]));
    held.try_apply("one", &json!({"data": {"a": "1"}}), true).unwrap();
    assert_eq!((held.fields("two"), &held.object["data"]["a"]), (Value::Null, &json!("1")));
}

#[test]
fn items_of_keyed_lists_are_owned_by_field() {
    let mut held = Held::nothing();
    let containers = |list: Value| json!({"spec": {"containers": list}});
    held.apply("one", &containers(json!([{"name": "a", "image": "1"}])));
    assert_eq!(held.fields("one"), json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}}}}}));
    held.apply("two", &containers(json!([{"name": "b", "args": ["x"]}])));
    assert_eq!(held.without_metadata(), containers(json!([{"name": "a", "image": "1"}, {"name": "b", "args": ["x"]}])));
    let clash = held.try_apply("two", &containers(json!([{"name": "b"}, {"name": "a", "image": "2"}])), false);
    assert_eq!(clash, Err(vec!["one .spec.containers[name=\"a\"].image".to_owned()]));
    held.apply("one", &json!({}));
    assert_eq!(held.without_metadata(), containers(json!([{"name": "b", "args": ["x"]}])));
    held.apply("one", &json!({"spec": {"selector": {"k": "v"}}, "metadata": {"finalizers": ["x/a"]}}));
    assert_eq!(held.try_apply("two", &json!({"spec": {"selector": {"l": "w"}}}), false), Err(vec!["one .spec.selector".to_owned()]));
    assert_eq!(held.fields("one"), json!({"f:metadata": {"f:finalizers": {"v:\"x/a\"": {}}}, "f:spec": {"f:selector": {}}}));
}

#[test]
fn status_is_owned_apart() {
    let mut held = Held::nothing();
    held.apply("one", &json!({"spec": {"size": 1}, "status": {"phase": "No"}}));
    assert_eq!(held.without_metadata(), json!({"spec": {"size": 1}}));
    let mut status = write("one", Operation::Apply, Part::Status);
    status.writer.subresource = "status".into();
    let wanted = json!({"spec": {"size": 2}, "status": {"phase": "Ready"}});
    let applied = apply(&held.shape, &held.object, &wanted, held.entries.clone(), &status, false).unwrap();
    assert_eq!((&applied.object["spec"]["size"], &applied.object["status"]["phase"]), (&json!(1), &json!("Ready")));
    assert_eq!(applied.entries.len(), 2);
    (held.object, held.entries) = (applied.object, applied.entries);
    held.apply("one", &json!({"spec": {"size": 3}}));
    assert_eq!(held.object["status"]["phase"], "Ready");
}

#[test]
fn an_object_without_owners_gets_one_before_the_first_apply() {
    let mut held = Held::nothing();
    held.object = json!({"metadata": {"name": "a", "creationTimestamp": TIME}, "data": {"a": "1"}});
    held.apply("three", &json!({"data": {"b": "1"}}));
    assert_eq!(held.fields("before-first-apply"), json!({"f:data": {".": {}, "f:a": {}}}));
    let stored = to_value(&held.entries);
    assert_eq!(entries(&stored).unwrap(), held.entries.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(entries(&json!([{"manager": "x", "operation": "Juggle"}])), None);
}

#[test]
fn a_wrong_shape_is_named() {
    let shape = sample();
    for (value, expected) in [
        (json!({"colour": "red"}), ".colour: field not declared in schema"),
        (json!({"data": ["x"]}), ".data: expected map, got &{[x]}"),
        (json!({"data": ["x"], "colour": 1}), "errors:\n  .data: expected map, got &{[x]}\n  .colour: field not declared in schema"),
        (json!({"spec": {"containers": {"a": 1}}}), ".spec.containers: expected list, got &{map[a:1]}"),
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            ".spec.containers: element 0: associative list with keys has an element that omits all key fields [\"name\"] (and doesn't have \
             default values for any key fields)",
        ),
        (json!({"spec": {"containers": [{"name": "x"}, {"name": "x"}]}}), ".spec.containers: duplicate entries for key [name=\"x\"]"),
        (json!({"metadata": {"finalizers": ["a", "a"]}}), ".metadata.finalizers: duplicate entries for key [=\"a\"]"),
        (json!({"spec": {"containers": [{"name": "x", "y": 1}]}}), ".spec.containers[name=\"x\"].y: field not declared in schema"),
    ] {
        assert_eq!(check(shape.root(), &value).as_deref(), Some(expected));
    }
    assert_eq!(check(shape.root(), &json!({"data": {"a": "1"}, "spec": {"containers": [{"name": "x"}]}})), None);
    assert_eq!(check(shape.root(), &json!({"config": {"text": "a", "reference": {"secretRef": "b"}}})), None);
    let unknown = check(shape.root(), &json!({"config": {"reference": {"other": "b"}}}));
    assert_eq!(unknown.as_deref(), Some(".config.reference.other: field not declared in schema"));
}

#[test]
fn a_plain_value_of_another_type_is_named() {
    let types = json!({"type": "object", "properties": {
        "count": {"type": "integer"}, "ratio": {"type": "number", "nullable": true}, "name": {"type": "string"}, "on": {"type": "boolean"},
        "port": {"x-kubernetes-int-or-string": true}, "when": {"type": "string", "format": "date-time"}, "size": {"$ref": "#/a/x.Quantity"},
        "names": {"type": "array", "items": {"type": "string"}}}});
    let mut compiler = crate::patch::shape::Compiler::default();
    let definitions = json!({"x.Quantity": {"type": "string"}}).as_object().cloned().unwrap();
    let root = compiler.compile(&types, &definitions);
    let shape = compiler.finish()(root);
    for (value, expected) in [
        (json!({"count": 1.5, "ratio": null, "name": "a", "on": true, "port": 1, "when": 2, "size": 3, "names": ["a", null]}), None),
        (json!({"count": "many"}), Some(".count: expected numeric (int or float), got string")),
        (json!({"ratio": true}), Some(".ratio: expected numeric (int or float), got bool")),
        (json!({"name": 5}), Some(".name: expected string, got &{5}")),
        (json!({"on": "yes"}), Some(".on: expected boolean, got &{yes}")),
        (json!({"names": ["a", 1]}), Some(".names[1]: expected string, got &{1}")),
    ] {
        assert_eq!(check(shape.root(), &value).as_deref(), expected, "{value}");
    }
}

/// A small object drawn from a state, for one of two writers; the two never state the same field.
fn drawn(state: &mut u64, who: &str) -> Value {
    let mut draw = |below: u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % below
    };
    let data: Map<String, Value> = (0..draw(4)).map(|_| (format!("{who}{}", draw(4)), json!(draw(3).to_string()))).collect();
    let mut names: Vec<u64> = (0..draw(4)).map(|_| draw(4)).collect();
    names.sort_unstable();
    names.dedup();
    let containers: Vec<Value> = names.iter().map(|name| json!({"name": format!("{who}{name}"), "image": draw(3).to_string()})).collect();
    json!({"data": data, "spec": {"containers": containers}})
}

fn sorted(mut object: Value) -> Value {
    if let Some(list) = object["spec"]["containers"].as_array_mut() {
        list.sort_by_key(|item| item["name"].to_string());
    }
    object.sort_all_objects();
    object
}

#[test]
fn applying_twice_is_applying_once_and_disjoint_owners_commute() {
    let mut state = 0x2545_f491_4f6c_dd1d;
    for _ in 0..400 {
        let (a, b, c) = (drawn(&mut state, "a"), drawn(&mut state, "b"), drawn(&mut state, "a"));
        let (mut one, mut other) = (Held::nothing(), Held::nothing());
        one.apply("a", &a);
        one.apply("b", &b);
        other.apply("b", &b);
        other.apply("a", &a);
        assert_eq!(sorted(one.object.clone()), sorted(other.object.clone()), "{a} {b}");
        assert_eq!((one.fields("a"), one.fields("b")), (other.fields("a"), other.fields("b")));
        one.apply("a", &c);
        let once = (one.object.clone(), one.entries.clone());
        one.apply("a", &c);
        assert_eq!(
            (one.object.clone(), one.fields("a")),
            (once.0, once.1.iter().find(|entry| entry.writer.manager == "a").map_or(Value::Null, |entry| entry.fields.to_value()))
        );
        let mut fresh = Held::nothing();
        fresh.apply("b", &b);
        fresh.apply("a", &c);
        let leaves = |held: &Held| sorted(json!({"data": held.object["data"], "spec": {"containers": held.object["spec"]["containers"]}}));
        let empty_is_null = |mut value: Value| {
            if value["data"].as_object().is_some_and(Map::is_empty) {
                value["data"] = Value::Null;
            }
            if value["spec"]["containers"].as_array().is_some_and(Vec::is_empty) {
                value["spec"]["containers"] = Value::Null;
            }
            value
        };
        assert_eq!(empty_is_null(leaves(&one)), empty_is_null(leaves(&fresh)), "what is left out goes: {a} {b} {c}");
    }
}
