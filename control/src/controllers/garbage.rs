//! What belongs to something that is gone goes too, by owner references and in the three ways that deletions ask for.
//!
//! One watch a kind, of metadata alone, keeps a graph of who owns whom. An owner that disappears takes along what has no
//! other owner; an object whose owner was never seen is asked for before anything is done about it.

mod graph;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use client::{Error, Result};
use futures::stream::{BoxStream, SelectAll, StreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, PartialObjectMeta, Patch, PatchParams, Preconditions};
use kube::core::DynamicResourceScope;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt as _};
use model::{Cause, labels};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::namespaces::namespaced_resources;
use graph::{Graph, Known};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const RETRY: Duration = Duration::from_secs(1);

type Definitions = BoxStream<'static, watcher::Result<watcher::Event<PartialObjectMeta<CustomResourceDefinition>>>>;
type Seen = (usize, watcher::Event<Metadata>);

/// The metadata of any object, without what is not looked at here: most of it says who wrote which field.
#[derive(Debug, Clone, Deserialize)]
struct Metadata {
    #[serde(deserialize_with = "needed")]
    metadata: ObjectMeta,
}

fn needed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Needed {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        owner_references: Option<Vec<OwnerReference>>,
        finalizers: Option<Vec<String>>,
        deletion_timestamp: Option<Time>,
    }
    let Needed { name, namespace, uid, resource_version, owner_references, finalizers, deletion_timestamp } =
        Needed::deserialize(deserializer)?;
    Ok(ObjectMeta { name, namespace, uid, resource_version, owner_references, finalizers, deletion_timestamp, ..ObjectMeta::default() })
}

