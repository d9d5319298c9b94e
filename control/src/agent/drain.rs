//! Whether requests may still be on their way to a Pod that is being deleted.
//!
//! Whoever deletes a copy of a Service, such as a person, an eviction or a drained node, does not ask its routes first. The Service
//! controller takes it out of the RouteTable as soon as it is being deleted; until every router has that table in force and has
//! finished what was on its way, its programs are not told to end, as far as its grace allows.

use client::Objects;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt as _;
use model::{RouteTable, labels};

use super::Shared;

/// Whether a Pod is waited for. What cannot be read now is looked at again, within the grace of the Pod.
pub async fn has_requests(shared: &Shared, pod: &Pod) -> bool {
    let Some(service) = pod.labels().get(labels::SERVICE).filter(|_| pod.metadata.deletion_timestamp.is_some()) else { return false };
    if !logic::pod::may_finish(pod, shared.clock.now()) {
        return false;
    }
    let tables = Objects::<RouteTable>::namespaced(&shared.client, &pod.namespace().unwrap_or_default());
    let Ok(table) = tables.get(service).await else { return true };
    let Some(table) = table.filter(|table| table.metadata.deletion_timestamp.is_none()) else { return false };
    if table.spec.routes.is_empty() {
        return false;
    }
    let Ok(nodes) = Objects::<Node>::all(&shared.client).list("").await else { return true };
    let ready = nodes.iter().filter(|node| logic::placement::is_ready(node)).map(|node| node.name_any());
    !logic::rollout::is_drained(&pod.name_any(), &table, &ready.collect::<Vec<_>>())
}
