//! How a rollout is written down: its phases, its receipt, its failure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ResourceExt as _;
use model::revision::{Failure, Receipt, RevisionPhase};
use model::route_table::RouterRow;
use model::{Duration, Revision, RevisionStatus, labels};

use super::status::condition;
use super::{Change, REVISIONS_KEPT, Stage, copies, is_ready, phase};
use crate::pod;

impl Stage<'_> {
    /// The status of every Revision that this moment changes, and the Revisions to forget.
    pub(super) fn revisions(&self, changes: &mut Vec<Change>) {
        let current = self.target.status.clone().unwrap_or_default();
        let (next, log_of) = self.target_status(&current);
        let is_complete = next.phase == RevisionPhase::Complete;
        if next != current {
            changes.push(Change::SetRevisionStatus { name: self.target.name_any(), status: Box::new(next), log_of });
        }
        if self.live && is_complete {
            self.supersede(changes);
        }
        self.restore(changes);
        let mut old: Vec<&Revision> = self.observed.revisions.iter().filter(|revision| !self.is_needed(revision)).collect();
        old.sort_by_key(|revision| revision.spec.number);
        let excess = self.observed.revisions.len().saturating_sub(REVISIONS_KEPT);
        changes.extend(old.into_iter().take(excess).map(|revision| Change::DeleteRevision { name: revision.name_any() }));
    }

    fn is_needed(&self, revision: &Revision) -> bool {
        let name = revision.name_any();
        let is = |other: Option<&Revision>| other.is_some_and(|other| other.name_any() == name);
        name == self.target.name_any() || is(self.active) || is(self.previous())
    }

    /// What serves because a newer one failed is complete, however far its own rollout was.
    fn restore(&self, changes: &mut Vec<Change>) {
        let Some(active) = self.active.filter(|active| self.failed && phase(active) != RevisionPhase::Complete) else { return };
        let current = active.status.clone().unwrap_or_default();
        let message = format!("serves again: {} failed", self.target.name_any());
        let status = RevisionStatus { phase: RevisionPhase::Complete, message, ..current };
        let status = with_conditions(active, status, self.observed.now);
        changes.push(Change::SetRevisionStatus { name: active.name_any(), status: Box::new(status), log_of: None });
    }

    fn supersede(&self, changes: &mut Vec<Change>) {
        for revision in self.observed.revisions.iter().filter(|revision| !self.is_needed(revision)) {
            if matches!(phase(revision), RevisionPhase::Complete | RevisionPhase::Switched | RevisionPhase::Starting) {
                let status = superseded(revision, &self.target.name_any(), self.observed.now);
                changes.push(Change::SetRevisionStatus { name: revision.name_any(), status: Box::new(status), log_of: None });
            }
        }
    }

    pub(super) fn target_status(&self, current: &RevisionStatus) -> (RevisionStatus, Option<String>) {
        let (next, log_of) = self.next_status(current);
        (self.with_conditions(next), log_of)
    }

    pub(super) fn with_conditions(&self, status: RevisionStatus) -> RevisionStatus {
        with_conditions(self.target, status, self.observed.now)
    }

    fn next_status(&self, current: &RevisionStatus) -> (RevisionStatus, Option<String>) {
        let now = self.observed.now;
        match current.phase {
            RevisionPhase::Starting | RevisionPhase::Failed | RevisionPhase::Superseded if self.live => (self.switched(now), None),
            RevisionPhase::Starting if now >= self.deadline() && current.failure.is_none() => self.failure(now),
            RevisionPhase::Starting if current.failure.is_some() => (current.clone(), None),
            RevisionPhase::Starting => (RevisionStatus { message: self.awaited(), ..current.clone() }, None),
            RevisionPhase::Switched if self.is_over() && (current.failure.is_none() || self.is_target_ready()) => {
                (self.complete(current, now), None)
            }
            // Nothing served before, so there is nothing to put back: the copies go on trying.
            RevisionPhase::Switched if current.failure.is_none() => match self.failure_in_watch() {
                Some((failure, message)) => {
                    let log_of = Some(failure.pod.clone()).filter(|pod| !pod.is_empty());
                    (RevisionStatus { message, failure: Some(failure), ..current.clone() }, log_of)
                }
                None => (current.clone(), None),
            },
            _ => (current.clone(), None),
        }
    }

    /// What the target waits for, in a sentence.
    pub(super) fn awaited(&self) -> String {
        let copies = copies::of(self.target, self.observed.pods);
        let ready = copies.iter().filter(|pod| is_ready(pod)).count();
        let why = copies.iter().find(|pod| !is_ready(pod)).map(|pod| pod::why_unready(pod)).filter(|why| !why.is_empty());
        let settling = || copies.iter().any(|pod| self.counts_from(pod).is_some_and(|from| from > self.observed.now));
        let why = self.observed.obstacle.map(|obstacle| obstacle.message.clone()).or(why);
        let why = why.or_else(|| self.room().map(|room| format!("the copies before are stopped first: {room}")));
        let why = why.or_else(|| settling().then(|| "whether they stay so is watched for a moment".into()));
        format!("{ready} of {} copies are ready{}", self.wanted(self.target), why.map(|why| format!("; {why}")).unwrap_or_default())
    }

    fn switched(&self, now: Timestamp) -> RevisionStatus {
        let created = self.target.metadata.creation_timestamp.as_ref().map_or(now, |Time(time)| *time);
        let name = self.target.name_any();
        let is_older = |pod: &&&Pod| pod.labels().get(labels::REVISION) != Some(&name);
        let copies = copies::of(self.target, self.observed.pods);
        let adopted = copies.iter().filter(is_older).count();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let ready_after = u64::try_from(now.duration_since(created).as_millis()).unwrap_or(0);
        let receipt = Receipt {
            adopted: count(adopted),
            started: count(copies.len() - adopted),
            ready_after: Some(Duration::from_millis(ready_after)),
            ..Receipt::default()
        };
        RevisionStatus {
            phase: RevisionPhase::Switched,
            message: "the routes have moved; the copies before finish their requests".into(),
            switched_at: Some(now),
            receipt: Some(receipt),
            ..RevisionStatus::default()
        }
    }

    /// Whether nothing of the Revision before is left, and every router has handed in its counts.
    fn is_over(&self) -> bool {
        let kept = self.kept();
        let is_kept = |pod: &Pod| kept.iter().any(|other| other.name_any() == pod.name_any());
        // A copy that somebody deleted, and that has been replaced, is not of the Revision before.
        let is_own = |pod: &Pod| copies::is_of(pod, self.target) && pod.metadata.deletion_timestamp.is_some();
        self.is_watched() && self.observed.pods.iter().all(|pod| is_kept(pod) || is_own(pod))
    }

    pub(super) fn rows(&self) -> &[RouterRow] {
        self.observed.table.and_then(|table| table.status.as_ref()).map_or(&[], |status| status.routers.as_slice())
    }

    /// The receipt with what the routers counted.
    pub(super) fn counted(&self, current: &RevisionStatus) -> Receipt {
        let rows = || self.rows().iter().filter(|row| self.observed.routers.contains(&row.node));
        let sum = |of: fn(&RouterRow) -> Option<i64>| rows().map(of).sum::<Option<i64>>().filter(|_| rows().next().is_some());
        Receipt {
            requests: sum(|row| row.requests),
            failed: sum(|row| row.failed),
            longest_stall: rows().filter_map(|row| row.longest_stall).max(),
            p99: rows().filter_map(|row| row.p99).max(),
            ..current.receipt.clone().unwrap_or_default()
        }
    }

    fn complete(&self, current: &RevisionStatus, now: Timestamp) -> RevisionStatus {
        let receipt = self.counted(current);
        let words = |count: Option<i64>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        let stall = receipt.longest_stall.map(|stall| format!(", longest stall {stall}")).unwrap_or_default();
        let message = format!("requests {}, failed {}{stall}", words(receipt.requests), words(receipt.failed));
        RevisionStatus {
            phase: RevisionPhase::Complete,
            message,
            finished_at: Some(now),
            receipt: Some(receipt),
            failure: None,
            ..current.clone()
        }
    }

    /// The deadline has passed. With an older Revision serving that is the end; without one the copies go on trying.
    fn failure(&self, now: Timestamp) -> (RevisionStatus, Option<String>) {
        let copies = copies::of(self.target, self.observed.pods);
        let guilty = copies.iter().find(|pod| !is_ready(pod)).or_else(|| copies.iter().find(|pod| self.counts_from(pod) > Some(now)));
        let told = guilty.map(|pod| pod::why_unready(pod)).filter(|why| !why.is_empty()).or_else(|| guilty.map(|pod| pod::why_ended(pod)));
        let detail = self.observed.obstacle.map(|obstacle| obstacle.message.clone()).or(told);
        let failure = Failure {
            reason: "ProgressDeadlineExceeded".into(),
            pod: guilty.map(|pod| pod.name_any()).unwrap_or_default(),
            detail: detail.unwrap_or_default(),
            log: Vec::new(),
        };
        let within = self.target.spec.template.rollout.progress_deadline;
        let message = format!("not ready within {within}: {}", self.awaited());
        let ended = self.active.is_some();
        let phase = if ended { RevisionPhase::Failed } else { RevisionPhase::Starting };
        let finished_at = ended.then_some(now);
        let log_of = guilty.map(|pod| pod.name_any());
        (RevisionStatus { phase, message, finished_at, failure: Some(failure), ..RevisionStatus::default() }, log_of)
    }
}