impl Resource for Metadata {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(resource)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(resource)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(resource)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(resource)
    }

    fn metadata_api() -> bool {
        true
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Runs until `stop` is cancelled; begins anew when there are other kinds to look after.
pub async fn run(client: Client, stop: CancellationToken) {
    let definitions = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client.clone());
    let mut definitions = watcher(definitions, watcher::Config::default()).default_backoff().boxed();
    while !stop.is_cancelled() {
        let resources = match namespaced_resources(&client).await {
            Ok(resources) => resources,
            Err(error) => {
                tracing::warn!(%error, "garbage cannot be looked for");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        tokio::select! {
            () = collect(client.clone(), resources.clone(), stop.clone()) => return,
            () = other_kinds(&client, &resources, &mut definitions) => {}
        }
    }
}

/// Waits until there are other kinds than these.
async fn other_kinds(client: &Client, resources: &[ApiResource], definitions: &mut Definitions) {
    while definitions.next().await.is_some() {
        if namespaced_resources(client).await.is_ok_and(|now| now != resources) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn collect(client: Client, resources: Vec<ApiResource>, stop: CancellationToken) {
    let mut watches = SelectAll::new();
    for (at, resource) in resources.iter().enumerate() {
        let api = Api::<Metadata>::all_with(client.clone(), resource);
        let watch = watcher(api, watcher::Config::default()).default_backoff();
        watches.push(watch.filter_map(move |event| async move { event.ok().map(|event| (at, event)) }).boxed());
    }
    let mut collector = Collector { client, resources, objects: Graph::default(), unsynced: BTreeSet::new(), again: BTreeSet::new() };
    collector.unsynced = (0..collector.resources.len()).collect();
    loop {
        let pause = if collector.again.is_empty() { Duration::from_secs(3_600) } else { RETRY };
        tokio::select! {
            () = stop.cancelled() => return,
            Some(seen) = watches.next() => collector.see(seen).await,
            () = tokio::time::sleep(pause) => collector.retry().await,
        }
    }
}

struct Collector {
    client: Client,
    resources: Vec<ApiResource>,
    objects: Graph,
    /// Kinds whose first list has not been read to its end.
    unsynced: BTreeSet<usize>,
    /// Objects to look at again.
    again: BTreeSet<String>,
}

impl Collector {
    async fn see(&mut self, (resource, event): Seen) {
        match event {
            watcher::Event::Init => {}
            watcher::Event::InitApply(object) => {
                self.learn(resource, object);
            }
            watcher::Event::InitDone => {
                self.unsynced.remove(&resource);
                if self.unsynced.is_empty() {
                    self.examine_all(self.objects.all()).await;
                }
            }
            watcher::Event::Apply(object) => {
                let concerned = self.learn(resource, object);
                if self.unsynced.is_empty() {
                    self.examine_all(concerned.into_iter().collect()).await;
                }
            }
            watcher::Event::Delete(object) => {
                let uid = object.uid().unwrap_or_default();
                self.objects.forget(&uid);
                if self.unsynced.is_empty() {
                    self.examine_all(self.objects.dependents(&uid)).await;
                }
            }
        }
    }

    async fn retry(&mut self) {
        let again = std::mem::take(&mut self.again);
        self.examine_all(again.into_iter().collect()).await;
    }

    /// Takes in an object; its uid, where there may be something to do about it.
    fn learn(&mut self, resource: usize, object: Metadata) -> Option<String> {
        let metadata = object.metadata;
        let uid = metadata.uid.unwrap_or_default();
        let known = Known {
            resource,
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            owners: metadata.owner_references.unwrap_or_default(),
            finalizers: metadata.finalizers.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
        };
        self.objects.learn(&uid, known).then_some(uid)
    }

    async fn examine_all(&mut self, uids: Vec<String>) {
        for uid in uids {
            let Some(known) = self.objects.get(&uid).cloned() else { continue };
            if let Err(error) = self.examine(&uid, &known).await {
                tracing::warn!(object = %known.name, %error, "garbage could not be collected");
                self.again.insert(uid);
            }
        }
    }

    async fn examine(&mut self, uid: &str, known: &Known) -> Result<()> {
        if known.deleting {
            return self.release(uid, known).await;
        }
        if known.owners.is_empty() {
            return Ok(());
        }
        let mut there = Vec::new();
        for owner in &known.owners {
            if self.objects.has(&owner.uid) || self.is_there(known, owner).await? {
                there.push(owner);
            }
        }
        match there.len() {
            0 => self.delete(uid, known).await,
            some if some == known.owners.len() => Ok(()),
            _ => self.patch(known, json!({"metadata": {"ownerReferences": there}})).await,
        }
    }

    /// Whether an owner that the graph does not know is there after all.
    async fn is_there(&self, known: &Known, owner: &OwnerReference) -> Result<bool> {
        let Some(resource) =
            self.resources.iter().find(|resource| resource.kind == owner.kind && resource.api_version == owner.api_version)
        else {
            return Ok(true); // not a kind we watch: leave it alone
        };
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &known.namespace, resource);
        let found = api.get_opt(&owner.name).await.map_err(|error| failed("read", &owner.name, error))?;
        Ok(found.is_some_and(|found| found.uid().as_deref() == Some(&owner.uid)))
    }

    /// An object that is being deleted waits, in the foreground, for its dependents, or lets them go as orphans.
    async fn release(&mut self, uid: &str, known: &Known) -> Result<()> {
        let has = |name: &str| known.finalizers.iter().any(|finalizer| finalizer == name);
        if has(ORPHAN) || has(FOREGROUND) {
            self.learn_dependents(uid, known).await?;
        }
        let dependents = self.objects.dependents(uid);
        if has(ORPHAN) {
            for dependent in dependents {
                let Some(object) = self.objects.get(&dependent).cloned() else { continue };
                let owners: Vec<&OwnerReference> = object.owners.iter().filter(|owner| owner.uid != uid).collect();
                self.patch(&object, json!({"metadata": {"ownerReferences": owners}})).await?;
            }
            self.drop_finalizer(known, ORPHAN).await?;
        } else if has(FOREGROUND) {
            if dependents.is_empty() {
                return self.drop_finalizer(known, FOREGROUND).await;
            }
            for dependent in dependents {
                let Some(object) = self.objects.get(&dependent).cloned() else { continue };
                if !object.deleting {
                    self.delete(&dependent, &object).await?;
                }
            }
            self.again.insert(uid.to_owned());
        }
        Ok(())
    }

    /// Asks for dependents that were written so shortly before that no watch has told of them: before an owner goes, none may
    /// be missed.
    async fn learn_dependents(&mut self, uid: &str, owner: &Known) -> Result<()> {
        for (at, resource) in self.resources.clone().iter().enumerate() {
            let api = Api::<Metadata>::namespaced_with(self.client.clone(), &owner.namespace, resource);
            let listed = api.list(&ListParams::default()).await.map_err(|error| failed("list", &resource.plural, error))?;
            let owned = |object: &Metadata| object.owner_references().iter().any(|owner| owner.uid == uid);
            for object in listed.items.into_iter().filter(owned) {
                self.learn(at, object);
            }
        }
        Ok(())
    }

    async fn drop_finalizer(&self, known: &Known, finalizer: &str) -> Result<()> {
        let rest: Vec<&String> = known.finalizers.iter().filter(|other| *other != finalizer).collect();
        self.patch(known, json!({"metadata": {"finalizers": rest}})).await
    }

    fn api(&self, known: &Known) -> Option<Api<DynamicObject>> {
        let resource = self.resources.get(known.resource)?;
        Some(Api::namespaced_with(self.client.clone(), &known.namespace, resource))
    }

    async fn patch(&self, known: &Known, change: serde_json::Value) -> Result<()> {
        let Some(api) = self.api(known) else { return Ok(()) };
        let patched = api.patch(&known.name, &PatchParams::default(), &Patch::Merge(with_cause(change, known))).await;
        gone_is_fine(patched.map(|_| ()), "change", &known.name)
    }

    async fn delete(&self, uid: &str, known: &Known) -> Result<()> {
        let Some(api) = self.api(known) else { return Ok(()) };
        self.patch(known, json!({})).await?;
        let preconditions = Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let deleted = api.delete(&known.name, &DeleteParams { preconditions, ..DeleteParams::default() }).await;
        gone_is_fine(deleted.map(|_| ()), "delete", &known.name)
    }
}

fn with_cause(mut change: serde_json::Value, known: &Known) -> serde_json::Value {
    let owner = known.owners.first();
    let cause = Cause {
        actor: "garbage-collector".into(),
        kind: owner.map(|owner| owner.kind.clone()).unwrap_or_default(),
        namespace: known.namespace.clone(),
        name: owner.map(|owner| owner.name.clone()).unwrap_or_default(),
        uid: owner.map(|owner| owner.uid.clone()).unwrap_or_default(),
        revision: String::new(),
        reason: "its owner is gone or going".into(),
    };
    change["metadata"]["annotations"][labels::CAUSE] = json!(cause.to_annotation());
    change
}

fn gone_is_fine(result: std::result::Result<(), kube::Error>, verb: &str, name: &str) -> Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(error) => Err(failed(verb, name, error)),
        Ok(()) => Ok(()),
    }
}

fn failed(verb: &str, name: &str, source: kube::Error) -> Error {
    Error::new(format!("could not {verb} {name}"), source)
}
