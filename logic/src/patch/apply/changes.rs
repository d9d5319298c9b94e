//! What differs between two objects, how one is merged into another, and how fields are taken out of one.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::fields::FieldSet;
use crate::patch::shape::{ListKind, Place};

/// What became of the fields of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Fields that were not there.
    pub added: FieldSet,
    /// Fields with another value.
    pub modified: FieldSet,
    /// Fields that are gone.
    pub removed: FieldSet,
}

impl Changes {
    /// The differences between what is at a place before and after.
    pub fn between(place: Place<'_>, before: &Value, after: &Value) -> Self {
        let mut changes = Self::default();
        match (before, after) {
            (Value::Object(before), Value::Object(after)) if !place.is_atomic() => {
                for (name, value) in after.iter().filter(|(_, value)| !value.is_null()) {
                    changes.child(place.field(name), format!("f:{name}"), before.get(name), Some(value));
                }
                for (name, value) in before.iter().filter(|(name, _)| after.get(*name).is_none_or(Value::is_null)) {
                    changes.child(place.field(name), format!("f:{name}"), Some(value), None);
                }
            }
            (Value::Array(before), Value::Array(after)) if *place.list() != ListKind::Atomic => {
                let (old, new) = (elements(place, before), elements(place, after));
                for (element, value) in &new {
                    changes.child(place.items(), element.clone(), old.get(element).copied(), Some(value));
                }
                for (element, value) in old.iter().filter(|(element, _)| !new.contains_key(*element)) {
                    changes.child(place.items(), element.clone(), Some(value), None);
                }
            }
            (before, after) => changes.modified.own = before != after,
        }
        changes
    }

    fn child(&mut self, place: Place<'_>, element: String, before: Option<&Value>, after: Option<&Value>) {
        match (before.filter(|value| !value.is_null()), after) {
            (None, Some(after)) => self.added.put(element, FieldSet::whole(place, after)),
            (Some(before), None) => self.removed.put(element, FieldSet::whole(place, before)),
            (Some(before), Some(after)) => {
                let changes = Self::between(place, before, after);
                self.added.put(element.clone(), changes.added);
                self.modified.put(element.clone(), changes.modified);
                self.removed.put(element, changes.removed);
            }
            (None, None) => {}
        }
    }
}

fn elements<'a>(place: Place<'_>, items: &'a [Value]) -> HashMap<String, &'a Value> {
    items.iter().filter_map(|item| Some((place.element(item)?, item))).collect()
}

/// What is there with what is applied laid over it.
pub fn merge(place: Place<'_>, live: &Value, applied: &Value) -> Value {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if !place.is_atomic() => {
            let mut merged = live.clone();
            for (name, value) in applied.iter().filter(|(_, value)| !value.is_null()) {
                let value = merge(place.field(name), live.get(name).unwrap_or(&Value::Null), value);
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(live), Value::Array(applied)) if *place.list() != ListKind::Atomic => merge_items(place, live, applied),
        (_, applied) => applied.clone(),
    }
}

/// Items of both in the order of what is applied, each item that is only there after the one it followed.
fn merge_items(place: Place<'_>, live: &[Value], applied: &[Value]) -> Value {
    let (there, wanted) = (elements(place, live), elements(place, applied));
    let mut merged = Vec::with_capacity(live.len() + applied.len());
    let mut done: Vec<String> = Vec::new();
    let mut applied = applied.iter().peekable();
    let take = |item: &Value, done: &mut Vec<String>, merged: &mut Vec<Value>| {
        let element = place.element(item).unwrap_or_default();
        merged.push(merge(place.items(), there.get(&element).copied().unwrap_or(&Value::Null), item));
        done.push(element);
    };
    for item in live {
        let Some(element) = place.element(item).filter(|element| wanted.contains_key(element)) else {
            merged.push(item.clone());
            continue;
        };
        while !done.contains(&element) {
            let Some(next) = applied.next() else { break };
            take(next, &mut done, &mut merged);
        }
    }
    for item in applied {
        take(item, &mut done, &mut merged);
    }
    Value::Array(merged)
}

/// A value without the members of a set; `None` when nothing is left of an object or list.
pub fn remove(place: Place<'_>, value: &Value, gone: &FieldSet) -> Option<Value> {
    match value {
        Value::Object(fields) if !place.is_atomic() => {
            let mut left = Map::new();
            for (name, value) in fields {
                match gone.children.get(&format!("f:{name}")) {
                    Some(child) if child.own => {}
                    Some(child) => drop(remove(place.field(name), value, child).map(|value| left.insert(name.clone(), value))),
                    None => drop(left.insert(name.clone(), value.clone())),
                }
            }
            (!left.is_empty()).then_some(Value::Object(left))
        }
        Value::Array(items) if *place.list() != ListKind::Atomic => {
            let mut left = Vec::new();
            for item in items {
                match place.element(item).and_then(|element| gone.children.get(&element)) {
                    Some(child) if child.own => {}
                    Some(child) => left.extend(remove(place.items(), item, child)),
                    None => left.push(item.clone()),
                }
            }
            (!left.is_empty()).then_some(Value::Array(left))
        }
        other => Some(other.clone()),
    }
}
