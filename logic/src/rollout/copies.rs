//! Which Pods are copies of a Revision, which are missing, and where requests for them go.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube_core::ResourceExt as _;
use model::route_table::{Endpoint, LiveRoute, Speaks};
use model::service::{Part, Rollout};
use model::{Revision, Service, labels};

use super::{WAVE, owned, render};

/// Whether a Pod runs or is about to.
pub fn is_alive(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Failed" | "Succeeded"))
}

/// Whether a Pod takes requests.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    is_alive(pod) && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// How long a copy without a readiness probe, or one that was seen to end, must have run before it counts.
const MIN_READY: Duration = Duration::from_secs(2);

/// From when on a copy counts in a rollout that began at `began`; `None` when it is not ready. Any restart begins anew.
///
/// The times of a Pod's status have no fractions of a second: what they leave out is waited for, so that a copy is never
/// counted too soon, as far as the deadline has room for it.
pub fn counts_from(pod: &Pod, rollout: &Rollout, began: Timestamp) -> Option<Timestamp> {
    if !is_ready(pod) {
        return None;
    }
    let deadline = rollout.progress_deadline.get();
    let wanted = rollout.min_ready_seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    let is_told = is_probed(pod) && !ends(pod).any(|end| end >= began);
    let wait = wanted.unwrap_or(if is_told { Duration::ZERO } else { MIN_READY.min(deadline / 2) });
    let Some(since) = ready_since(pod).filter(|_| !wait.is_zero()) else { return Some(Timestamp::MIN) };
    let fraction = (deadline.saturating_sub(wait) / 2).min(Duration::from_secs(1));
    Some(since.checked_add(wait + fraction).unwrap_or(Timestamp::MAX))
}

fn is_probed(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.containers.iter().all(|container| container.readiness_probe.is_some()))
}

/// Since when a Pod is ready and none of its containers was started again.
fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let ready = status.conditions.iter().flatten().filter(|condition| condition.type_ == "Ready");
    let ready = ready.filter_map(|condition| condition.last_transition_time.as_ref());
    let states = status.container_statuses.iter().flatten().filter_map(|container| container.state.as_ref()?.running.as_ref());
    let started = states.filter_map(|running| running.started_at.as_ref());
    ready.chain(started).map(|time| time.0).max()
}

/// When the containers of a Pod ended, as far as its status tells: the last end of each.
pub fn ends(pod: &Pod) -> impl Iterator<Item = Timestamp> {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let states = containers.flat_map(|container| [&container.state, &container.last_state].into_iter().flatten());
    states.filter_map(|state| state.terminated.as_ref()?.finished_at.as_ref()).map(|time| time.0)
}

/// Whether nothing of a Pod has been started yet.
fn is_being_made(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, None | Some("Pending"))
}

/// The copies of a Revision that stay: for each part as many as it wants, the ready and the oldest first.
pub fn of<'a>(revision: &Revision, pods: &'a [Pod]) -> Vec<&'a Pod> {
    revision.spec.template.parts.iter().flat_map(|part| of_part(revision, part, pods)).collect()
}

fn of_part<'a>(revision: &Revision, part: &Part, pods: &'a [Pod]) -> Vec<&'a Pod> {
    let hash = revision.spec.parts.iter().find(|frozen| frozen.name == part.name).map_or("", |frozen| frozen.hash.as_str());
    let label = |pod: &Pod, name: &str| pod.labels().get(name).cloned().unwrap_or_default();
    let matching = |pod: &&Pod| is_alive(pod) && label(pod, labels::PART) == part.name && label(pod, labels::PART_HASH) == hash;
    let mut found: Vec<&Pod> = pods.iter().filter(matching).collect();
    found.sort_by_cached_key(|pod| (!is_ready(pod), pod.creation_timestamp().map(|time| time.0), pod.name_any()));
    found.truncate(usize::try_from(part.replicas).unwrap_or(0));
    found
}

