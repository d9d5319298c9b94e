//! The roles and bindings that every server has from its first start on.

use serde_json::{Value, json};

use super::{Rule, beyond};

/// Marks a role or binding that a newer server may add to.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The default roles and bindings, as objects that can be created. None if this program was built with a file that is no YAML,
/// which its tests rule out.
pub fn defaults() -> Vec<Value> {
    let mut objects = crate::yaml::parse(include_str!("defaults.yaml")).unwrap_or_default();
    for object in &mut objects {
        object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
        object["metadata"]["labels"]["kubernetes.io/bootstrapping"] = json!("rbac-defaults");
        object["metadata"]["annotations"] = json!({AUTOUPDATE: "true"});
    }
    objects
}

/// What an older server's default had and ours has not: a role, a verb and the resource of the core group. Whoever wants one back gives
/// it by a role of their own.
const WITHDRAWN: &[(&str, &str, &str)] =
    &[("system:aggregate-to-edit", "impersonate", "serviceaccounts"), ("system:aggregate-to-edit", "create", "serviceaccounts/token")];

/// What there is, with what a default has beyond it and without what it had once; `None` when nothing is to be changed, or the object
/// says that it is not to be added to. What people added stays.
pub fn merged(there: &Value, default: &Value) -> Option<Value> {
    if there["metadata"]["annotations"][AUTOUPDATE] != "true" {
        return None;
    }
    let mut object = there.clone();
    withdraw(&mut object, default["metadata"]["name"].as_str().unwrap_or_default());
    if default["aggregationRule"].is_null() {
        let lacking = beyond(&Rule::list(&there["rules"]), &Rule::list(&default["rules"]));
        append(&mut object, "rules", lacking.iter().map(Rule::to_value).collect());
    }
    let has = |subject: &Value| there["subjects"].as_array().is_some_and(|subjects| subjects.contains(subject));
    let subjects = default["subjects"].as_array().into_iter().flatten().filter(|subject| !has(subject)).cloned().collect();
    append(&mut object, "subjects", subjects);
    (object != *there).then_some(object)
}

fn withdraw(object: &mut Value, role: &str) {
    let Some(rules) = object.get_mut("rules").and_then(Value::as_array_mut) else { return };
    for (_, verb, resource) in WITHDRAWN.iter().filter(|(of, ..)| *of == role) {
        for rule in rules.iter_mut().filter(|rule| rule["apiGroups"] == json!([""]) && rule["verbs"] == json!([verb])) {
            if let Some(resources) = rule.get_mut("resources").and_then(Value::as_array_mut) {
                resources.retain(|of| of != resource);
            }
        }
    }
    rules.retain(|rule| rule["resources"].as_array().is_none_or(|resources| !resources.is_empty()));
}

fn append(object: &mut Value, field: &str, values: Vec<Value>) {
    if !values.is_empty() {
        let mut all = object[field].as_array().cloned().unwrap_or_default();
        all.extend(values);
        object[field] = json!(all);
    }
}
