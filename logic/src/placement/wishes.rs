//! What a Pod says of nodes, and nodes of Pods: node affinity, taints and tolerations, as in Kubernetes.

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration};
use kube_core::ResourceExt as _;

/// Why a node is not one that the Pod may go to by its affinity, or by the node's taints.
pub(super) fn refusal(pod: &Pod, node: &Node) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    if required.is_some_and(|required| !required.node_selector_terms.iter().any(|term| is_met(term, node))) {
        return Some("is not one of those that the pod's node affinity requires".into());
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let keeps_away = |taint: &&Taint| ["NoSchedule", "NoExecute"].contains(&taint.effect.as_str());
    let taint = taints(node).filter(keeps_away).find(|taint| !is_tolerated(taint, tolerations))?;
    let value = taint.value.as_deref().filter(|value| !value.is_empty()).map(|value| format!("={value}")).unwrap_or_default();
    Some(format!("has the taint {}{value}:{}, which the pod does not tolerate", taint.key, taint.effect))
}

/// How little a node is what the Pod prefers; the lower the better.
pub(super) fn reluctance(pod: &Pod, node: &Node) -> i64 {
    let Some(spec) = &pod.spec else { return 0 };
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let preferred = affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
    let weight: i64 =
        preferred.into_iter().flatten().filter(|wish| is_met(&wish.preference, node)).map(|wish| i64::from(wish.weight)).sum();
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let avoided = taints(node).filter(|taint| taint.effect == "PreferNoSchedule" && !is_tolerated(taint, tolerations)).count();
    // A taint weighs as much as the strongest preference.
    i64::try_from(avoided).unwrap_or(i64::MAX).saturating_mul(100).saturating_sub(weight)
}

fn taints(node: &Node) -> impl Iterator<Item = &Taint> {
    node.spec.iter().flat_map(|spec| spec.taints.iter().flatten())
}

fn is_tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| {
        let said = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let is_of_effect = said(&toleration.effect).is_none_or(|effect| effect == taint.effect);
        let is_of_key = said(&toleration.key).is_none_or(|key| key == taint.key);
        let is_of_value = match said(&toleration.operator).as_deref() {
            Some("Exists") => true,
            _ => said(&toleration.key).is_some() && said(&toleration.value) == said(&taint.value),
        };
        is_of_effect && is_of_key && is_of_value
    })
}

/// A term without requirements is met by no node.
fn is_met(term: &NodeSelectorTerm, node: &Node) -> bool {
    let (labels, fields) = (term.match_expressions.as_deref().unwrap_or_default(), term.match_fields.as_deref().unwrap_or_default());
    let has = |requirement: &NodeSelectorRequirement| holds(requirement, node.labels().get(&requirement.key).map(String::as_str));
    let is = |requirement: &NodeSelectorRequirement| {
        let name = node.name_any();
        holds(requirement, Some(name.as_str()).filter(|_| requirement.key == "metadata.name"))
    };
    !(labels.is_empty() && fields.is_empty()) && labels.iter().all(has) && fields.iter().all(is)
}

fn holds(requirement: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_listed = found.is_some_and(|found| values.iter().any(|value| value == found));
    let numbers = || Some((found?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => is_listed,
        "NotIn" => !is_listed,
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => numbers().is_some_and(|(found, value)| found > value),
        "Lt" => numbers().is_some_and(|(found, value)| found < value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(taints: &Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "a", "labels": {"zone": "x", "cores": "8"}}, "spec": {"taints": taints}}))
            .unwrap()
    }

    fn pod(spec: &Value) -> Pod {
        let mut whole = json!({"metadata": {"name": "p"}, "spec": {"containers": []}});
        spec.as_object().unwrap().iter().for_each(|(field, value)| whole["spec"][field] = value.clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn taints_keep_pods_away_that_do_not_tolerate_them() {
        let tolerates = |tolerations: Value| pod(&json!({"tolerations": tolerations}));
        for (taint, tolerations, expected) in [
            (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), json!([]), Some("k=v:NoSchedule")),
            (json!({"key": "k", "effect": "NoExecute"}), json!([]), Some("k:NoExecute")),
            (json!({"key": "k", "value": "v", "effect": "PreferNoSchedule"}), json!([]), None),
            (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), json!([{"key": "k", "value": "v"}]), None),
            (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), json!([{"key": "k", "value": "w"}]), Some("k=v:NoSchedule")),
            (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), json!([{"key": "k", "operator": "Exists"}]), None),
            (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), json!([{"operator": "Exists"}]), None),
            (
                json!({"key": "k", "value": "v", "effect": "NoSchedule"}),
                json!([{"key": "k", "operator": "Exists", "effect": "NoExecute"}]),
                Some("k=v:NoSchedule"),
            ),
            (json!({"key": "k", "effect": "NoSchedule"}), json!([{"key": "k", "operator": "Equal"}]), None),
        ] {
            let found = refusal(&tolerates(tolerations.clone()), &node(&json!([taint])));
            let expected = expected.map(|taint| format!("has the taint {taint}, which the pod does not tolerate"));
            assert_eq!(found, expected, "{taint} {tolerations}");
        }
    }

    #[test]
    fn affinity_is_required_or_weighed() {
        let term = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let is_fit = |terms: Value| {
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            refusal(&pod(&json!({"affinity": {"nodeAffinity": required}})), &node(&json!([]))).is_none()
        };
        for (key, operator, values, expected) in [
            ("zone", "In", &["w", "x"][..], true),
            ("zone", "In", &["w"], false),
            ("zone", "NotIn", &["w"], true),
            ("rack", "NotIn", &["w"], true),
            ("rack", "Exists", &[], false),
            ("rack", "DoesNotExist", &[], true),
            ("cores", "Gt", &["4"], true),
            ("cores", "Gt", &["8"], false),
            ("cores", "Lt", &["9"], true),
            ("zone", "Lt", &["9"], false),
        ] {
            assert_eq!(is_fit(json!([term(key, operator, values)])), expected, "{key} {operator} {values:?}");
        }
        assert!(is_fit(json!([term("zone", "In", &["w"]), term("zone", "In", &["x"])])), "either will do");
        assert!(!is_fit(json!([{}])), "a term without requirements is met by nothing");
        assert!(is_fit(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}])));
        let preferred = json!({"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 30, "preference": term("zone", "In", &["x"])}, {"weight": 50, "preference": term("zone", "In", &["y"])}]});
        let choosy = pod(&json!({"affinity": {"nodeAffinity": preferred}}));
        assert_eq!(reluctance(&choosy, &node(&json!([]))), -30);
        assert_eq!(reluctance(&choosy, &node(&json!([{"key": "k", "effect": "PreferNoSchedule"}]))), 70);
    }
}
