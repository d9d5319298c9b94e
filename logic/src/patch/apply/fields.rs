//! Sets of an object's fields, as `managedFields` writes them: `{"f:data": {".": {}, "f:a": {}}}`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::patch::shape::{ListKind, Place};

/// A set of places in an object. A place is a member by itself; its children are by themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Whether the place itself is a member.
    pub own: bool,
    /// What lies under it, by `f:NAME`, `k:{KEYS}` or `v:VALUE`.
    pub children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// A place by itself.
    pub fn leaf() -> Self {
        Self { own: true, children: BTreeMap::new() }
    }

    /// Everything that a value has at a place: objects and items of lists with what lies in them, atoms whole.
    pub fn whole(place: Place<'_>, value: &Value) -> Self {
        let mut set = Self::leaf();
        match value {
            Value::Object(fields) if !place.is_atomic() => {
                for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                    set.children.insert(format!("f:{name}"), Self::whole(place.field(name), value));
                }
            }
            Value::Array(items) => {
                for item in items {
                    if let Some(element) = place.element(item) {
                        set.children.insert(element, Self::whole(place.items(), item));
                    }
                }
            }
            _ => {}
        }
        set
    }

    /// What somebody who applies a value at a place means to own: leaves, items and keys of maps, not the objects around.
    pub fn applied(place: Place<'_>, value: &Value) -> Self {
        let mut set = Self::default();
        match value {
            Value::Object(fields) if !place.is_atomic() => {
                for (name, value) in fields {
                    let mut child = Self::applied(place.field(name), value);
                    child.own |= value.as_object().is_some_and(Map::is_empty) || !place.declares(name);
                    set.put(format!("f:{name}"), child);
                }
            }
            Value::Array(items) if *place.list() != ListKind::Atomic => {
                for item in items {
                    let Some(element) = place.element(item) else { continue };
                    set.put(element, Self { own: true, ..Self::applied(place.items(), item) });
                }
            }
            _ => set.own = true,
        }
        set
    }

    /// Whether nothing is a member.
    pub fn is_empty(&self) -> bool {
        !self.own && self.children.values().all(Self::is_empty)
    }

    /// Adds a child, unless it is empty.
    pub fn put(&mut self, element: String, child: Self) {
        if !child.is_empty() {
            self.children.insert(element, child);
        }
    }

    /// All members of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut united = self.clone();
        united.own |= other.own;
        for (element, child) in &other.children {
            let entry = united.children.entry(element.clone()).or_default();
            *entry = entry.union(child);
        }
        united
    }

    /// The members that the other does not have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = Self { own: self.own && !other.own, children: BTreeMap::new() };
        for (element, child) in &self.children {
            let child = other.children.get(element).map_or_else(|| child.clone(), |other| child.difference(other));
            left.put(element.clone(), child);
        }
        left
    }

    /// The members that both have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut common = Self { own: self.own && other.own, children: BTreeMap::new() };
        for (element, child) in &self.children {
            if let Some(other) = other.children.get(element) {
                common.put(element.clone(), child.intersection(other));
            }
        }
        common
    }

    /// The set with each declared field that has members under it made a member itself.
    #[must_use]
    pub fn with_named(&self, place: Place<'_>) -> Self {
        let mut named = Self { own: self.own, children: BTreeMap::new() };
        for (element, child) in &self.children {
            let name = element.strip_prefix("f:");
            let mut child = child.with_named(name.map_or_else(|| place.items(), |name| place.field(name)));
            child.own |= name.is_some_and(|name| place.declares(name)) && !child.children.is_empty();
            named.children.insert(element.clone(), child);
        }
        named
    }

    /// The members as paths: `.spec.ports[name="http"].port`.
    pub fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect(&mut String::new(), &mut found);
        found
    }

    fn collect(&self, path: &mut String, found: &mut Vec<String>) {
        if self.own {
            found.push(path.clone());
        }
        for (element, child) in &self.children {
            let length = path.len();
            path.push_str(&shown(element));
            child.collect(path, found);
            path.truncate(length);
        }
    }

    /// The set as `fieldsV1`.
    pub fn to_value(&self) -> Value {
        let mut fields = Map::new();
        if self.own && !self.children.is_empty() {
            fields.insert(".".into(), Value::Object(Map::new()));
        }
        for (element, child) in &self.children {
            fields.insert(element.clone(), child.to_value());
        }
        Value::Object(fields)
    }

    /// Reads `fieldsV1`; `None` when an element of it is of no known form.
    pub fn from_value(value: &Value) -> Option<Self> {
        let mut set = Self::child_of(value)?;
        set.own = false;
        Some(set)
    }

    fn child_of(value: &Value) -> Option<Self> {
        let fields = value.as_object()?;
        let mut set = Self { own: fields.is_empty() || fields.contains_key("."), children: BTreeMap::new() };
        for (element, child) in fields.iter().filter(|(element, _)| *element != ".") {
            if !["f:", "k:", "v:", "i:"].iter().any(|prefix| element.starts_with(prefix)) {
                return None;
            }
            set.children.insert(element.clone(), Self::child_of(child)?);
        }
        Some(set)
    }
}

/// An element as paths show it.
pub fn shown(element: &str) -> String {
    let (form, rest) = element.split_at_checked(2).unwrap_or((element, ""));
    match (form, serde_json::from_str::<Map<String, Value>>(rest)) {
        ("f:", _) => format!(".{rest}"),
        ("k:", Ok(keys)) => {
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        ("v:", _) => format!("[={rest}]"),
        _ => format!("[{rest}]"),
    }
}
