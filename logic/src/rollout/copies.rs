//! Which Pods are copies of a Revision, which are missing, and where requests for them go.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube_core::ResourceExt as _;
use model::route_table::{Endpoint, LiveRoute, Speaks};
use model::service::Part;
use model::{Revision, Service, labels};

use super::{owned, render};

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

/// The Pods to create so that each part has as many copies as it wants. `taken` are names in use, and grows.
pub fn missing(service: &Service, revision: &Revision, pods: &[Pod], taken: &mut Vec<String>) -> Vec<Pod> {
    let mut found = Vec::new();
    for part in &revision.spec.template.parts {
        let there = of_part(revision, part, pods).len();
        for _ in there..usize::try_from(part.replicas).unwrap_or(0) {
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

/// Whether two Pods are interchangeable and have one name.
pub fn same_part(one: &Pod, other: &Pod) -> bool {
    let hash = |pod: &Pod| (pod.labels().get(labels::PART).cloned(), pod.labels().get(labels::PART_HASH).cloned());
    hash(one) == hash(other)
        && one.name_any().rsplit_once('-').map(|(_, at)| at.to_owned()) == other.name_any().rsplit_once('-').map(|(_, at)| at.to_owned())
}

/// A Revision's routes with the copies that are ready.
pub fn routes(revision: &Revision, pods: &[Pod]) -> Vec<LiveRoute> {
    let template = &revision.spec.template;
    let live = |route: &model::service::Route| {
        let part = template.parts.iter().find(|part| part.name == route.part);
        let copies = part.map(|part| of_part(revision, part, pods)).unwrap_or_default();
        let endpoint = |pod: &&Pod| Some(Endpoint { pod: pod.name_any(), address: address(pod, &route.port)? });
        let mut endpoints: Vec<Endpoint> = copies.iter().filter(|pod| is_ready(pod)).filter_map(endpoint).collect();
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
