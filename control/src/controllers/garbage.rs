//! What belongs to something that is gone goes too, by owner references and in the three ways that deletions ask for.
//!
//! One watch a kind, of metadata alone, keeps a graph of who owns whom. Watches lag, each by itself, so the graph only says where
//! to look: nothing is changed or deleted but after a fresh read of it and of its owners, and only as it was read then.

mod graph;
mod kinds;
mod metadata;
mod release;
mod verdict;

use std::collections::BTreeSet;
use std::time::Duration;

use client::{Error, Result};
use futures::stream::{BoxStream, SelectAll, StreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PartialObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use model::{Cause, labels};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use graph::{Graph, Known};
use kinds::Watched;
use metadata::Metadata;
use verdict::{Owner, Verdict, verdict};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const RETRY: Duration = Duration::from_secs(1);

type Definitions = BoxStream<'static, watcher::Result<watcher::Event<PartialObjectMeta<CustomResourceDefinition>>>>;
type Seen = (usize, watcher::Event<Metadata>);

/// Runs until `stop` is cancelled; begins anew when there are other kinds to look after.
pub async fn run(client: Client, stop: CancellationToken) {
    let definitions = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client.clone());
    let mut definitions = watcher(definitions, watcher::Config::default()).default_backoff().boxed();
    while !stop.is_cancelled() {
        let kinds = match kinds::all(&client).await {
            Ok(kinds) => kinds,
            Err(error) => {
                tracing::warn!(%error, "garbage cannot be looked for");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        tokio::select! {
            () = collect(client.clone(), kinds.clone(), stop.clone()) => return,
            () = other_kinds(&client, &kinds, &mut definitions) => {}
        }
    }
}

/// Waits until there are other kinds than these.
async fn other_kinds(client: &Client, kinds: &[Watched], definitions: &mut Definitions) {
    while definitions.next().await.is_some() {
        if kinds::all(client).await.is_ok_and(|now| now != kinds) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn collect(client: Client, kinds: Vec<Watched>, stop: CancellationToken) {
    let mut watches = SelectAll::new();
    for (at, kind) in kinds.iter().enumerate() {
        let watch = watcher(kind.objects(&client, ""), watcher::Config::default()).default_backoff();
        watches.push(watch.filter_map(move |event| async move { event.ok().map(|event| (at, event)) }).boxed());
    }
    let unsynced = (0..kinds.len()).collect();
    let mut collector = Collector { client, kinds, objects: Graph::default(), unsynced, again: BTreeSet::new() };
    loop {
        let pause = if collector.again.is_empty() { Duration::from_secs(3_600) } else { RETRY };
        tokio::select! {
            () = stop.cancelled() => return,
            Some(seen) = watches.next() => collector.see(seen).await,
            () = tokio::time::sleep(pause) => collector.retry().await,
        }
    }
}

/// Whether what was to be done is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Done,
    /// Somebody else wrote meanwhile, or others must go first: it is looked at again.
    Again,
}

struct Collector {
    client: Client,
    kinds: Vec<Watched>,
    objects: Graph,
    /// Kinds whose first list has not been read to its end.
    unsynced: BTreeSet<usize>,
    /// Objects to look at again.
    again: BTreeSet<String>,
}

impl Collector {
    async fn see(&mut self, (kind, event): Seen) {
        let concerned = match event {
            watcher::Event::Init => {
                self.objects.doubt(kind);
                return;
            }
            watcher::Event::InitApply(object) => self.learn(kind, object).into_iter().collect(),
            watcher::Event::InitDone => {
                let gone = self.objects.forget_doubted(kind);
                let concerned = gone.iter().flat_map(|uid| self.objects.dependents(uid)).collect();
                if self.unsynced.remove(&kind) && self.unsynced.is_empty() { self.objects.all() } else { concerned }
            }
            watcher::Event::Apply(object) => self.learn(kind, object).into_iter().collect(),
            watcher::Event::Delete(object) => {
                let uid = object.uid().unwrap_or_default();
                let owners = object.owner_references().iter().map(|owner| owner.uid.clone());
                let mut concerned = self.objects.dependents(&uid);
                concerned.extend(owners.filter(|owner| self.objects.get(owner).is_some_and(Known::waits)));
                self.objects.forget(&uid);
                concerned
            }
        };
        if self.unsynced.is_empty() {
            self.examine_all(concerned).await;
        }
    }

    async fn retry(&mut self) {
        let again = std::mem::take(&mut self.again);
        self.examine_all(again.into_iter().collect()).await;
    }

    /// Takes in an object; its uid, where there may be something to do about it.
    fn learn(&mut self, kind: usize, object: Metadata) -> Option<String> {
        let metadata = object.metadata;
        let uid = metadata.uid.unwrap_or_default();
        let known = Known {
            kind,
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
            match self.examine(&uid, &known).await {
                Ok(Step::Done) => {}
                Ok(Step::Again) => {
                    self.again.insert(uid);
                }
                Err(error) => {
                    tracing::warn!(object = %known.name, %error, "garbage could not be collected");
                    self.again.insert(uid);
                }
            }
        }
    }

    async fn examine(&mut self, uid: &str, known: &Known) -> Result<Step> {
        let waits = |finalizer: &String| finalizer == ORPHAN || finalizer == FOREGROUND;
        let may_release = known.deleting && known.finalizers.iter().any(waits);
        let may_be_garbage = !known.deleting && !known.owners.iter().all(|owner| self.objects.has(&owner.uid));
        if !may_release && !may_be_garbage {
            return Ok(Step::Done);
        }
        let Some(fresh) = self.read(known.kind, &known.namespace, &known.name, uid).await? else { return Ok(Step::Done) };
        if fresh.deletion_timestamp.is_some() { self.release(known.kind, &fresh).await } else { self.judge(known.kind, &fresh).await }
    }

    /// The metadata of an object as it is now; none when it is gone, or another has its name.
    async fn read(&self, kind: usize, namespace: &str, name: &str, uid: &str) -> Result<Option<ObjectMeta>> {
        let Some(api) = self.api(kind, namespace) else { return Ok(None) };
        let found = api.get_opt(name).await.map_err(|error| failed("read", name, error))?;
        Ok(found.map(|found| found.metadata).filter(|metadata| metadata.uid.as_deref() == Some(uid)))
    }

    /// Does what follows for an object, as it was just read, from its owners.
    async fn judge(&self, kind: usize, object: &ObjectMeta) -> Result<Step> {
        let mut owners = Vec::new();
        for reference in object.owner_references.iter().flatten() {
            owners.push((reference.clone(), self.owner(kind, object, reference).await?));
        }
        match verdict(&owners) {
            Verdict::Keep => Ok(Step::Done),
            Verdict::Reown(owners) => Ok(self.change(kind, object, json!({"ownerReferences": owners})).await?.0),
            Verdict::Delete { waited_for } => self.delete(kind, object, waited_for).await,
        }
    }

    /// What an owner is at this moment. One that the graph still has, but that is gone, will be told of by its watch.
    async fn owner(&self, kind: usize, of: &ObjectMeta, owner: &OwnerReference) -> Result<Owner> {
        let Some(at) = self.kinds.iter().position(|watched| watched.is_of(owner)) else { return Ok(Owner::Unknown) };
        let is_namespaced = |kind: usize| self.kinds.get(kind).is_some_and(|watched| watched.namespaced);
        if is_namespaced(at) && !is_namespaced(kind) {
            return Ok(Owner::Unknown); // no namespace says where it would be
        }
        let namespace = of.namespace.as_deref().unwrap_or_default();
        let found = self.read(at, namespace, &owner.name, &owner.uid).await?;
        Ok(match found {
            None if self.objects.has(&owner.uid) => Owner::Unknown,
            None => Owner::Absent,
            Some(found) if found.deletion_timestamp.is_some() && has(&found, FOREGROUND) => Owner::Waiting,
            Some(_) => Owner::Solid,
        })
    }

    fn api(&self, kind: usize, namespace: &str) -> Option<Api<Metadata>> {
        Some(self.kinds.get(kind)?.objects(&self.client, namespace))
    }

    /// Changes the metadata of an object as it was read, and says why. Returns what it is then.
    async fn change(&self, kind: usize, object: &ObjectMeta, mut metadata: Value) -> Result<(Step, Option<ObjectMeta>)> {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let (Some(api), Some(name)) = (self.api(kind, namespace), &object.name) else { return Ok((Step::Done, None)) };
        metadata["uid"] = json!(object.uid);
        metadata["resourceVersion"] = json!(object.resource_version);
        metadata["annotations"] = json!({labels::CAUSE: cause(object).to_annotation()});
        match api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"metadata": metadata}))).await {
            Ok(changed) => Ok((Step::Done, Some(changed.metadata))),
            Err(error) => Ok((outcome(error, "change", name)?, None)),
        }
    }

    /// Deletes an object, provided that nobody changes it first.
    async fn delete(&self, kind: usize, object: &ObjectMeta, waited_for: bool) -> Result<Step> {
        let uid = object.uid.as_deref().unwrap_or_default();
        let owns = self.objects.dependents(uid);
        let is_waiting = |uid: &String| self.objects.get(uid).is_some_and(|known| known.deleting && known.waits());
        let mut metadata = json!({});
        if waited_for && owns.iter().any(is_waiting) {
            // Two that own each other would wait for each other.
            let unblocked = |owner: &OwnerReference| OwnerReference { block_owner_deletion: Some(false), ..owner.clone() };
            metadata["ownerReferences"] = json!(object.owner_references.iter().flatten().map(unblocked).collect::<Vec<_>>());
        }
        let (step, changed) = self.change(kind, object, metadata).await?;
        let Some(object) = changed else { return Ok(step) };
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let (Some(api), Some(name)) = (self.api(kind, namespace), &object.name) else { return Ok(Step::Done) };
        let policy = match (waited_for && !owns.is_empty(), has(&object, ORPHAN), has(&object, FOREGROUND)) {
            (false, true, _) => PropagationPolicy::Orphan,
            (true, ..) | (false, false, true) => PropagationPolicy::Foreground,
            (false, false, false) => PropagationPolicy::Background,
        };
        let preconditions = Some(Preconditions { uid: object.uid.clone(), resource_version: object.resource_version.clone() });
        let how = DeleteParams { preconditions, propagation_policy: Some(policy), ..DeleteParams::default() };
        match api.delete(name, &how).await {
            Ok(_) => Ok(Step::Done),
            Err(error) => outcome(error, "delete", name),
        }
    }
}

fn has(object: &ObjectMeta, finalizer: &str) -> bool {
    object.finalizers.iter().flatten().any(|other| other == finalizer)
}

fn cause(object: &ObjectMeta) -> Cause {
    let owner = object.owner_references.iter().flatten().next();
    Cause {
        actor: "garbage-collector".into(),
        kind: owner.map(|owner| owner.kind.clone()).unwrap_or_default(),
        namespace: object.namespace.clone().unwrap_or_default(),
        name: owner.map(|owner| owner.name.clone()).unwrap_or_default(),
        uid: owner.map(|owner| owner.uid.clone()).unwrap_or_default(),
        revision: String::new(),
        reason: "its owner is gone or going".into(),
    }
}

/// What follows from a write that was refused: what is gone needs nothing more, and what was changed is read again.
fn outcome(error: kube::Error, verb: &str, name: &str) -> Result<Step> {
    match error {
        kube::Error::Api(status) if status.code == 404 => Ok(Step::Done),
        kube::Error::Api(status) if status.code == 409 => Ok(Step::Again),
        error => Err(failed(verb, name, error)),
    }
}

fn failed(verb: &str, name: &str, source: kube::Error) -> Error {
    Error::new(format!("could not {verb} {name}"), source)
}
