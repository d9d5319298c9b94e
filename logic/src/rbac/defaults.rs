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

/// What there is, with what a default has beyond it; `None` when nothing is missing, or the object says that it is not to be
/// added to. What people added stays.
pub fn merged(there: &Value, default: &Value) -> Option<Value> {
    if there["metadata"]["annotations"][AUTOUPDATE] != "true" {
        return None;
    }
    let mut object = there.clone();
    if default["aggregationRule"].is_null() {
        let lacking = beyond(&Rule::list(&there["rules"]), &Rule::list(&default["rules"]));
        append(&mut object, "rules", lacking.iter().map(Rule::to_value).collect());
    }
    let has = |subject: &Value| there["subjects"].as_array().is_some_and(|subjects| subjects.contains(subject));
    let subjects = default["subjects"].as_array().into_iter().flatten().filter(|subject| !has(subject)).cloned().collect();
    append(&mut object, "subjects", subjects);
    (object != *there).then_some(object)
}

fn append(object: &mut Value, field: &str, values: Vec<Value>) {
    if !values.is_empty() {
        let mut all = object[field].as_array().cloned().unwrap_or_default();
        all.extend(values);
        object[field] = json!(all);
    }
}
