//! The kinds whose objects may own others or be owned: all that are kept, in namespaces or beside them.

use client::{Error, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;
use kube::api::{Api, ApiResource, ListParams};
use kube::core::GroupVersionKind;
use model::Scope;

use super::metadata::Metadata;

/// A kind, and how its objects are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// Its names, and the version in which it is read.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// The versions in which it is served.
    versions: Vec<String>,
}

impl Watched {
    fn new(group: &str, kind: &str, plural: &str, namespaced: bool, versions: Vec<String>) -> Option<Self> {
        let gvk = GroupVersionKind::gvk(group, versions.first()?, kind);
        Some(Self { resource: ApiResource::from_gvk_with_plural(&gvk, plural), namespaced, versions })
    }

    /// Whether an owner reference names an object of this kind, in whichever version.
    pub fn is_of(&self, owner: &OwnerReference) -> bool {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        self.resource.kind == owner.kind && self.resource.group == group && self.versions.iter().any(|served| served == version)
    }

    /// The objects of this kind among which one of `namespace` is, or those there are at all.
    pub fn objects(&self, client: &Client, namespace: &str) -> Api<Metadata> {
        if self.namespaced && !namespace.is_empty() {
            Api::namespaced_with(client.clone(), namespace, &self.resource)
        } else {
            Api::all_with(client.clone(), &self.resource)
        }
    }
}

/// Every kind that there is now.
pub async fn all(client: &Client) -> Result<Vec<Watched>> {
    let kinds = model::KINDS.iter().map(|kind| kind()).filter(|kind| kind.is_kept() && kind.form.is_none());
    let mut all: Vec<Watched> = kinds
        .filter_map(|kind| Watched::new(&kind.group, &kind.kind, &kind.plural, kind.scope == Scope::Namespaced, vec![kind.version.clone()]))
        .collect();
    let definitions = Api::<CustomResourceDefinition>::all(client.clone()).list(&ListParams::default()).await;
    let definitions = definitions.map_err(|error| Error::new("could not list the definitions".to_owned(), error))?;
    all.extend(definitions.items.iter().filter_map(defined));
    Ok(all)
}

/// The kind that a definition brings, when it is in force.
fn defined(definition: &CustomResourceDefinition) -> Option<Watched> {
    let conditions = definition.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let is_established = conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True");
    let (spec, names) = (&definition.spec, &definition.spec.names);
    let versions = spec.versions.iter().filter(|version| version.served && is_established).map(|version| version.name.clone());
    Watched::new(&spec.group, &names.kind, &names.plural, spec.scope == "Namespaced", versions.collect())
}
