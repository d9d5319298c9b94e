//! What is kept of an object: the fields that its schema knows.

use serde_json::{Map, Value};

use super::structural::{Additional, Node, Structural};

/// The fields of metadata that an embedded object may have.
const METADATA: [&str; 16] = [
    "annotations",
    "clusterName",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

impl Structural {
    /// Takes away what the schema does not know and returns the paths of it, sorted. An object's type and metadata stay.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut found = Vec::new();
        if let Value::Object(fields) = object {
            let kept = ["apiVersion", "kind", "metadata"];
            prune_fields(&self.root, fields, &kept, &mut String::new(), &mut found);
        }
        found.sort();
        found
    }

    /// As `prune`, for a value that is no whole object.
    pub(super) fn prune_value(&self, value: &mut Value) -> Vec<String> {
        let mut found = Vec::new();
        prune(&self.root, value, &mut String::new(), &mut found);
        found
    }
}

fn prune(node: &Node, value: &mut Value, path: &mut String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if node.embedded => {
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                let length = path.len();
                path.push_str(".metadata");
                drop_unknown(metadata, |name| METADATA.contains(&name), path, found);
                path.truncate(length);
            }
            prune_fields(node, fields, &["apiVersion", "kind", "metadata"], path, found);
        }
        Value::Object(fields) => prune_fields(node, fields, &[], path, found),
        Value::Array(items) => {
            let Some(of) = node.items.as_deref() else { return };
            for (index, item) in items.iter_mut().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{index}]"));
                prune(of, item, path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn prune_fields(node: &Node, fields: &mut Map<String, Value>, kept: &[&str], path: &mut String, found: &mut Vec<String>) {
    let closed = !node.preserves && matches!(node.additional, Additional::Refused);
    if closed {
        drop_unknown(fields, |name| kept.contains(&name) || node.properties.contains_key(name), path, found);
    }
    for (name, value) in fields.iter_mut() {
        if kept.contains(&name.as_str()) {
            continue;
        }
        if let Some(of) = node.field(name) {
            let length = path.len();
            push(path, name);
            prune(of, value, path, found);
            path.truncate(length);
        }
    }
}

fn drop_unknown(fields: &mut Map<String, Value>, known: impl Fn(&str) -> bool, path: &str, found: &mut Vec<String>) {
    fields.retain(|name, _| {
        let keep = known(name);
        if !keep {
            let mut full = path.to_owned();
            push(&mut full, name);
            found.push(full);
        }
        keep
    });
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
