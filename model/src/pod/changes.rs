//! What of a Pod may change once it is there: little more than its images.

use serde_json::Value;

use crate::{Problem, ProblemKind};

const RULE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
     `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
     (allow it to be set to 1 if it was previously negative)";

/// Problems of a change; both specs have their defaults.
pub fn problems(before: &Value, after: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    for list in ["containers", "initContainers"] {
        let field = format!("spec.{list}");
        let (old, new) = (items(before, list), items(after, list));
        if old.len() != new.len() {
            found.push(Problem::new(ProblemKind::Forbidden, field, "pod updates may not add or remove containers"));
            return found;
        }
        for (at, (old, new)) in old.iter().zip(new).enumerate() {
            let image = new["image"].as_str().unwrap_or_default();
            if image.is_empty() && !old["image"].is_null() {
                found.push(Problem::required(format!("{field}[{at}].image"), ""));
            }
            if image.trim().len() != image.len() {
                let detail = format!("{image:?}: must not have leading or trailing whitespace");
                found.push(Problem::invalid(format!("{field}[{at}].image"), detail));
            }
        }
    }
    if let Some(problem) = deadline(&before["activeDeadlineSeconds"], &after["activeDeadlineSeconds"]) {
        found.push(problem);
        return found;
    }
    let (old, new) = (items(before, "tolerations"), items(after, "tolerations"));
    if !old.iter().all(|toleration| new.iter().any(|other| is_same_toleration(toleration, other))) {
        let rule = "existing toleration can not be modified except its tolerationSeconds";
        found.push(Problem::new(ProblemKind::Forbidden, "spec.tolerations", rule));
        return found;
    }
    let others = others(before, after);
    if !others.is_empty() {
        found.push(Problem::new(ProblemKind::Forbidden, "spec", format!("{RULE}\n{}", others.join("\n"))));
    }
    found
}

fn items<'a>(spec: &'a Value, list: &str) -> &'a [Value] {
    spec[list].as_array().map_or(&[], Vec::as_slice)
}

fn deadline(before: &Value, after: &Value) -> Option<Problem> {
    let field = "spec.activeDeadlineSeconds";
    let problem = |detail: &str| Some(Problem::invalid(field, format!("{after}: {detail}")));
    match (before.as_i64(), after.as_i64()) {
        (_, Some(new)) if !(0..=i64::from(i32::MAX)).contains(&new) => problem("must be between 0 and 2147483647, inclusive"),
        (Some(old), Some(new)) if new > old => problem("must be less than or equal to previous value"),
        (Some(_), None) => problem("must not update from a positive integer to nil value"),
        _ => None,
    }
}

fn is_same_toleration(one: &Value, other: &Value) -> bool {
    ["key", "operator", "value", "effect"].iter().all(|field| one[field] == other[field])
}

/// The fields that differ and may not, each as it was and as it would be.
fn others(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let names = |spec: &Value| spec.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut all = names(before);
    all.extend(names(after).into_iter().filter(|name| before.get(name).is_none()));
    for name in all {
        let (old, new) = (&before[&name], &after[&name]);
        let may_differ = match name.as_str() {
            "activeDeadlineSeconds" | "tolerations" => true,
            "terminationGracePeriodSeconds" => new == 1 && old.as_i64().is_some_and(|old| old < 0),
            "containers" | "initContainers" => without_images(old) == without_images(new),
            _ => false,
        };
        if old != new && !may_differ {
            found.push(format!("- {name}: {old}\n+ {name}: {new}"));
        }
    }
    found
}

fn without_images(list: &Value) -> Vec<Value> {
    let mut list = list.as_array().cloned().unwrap_or_default();
    for container in list.iter_mut().filter_map(Value::as_object_mut) {
        container.shift_remove("image");
    }
    list
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_deadlines_and_more_tolerations_may_change_and_nothing_else() {
        let before = json!({"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}], "activeDeadlineSeconds": 9,
            "tolerations": [{"key": "k", "operator": "Exists"}], "terminationGracePeriodSeconds": -1});
        let change = |change: &dyn Fn(&mut Value)| {
            let mut after = before.clone();
            change(&mut after);
            problems(&before, &after).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        for (found, expected) in [
            (change(&|spec| spec["containers"][1]["image"] = json!("b:2")), ""),
            (change(&|spec| spec["activeDeadlineSeconds"] = json!(5)), ""),
            (change(&|spec| spec["terminationGracePeriodSeconds"] = json!(1)), ""),
            (change(&|spec| spec["tolerations"] = json!([{"key": "l"}, {"key": "k", "operator": "Exists", "tolerationSeconds": 3}])), ""),
            (
                change(&|spec| spec["containers"] = json!([{"name": "a", "image": "a:1"}])),
                "spec.containers: Forbidden: pod updates may not add or remove containers",
            ),
            (
                change(&|spec| spec["activeDeadlineSeconds"] = json!(10)),
                "spec.activeDeadlineSeconds: Invalid value: 10: must be less than or equal to previous value",
            ),
            (
                change(&|spec| spec["activeDeadlineSeconds"] = Value::Null),
                "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
            ),
            (change(&|spec| spec["containers"][0]["image"] = json!("")), "spec.containers[0].image: Required value"),
            (
                change(&|spec| spec["tolerations"] = json!([])),
                "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
            ),
        ] {
            assert_eq!(found, expected);
        }
        assert!(
            change(&|spec| spec["containers"].as_array_mut().unwrap().reverse()).starts_with("spec: Forbidden: pod updates may not change")
        );
        assert!(change(&|spec| spec["hostname"] = json!("h")).ends_with("- hostname: null\n+ hostname: \"h\""));
    }
}
