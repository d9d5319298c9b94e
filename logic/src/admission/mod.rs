//! What is asked before something is stored: which policies and webhooks a request concerns, and what they say of it.
//!
//! A [`Request`] is what somebody wants to do; [`matching`] says whom it concerns, [`Policy`] what a policy finds, [`review`]
//! what a webhook is sent and what its answer means.

pub mod matching;
mod mutation;
mod policy;
pub mod review;

use serde_json::{Value, json};

use crate::rules::{Authorizer, Target};

pub use mutation::Changed;
pub use policy::{Finding, Params, Policy, conditions, problems};

/// What somebody wants to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'static str,
    /// What it is done to.
    pub resource: Resource,
    /// What follows the name in the path; empty for nothing.
    pub subresource: String,
    /// The same resource in other groups or versions.
    pub equivalents: Vec<Resource>,
    /// The object's name; empty while it has none.
    pub name: String,
    /// Its namespace; empty beside namespaces.
    pub namespace: String,
    /// The namespace as an object; null beside namespaces.
    pub namespace_object: Value,
    /// The object as it would be; null when it goes.
    pub object: Value,
    /// The object as it was; null when it is new.
    pub old_object: Value,
    /// The options of the request.
    pub options: Value,
    /// Whether nothing is stored.
    pub dry_run: bool,
    /// Who asks: `username`, `uid`, `groups`, `extra`.
    pub user: Value,
    /// What they may do.
    pub authorizer: Authorizer,
}

/// A resource, and the kind of its objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    /// The API group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural.
    pub plural: String,
    /// The kind of what is sent.
    pub kind: String,
    /// The `apiVersion` of what is sent, where it is another than the resource's: a Scale, an Eviction.
    pub kind_api: Option<String>,
}

impl Resource {
    fn gvk(&self) -> Value {
        let (group, version) = match self.kind_api.as_deref().map(|api| api.split_once('/').unwrap_or(("", api))) {
            Some(other) => other,
            None => (self.group.as_str(), self.version.as_str()),
        };
        json!({"group": group, "version": version, "kind": self.kind})
    }

    fn gvr(&self) -> Value {
        json!({"group": self.group, "version": self.version, "resource": self.plural})
    }

    /// `group/version`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

impl Request {
    /// The request as expressions and webhooks see it, by the resource that was matched.
    fn told(&self, matched: &Resource) -> Value {
        let mut told = json!({
            "kind": matched.gvk(), "resource": matched.gvr(), "requestKind": self.resource.gvk(), "requestResource": self.resource.gvr(),
            "name": self.name, "operation": self.operation, "userInfo": self.user, "dryRun": self.dry_run, "options": self.options,
        });
        if !self.namespace.is_empty() {
            told["namespace"] = json!(self.namespace);
        }
        if !self.subresource.is_empty() {
            told["subResource"] = json!(self.subresource);
            told["requestSubResource"] = json!(self.subresource);
        }
        told
    }

    /// What is done, for whoever asks whether somebody may do it.
    fn target(&self) -> Target {
        Target {
            group: self.resource.group.clone(),
            resource: self.resource.plural.clone(),
            subresource: self.subresource.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// An object of the request in the version that was matched.
    fn shown(&self, object: &Value, matched: &Resource) -> Value {
        let mut object = object.clone();
        if object.is_object() && *matched != self.resource && matched.kind_api.is_none() {
            object["apiVersion"] = json!(matched.api_version());
        }
        object
    }
}
