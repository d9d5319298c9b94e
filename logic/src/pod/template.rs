//! What is wrong with what pods are made from, wherever it stands, beyond what their types say: labels, annotations and amounts.

use model::{Kind, Problem, ProblemKind};
use serde_json::Value;

use super::resource::{self, RESOURCES};
use crate::{metadata, quantity};

/// The fields of a pod that a variable may tell of, beside its labels and annotations.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Problems of the pods of an object: of its own, if it is one, and of those that it has made.
pub fn problems(kind: &Kind, object: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => spec_problems(&object["spec"], "spec", &mut found),
        ("batch", "Job") => template_problems(&object["spec"]["template"], "spec.template", &mut found),
        ("batch", "CronJob") => {
            let template = &object["spec"]["jobTemplate"]["spec"]["template"];
            template_problems(template, "spec.jobTemplate.spec.template", &mut found);
        }
        ("conductor.dev", "Service") => {
            for (at, part) in object["spec"]["parts"].as_array().into_iter().flatten().enumerate() {
                template_problems(&part["pod"], &format!("spec.parts[{at}].pod"), &mut found);
            }
        }
        _ => {}
    }
    found
}

fn template_problems(template: &Value, at: &str, found: &mut Vec<Problem>) {
    let of_metadata = metadata::problems(&template["metadata"], true);
    found.extend(of_metadata.into_iter().map(|problem| Problem { field: format!("{at}.{}", problem.field), ..problem }));
    spec_problems(&template["spec"], &format!("{at}.spec"), found);
}

fn spec_problems(spec: &Value, at: &str, found: &mut Vec<Problem>) {
    for (key, value) in spec["nodeSelector"].as_object().into_iter().flatten() {
        let field = format!("{at}.nodeSelector");
        found.extend(metadata::qualified_name_problem(key).map(|why| Problem::invalid(&field, format!("{key:?}: {why}"))));
        let wrong = value.as_str().and_then(metadata::label_value_problem);
        found.extend(wrong.map(|why| Problem::invalid(&field, format!("{value}: {why}"))));
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            reference_problems(&container["env"], &format!("{at}.{list}[{index}].env"), found);
            resource_problems(&container["resources"], &format!("{at}.{list}[{index}].resources"), found);
        }
    }
}

/// Variables that tell of the pod itself name what there is to tell.
fn reference_problems(env: &Value, at: &str, found: &mut Vec<Problem>) {
    for (index, variable) in env.as_array().into_iter().flatten().enumerate() {
        let (from, at) = (&variable["valueFrom"], format!("{at}[{index}].valueFrom"));
        if let Some(path) = from["fieldRef"]["fieldPath"].as_str().filter(|path| !is_field(path)) {
            let detail =
                format!("{path:?}: supported values: {}, metadata.labels['<KEY>'], metadata.annotations['<KEY>']", FIELDS.join(", "));
            found.push(Problem::new(ProblemKind::NotSupported, format!("{at}.fieldRef.fieldPath"), detail));
        }
        let selector = &from["resourceFieldRef"];
        if let Some(resource) = selector["resource"].as_str().filter(|resource| !RESOURCES.contains(resource)) {
            found.push(Problem::new(ProblemKind::NotSupported, format!("{at}.resourceFieldRef.resource"), resource::unknown(resource)));
        }
        let divisor = text_of(&selector["divisor"]);
        if !divisor.is_empty() && quantity::billionths(&divisor).is_none_or(|amount| amount < 0) {
            let detail = format!("{divisor:?}: expected an amount such as 1m, 1 or 1Mi");
            found.push(Problem::invalid(format!("{at}.resourceFieldRef.divisor"), detail));
        }
    }
}

fn is_field(path: &str) -> bool {
    let is_keyed = |of: &str| path.strip_prefix(of).and_then(|rest| rest.strip_suffix("']")).is_some_and(|key| !key.is_empty());
    FIELDS.contains(&path) || is_keyed("metadata.labels['") || is_keyed("metadata.annotations['")
}

