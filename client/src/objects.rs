//! Objects of one kind: reads, and writes that name their cause.

use std::fmt::Debug;

use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use model::{Cause, labels};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Error, Result};

/// Objects of one kind, in one namespace or in all.
#[derive(Clone)]
pub struct Objects<K> {
    api: Api<K>,
    client: Client,
}

/// Makes causes: who writes, and because of which object.
#[derive(Debug, Clone)]
pub struct Because(Cause);

impl Because {
    /// `actor` writes because of `object`.
    pub fn of<K: Resource<DynamicType = ()>>(actor: &str, object: &K) -> Self {
        Self(Cause {
            actor: actor.into(),
            kind: K::kind(&()).into_owned(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            revision: object.resource_version().unwrap_or_default(),
            reason: String::new(),
        })
    }

    /// `actor` writes because of something that is no object of ours, named in a word.
    pub fn circumstance(actor: &str, kind: &str, name: &str) -> Self {
        Self(Cause { actor: actor.into(), kind: kind.into(), name: name.into(), ..Cause::default() })
    }

    /// The cause, with its reason in a short sentence.
    pub fn reason(&self, reason: impl Into<String>) -> Cause {
        Cause { reason: reason.into(), ..self.0.clone() }
    }
}

impl<K> Objects<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    /// Objects of one namespace.
    pub fn namespaced(client: &Client, namespace: &str) -> Self
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Self { api: Api::namespaced(client.clone(), namespace), client: client.clone() }
    }

    /// Objects of all namespaces, or of none. Only for reading where the kind is namespaced.
    pub fn all(client: &Client) -> Self {
        Self { api: Api::all(client.clone()), client: client.clone() }
    }

    /// The plain API, for watches.
    pub fn api(&self) -> Api<K> {
        self.api.clone()
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// An object, or `None`. A name that no object can have, which would be read as another path, is not asked for.
    pub async fn get(&self, name: &str) -> Result<Option<K>> {
        if !is_segment(name) {
            return Ok(None);
        }
        self.api.get_opt(name).await.map_err(|error| failed::<K>("read", name, error))
    }

    /// The objects with these labels; all for an empty selector.
    pub async fn list(&self, selector: &str) -> Result<Vec<K>> {
        let list = self.api.list(&ListParams::default().labels(selector)).await;
        list.map(|list| list.items).map_err(|error| failed::<K>("list", selector, error))
    }

    /// Creates an object. Errors: [`Error::Conflict`] when the name is taken.
    pub async fn create(&self, object: &K, cause: &Cause) -> Result<K> {
        let mut object = object.clone();
        object.annotations_mut().insert(labels::CAUSE.into(), cause.to_annotation());
        let name = object.name_any();
        self.api.create(&PostParams::default(), &object).await.map_err(|error| failed::<K>("create", &name, error))
    }

    /// Replaces an object at the version it carries. Errors: [`Error::Conflict`] when it changed meanwhile.
    pub async fn replace(&self, object: &K, cause: &Cause) -> Result<K> {
        let mut object = object.clone();
        object.annotations_mut().insert(labels::CAUSE.into(), cause.to_annotation());
        let name = object.name_any();
        self.api.replace(&name, &PostParams::default(), &object).await.map_err(|error| failed::<K>("replace", &name, error))
    }

    /// Merges `change` into an object. Carry `metadata.resourceVersion` in it to be told of other writers.
    pub async fn merge(&self, name: &str, change: &Value, cause: &Cause) -> Result<K> {
        let patch = with_cause(change.clone(), cause);
        self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(|error| failed::<K>("change", name, error))
    }

    /// Merges `status` into an object's status. Null removes a field.
    pub async fn merge_status(&self, name: &str, status: &Value, version: Option<&str>, cause: &Cause) -> Result<K> {
        let mut patch = with_cause(json!({"status": status}), cause);
        if let Some(version) = version {
            patch["metadata"]["resourceVersion"] = json!(version);
        }
        let patched = self.api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(|error| failed::<K>("change the status of", name, error))
    }

    /// Deletes an object, if it still has this uid. The cause is written to it first, where it stays while it is going.
    /// `grace_seconds` of 0 ends a Pod's object at once. One that is gone is no error.
    pub async fn delete(&self, name: &str, uid: Option<&str>, grace_seconds: Option<u32>, cause: &Cause) -> Result<()> {
        if grace_seconds != Some(0) {
            match self.merge(name, &json!({}), cause).await {
                Err(Error::NotFound { .. }) => return Ok(()),
                other => other?,
            };
        }
        let preconditions = uid.map(|uid| Preconditions { uid: Some(uid.into()), resource_version: None });
        let parameters = DeleteParams { grace_period_seconds: grace_seconds, preconditions, ..DeleteParams::default() };
        match self.delete_as(name, &parameters).await {
            Err(Error::Conflict { .. }) => Ok(()),
            other => other,
        }
    }

    /// Deletes an object, if it still has this uid and version, and all that it owns. One that is gone is no error.
    /// Errors: [`Error::Conflict`] when it is another or has changed.
    pub async fn delete_with_dependents(&self, name: &str, uid: Option<&str>, version: Option<&str>) -> Result<()> {
        let preconditions = Preconditions { uid: uid.map(str::to_owned), resource_version: version.map(str::to_owned) };
        self.delete_as(name, &DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() }).await
    }

    async fn delete_as(&self, name: &str, parameters: &DeleteParams) -> Result<()> {
        match self.api.delete(name, parameters).await.map_err(|error| failed::<K>("delete", name, error)) {
            Err(Error::NotFound { .. }) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether a name is a path's segment as it stands.
fn is_segment(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@!$&'()*+,;=".contains(&byte);
    !["", ".", ".."].contains(&name) && name.bytes().all(is_plain)
}

fn with_cause(mut change: Value, cause: &Cause) -> Value {
    change["metadata"]["annotations"][labels::CAUSE] = json!(cause.to_annotation());
    change
}

fn failed<K: Resource<DynamicType = ()>>(verb: &str, name: &str, error: kube::Error) -> Error {
    Error::new(format!("could not {verb} {} {name}", K::kind(&())), error)
}

#[cfg(test)]
mod tests {
    use super::is_segment;

    #[test]
    fn a_name_is_asked_for_only_where_it_stands_for_itself() {
        for name in ["shop", "system:controller:a", "a.b-c_d~e", "a+b@c"] {
            assert!(is_segment(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "../secrets/x", "x?dryRun=All", "x#", "%73x", "A B", "ä", "a\n"] {
            assert!(!is_segment(name), "{name}");
        }
    }
}
