//! Which ends of pods are counted, and where each stands on its way into the numbers.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use kube_core::ResourceExt as _;

use super::indexes::Indexes;
use super::pods::{Stage, Verdict, failures_before, index, is_ready, is_tracked, stage, verdict};
use super::{Change, release};

/// The numbers of a Job.
#[derive(Debug, Clone, Default)]
pub(super) struct Count {
    is_indexed: bool,
    /// Ended and counted for good, without those that are on the way.
    succeeded: i32,
    failed: i32,
    /// On the way: their pods still have the finalizer.
    uncounted_succeeded: Vec<String>,
    uncounted_failed: Vec<String>,
    /// Indexes that ended well.
    pub completed: Indexes,
    /// Indexes that are not tried again; `None` where failures of each are not bounded.
    pub failed_indexes: Option<Indexes>,
    /// The finalizers to take.
    pub releases: Vec<Change>,
    /// Why the failure policy says that the Job has failed.
    pub policy: Option<String>,
}

impl Count {
    pub(super) fn of(job: &Job, spec: &JobSpec, pods: &[Pod]) -> Self {
        let status = job.status.clone().unwrap_or_default();
        let is_indexed = spec.completion_mode.as_deref() == Some("Indexed");
        let below = spec.completions.unwrap_or(0);
        let set = |text: Option<&String>| Indexes::parse(text.map_or("", String::as_str), below);
        let mut count = Self {
            is_indexed,
            succeeded: status.succeeded.unwrap_or(0),
            failed: status.failed.unwrap_or(0),
            completed: set(status.completed_indexes.as_ref()),
            failed_indexes: spec.backoff_limit_per_index.map(|_| set(status.failed_indexes.as_ref())),
            ..Self::default()
        };
        count.settle_released(&status, pods);
        for pod in pods.iter().filter(|pod| is_tracked(pod)) {
            count.take_in(job, spec, pod, pods);
        }
        count
    }

    /// What is on its way and has no finalizer any more is counted for good.
    fn settle_released(&mut self, status: &JobStatus, pods: &[Pod]) {
        let tracked: BTreeSet<String> = pods.iter().filter(|pod| is_tracked(pod)).filter_map(Pod::uid).collect();
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let split = |uids: Option<Vec<String>>| uids.unwrap_or_default().into_iter().partition(|uid| tracked.contains(uid));
        let (kept, gone): (Vec<_>, Vec<_>) = split(uncounted.succeeded);
        self.uncounted_succeeded = kept;
        self.succeeded = self.succeeded.saturating_add(length(&gone));
        let (kept, gone): (Vec<_>, Vec<_>) = split(uncounted.failed);
        self.uncounted_failed = kept;
        self.failed = self.failed.saturating_add(length(&gone));
    }

    fn take_in(&mut self, job: &Job, spec: &JobSpec, pod: &Pod, pods: &[Pod]) {
        let uid = pod.uid().unwrap_or_default();
        let replaces_early = spec.pod_replacement_policy.as_deref() != Some("Failed");
        match stage(pod) {
            Stage::Active => return,
            Stage::Terminating if !replaces_early => return,
            Stage::Succeeded if self.is_indexed => {
                if let Some(index) = index(pod).filter(|index| *index < spec.completions.unwrap_or(0)) {
                    self.completed.insert(index);
                }
            }
            Stage::Succeeded => push(&mut self.uncounted_succeeded, uid),
            Stage::Failed | Stage::Terminating => {
                let verdict = if stage(pod) == Stage::Failed { verdict(job, pod) } else { Verdict::Count };
                if verdict != Verdict::Ignore {
                    push(&mut self.uncounted_failed, uid);
                }
                self.judge_index(spec, pod, &verdict);
                if let Verdict::FailJob(why) = verdict {
                    self.policy.get_or_insert(why);
                }
                // The next pod of its index is told how often it failed: this one stays until there is one.
                if self.is_wanted_by_next(pod, pods) {
                    return;
                }
            }
        }
        self.releases.push(release(pod));
    }

    fn judge_index(&mut self, spec: &JobSpec, pod: &Pod, verdict: &Verdict) {
        let (Some(limit), Some(failed), Some(index)) = (spec.backoff_limit_per_index, &mut self.failed_indexes, index(pod)) else { return };
        let is_over = *verdict != Verdict::Ignore && failures_before(pod) >= limit;
        if (is_over || *verdict == Verdict::FailIndex) && !self.completed.has(index) {
            failed.insert(index);
        }
    }

    fn is_wanted_by_next(&self, pod: &Pod, pods: &[Pod]) -> bool {
        let (Some(failed), Some(of)) = (&self.failed_indexes, index(pod)) else { return false };
        let is_followed = pods.iter().any(|other| index(other) == Some(of) && other.creation_timestamp() > pod.creation_timestamp());
        !failed.has(of) && !self.completed.has(of) && !is_followed
    }

    pub(super) fn succeeded(&self) -> i32 {
        if self.is_indexed { self.completed.count() } else { self.succeeded.saturating_add(length(&self.uncounted_succeeded)) }
    }

    pub(super) fn failed(&self) -> i32 {
        self.failed.saturating_add(length(&self.uncounted_failed))
    }

    /// What the status says while the Job goes on.
    pub(super) fn tell(&self, pods: &[Pod], status: &mut JobStatus) {
        let number = |wanted: fn(&Pod) -> bool| i32::try_from(pods.iter().filter(|pod| wanted(pod)).count()).unwrap_or(i32::MAX);
        status.active = some(number(|pod| stage(pod) == Stage::Active));
        status.ready = Some(number(|pod| stage(pod) == Stage::Active && is_ready(pod)));
        status.terminating = Some(number(|pod| stage(pod) == Stage::Terminating));
        status.succeeded = some(if self.is_indexed { self.completed.count() } else { self.succeeded });
        status.failed = some(self.failed);
        let uids = |uids: &Vec<String>| Some(uids.clone()).filter(|uids| !uids.is_empty());
        status.uncounted_terminated_pods =
            Some(UncountedTerminatedPods { succeeded: uids(&self.uncounted_succeeded), failed: uids(&self.uncounted_failed) });
        status.completed_indexes = Some(self.completed.to_string()).filter(|text| self.is_indexed && !text.is_empty());
        status.failed_indexes = self.failed_indexes.as_ref().map(Indexes::to_string);
    }

    /// What the status says at the end, when everything is counted.
    pub(super) fn settle(&self, status: &mut JobStatus) {
        (status.succeeded, status.failed) = (some(self.succeeded()), some(self.failed()));
        status.uncounted_terminated_pods = Some(UncountedTerminatedPods::default());
    }
}

fn some(number: i32) -> Option<i32> {
    Some(number).filter(|number| *number != 0)
}

fn length(uids: &[String]) -> i32 {
    i32::try_from(uids.len()).unwrap_or(i32::MAX)
}

fn push(uids: &mut Vec<String>, uid: String) {
    if !uids.contains(&uid) {
        uids.push(uid);
    }
}
