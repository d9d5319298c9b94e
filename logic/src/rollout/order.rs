//! Which copies must be gone before others start, because two cannot run side by side or are not to.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube_core::ResourceExt as _;
use model::service::StrategyType;
use model::{Revision, labels};

use super::{Stage, copies};

impl Stage<'_> {
    /// Whether a copy of the Revision that serves is stopped before the target's copies start.
    pub(super) fn gives_way(&self, pod: &Pod) -> bool {
        !self.live && !self.failed && !copies::is_of(pod, self.target) && self.are_rivals(self.target, pod)
    }

    /// Whether a copy cannot be made yet, because what it cannot run beside is still there.
    pub(super) fn waits_for_room(&self, revision: &Revision, pod: &Pod) -> bool {
        let part = pod.labels().get(labels::PART);
        let there = self.observed.pods.iter();
        let mut rivals = there.filter(|other| !copies::is_of(other, revision) || other.metadata.deletion_timestamp.is_some());
        rivals.any(|other| match order(revision) {
            Some(StrategyType::RollingUpdate) => false,
            Some(StrategyType::Recreate) => !copies::is_of(other, revision) && self.is_replaced_by(other, part),
            None => self.lack_nodes(revision, pod.spec.as_ref(), other),
        })
    }

    /// What the copies before must make room for, in a few words; `None` when they may stay until the routes have moved.
    pub(super) fn room(&self) -> Option<String> {
        let giving_way = self.observed.pods.iter().find(|pod| self.gives_way(pod))?;
        if order(self.target) == Some(StrategyType::Recreate) {
            return Some("the strategy is Recreate".into());
        }
        let ports: Vec<String> = ports(giving_way.spec.as_ref()).iter().map(ToString::to_string).collect();
        Some(format!("two copies cannot have host port {} of one node", ports.join(", ")))
    }

    /// Whether a Pod cannot run beside the copies of a Revision.
    fn are_rivals(&self, revision: &Revision, other: &Pod) -> bool {
        let parts = || revision.spec.template.parts.iter().filter(|part| part.replicas > 0);
        match order(revision) {
            Some(StrategyType::RollingUpdate) => false,
            Some(StrategyType::Recreate) => {
                let part = other.labels().get(labels::PART);
                part.is_none_or(|part| parts().any(|kept| kept.name == *part) || !revision.spec.parts.iter().any(|kept| kept.name == *part))
            }
            None => parts().any(|part| self.lack_nodes(revision, part.pod.spec.as_ref(), other)),
        }
    }

    /// Whether a Pod is of the part of that name, or of one that is no more.
    fn is_replaced_by(&self, other: &Pod, part: Option<&String>) -> bool {
        let own = other.labels().get(labels::PART);
        own == part || own.is_none_or(|own| !self.target.spec.parts.iter().any(|kept| kept.name == *own))
    }

    /// Whether a Pod holds a port of its node that copies of a Revision need, and there are too few nodes for all of them.
    fn lack_nodes(&self, revision: &Revision, needed: Option<&PodSpec>, other: &Pod) -> bool {
        let needed = ports(needed);
        let holds = |pod: &&Pod| !ports(pod.spec.as_ref()).is_disjoint(&needed);
        if needed.is_empty() || !holds(&other) {
            return false;
        }
        let own = |pod: &&Pod| copies::is_of(pod, revision) && pod.metadata.deletion_timestamp.is_none();
        let holders = self.observed.pods.iter().filter(holds).filter(|pod| !own(pod) && pod.name_any() != other.name_any());
        let wanted = revision.spec.template.parts.iter().filter(|part| !ports(part.pod.spec.as_ref()).is_disjoint(&needed));
        let wanted: usize = wanted.map(|part| usize::try_from(part.replicas).unwrap_or(0)).sum();
        holders.count() + 1 + wanted > self.observed.routers.len().max(1)
    }
}

fn order(revision: &Revision) -> Option<StrategyType> {
    revision.spec.template.rollout.strategy.as_ref().map(|strategy| strategy.order)
}

/// The ports of its node that a Pod takes for itself.
fn ports(spec: Option<&PodSpec>) -> BTreeSet<i32> {
    let containers = spec.into_iter().flat_map(|spec| &spec.containers);
    containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| port.host_port).filter(|port| *port > 0).collect()
}
