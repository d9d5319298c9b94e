//! Jobs: which pods to start, which ends to count, and when the work is done or has failed.
//!
//! ```text
//!            suspend                  enough ended well              no pod is left
//!  Suspended ◀─────▶ running ───────────────────────▶ SuccessCriteriaMet ─────▶ Complete
//!                       │ too many failures, a deadline, a policy
//!                       └───────────────────────────▶ FailureTarget ──────────▶ Failed
//! ```
//!
//! Each pod carries a finalizer until its end is counted, so that no run is counted twice or lost wherever we are stopped: its uid is
//! first written to `status.uncountedTerminatedPods`, then the finalizer is taken off, and only what no longer has it moves into the
//! numbers. A Job that is finished counts nothing any more, so the last status holds all numbers at once and is written first.

mod counting;
pub mod cron;
mod ending;
mod indexes;
mod pods;
mod render;
mod starting;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ResourceExt as _;

use counting::Count;
pub use render::pod_of;

/// The finalizer of a pod whose end is not counted yet.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The annotation and label that say which index a pod works on.
pub const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The annotation that says how often its index had failed before.
pub const FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-failure-count";
/// Who runs a Job that names nobody.
const MANAGER: &str = "kubernetes.io/job-controller";
/// How many pods are started in one go; what is wanted is looked at again before the next.
const STARTS_MAX: usize = 100;

/// What to do about a Job.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to say of it, before anything that is not a start is done.
    pub status: JobStatus,
    /// What to do, in order.
    pub changes: Vec<Change>,
    /// What people are told.
    pub notes: Vec<Note>,
    /// When to look again though nothing changed.
    pub again_after: Option<Duration>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Start a pod.
    Start(Start),
    /// End a pod. One that `counts` has its end counted; of another the finalizer is taken first.
    End { name: String, uid: String, counts: bool },
    /// Take the finalizer off a pod, whose end is counted or is not to be.
    Release { name: String, uid: String },
    /// Delete the Job, which ended long enough ago.
    Remove,
}

/// A pod to start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// The index it works on, where there are indexes.
    pub index: Option<i32>,
    /// How often that index has failed, where that is bounded.
    pub failures: Option<i32>,
}

/// Something to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether something is wrong.
    pub is_warning: bool,
    /// In a word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

/// What to do about a Job next. `pods` are all that it controls, read after it was.
pub fn plan(job: &Job, pods: &[Pod], now: Timestamp) -> Plan {
    let (spec, status) = (job.spec.clone().unwrap_or_default(), job.status.clone().unwrap_or_default());
    let mut plan = Plan { status, changes: Vec::new(), notes: Vec::new(), again_after: None };
    if spec.managed_by.as_deref().is_some_and(|manager| manager != MANAGER) {
        return plan;
    }
    if is_finished(job) || job.metadata.deletion_timestamp.is_some() {
        plan.changes.extend(pods.iter().filter(|pod| pods::is_tracked(pod)).map(release));
        remove_in_time(job, &spec, now, &mut plan);
        return plan;
    }
    let count = Count::of(job, &spec, pods);
    plan.changes.extend(count.releases.iter().cloned());
    count.tell(pods, &mut plan.status);
    resume_or_suspend(&spec, now, &mut plan);
    let subject = Subject { job, spec: &spec, pods, count: &count, now };
    match ending::ending(&subject, &plan.status) {
        Some(ending) => subject.finish(&ending, &mut plan),
        None if spec.suspend == Some(true) => subject.end_all(false, &mut plan),
        None => starting::keep_going(&subject, &mut plan),
    }
    if let Some(left) = ending::deadline_left(&spec, &plan.status, now).filter(|_| !is_done(&plan.status)) {
        plan.again_after = Some(plan.again_after.map_or(left, |again| again.min(left)));
    }
    plan
}

/// Whether a Job has ended, well or badly.
pub fn is_finished(job: &Job) -> bool {
    job.status.as_ref().is_some_and(is_done)
}

fn is_done(status: &JobStatus) -> bool {
    ["Complete", "Failed"].into_iter().any(|name| condition(status, name).is_some())
}

/// A condition that is true.
fn condition<'a>(status: &'a JobStatus, name: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == name && condition.status == "True")
}

