//! What the pods of a Service's parts ask for that their runtime does not do.

use serde_json::Value;

use crate::Problem;
use crate::pod::{fields, template_warnings};

/// Fields that are refused.
pub(super) fn refusals(object: &Value) -> Vec<Problem> {
    pods(object).flat_map(|(field, spec)| fields::refusals(spec, &field)).collect()
}

/// Fields that are refused and were not there before; a part is compared with the one of its name.
pub(super) fn refusals_of_change(before: &Value, after: &Value) -> Vec<Problem> {
    let old = |name: &Value| parts(before).find(|part| part["name"] == *name).map(|part| &part["pod"]["spec"]);
    let changed = parts(after)
        .zip(pods(after))
        .flat_map(|(part, (field, spec))| fields::refusals_of_change(old(&part["name"]).unwrap_or(&Value::Null), spec, &field));
    changed.collect()
}

/// Fields that do nothing.
pub(super) fn warnings(object: &Value) -> Vec<String> {
    pods(object).flat_map(|(field, spec)| template_warnings(spec, &field)).collect()
}

fn parts(object: &Value) -> impl Iterator<Item = &Value> {
    object["spec"]["parts"].as_array().into_iter().flatten()
}

/// The pods of the parts, each with its path.
fn pods(object: &Value) -> impl Iterator<Item = (String, &Value)> {
    parts(object).enumerate().map(|(at, part)| (format!("spec.parts[{at}].pod.spec"), &part["pod"]["spec"]))
}
