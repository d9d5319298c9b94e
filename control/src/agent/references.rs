//! What Pods name beside themselves, and the news of it.

use futures::stream::{BoxStream, StreamExt as _, select};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt as _};
use logic::pod::volumes::{references, references_of_variables};
use serde::de::DeserializeOwned;

/// An object that a Pod names: its kind, its namespace and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    kind: &'static str,
    namespace: String,
    name: String,
}

const CONFIG_MAP: &str = "ConfigMap";
const SECRET: &str = "Secret";

/// What the volumes and the variables of a Pod are filled from.
pub fn named(pod: &Pod) -> Vec<Named> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let namespace = pod.namespace().unwrap_or_default();
    let mut found = Vec::new();
    for of in [references(spec), references_of_variables(spec)] {
        let config_maps = of.config_maps.into_iter().map(|name| (CONFIG_MAP, name));
        let secrets = of.secrets.into_iter().map(|name| (SECRET, name));
        found.extend(config_maps.chain(secrets).map(|(kind, name)| Named { kind, namespace: namespace.clone(), name }));
    }
    found
}

/// Each ConfigMap and Secret as it changes, comes or goes, without what is in it.
pub fn changes(client: &Client) -> BoxStream<'static, Named> {
    select(of::<ConfigMap>(client, CONFIG_MAP), of::<Secret>(client, SECRET)).boxed()
}

fn of<K>(client: &Client, kind: &'static str) -> BoxStream<'static, Named>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let events = watcher(Api::<PartialObjectMeta<K>>::all(client.clone()), watcher::Config::default()).default_backoff();
    let named =
        move |object: &PartialObjectMeta<K>| Named { kind, namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
    let told = move |event: watcher::Result<watcher::Event<PartialObjectMeta<K>>>| {
        std::future::ready(match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object) | watcher::Event::Delete(object)) => Some(named(&object)),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => None,
            Err(error) => {
                tracing::debug!(%error, kind, "a watch is opened again");
                None
            }
        })
    };
    events.filter_map(told).boxed()
}