fn set_condition(status: &mut JobStatus, name: &str, is_true: bool, reason: &str, message: &str, now: Timestamp) {
    let all = status.conditions.get_or_insert_default();
    let value = if is_true { "True" } else { "False" };
    if all.iter().any(|condition| condition.type_ == name && condition.status == value) {
        return;
    }
    all.retain(|condition| condition.type_ != name);
    all.push(JobCondition {
        type_: name.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

fn release(pod: &Pod) -> Change {
    Change::Release { name: pod.name_any(), uid: pod.uid().unwrap_or_default() }
}

fn normal(reason: &str, message: &str) -> Note {
    Note { is_warning: false, reason: reason.into(), message: message.into() }
}

fn remove_in_time(job: &Job, spec: &JobSpec, now: Timestamp, plan: &mut Plan) {
    let ended = ["Complete", "Failed"].into_iter().find_map(|name| condition(&plan.status, name)?.last_transition_time.clone());
    let (Some(keep), Some(ended), None) = (spec.ttl_seconds_after_finished, ended, &job.metadata.deletion_timestamp) else { return };
    match left(ended.0, keep.into(), now) {
        Some(left) => plan.again_after = Some(left),
        None => plan.changes.push(Change::Remove),
    }
}

/// How long until so many seconds are over; `None` when they are.
fn left(since: Timestamp, seconds: i64, now: Timestamp) -> Option<Duration> {
    let end = since.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
    Duration::try_from(end.duration_since(now)).ok().filter(|left| !left.is_zero())
}

fn resume_or_suspend(spec: &JobSpec, now: Timestamp, plan: &mut Plan) {
    let was = condition(&plan.status, "Suspended").is_some();
    match (spec.suspend == Some(true), was) {
        (true, false) => {
            set_condition(&mut plan.status, "Suspended", true, "JobSuspended", "Job suspended", now);
            plan.notes.push(normal("Suspended", "Job suspended"));
        }
        (false, true) => {
            set_condition(&mut plan.status, "Suspended", false, "JobResumed", "Job resumed", now);
            plan.notes.push(normal("Resumed", "Job resumed"));
        }
        _ => {}
    }
    // The time that it is suspended counts towards no deadline.
    plan.status.start_time = match plan.status.start_time.take() {
        _ if spec.suspend == Some(true) => None,
        None => Some(Time(now)),
        started => started,
    };
}

/// A Job, and all that is known of it.
struct Subject<'a> {
    job: &'a Job,
    spec: &'a JobSpec,
    pods: &'a [Pod],
    count: &'a Count,
    now: Timestamp,
}

impl<'a> Subject<'a> {
    fn at(&self, stage: pods::Stage) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().filter(move |pod| pods::stage(pod) == stage)
    }

    fn end_all(&self, counts: bool, plan: &mut Plan) {
        plan.changes.extend(self.at(pods::Stage::Active).map(|pod| self.end(pod, counts)));
    }

    fn end(&self, pod: &Pod, counts: bool) -> Change {
        Change::End { name: pod.name_any(), uid: pod.uid().unwrap_or_default(), counts }
    }

    /// Says how the Job ends, ends what still runs, and when nothing does, says that it has ended.
    fn finish(&self, ending: &ending::Ending, plan: &mut Plan) {
        let (target, last) = if ending.is_success { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
        set_condition(&mut plan.status, target, true, &ending.reason, &ending.message, self.now);
        let is_at_rest = self.pods.iter().all(|pod| !matches!(pods::stage(pod), pods::Stage::Active | pods::Stage::Terminating));
        if !is_at_rest {
            self.end_all(true, plan);
            return;
        }
        set_condition(&mut plan.status, last, true, &ending.reason, &ending.message, self.now);
        self.count.settle(&mut plan.status);
        if ending.is_success {
            plan.status.completion_time = Some(Time(self.now));
            plan.notes.push(normal("Completed", "Job completed"));
        } else {
            plan.notes.push(Note { is_warning: true, reason: ending.reason.clone(), message: ending.message.clone() });
        }
        plan.changes = self.pods.iter().filter(|pod| pods::is_tracked(pod)).map(release).collect();
    }
}
