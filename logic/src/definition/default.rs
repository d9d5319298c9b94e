//! What is filled in: defaults, and nulls where there may be none.

use serde_json::{Map, Value};

use super::structural::{Additional, Node, Structural};

impl Structural {
    /// Fills in what was left out and has a default; a null that may not be one counts as left out.
    pub fn fill_defaults(&self, object: &mut Value) {
        fill(&self.root, object);
    }
}

pub(super) fn fill(node: &Node, value: &mut Value) {
    match value {
        Value::Object(fields) => fill_fields(node, fields),
        Value::Array(items) => {
            if let Some(of) = node.items.as_deref() {
                items.iter_mut().for_each(|item| replace_null(of, item));
                items.iter_mut().for_each(|item| fill(of, item));
            }
        }
        _ => {}
    }
}

fn replace_null(node: &Node, item: &mut Value) {
    if item.is_null()
        && !node.nullable
        && let Some(default) = &node.default
    {
        *item = default.clone();
    }
}

fn fill_fields(node: &Node, fields: &mut Map<String, Value>) {
    fields.retain(|name, value| {
        let of = node.field(name);
        !value.is_null() || of.is_none_or(|of| of.nullable || (of.default.is_some() && !node.properties.contains_key(name)))
    });
    for (name, property) in &node.properties {
        if let Some(default) = &property.default
            && !fields.contains_key(name)
        {
            fields.insert(name.clone(), default.clone());
        }
        if let Some(value) = fields.get_mut(name) {
            fill(property, value);
        }
    }
    if let Additional::Of(inner) = &node.additional {
        for (_, value) in fields.iter_mut().filter(|(name, _)| !node.properties.contains_key(*name)) {
            replace_null(inner, value);
            fill(inner, value);
        }
    }
}
