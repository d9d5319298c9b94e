//! The time after the switch in which a new version is watched, and may be taken back.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube_core::ResourceExt as _;
use model::revision::{Failure, RevisionPhase};
use model::route_table::RouterRow;
use model::{RevisionStatus, labels};

use super::{Stage, copies, phase};
use crate::pod;

/// What went wrong while the new version was watched.
struct Broken<'a> {
    reason: &'static str,
    detail: String,
    pod: Option<&'a Pod>,
}

impl Stage<'_> {
    /// When the watch ends; `None` before the switch is written down.
    pub(super) fn watched_until(&self) -> Option<Timestamp> {
        let switched_at = self.target.status.as_ref()?.switched_at?;
        Some(switched_at.checked_add(self.target.spec.template.rollout.watch.get()).unwrap_or(Timestamp::MAX))
    }

    /// Whether the watch is over: its time has passed, and every router has handed in its counts.
    pub(super) fn is_watched(&self) -> bool {
        let is_past = self.watched_until().is_some_and(|until| until <= self.observed.now);
        let counted = |row: &RouterRow| row.counted_revision == self.target.name_any();
        let rows = self.rows();
        is_past && self.observed.routers.iter().all(|node| rows.iter().any(|row| row.node == *node && counted(row)))
    }

    /// The status of a target that is to be taken back, and the Pod whose log shows why; `None` when it may stay.
    pub(super) fn taken_back(&self) -> Option<(RevisionStatus, Option<String>)> {
        let previous = self.previous()?.name_any();
        let current = self.target.status.clone().filter(|status| status.phase == RevisionPhase::Switched)?;
        let (failure, message) = self.failure_in_watch()?;
        let status = RevisionStatus {
            phase: RevisionPhase::Failed,
            message: format!("taken back to {previous}: {message}"),
            finished_at: Some(self.observed.now),
            receipt: Some(self.counted(&current)),
            rolled_back_to: Some(previous),
            ..current
        };
        let log_of = Some(failure.pod.clone()).filter(|pod| !pod.is_empty());
        Some((self.with_conditions(RevisionStatus { failure: Some(failure), ..status }), log_of))
    }

    /// What failed while the target was watched, and in a sentence.
    pub(super) fn failure_in_watch(&self) -> Option<(Failure, String)> {
        if !self.live || phase(self.target) != RevisionPhase::Switched {
            return None;
        }
        let Broken { reason, detail, pod } = self.ended_copy().or_else(|| self.failed_requests())?;
        let pod = pod.map(|pod| pod.name_any()).unwrap_or_default();
        let message = if pod.is_empty() { detail.clone() } else { format!("{pod} ended while it was watched; {detail}") };
        Some((Failure { reason: reason.into(), pod, detail, log: Vec::new() }, message))
    }

    /// A copy that was started for the target and ended in the time of the watch. Adopted copies tell nothing of what is new.
    fn ended_copy(&self) -> Option<Broken<'_>> {
        let switched_at = self.target.status.as_ref()?.switched_at?.as_second();
        let until = self.watched_until()?.as_second();
        let is_watched = self.is_watched();
        let name = self.target.name_any();
        let is_new = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none() && pod.labels().get(labels::REVISION) == Some(&name);
        // The times of a Pod's status are whole seconds.
        let in_watch = |end: Timestamp| end.as_second() >= switched_at && (!is_watched || end.as_second() <= until);
        let pod = self.observed.pods.iter().filter(is_new).find(|pod| copies::ends(pod).any(in_watch))?;
        Some(Broken { reason: "CopyEnded", detail: pod::why_ended(pod), pod: Some(pod) })
    }

    fn failed_requests(&self) -> Option<Broken<'_>> {
        let most = self.target.spec.template.rollout.max_failed_requests?;
        let failed = self.is_watched().then(|| self.counted(&RevisionStatus::default()).failed)??;
        let detail = format!("{failed} requests failed, where maxFailedRequests is {most}");
        (failed > most).then_some(Broken { reason: "TooManyFailedRequests", detail, pod: None })
    }
}
