//! Whether a Job has done what it should, or has failed, and why.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus};

use super::indexes::Indexes;
use super::pods::{Stage, restarts};
use super::{Subject, condition, left};

/// How a Job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub is_success: bool,
    pub reason: String,
    pub message: String,
}

fn failed(reason: &str, message: impl Into<String>) -> Ending {
    Ending { is_success: false, reason: reason.into(), message: message.into() }
}

fn succeeded(reason: &str, message: impl Into<String>) -> Ending {
    Ending { is_success: true, reason: reason.into(), message: message.into() }
}

/// How it ends; `None` while it goes on. What was once decided stays.
pub(super) fn ending(subject: &Subject, status: &JobStatus) -> Option<Ending> {
    for (name, is_success) in [("FailureTarget", false), ("SuccessCriteriaMet", true)] {
        if let Some(said) = condition(status, name) {
            let (reason, message) = (said.reason.clone().unwrap_or_default(), said.message.clone().unwrap_or_default());
            return Some(Ending { is_success, reason, message });
        }
    }
    failure(subject, status).or_else(|| success(subject))
}

fn failure(subject: &Subject, status: &JobStatus) -> Option<Ending> {
    let (spec, count) = (subject.spec, subject.count);
    if let Some(why) = &count.policy {
        return Some(failed("PodFailurePolicy", why));
    }
    if count.failed() > spec.backoff_limit.unwrap_or(6) || is_past_restarts(subject) {
        return Some(failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    let is_late =
        status.start_time.is_some() && spec.active_deadline_seconds.is_some() && deadline_left(spec, status, subject.now).is_none();
    if is_late {
        return Some(failed("DeadlineExceeded", "Job was active longer than specified deadline"));
    }
    let bad = count.failed_indexes.as_ref().map_or(0, Indexes::count);
    if spec.max_failed_indexes.is_some_and(|most| bad > most) {
        return Some(failed("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"));
    }
    let is_over = bad > 0 && spec.completions.is_some_and(|wanted| bad.saturating_add(count.completed.count()) >= wanted);
    is_over.then(|| failed("FailedIndexes", "Job has failed indexes"))
}

/// How long until the deadline of a Job; `None` when it is over or there is none.
pub(super) fn deadline_left(spec: &JobSpec, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    left(status.start_time.as_ref()?.0, spec.active_deadline_seconds?, now)
}

/// Containers that are restarted in their pod count like pods that are started anew.
fn is_past_restarts(subject: &Subject) -> bool {
    let policy = subject.spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    let (limit, all) = (subject.spec.backoff_limit.unwrap_or(6), subject.at(Stage::Active).map(restarts).fold(0, i32::saturating_add));
    policy == Some("OnFailure") && (if limit == 0 { all > 0 } else { all >= limit })
}

fn success(subject: &Subject) -> Option<Ending> {
    let (spec, count) = (subject.spec, subject.count);
    if let Some(rule) = matched_rule(spec, &count.completed) {
        return Some(succeeded("SuccessPolicy", format!("Matched rules at index {rule}")));
    }
    let is_enough = match spec.completions {
        Some(wanted) => count.succeeded() >= wanted,
        // A queue of work: once one ended well, the others end by themselves and none is started.
        None => count.succeeded() > 0 && subject.at(Stage::Active).next().is_none(),
    };
    is_enough.then(|| succeeded("CompletionsReached", "Reached expected number of succeeded pods"))
}

fn matched_rule(spec: &JobSpec, completed: &Indexes) -> Option<usize> {
    let below = spec.completions.unwrap_or(0);
    spec.success_policy.as_ref()?.rules.iter().position(|rule| {
        let among = rule.succeeded_indexes.as_deref().map(|text| Indexes::parse(text, below));
        let all: Indexes = (0..below).filter(|index| completed.has(*index) && among.as_ref().is_none_or(|set| set.has(*index))).collect();
        match (rule.succeeded_count, among) {
            (Some(enough), _) => all.count() >= enough,
            (None, Some(among)) => all.count() >= among.count(),
            (None, None) => false,
        }
    })
}
