//! An object that is being deleted waits for what it owns: until that is gone, or belongs to it no more.

use client::Result;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::ListParams;
use serde_json::json;

use super::{Collector, FOREGROUND, ORPHAN, Step, failed, has};

/// How often what is owned is looked for in one go, as others go on writing.
const ROUNDS_MAX: usize = 4;

/// An object with its kind.
type Found = (usize, ObjectMeta);

impl Collector {
    /// Does what the finalizers of an object ask for, which was just read and is being deleted.
    pub(super) async fn release(&self, kind: usize, owner: &ObjectMeta) -> Result<Step> {
        let uid = owner.uid.as_deref().unwrap_or_default();
        if has(owner, ORPHAN) {
            for _ in 0..ROUNDS_MAX {
                let owned = self.owned(kind, owner).await?;
                if owned.is_empty() {
                    return self.drop_finalizer(kind, owner, ORPHAN).await;
                }
                for (kind, object) in &owned {
                    let rest: Vec<_> = object.owner_references.iter().flatten().filter(|reference| reference.uid != uid).collect();
                    self.change(*kind, object, json!({"ownerReferences": rest})).await?;
                }
            }
            return Ok(Step::Again);
        }
        if has(owner, FOREGROUND) {
            let owned = self.owned(kind, owner).await?;
            for (kind, object) in owned.iter().filter(|(_, object)| object.deletion_timestamp.is_none()) {
                self.judge(*kind, object).await?;
            }
            let blocks = |reference: &OwnerReference| reference.uid == uid && reference.block_owner_deletion == Some(true);
            let is_blocked = owned.iter().any(|(_, object)| object.owner_references.iter().flatten().any(blocks));
            return if is_blocked { Ok(Step::Again) } else { self.drop_finalizer(kind, owner, FOREGROUND).await };
        }
        Ok(Step::Done)
    }

    /// What names an object as its owner, asked for anew: what was written shortly before has been told of by no watch.
    async fn owned(&self, kind: usize, owner: &ObjectMeta) -> Result<Vec<Found>> {
        let uid = owner.uid.as_deref().unwrap_or_default();
        let is_owned = |object: &ObjectMeta| object.owner_references.iter().flatten().any(|reference| reference.uid == uid);
        let namespaced = self.kinds.get(kind).is_some_and(|kind| kind.namespaced);
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        let mut found: Vec<Found> = Vec::new();
        for (at, watched) in self.kinds.iter().enumerate().filter(|(_, watched)| watched.namespaced || !namespaced) {
            let listed = watched.objects(&self.client, namespace).list(&ListParams::default()).await;
            let listed = listed.map_err(|error| failed("list", &watched.resource.plural, error))?;
            found.extend(listed.items.into_iter().map(|object| (at, object.metadata)).filter(|(_, object)| is_owned(object)));
        }
        Ok(found)
    }

    async fn drop_finalizer(&self, kind: usize, object: &ObjectMeta, finalizer: &str) -> Result<Step> {
        let rest: Vec<&String> = object.finalizers.iter().flatten().filter(|other| *other != finalizer).collect();
        Ok(self.change(kind, object, json!({"finalizers": rest})).await?.0)
    }
}
