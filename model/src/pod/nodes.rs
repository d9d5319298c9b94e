//! What is wrong with what a pod says of nodes: its affinity and its tolerations.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Toleration};

use super::problems::not_supported;
use crate::{Problem, ProblemKind};

const REQUIRED: &str = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution";
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Problems of a pod's spec, whose path is `field`.
pub(super) fn problems(spec: &PodSpec, field: &str, found: &mut Vec<Problem>) {
    for (at, toleration) in spec.tolerations.iter().flatten().enumerate() {
        toleration_problems(toleration, &format!("{field}.tolerations[{at}]"), found);
    }
    let Some(affinity) = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref()) else { return };
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        let field = format!("{field}.{REQUIRED}.nodeSelectorTerms");
        if required.node_selector_terms.is_empty() {
            found.push(Problem::required(&field, "must have at least one node selector term"));
        }
        for (at, term) in required.node_selector_terms.iter().enumerate() {
            term_problems(term, &format!("{field}[{at}]"), found);
        }
    }
    for (at, wish) in affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
        let field = format!("{field}.{PREFERRED}[{at}]");
        if !(1..=100).contains(&wish.weight) {
            found.push(Problem::invalid(format!("{field}.weight"), format!("{}: must be in the range 1-100", wish.weight)));
        }
        term_problems(&wish.preference, &format!("{field}.preference"), found);
    }
}

fn term_problems(term: &NodeSelectorTerm, field: &str, found: &mut Vec<Problem>) {
    for (at, requirement) in term.match_expressions.iter().flatten().enumerate() {
        label_problems(requirement, &format!("{field}.matchExpressions[{at}]"), found);
    }
    for (at, requirement) in term.match_fields.iter().flatten().enumerate() {
        field_problems(requirement, &format!("{field}.matchFields[{at}]"), found);
    }
}

fn label_problems(requirement: &NodeSelectorRequirement, field: &str, found: &mut Vec<Problem>) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let at_values = format!("{field}.values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            found.push(Problem::required(at_values, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            found.push(Problem::new(ProblemKind::Forbidden, at_values, why));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            found.push(Problem::required(at_values, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => found.push(Problem::invalid(format!("{field}.operator"), format!("{other:?}: not a valid selector operator"))),
    }
}

fn field_problems(requirement: &NodeSelectorRequirement, field: &str, found: &mut Vec<Problem>) {
    if requirement.values.as_ref().map_or(0, Vec::len) != 1 {
        let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
        found.push(Problem::required(format!("{field}.values"), why));
    }
    if !["In", "NotIn"].contains(&requirement.operator.as_str()) {
        let detail = format!("{:?}: not a valid selector operator", requirement.operator);
        found.push(Problem::invalid(format!("{field}.operator"), detail));
    }
    if requirement.key != "metadata.name" {
        found.push(Problem::invalid(format!("{field}.key"), format!("{:?}: not a valid field selector key", requirement.key)));
    }
}

fn toleration_problems(toleration: &Toleration, field: &str, found: &mut Vec<Problem>) {
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (key, operator, value, effect) =
        (said(&toleration.key), said(&toleration.operator), said(&toleration.value), said(&toleration.effect));
    let shown = operator.clone().unwrap_or_default();
    if key.is_none() && operator.as_deref() != Some("Exists") {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        found.push(Problem::invalid(format!("{field}.operator"), format!("{shown:?}: {why}")));
    }
    if toleration.toleration_seconds.is_some() && effect.as_deref() != Some("NoExecute") {
        let detail = format!("{:?}: effect must be 'NoExecute' when `tolerationSeconds` is set", effect.clone().unwrap_or_default());
        found.push(Problem::invalid(format!("{field}.effect"), detail));
    }
    match (operator.as_deref(), &value) {
        (Some("Exists"), Some(value)) => {
            let detail = format!("{value:?}: value must be empty when `operator` is 'Exists'");
            found.push(Problem::invalid(format!("{field}.operator"), detail));
        }
        (operator, _) => found.extend(not_supported(format!("{field}.operator"), operator, &["Equal", "Exists"])),
    }
    found.extend(not_supported(format!("{field}.effect"), effect.as_deref(), &EFFECTS));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(spec: &Value) -> Vec<String> {
        let mut whole = json!({"containers": []});
        spec.as_object().unwrap().iter().for_each(|(field, value)| whole[field] = value.clone());
        let mut found = Vec::new();
        problems(&serde_json::from_value(whole).unwrap(), "spec", &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tolerations_that_mean_nothing_are_refused() {
        for (toleration, expected) in [
            (json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}), None),
            (json!({"operator": "Exists"}), None),
            (json!({"key": "k", "value": "v"}), None),
            (json!({"value": "v"}), Some("spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when")),
            (json!({"key": "k", "operator": "Exists", "value": "v"}), Some("value must be empty when `operator` is 'Exists'")),
            (json!({"key": "k", "operator": "In"}), Some("spec.tolerations[0].operator: Unsupported value: \"In\"")),
            (json!({"key": "k", "effect": "Never"}), Some("spec.tolerations[0].effect: Unsupported value: \"Never\"")),
            (json!({"key": "k", "effect": "NoSchedule", "tolerationSeconds": 3}), Some("effect must be 'NoExecute' when")),
        ] {
            let found = told(&json!({"tolerations": [toleration]}));
            match expected {
                None => assert_eq!(found, [""; 0], "{toleration}"),
                Some(expected) => assert!(found.len() == 1 && found[0].contains(expected), "{toleration}: {found:?}"),
            }
        }
    }

    #[test]
    fn affinity_that_means_nothing_is_refused() {
        let required = |terms: Value| {
            told(&json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}))
        };
        assert!(required(json!([]))[0].contains("nodeSelectorTerms: Required value: must have at least one node selector term"));
        for (key, operator, values, expected) in [
            ("zone", "In", json!(["x"]), None),
            ("zone", "In", json!([]), Some("[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'")),
            ("zone", "Exists", json!(["x"]), Some("[0].values: Forbidden: may not be specified")),
            ("zone", "Gt", json!(["1", "2"]), Some("[0].values: Required value: must be specified single value")),
            ("zone", "Near", json!(["x"]), Some("[0].operator: Invalid value: \"Near\": not a valid selector operator")),
        ] {
            let found = required(json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]));
            assert!(expected.map_or(found.is_empty(), |text| found.len() == 1 && found[0].contains(text)), "{key} {operator}: {found:?}");
        }
        let field = required(json!([{"matchFields": [{"key": "spec.x", "operator": "Exists"}]}]));
        assert_eq!(field.len(), 3, "{field:?}");
        let preferred = json!([{"weight": 0, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}]);
        let found = told(&json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}));
        assert!(found[0].ends_with("[0].weight: Invalid value: 0: must be in the range 1-100"), "{found:?}");
    }
}