/// The status of a Revision that a newer one replaces.
pub fn superseded(revision: &Revision, by: &str, now: Timestamp) -> RevisionStatus {
    let current = revision.status.clone().unwrap_or_default();
    let message = if current.phase == RevisionPhase::Complete { current.message.clone() } else { format!("{by} took its place") };
    let status = RevisionStatus { phase: RevisionPhase::Superseded, message, finished_at: current.finished_at.or(Some(now)), ..current };
    with_conditions(revision, status, now)
}

/// A status with the conditions that follow from it. Of a Revision that another replaced nothing is awaited any more.
pub fn with_conditions(revision: &Revision, status: RevisionStatus, now: Timestamp) -> RevisionStatus {
    let generation = revision.metadata.generation;
    let old = revision.status.as_ref().map_or(&[][..], |status| status.conditions.as_slice());
    let is_stalled = status.failure.is_some();
    let reason = status.failure.as_ref().map_or_else(|| format!("{:?}", status.phase), |failure| failure.reason.clone());
    let is_complete = status.phase == RevisionPhase::Complete;
    let told = |name: &str, is_true| condition(old, generation, now, name, is_true, &reason, status.message.clone());
    let conditions = match status.phase {
        RevisionPhase::Superseded => Vec::new(),
        _ => vec![told("Ready", is_complete), told("Reconciling", !is_complete && !is_stalled), told("Stalled", is_stalled)],
    };
    RevisionStatus { observed_generation: generation.unwrap_or(1), conditions, ..status }
}
