//! Who may do what: roles, their bindings, and the answer to one question.
//!
//! A [`Policy`] holds the rules of all roles and bindings. [`Policy::decide`] walks the bindings of everybody's namespace,
//! then those of the request's, and says which one allows it. Rules only ever allow; there is none that denies.

mod defaults;
mod grant;
mod rule;

use std::collections::BTreeMap;

use serde_json::Value;

pub use defaults::{defaults, merged};
pub use grant::{aggregated, beyond, everything, shown};
pub use rule::Rule;

/// The group whose members may do everything, whatever the roles say.
pub const MASTERS: &str = "system:masters";

/// Somebody who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The user's groups.
    pub groups: &'a [String],
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed<'a> {
    /// Something with a resource.
    Resource {
        /// The verb: `get`, `list`, `create`.
        verb: &'a str,
        /// The API group.
        group: &'a str,
        /// The resource's plural, with a slash and the subresource where it is about one.
        resource: &'a str,
        /// The namespace; empty for what is in none, or in all.
        namespace: &'a str,
        /// The object's name; empty where it is about none.
        name: &'a str,
    },
    /// Something with a path that is no resource.
    Path {
        /// The verb: the method in lower case.
        verb: &'a str,
        /// The path.
        path: &'a str,
    },
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Which binding allows it, in a sentence; `None` when none does.
    pub allowed: Option<String>,
    /// Roles that bindings of the asker name and that are not there.
    pub missing: Vec<String>,
}

/// All roles and bindings. Cheap to ask; changed by [`Policy::set`].
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// By namespace and name; a ClusterRole's namespace is empty.
    roles: BTreeMap<(String, String), Vec<Rule>>,
    bindings: BTreeMap<(String, String), Binding>,
}

/// A binding: whom it gives which role.
#[derive(Debug, Clone, Default)]
struct Binding {
    is_cluster_role: bool,
    role: String,
    subjects: Vec<Subject>,
}

#[derive(Debug, Clone)]
enum Subject {
    User(String),
    Group(String),
    Account { namespace: String, name: String },
}

impl Policy {
    /// Takes in an object of one of the four kinds, or its disappearance. `resource` is its plural; others are passed over.
    pub fn set(&mut self, resource: &str, namespace: &str, name: &str, object: Option<&Value>) {
        let key = (namespace.to_owned(), name.to_owned());
        match (resource, object) {
            ("roles" | "clusterroles", Some(object)) => drop(self.roles.insert(key, Rule::list(&object["rules"]))),
            ("roles" | "clusterroles", None) => drop(self.roles.remove(&key)),
            ("rolebindings" | "clusterrolebindings", Some(object)) => drop(self.bindings.insert(key, Binding::read(object))),
            ("rolebindings" | "clusterrolebindings", None) => drop(self.bindings.remove(&key)),
            _ => {}
        }
    }

    /// Whether `asker` may do `deed`.
    pub fn decide(&self, asker: Asker<'_>, deed: Deed<'_>) -> Decision {
        let namespace = match deed {
            Deed::Resource { namespace, .. } => namespace,
            Deed::Path { .. } => "",
        };
        let mut missing = Vec::new();
        for given in self.given(asker, namespace) {
            match given.rules {
                Some(rules) if rules.iter().any(|rule| rule.allows(deed)) => {
                    return Decision { allowed: Some(given.describe()), missing: Vec::new() };
                }
                Some(_) => {}
                None => missing.push(given.role_missing()),
            }
        }
        Decision { allowed: None, missing }
    }

    /// All rules that hold for `asker` in a namespace, or for what is in none when it is empty.
    pub fn rules_of(&self, asker: Asker<'_>, namespace: &str) -> Vec<Rule> {
        self.given(asker, namespace).filter_map(|given| given.rules).flatten().cloned().collect()
    }

    /// The rules of a role; a ClusterRole's when the namespace is empty.
    pub fn role(&self, namespace: &str, name: &str) -> Option<&[Rule]> {
        self.roles.get(&(namespace.to_owned(), name.to_owned())).map(Vec::as_slice)
    }

    /// The bindings that give `asker` something in a namespace: those for everywhere first.
    fn given<'p>(&'p self, asker: Asker<'p>, namespace: &str) -> impl Iterator<Item = Given<'p>> {
        let of = |namespace: &str| {
            let from = (namespace.to_owned(), String::new());
            let namespace = namespace.to_owned();
            self.bindings.range(from..).take_while(move |((of, _), _)| *of == namespace)
        };
        let here = (!namespace.is_empty()).then(|| of(namespace));
        of("").chain(here.into_iter().flatten()).filter_map(move |(key, binding)| {
            let subject = binding.subjects.iter().find(|subject| subject.is(asker))?;
            let of_role = if binding.is_cluster_role { "" } else { key.0.as_str() };
            Some(Given { key, binding, subject, rules: self.role(of_role, &binding.role) })
        })
    }
}

/// What one binding gives somebody.
struct Given<'p> {
    key: &'p (String, String),
    binding: &'p Binding,
    subject: &'p Subject,
    /// `None` when the role is not there.
    rules: Option<&'p [Rule]>,
}

impl Given<'_> {
    fn describe(&self) -> String {
        let ((namespace, name), role) = (self.key, &self.binding.role);
        let kind = if self.binding.is_cluster_role { "ClusterRole" } else { "Role" };
        let binding = if namespace.is_empty() {
            format!("ClusterRoleBinding {name:?}")
        } else {
            format!("RoleBinding {:?}", format!("{name}/{namespace}"))
        };
        let subject = match self.subject {
            Subject::User(name) => format!("User {name:?}"),
            Subject::Group(name) => format!("Group {name:?}"),
            Subject::Account { namespace, name } => format!("ServiceAccount {:?}", format!("{name}/{namespace}")),
        };
        format!("RBAC: allowed by {binding} of {kind} {role:?} to {subject}")
    }

    fn role_missing(&self) -> String {
        let kind = if self.binding.is_cluster_role { "clusterrole" } else { "role" };
        format!("{kind}.{} {:?} not found", model::rbac::GROUP, self.binding.role)
    }
}

impl Binding {
    fn read(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let subject = |subject: &Value| match subject["kind"].as_str()? {
            "User" => Some(Subject::User(text(&subject["name"]))),
            "Group" => Some(Subject::Group(text(&subject["name"]))),
            "ServiceAccount" => Some(Subject::Account { namespace: text(&subject["namespace"]), name: text(&subject["name"]) }),
            _ => None,
        };
        Self {
            is_cluster_role: object["roleRef"]["kind"] == "ClusterRole",
            role: text(&object["roleRef"]["name"]),
            subjects: object["subjects"].as_array().into_iter().flatten().filter_map(subject).collect(),
        }
    }
}

impl Subject {
    fn is(&self, asker: Asker<'_>) -> bool {
        match self {
            Self::User(name) => name == asker.name,
            Self::Group(name) => asker.groups.contains(name),
            Self::Account { namespace, name } => {
                let rest = asker.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.strip_prefix(namespace.as_str()));
                rest.and_then(|rest| rest.strip_prefix(':')) == Some(name)
            }
        }
    }
}

#[cfg(test)]
mod tests;
