//! What the pods of a Job say: which are under way, which ended and how, and what a failure policy makes of an end.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube_core::ResourceExt as _;

use super::{COMPLETION_INDEX, FAILURE_COUNT, TRACKING};

/// How it stands with one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It runs, or will.
    Active,
    /// It is being deleted and has not ended yet.
    Terminating,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
}

pub(super) fn stage(pod: &Pod) -> Stage {
    match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Succeeded") => Stage::Succeeded,
        Some("Failed") => Stage::Failed,
        _ if pod.metadata.deletion_timestamp.is_some() => Stage::Terminating,
        _ => Stage::Active,
    }
}

/// Whether its end has not been counted for good.
pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|finalizer| finalizer == TRACKING)
}

pub(super) fn index(pod: &Pod) -> Option<i32> {
    pod.annotations().get(COMPLETION_INDEX)?.parse().ok().filter(|index| *index >= 0)
}

/// How often the pods of its index had failed before it, not counting those that were not to count.
pub(super) fn failures_before(pod: &Pod) -> i32 {
    pod.annotations().get(FAILURE_COUNT).and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten()))
}

/// How often its containers were started anew.
pub(super) fn restarts(pod: &Pod) -> i32 {
    containers(pod).fold(0_i32, |all, container| all.saturating_add(container.restart_count))
}

/// When it ended: with its last container, or when it was to go.
pub(super) fn ended_at(pod: &Pod, now: Timestamp) -> Timestamp {
    let ends =
        containers(pod).filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0));
    ends.max().or_else(|| pod.metadata.deletion_timestamp.as_ref().map(|time| time.0)).unwrap_or(now).min(now)
}

/// What a Job's failure policy says of a pod that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts as a failure; so it does where no rule says anything.
    Count,
    /// It never happened.
    Ignore,
    /// Its index is not tried again.
    FailIndex,
    /// The whole Job has failed, for this reason.
    FailJob(String),
}

pub(super) fn verdict(job: &Job, pod: &Pod) -> Verdict {
    let rules = job.spec.iter().flat_map(|spec| spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules));
    for (at, rule) in rules.enumerate() {
        let Some(why) = match_of(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{why} matching FailJob rule at index {at}")),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

/// What of a pod a rule is about, in words.
fn match_of(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let called = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    if let Some(codes) = &rule.on_exit_codes {
        let terminated =
            containers(pod).filter_map(|container| Some((container, container.state.as_ref()?.terminated.as_ref()?.exit_code)));
        let named = |name: &str| codes.container_name.as_ref().is_none_or(|only| only == name);
        let is_match = |code: i32| code != 0 && (codes.operator == "In") == codes.values.contains(&code);
        return terminated
            .into_iter()
            .find(|(container, code)| named(&container.name) && is_match(*code))
            .map(|(container, code)| format!("Container {} for pod {called} failed with exit code {code}", container.name));
    }
    let said = || pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let wanted = rule.on_pod_conditions.iter().flatten();
    wanted
        .filter(|wanted| {
            said().any(|said| said.type_ == wanted.type_ && Some(&said.status) == wanted.status.as_ref().or(Some(&"True".to_owned())))
        })
        .map(|wanted| format!("Pod {called} has condition {}", wanted.type_))
        .next()
}
