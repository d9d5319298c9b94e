//! What a Service's status says.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_core::ResourceExt as _;
use model::revision::RevisionPhase;
use model::{ServiceStatus, labels};

use super::{Stage, copies, is_alive, is_ready};

impl Stage<'_> {
    pub(super) fn service_status(&self) -> ServiceStatus {
        let service = self.observed.service;
        let serving = self.serving();
        let copies = serving.map(|revision| copies::of(revision, self.observed.pods)).unwrap_or_default();
        let ready = copies.iter().filter(|pod| is_ready(pod)).count();
        let wanted: i32 = serving.map_or(0, |revision| revision.spec.template.parts.iter().map(|part| part.replicas).sum());
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let alive = self.observed.pods.iter().filter(|pod| is_alive(pod)).count();
        let whole = serving.is_some() && count(ready) >= wanted;
        ServiceStatus {
            observed_generation: service.metadata.generation.unwrap_or(0),
            active_revision: serving.map(|revision| revision.name_any()),
            latest_revision: Some(self.target.name_any()),
            replicas: count(alive),
            ready_replicas: count(ready),
            selector: format!("{}={}", labels::SERVICE, service.name_any()),
            conditions: vec![self.ready(whole, ready, wanted), self.progressing(), self.degraded(whole)],
        }
    }

    fn ready(&self, whole: bool, ready: usize, wanted: i32) -> Condition {
        match self.serving() {
            Some(revision) => {
                let reason = if whole { "AllCopiesReady" } else { "CopiesNotReady" };
                self.condition("Ready", whole, reason, format!("{}: {ready} of {wanted} copies are ready", revision.name_any()))
            }
            None => self.condition("Ready", false, "NotYetReady", self.awaited()),
        }
    }

    fn progressing(&self) -> Condition {
        let name = self.target.name_any();
        if !self.live && !self.failed {
            return self.condition("Progressing", true, "Starting", format!("{name}: {}", self.awaited()));
        }
        // The Revision's status is written in the same turn: what it will say is what counts.
        let (next, _) = self.target_status(&self.target.status.clone().unwrap_or_default());
        if self.live && next.phase != RevisionPhase::Complete {
            return self.condition("Progressing", true, "Switching", format!("{name}: the copies before finish their requests"));
        }
        self.condition("Progressing", false, "Done", format!("{name}: the rollout is over"))
    }

    fn degraded(&self, whole: bool) -> Condition {
        let failure = self.target.status.as_ref().filter(|status| status.failure.is_some() && !self.live);
        if let Some(status) = failure {
            let detail = status.failure.as_ref().map(|failure| failure.detail.as_str()).unwrap_or_default();
            let message = format!("{}: {}", self.target.name_any(), if detail.is_empty() { &status.message } else { detail });
            return self.condition("Degraded", true, "ProgressDeadlineExceeded", message);
        }
        if self.serving().is_some() && !whole {
            return self.condition("Degraded", true, "CopiesNotReady", "fewer copies are ready than wanted".into());
        }
        self.condition("Degraded", false, "AsWanted", String::new())
    }

    /// A condition, whose time is that of its last change.
    fn condition(&self, name: &str, is_true: bool, reason: &str, message: String) -> Condition {
        let service = self.observed.service;
        let status = if is_true { "True" } else { "False" };
        let old = service.status.iter().flat_map(|status| &status.conditions).find(|old| old.type_ == name && old.status == status);
        Condition {
            type_: name.into(),
            status: status.into(),
            reason: reason.into(),
            message,
            observed_generation: service.metadata.generation,
            last_transition_time: old.map_or(Time(self.observed.now), |old| old.last_transition_time.clone()),
        }
    }
}
