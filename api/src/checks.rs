//! Kinds whose objects are checked by more than their schema: those that `logic` decides about.

use logic::definition::{check, names};
use model::{Kind, Problem, custom_resource_definition as definition};
use serde_json::{Value, json};

/// Fills in what such an object may leave out.
pub fn fill_in(kind: &Kind, object: &mut Value) {
    if definition::is_definition(kind) {
        check::fill_in(object);
        let stored = names::stored_versions(object);
        if object["status"].is_null() {
            object["status"] = json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}});
        }
        object["status"]["storedVersions"] = stored;
    }
}

/// Problems of such an object.
pub fn problems(kind: &Kind, object: &Value, is_new: bool) -> Vec<Problem> {
    if kind.group == model::admission::GROUP {
        return logic::admission::problems(object);
    }
    if is_namespace(kind) && is_new {
        return logic::pod_security::label_problems(object);
    }
    if !definition::is_definition(kind) {
        return logic::pod::template::problems(kind, object);
    }
    let name = check::name_problem(object).filter(|_| is_new);
    name.into_iter().chain(check::problems(object)).collect()
}

/// Problems of a change of such an object.
pub fn change_problems(kind: &Kind, before: &Value, after: &Value) -> Vec<Problem> {
    if is_namespace(kind) {
        let known = logic::pod_security::label_problems(before);
        return logic::pod_security::label_problems(after).into_iter().filter(|problem| !known.contains(problem)).collect();
    }
    if definition::is_definition(kind) { check::change_problems(before, after) } else { Vec::new() }
}

fn is_namespace(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Namespace"
}
