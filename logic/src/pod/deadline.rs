//! `activeDeadlineSeconds`: how long a Pod may run on a node, restarts included.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{Act, Observed, Phase, Seen, grace};

/// The word for it in a Pod's status.
pub const EXCEEDED: &str = "DeadlineExceeded";
/// The sentence.
pub const MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// When a Pod's time is over; `None` where it has all the time there is.
fn end(observed: &Observed) -> Option<Timestamp> {
    let seconds = observed.pod.spec.as_ref()?.active_deadline_seconds?;
    let began = observed.pod.status.as_ref()?.start_time.as_ref()?.0;
    began.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?)).ok()
}

/// How long until the time is over.
pub(super) fn left(observed: &Observed) -> Option<Duration> {
    Duration::try_from(end(observed)?.duration_since(observed.now)).ok().filter(|left| !left.is_zero())
}

/// Whether the time is over, and the Pod had not run to its end by then.
pub(super) fn is_exceeded(observed: &Observed) -> bool {
    let Some(end) = end(observed).filter(|end| *end <= observed.now) else { return false };
    let (Some(spec), Some(seen)) = (&observed.pod.spec, observed.seen) else { return !ended(observed.pod) };
    let is_done = |seen: &Seen| matches!(&seen.phase, Phase::Exited(exit) if exit.finished < end && !super::restarts(spec, exit));
    !spec.containers.iter().all(|container| seen.iter().any(|seen| seen.name == container.name && is_done(seen)))
}

/// Whether it was ended for it, as its status has it.
pub(super) fn ended(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Failed") && status.reason.as_deref() == Some(EXCEEDED))
}

/// Whether something of it runs yet.
pub(super) fn runs(observed: &Observed) -> bool {
    observed.seen.into_iter().flatten().any(|seen| matches!(seen.phase, Phase::Running(_)))
}

/// Ends what runs yet.
pub(super) fn stops(observed: &Observed) -> Vec<Act> {
    let running = observed.seen.into_iter().flatten().filter(|seen| matches!(seen.phase, Phase::Running(_)));
    running.map(|seen| Act::Stop { container: seen.name.clone(), grace: grace(observed.pod), reason: MESSAGE.into() }).collect()
}
