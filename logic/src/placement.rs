//! Which node a Pod goes to, or why none takes it.

mod wishes;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube_core::ResourceExt as _;
use model::labels;
use model::pod::fields::Capabilities;

/// What the labels of a node begin with that name its runtimes.
pub const RUNTIME: &str = "runtime.conductor.dev/";
/// The value of such a label for a runtime of images.
pub const RUNS_IMAGES: &str = "images";

/// Where a Pod goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// To this node.
    Node(String),
    /// Nowhere: what each node lacks, in a sentence.
    Nowhere(String),
}

/// Chooses a node: of those that can take the Pod, and which it prefers, the one with the fewest copies of its part, then the fewest Pods.
/// `pods` are all Pods there are.
pub fn place(pod: &Pod, nodes: &[Node], pods: &[Pod]) -> Placement {
    if nodes.is_empty() {
        return Placement::Nowhere("no node has joined".into());
    }
    let (fit, refused): (Vec<_>, Vec<_>) = nodes.iter().map(|node| (node, refusal(pod, node))).partition(|(_, refusal)| refusal.is_none());
    let on = |node: &Node| pods.iter().filter(|other| bound_to(other) == Some(node.name_any().as_str())).collect::<Vec<_>>();
    let score = |node: &Node| {
        let there = on(node);
        let twins = there.iter().filter(|other| is_twin(pod, other)).count();
        (wishes::reluctance(pod, node), twins, there.len(), node.name_any())
    };
    match fit.into_iter().map(|(node, _)| node).min_by_key(|node| score(node)) {
        Some(node) => Placement::Node(node.name_any()),
        None => {
            let reasons: Vec<String> =
                refused.into_iter().map(|(node, refusal)| format!("{}: {}", node.name_any(), refusal.unwrap_or_default())).collect();
            Placement::Nowhere(reasons.join("; "))
        }
    }
}

fn bound_to(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref())
}

fn is_twin(pod: &Pod, other: &Pod) -> bool {
    let of = |pod: &Pod| (pod.namespace(), pod.labels().get(labels::SERVICE).cloned(), pod.labels().get(labels::PART).cloned());
    pod.labels().contains_key(labels::SERVICE) && of(pod) == of(other)
}

/// Whether a node is up, as far as its agent says.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Why a node cannot take a Pod.
fn refusal(pod: &Pod, node: &Node) -> Option<String> {
    if !is_ready(node) {
        return Some("is not ready".into());
    }
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        return Some("takes no new pods (cordoned)".into());
    }
    let spec = pod.spec.as_ref()?;
    let mut wanted = spec.node_selector.iter().flatten();
    let lacking = wanted.find(|(key, value)| node.labels().get(*key) != Some(value));
    if let Some((key, value)) = lacking {
        return Some(format!("lacks the label {key}={value}"));
    }
    if let Some(refusal) = wishes::refusal(pod, node) {
        return Some(refusal);
    }
    let Some(class) = spec.runtime_class_name.as_deref() else {
        let of_images = node.labels().iter().find(|(key, value)| key.starts_with(RUNTIME) && *value == RUNS_IMAGES);
        if needs_images(pod) && of_images.is_none() {
            return Some("has no runtime for images".into());
        }
        let name = of_images.filter(|_| crate::pod::is_of_images(pod)).and_then(|(key, _)| key.strip_prefix(RUNTIME));
        return incapacity(pod, node, name.unwrap_or("process"));
    };
    let label = format!("{RUNTIME}{class}");
    if !node.labels().contains_key(&label) {
        return Some(format!("has no runtime {class}"));
    }
    incapacity(pod, node, class)
}

/// What a Pod asks for that the runtime which it would go to does not do, by what the node's agent says of it.
fn incapacity(pod: &Pod, node: &Node, runtime: &str) -> Option<String> {
    let said = node.annotations().get(&format!("{}{runtime}", labels::CAPABILITIES))?;
    let spec = serde_json::to_value(&pod.spec).ok()?;
    let field = Capabilities::from_annotation(said).lacking(&spec)?;
    Some(format!("its runtime {runtime} cannot do {field}"))
}

/// Whether a Pod has a container that only its image can start.
fn needs_images(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let mut of_images = containers.filter(|container| container.image.as_ref().is_some_and(|image| !image.is_empty()));
    of_images.any(|container| container.command.as_ref().is_none_or(Vec::is_empty))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, change: impl Fn(&mut serde_json::Value)) -> Node {
        let mut node = json!({"metadata": {"name": name, "labels": {"runtime.conductor.dev/process": ""}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        change(&mut node);
        serde_json::from_value(node).unwrap()
    }

    fn pod(node: Option<&str>, class: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "labels": {"conductor.dev/service": "a", "conductor.dev/part": "b"}},
            "spec": {"nodeName": node, "runtimeClassName": class, "containers": []}}))
        .unwrap()
    }

    #[test]
    fn copies_are_spread_and_unfit_nodes_say_why() {
        let nodes = [node("a", |_| ()), node("b", |_| ())];
        let there = [pod(Some("a"), "process")];
        assert_eq!(place(&pod(None, "process"), &nodes, &there), Placement::Node("b".into()));
        let nodes = [
            node("a", |node| node["status"]["conditions"][0]["status"] = json!("False")),
            node("b", |node| node["spec"] = json!({"unschedulable": true})),
            node("c", |_| ()),
        ];
        let expected = "a: is not ready; b: takes no new pods (cordoned); c: has no runtime docker";
        assert_eq!(place(&pod(None, "docker"), &nodes, &[]), Placement::Nowhere(expected.into()));
        let image =
            serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})).unwrap();
        let engine = node("d", |node| node["metadata"]["labels"]["runtime.conductor.dev/docker"] = json!("images"));
        assert_eq!(place(&image, &[node("a", |_| ())], &[]), Placement::Nowhere("a: has no runtime for images".into()));
        assert_eq!(place(&image, &[node("a", |_| ()), engine], &[]), Placement::Node("d".into()));
        assert_eq!(place(&pod(None, "process"), &[], &[]), Placement::Nowhere("no node has joined".into()));
    }

    #[test]
    fn a_pod_goes_where_its_runtime_can_do_what_it_asks_for() {
        let able = |fields: &str| {
            let (fields, key) = (json!(fields), "capabilities.conductor.dev/process");
            node("a", |node| node["metadata"]["annotations"] = json!({key: fields}))
        };
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"hostPID": true, "containers": []}})).unwrap();
        assert_eq!(place(&pod, &[able("PodSpec:containers,hostPID")], &[]), Placement::Node("a".into()));
        assert_eq!(place(&pod, &[able("*")], &[]), Placement::Node("a".into()));
        let expected = "a: its runtime process cannot do spec.hostPID";
        assert_eq!(place(&pod, &[able("PodSpec:containers")], &[]), Placement::Nowhere(expected.into()));
    }
}