/// The Pods to create so that each part has as many copies as it wants, of each part no more than a wave is being made.
/// `taken` are names in use, and grows.
pub fn missing(service: &Service, revision: &Revision, pods: &[Pod], taken: &mut Vec<String>) -> Vec<Pod> {
    let mut found = Vec::new();
    for part in &revision.spec.template.parts {
        let there = of_part(revision, part, pods);
        let room = WAVE.saturating_sub(there.iter().filter(|pod| is_being_made(pod)).count());
        let wanted = usize::try_from(part.replicas).unwrap_or(0).saturating_sub(there.len());
        for _ in 0..wanted.min(room) {
            let stem = format!("{}-{}-{}", service.name_any(), part.name, revision.spec.number);
            let free = (0..).map(|at| format!("{stem}-{at}")).find(|name| !taken.contains(name)).unwrap_or(stem);
            taken.push(free.clone());
            found.push(copy(service, revision, part, &free));
        }
    }
    found
}

fn copy(service: &Service, revision: &Revision, part: &Part, name: &str) -> Pod {
    let template = render::render(&revision.spec.template, part);
    let mut metadata = owned(service, name);
    let from = template.metadata.unwrap_or_default();
    let own = metadata.labels.get_or_insert_default();
    for (key, value) in from.labels.unwrap_or_default() {
        own.entry(key).or_insert(value);
    }
    own.insert(labels::PART.into(), part.name.clone());
    own.insert(labels::REVISION.into(), revision.name_any());
    own.insert(labels::PART_HASH.into(), render::part_hash(&revision.spec.template, part));
    metadata.annotations = from.annotations;
    Pod { metadata, spec: template.spec, status: None }
}

/// Whether a Pod is made from what a Revision's part of that name is made from.
pub fn is_of(pod: &Pod, revision: &Revision) -> bool {
    let label = |name: &str| pod.labels().get(name).map(String::as_str);
    revision.spec.parts.iter().any(|part| label(labels::PART) == Some(&part.name) && label(labels::PART_HASH) == Some(&part.hash))
}

/// Whether two Pods are interchangeable and have one name.
pub fn same_part(one: &Pod, other: &Pod) -> bool {
    let hash = |pod: &Pod| (pod.labels().get(labels::PART).cloned(), pod.labels().get(labels::PART_HASH).cloned());
    hash(one) == hash(other)
        && one.name_any().rsplit_once('-').map(|(_, at)| at.to_owned()) == other.name_any().rsplit_once('-').map(|(_, at)| at.to_owned())
}

/// A Revision's routes with the copies that are ready and that `may` take requests.
pub fn routes(revision: &Revision, pods: &[Pod], may: impl Fn(&Pod) -> bool) -> Vec<LiveRoute> {
    let template = &revision.spec.template;
    let live = |route: &model::service::Route| {
        let part = template.parts.iter().find(|part| part.name == route.part);
        let copies = part.map(|part| of_part(revision, part, pods)).unwrap_or_default();
        let endpoint = |pod: &&Pod| Some(Endpoint { pod: pod.name_any(), address: address(pod, &route.port)? });
        let mut endpoints: Vec<Endpoint> = copies.iter().filter(|pod| is_ready(pod) && may(pod)).filter_map(endpoint).collect();
        endpoints.sort();
        let speaks = if part.is_some_and(|part| part.pod.is_h2c(&route.port)) { Speaks::H2c } else { Speaks::Http };
        let (host, path, part) = (route.host.to_lowercase(), route.path.clone(), route.part.clone());
        LiveRoute { host, path, part, endpoints, speaks, timeouts: route.timeouts }
    };
    template.routes.iter().map(live).collect()
}

fn address(pod: &Pod, port: &str) -> Option<String> {
    let text = pod.annotations().get(labels::ENDPOINTS)?;
    let endpoints: BTreeMap<String, String> = serde_json::from_str(text).ok()?;
    endpoints.get(port).cloned()
}