fn resource_problems(resources: &Value, at: &str, found: &mut Vec<Problem>) {
    for side in ["limits", "requests"] {
        for (name, amount) in resources[side].as_object().into_iter().flatten() {
            let field = format!("{at}.{side}[{name}]");
            if let Some(why) = metadata::qualified_name_problem(name) {
                found.push(Problem::invalid(&field, format!("{name:?}: {why}")));
            }
            let text = text_of(amount);
            if text.starts_with('-') && quantity::is_quantity(&text[1..]) {
                found.push(Problem::invalid(field, format!("{text:?}: must be greater than or equal to 0")));
            } else if !quantity::is_quantity(text.trim_start_matches('+')) {
                found.push(Problem::invalid(field, format!("{amount}: expected an amount such as 500m, 2 or 256Mi")));
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name.as_str()];
        let (asked, most) = (quantity::billionths(&text_of(request)), quantity::billionths(&text_of(limit)));
        if let (Some(asked), Some(most)) = (asked, most)
            && asked > most
        {
            let detail = format!("{request}: must be less than or equal to {name} limit of {}", text_of(limit));
            found.push(Problem::invalid(format!("{at}.requests"), detail));
        }
    }
}

/// An amount as text; JSON may have it as a number.
fn text_of(amount: &Value) -> String {
    amount.as_str().map_or_else(|| if amount.is_null() { String::new() } else { amount.to_string() }, str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(resources: Value) -> Value {
        json!({"containers": [{"name": "c", "resources": resources}]})
    }

    #[test]
    fn each_mistake_names_its_whole_path_wherever_pods_are_made_from_it() {
        let variable = |from: Value| json!({"spec": {"containers": [{"name": "c", "env": [{"name": "A", "valueFrom": from}]}]}});
        let job = |template: Value| json!({"spec": {"template": template}});
        let kinds = [
            (model::service::kind(), "spec.parts[1].pod"),
            (model::batch::job(), "spec.template"),
            (model::batch::cron_job(), "spec.jobTemplate.spec.template"),
        ];
        for (template, place) in [
            (json!({"metadata": {"labels": {"not a key!": "x"}}}), "metadata.labels"),
            (json!({"metadata": {"labels": {"a": "not a value!"}}}), "metadata.labels"),
            (json!({"metadata": {"annotations": {"a/b/c": ""}}}), "metadata.annotations"),
            (json!({"spec": {"nodeSelector": {"a": "b c"}}}), "spec.nodeSelector"),
            (variable(json!({"fieldRef": {"fieldPath": "spec.nodename"}})), "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath"),
            (
                variable(json!({"resourceFieldRef": {"resource": "limits.gpu"}})),
                "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource",
            ),
            (
                variable(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "much"}})),
                "spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor",
            ),
            (json!({"spec": container(json!({"limits": {"cpu": "much"}}))}), "spec.containers[0].resources.limits[cpu]"),
            (json!({"spec": container(json!({"requests": {"memory": "-1"}}))}), "spec.containers[0].resources.requests[memory]"),
            (
                json!({"spec": container(json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "10Mi"}}))}),
                "spec.containers[0].resources.requests",
            ),
            (
                json!({"spec": container(json!({"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}))}),
                "spec.containers[0].resources.requests",
            ),
        ] {
            for (kind, at) in &kinds {
                let object = match kind.kind.as_str() {
                    "Service" => json!({"spec": {"parts": [{}, {"pod": template}]}}),
                    "Job" => job(template.clone()),
                    _ => json!({"spec": {"jobTemplate": job(template.clone())}}),
                };
                let found: Vec<String> = problems(kind, &object).into_iter().map(|problem| problem.field).collect();
                assert_eq!(found, [format!("{at}.{place}")], "{object}");
            }
        }
    }

    #[test]
    fn what_is_right_has_no_problems() {
        let resources = json!({"requests": {"cpu": "500m", "memory": "1Gi", "a.dev/b": 1}, "limits": {"cpu": 0.5, "memory": "1024Mi"}});
        let pod = json!({"spec": container(resources)});
        assert_eq!(problems(&model::pod::kind(), &pod), []);
        let pod = json!({"spec": container(json!({"requests": {"cpu": "501m"}, "limits": {"cpu": "0.5"}}))});
        let found: Vec<String> = problems(&model::pod::kind(), &pod).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["spec.containers[0].resources.requests: Invalid value: \"501m\": must be less than or equal to cpu limit of 0.5"]
        );
    }
}
