//! How many pods a Job has at a time, which indexes they work on, and how long it waits after failures.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube_core::ResourceExt as _;

use super::pods::{Stage, ended_at, failures_before, index, is_ready, stage};
use super::{Change, Plan, STARTS_MAX, Start, Subject, left};

/// The wait after the first failure; twice as long after each further one in a row.
const WAIT_SECONDS: i64 = 10;
const WAIT_SECONDS_MAX: i64 = 600;

/// Starts what is missing, ends what is too much.
pub(super) fn keep_going(subject: &Subject, plan: &mut Plan) {
    let (spec, count) = (subject.spec, subject.count);
    let is_indexed = spec.completion_mode.as_deref() == Some("Indexed");
    let (mut running, surplus): (Vec<&Pod>, Vec<&Pod>) = subject.at(Stage::Active).partition(|pod| !is_indexed || has_work(subject, pod));
    plan.changes.extend(surplus.into_iter().map(|pod| subject.end(pod, false)));
    let parallel = spec.parallelism.unwrap_or(1).max(0);
    let wanted = match spec.completions {
        None if count.succeeded() > 0 => parallel.min(length(&running)),
        None => parallel,
        Some(all) => parallel.min(all.saturating_sub(count.succeeded()).max(0)),
    };
    let wanted = usize::try_from(wanted).unwrap_or(0);
    if running.len() > wanted {
        // What is not ready has the least to lose, and then what began last.
        running.sort_by_key(|pod| (is_ready(pod), std::cmp::Reverse(pod.creation_timestamp().map(|time| time.0))));
        plan.changes.extend(running.drain(..).rev().skip(wanted).map(|pod| subject.end(pod, false)));
        return;
    }
    let waits_for_ends = spec.pod_replacement_policy.as_deref() == Some("Failed");
    let ending = if waits_for_ends { subject.at(Stage::Terminating).count() } else { 0 };
    let missing = wanted.saturating_sub(running.len() + ending).min(STARTS_MAX);
    if missing == 0 {
        return;
    }
    if is_indexed {
        start_indexes(subject, missing, waits_for_ends, plan);
    } else if let Some(wait) = wait(subject, &all(subject)) {
        plan.again_after = Some(wait);
    } else {
        plan.changes.extend((0..missing).map(|_| Change::Start(Start::default())));
    }
}

fn all<'a>(subject: &Subject<'a>) -> Vec<&'a Pod> {
    subject.pods.iter().collect()
}

fn length(pods: &[&Pod]) -> i32 {
    i32::try_from(pods.len()).unwrap_or(i32::MAX)
}

/// Whether the index of a pod is still to be worked on, and no older pod does.
fn has_work(subject: &Subject, pod: &Pod) -> bool {
    let Some(of) = index(pod).filter(|of| *of < subject.spec.completions.unwrap_or(0)) else { return false };
    let is_done = subject.count.completed.has(of) || subject.count.failed_indexes.as_ref().is_some_and(|failed| failed.has(of));
    let rank = |pod: &Pod| (pod.creation_timestamp().map(|time| time.0), pod.name_any());
    !is_done && !subject.at(Stage::Active).any(|other| index(other) == Some(of) && rank(other) < rank(pod))
}

fn start_indexes(subject: &Subject, missing: usize, waits_for_ends: bool, plan: &mut Plan) {
    let (count, is_bounded) = (subject.count, subject.spec.backoff_limit_per_index.is_some());
    if !is_bounded && let Some(wait) = wait(subject, &all(subject)) {
        plan.again_after = Some(wait);
        return;
    }
    let is_taken = |pod: &&Pod| stage(pod) == Stage::Active || waits_for_ends && stage(pod) == Stage::Terminating;
    let taken: BTreeSet<i32> = subject.pods.iter().filter(is_taken).filter_map(index).collect();
    let is_open =
        |of: &i32| !taken.contains(of) && !count.completed.has(*of) && count.failed_indexes.as_ref().is_none_or(|failed| !failed.has(*of));
    let mut waits = Vec::new();
    let mut started = 0;
    for of in (0..subject.spec.completions.unwrap_or(0)).filter(is_open) {
        if started == missing {
            break;
        }
        let earlier: Vec<&Pod> = subject.pods.iter().filter(|pod| is_bounded && index(pod) == Some(of)).collect();
        if let Some(wait) = wait(subject, &earlier) {
            waits.push(wait);
            continue;
        }
        let failures = is_bounded.then(|| failures_so_far(subject, &earlier));
        plan.changes.push(Change::Start(Start { index: Some(of), failures }));
        started += 1;
    }
    plan.again_after = waits.into_iter().min();
}

/// How often an index has failed: what its last pod was told, and that one.
fn failures_so_far(subject: &Subject, earlier: &[&Pod]) -> i32 {
    let Some(last) = earlier.iter().max_by_key(|pod| pod.creation_timestamp().map(|time| time.0)) else { return 0 };
    let counts = stage(last) != Stage::Failed || super::pods::verdict(subject.job, last) != super::pods::Verdict::Ignore;
    failures_before(last).saturating_add(i32::from(counts))
}

/// How long to wait after the last failure, by how many there were since something ended well.
fn wait(subject: &Subject, pods: &[&Pod]) -> Option<Duration> {
    let ends = |at: Stage| pods.iter().filter(move |pod| stage(pod) == at).map(|pod| ended_at(pod, subject.now));
    let well = ends(Stage::Succeeded).max();
    let failed: Vec<_> = ends(Stage::Failed).filter(|end| well.is_none_or(|well| *end > well)).collect();
    let last = failed.iter().max()?;
    let doublings = u32::try_from(failed.len() - 1).unwrap_or(u32::MAX).min(10);
    let seconds = WAIT_SECONDS.saturating_mul(1 << doublings).min(WAIT_SECONDS_MAX);
    left(*last, seconds, subject.now)
}
