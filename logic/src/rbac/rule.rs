//! One rule of a role.

use serde_json::{Value, json};

use super::Deed;

/// What a rule allows: all of its verbs on all of its resources, or on all of its paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Verbs; `*` is every one.
    pub verbs: Vec<String>,
    /// API groups; `*` is every one.
    pub groups: Vec<String>,
    /// Resources, as `pods`, `pods/log`, `*/scale` or `*`.
    pub resources: Vec<String>,
    /// Names of objects; none means all.
    pub names: Vec<String>,
    /// Paths that are no resources; one that ends with `*` stands for all that begin so.
    pub paths: Vec<String>,
}

impl Rule {
    /// The rules of a role, as its object has them. What is no rule is passed over.
    pub fn list(rules: &Value) -> Vec<Self> {
        rules.as_array().into_iter().flatten().map(Self::read).collect()
    }

    fn read(rule: &Value) -> Self {
        let texts = |field: &str| {
            let list = rule[field].as_array().into_iter().flatten();
            list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        Self {
            verbs: texts("verbs"),
            groups: texts("apiGroups"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            paths: texts("nonResourceURLs"),
        }
    }

    /// The rule as roles and reviews hold it.
    pub fn to_value(&self) -> Value {
        let fields = [
            ("verbs", &self.verbs),
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ];
        let mut value = json!({});
        for (name, texts) in fields {
            if !texts.is_empty() {
                value[name] = json!(texts);
            }
        }
        value
    }

    /// Whether the rule allows a deed.
    pub fn allows(&self, deed: Deed<'_>) -> bool {
        match deed {
            Deed::Resource { verb, group, resource, name, .. } => {
                has(&self.verbs, verb)
                    && has(&self.groups, group)
                    && has_resource(&self.resources, resource)
                    && (self.names.is_empty() || self.names.iter().any(|allowed| allowed == name))
            }
            Deed::Path { verb, path } => has(&self.verbs, verb) && has_path(&self.paths, path),
        }
    }

    /// Whether everything that `other` allows, this rule allows alone.
    pub fn covers(&self, other: &Self) -> bool {
        let names = self.names.is_empty() || !other.names.is_empty() && other.names.iter().all(|name| self.names.contains(name));
        let resources = other.resources.iter().all(|resource| has_resource(&self.resources, resource));
        other.verbs.iter().all(|verb| has(&self.verbs, verb))
            && other.groups.iter().all(|group| has(&self.groups, group))
            && other.paths.iter().all(|path| has_path(&self.paths, path))
            && resources
            && (other.resources.is_empty() || names)
    }
}

fn has(allowed: &[String], text: &str) -> bool {
    allowed.iter().any(|allowed| allowed == "*" || allowed == text)
}

fn has_resource(allowed: &[String], resource: &str) -> bool {
    let subresource = resource.split_once('/').map(|(_, subresource)| subresource);
    has(allowed, resource)
        || subresource.is_some_and(|subresource| allowed.iter().any(|allowed| allowed.strip_prefix("*/") == Some(subresource)))
}

fn has_path(allowed: &[String], path: &str) -> bool {
    allowed.iter().any(|allowed| match allowed.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => allowed == path,
    })
}
