//! What holds of server-side apply whatever is applied, by whom and in which order.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::patch::shape::tests::sample;

const TIME: &str = "2026-01-02T03:04:05Z";

#[derive(Debug, Clone, Default, PartialEq)]
struct Held {
    object: Value,
    entries: Vec<Entry>,
}

impl Held {
    fn apply(&self, manager: usize, wanted: &Value, force: bool) -> Option<Self> {
        let writer =
            Writer { manager: format!("m{manager}"), operation: Operation::Apply, api_version: "v1".into(), subresource: String::new() };
        let write = Write { part: Part::ButStatus, writer, time: Some(TIME.into()), blank: serde_json::json!({"spec": {}, "status": {}}) };
        let applied = apply(&sample(), &self.object, wanted, self.entries.clone(), &write, force).ok()?;
        Some(Self { object: applied.object, entries: applied.entries })
    }
}

/// What somebody applies: a few fields of every sort, of few names and values so that they often meet those of others.
/// With `own`, names that nobody else uses, and nothing of which there is only one.
fn wanted(own: Option<usize>) -> impl Strategy<Value = Value> {
    let mark = own.map(|own| format!("m{own}")).unwrap_or_default();
    let name = move |range: &'static str| {
        let mark = mark.clone();
        range.prop_map(move |name| format!("{mark}{name}"))
    };
    let texts = || btree_map(name("[abc]"), "[12]", 0..3);
    let container = (option::of("[12]"), option::of(vec("[12]", 0..3)), btree_map(name("[xy]"), "[12]", 0..3));
    let single = (option::of(1..3), option::of(btree_map("[ab]", "[12]", 1..3)));
    (texts(), texts(), btree_set(name("[fg]"), 0..3), btree_map(name("[cd]"), container, 0..3), single).prop_map(
        move |(labels, data, finalizers, containers, (size, selector))| {
            let mut object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}});
            let mut put = |path: &[&str], value: Value, is_there: bool| {
                if is_there {
                    let place = path.iter().fold(&mut object, |place, key| &mut place[*key]);
                    *place = value;
                }
            };
            put(&["metadata", "labels"], json!(labels), !labels.is_empty());
            put(&["metadata", "finalizers"], json!(finalizers), !finalizers.is_empty());
            put(&["data"], json!(data), !data.is_empty());
            put(&["spec", "size"], json!(size), size.is_some() && own.is_none());
            put(&["spec", "selector"], json!(selector), selector.is_some() && own.is_none());
            let of = |(name, (image, args, env)): &(&String, &(Option<String>, Option<Vec<String>>, _))| {
                let env: &std::collections::BTreeMap<String, String> = env;
                let mut container = json!({"name": name});
                if let Some(image) = image {
                    container["image"] = json!(image);
                }
                if let Some(args) = args {
                    container["args"] = json!(args);
                }
                if !env.is_empty() {
                    container["env"] = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
                }
                container
            };
            let list: Vec<Value> = containers.iter().map(|pair| of(&pair)).collect();
            put(&["spec", "containers"], json!(list), !list.is_empty());
            object
        },
    )
}

/// Whether everything of `part` is in `whole`; items of lists are found by name, or as they are.
fn has(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, value)| ["apiVersion", "kind"].contains(&name.as_str()) || has(whole.get(name).unwrap_or(&Value::Null), value)),
        (Value::Null, Value::Object(part)) => part.values().all(|value| has(&Value::Null, value)),
        (Value::Array(whole), Value::Array(part)) if part.iter().all(Value::is_object) && !part.is_empty() => {
            part.iter().all(|item| whole.iter().any(|other| other["name"] == item["name"] && has(other, item)))
        }
        (Value::Array(whole), Value::Array(part)) => part.iter().all(|item| whole.contains(item)),
        (whole, part) => whole == part,
    }
}

/// The same with lists whose items are told apart in one order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), if name == "args" { value.clone() } else { sorted(value) })).collect()
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(|item| item["name"].as_str().map_or_else(|| item.to_string(), str::to_owned));
            Value::Array(items)
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_applied_is_there_and_applying_it_again_changes_nothing(before in vec((0..3_usize, wanted(None)), 0..4), last in wanted(None)) {
        let held = before.iter().fold(Held::default(), |held, (manager, wanted)| held.apply(*manager, wanted, true).unwrap());
        let once = held.apply(0, &last, true).unwrap();
        prop_assert!(has(&once.object, &last), "{} lacks some of {last}", once.object);
        prop_assert_eq!(once.apply(0, &last, false), Some(once));
    }

    #[test]
    fn whoever_owns_different_fields_may_come_in_any_order(one in wanted(Some(1)), other in wanted(Some(2))) {
        let in_order = |first: (usize, &Value), second: (usize, &Value)| {
            let mut held = Held::default().apply(first.0, first.1, false).unwrap().apply(second.0, second.1, false).unwrap();
            held.entries.sort_by_key(|entry| entry.writer.manager.clone());
            // An owner has a time only where its write changed the object.
            held.entries.iter_mut().for_each(|entry| entry.time = None);
            Held { object: sorted(&held.object), ..held }
        };
        prop_assert_eq!(in_order((1, &one), (2, &other)), in_order((2, &other), (1, &one)));
    }

    #[test]
    fn nobody_loses_what_they_applied_unless_somebody_forces(writes in vec((0..3_usize, wanted(None)), 1..8)) {
        let mut held = Held::default();
        let mut last = [const { None }; 3];
        for (manager, wanted) in writes {
            let Some(next) = held.apply(manager, &wanted, false) else { continue };
            held = next;
            last[manager] = Some(wanted);
            for wanted in last.iter().flatten() {
                prop_assert!(has(&held.object, wanted), "{} lacks some of {wanted}", held.object);
            }
        }
    }

    #[test]
    fn whoever_applies_nothing_leaves_nothing_but_what_others_have(mine in wanted(Some(1)), theirs in wanted(Some(2))) {
        let nothing = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}});
        let both = Held::default().apply(2, &theirs, false).unwrap().apply(1, &mine, false).unwrap();
        let left = both.apply(1, &nothing, false).unwrap();
        prop_assert!(has(&left.object, &theirs), "{} lacks some of {theirs}", left.object);
        prop_assert!(!left.object.to_string().contains("m1"), "{} has something of {mine}", left.object);
    }
}
