//! A pod, as the controls look at it, and how they tell of its parts.

use serde_json::Value;

/// A pod or the template of one.
pub(super) struct PodView<'a> {
    pub metadata: &'a Value,
    pub spec: &'a Value,
}

impl<'a> PodView<'a> {
    /// All containers, those that come first first.
    pub fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|list| spec[list].as_array().into_iter().flatten())
    }

    /// The names of the containers of which something holds.
    pub fn names(&self, holds: impl Fn(&Value) -> bool) -> Vec<String> {
        self.containers().filter(|container| holds(container)).map(name).collect()
    }

    /// What the pod says for all of its containers.
    pub fn context(&self) -> &'a Value {
        &self.spec["securityContext"]
    }
}

/// A container's name.
pub(super) fn name(container: &Value) -> String {
    container["name"].as_str().unwrap_or_default().to_owned()
}

/// `container "a"` or `containers "a", "b"`, and what is said of them; `None` where there are none.
pub(super) fn of_containers(names: &[String], said: &str) -> Option<String> {
    (!names.is_empty()).then(|| format!("{} {said}", subject(names)))
}

/// `container "a"` or `containers "a", "b"`.
pub(super) fn subject(names: &[String]) -> String {
    format!("{} {}", if names.len() == 1 { "container" } else { "containers" }, quoted(names))
}

/// The pod, containers, or both, as they set something.
pub(super) fn setters(of_pod: bool, names: &[String]) -> Option<String> {
    match (of_pod, names) {
        (false, []) => None,
        (true, []) => Some("pod".into()),
        (false, names) => Some(subject(names)),
        (true, names) => Some(format!("pod and {}", subject(names))),
    }
}

/// `"a", "b"`, each once.
pub(super) fn quoted(words: &[String]) -> String {
    let mut known: Vec<&String> = Vec::new();
    for word in words {
        if !known.contains(&word) {
            known.push(word);
        }
    }
    known.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

/// The texts of a list.
pub(super) fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
