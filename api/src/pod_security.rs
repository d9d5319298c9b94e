//! Pods are held to the Pod Security level of their namespace: refused, warned of, noted in the audit log.
//!
//! A Service is refused as its Pods would be, since a rollout that is stuck tells later and less. Other kinds that make pods are
//! only warned of, as in Kubernetes.

use logic::pod_security::{self, Bar, Mode, PREFIX};
use model::{Kind, pod};
use serde_json::{Value, json};
use store::ListOptions;

use crate::serve::Call;
use crate::status::Result;
use crate::{object, placed};

/// How many Pods of a namespace are looked at when its level changes.
const PODS_MAX: usize = 3_000;
/// How many of them are told of by name.
const TOLD_MAX: usize = 10;

/// Checks what is to be stored. `before` is null for what is new. Errors: 403 with what is violated, in Kubernetes' words.
pub async fn check(call: &Call, before: &Value, after: &Value) -> Result<()> {
    let kind = call.kind();
    if call.place.subresource.is_some() {
        return Ok(());
    }
    if is_core(kind, "Namespace") {
        return if before.is_null() { Ok(()) } else { warn_of_pods(call, before, after).await };
    }
    let asked = asked(kind, after);
    // What is there stays: a level that became stricter is about what is made from then on.
    let known = self::asked(kind, before);
    let new: Vec<&(String, Value)> = asked.iter().filter(|one| !known.contains(one)).collect();
    let Some(namespace) = call.place.namespace.as_deref().filter(|_| !new.is_empty()) else { return Ok(()) };
    let entry = call.server.store.get(&object::namespace_key(namespace), None).await?;
    let namespace = entry.map_or_else(|| json!({"metadata": {"name": namespace}}), |entry| object::decode(&entry));
    let is_enforced = is_core(kind, "Pod") || kind.group == "conductor.dev" && kind.kind == "Service";
    for mode in [Mode::Enforce, Mode::Warn, Mode::Audit] {
        let bar = Bar::of(&namespace, mode);
        let found: Vec<String> = new.iter().filter_map(|(field, pod)| violations(bar, field, pod)).collect();
        if mode == Mode::Enforce {
            call.tell(|told| told.notes.push((format!("{PREFIX}enforce-policy"), bar.to_string().replace('"', ""))));
        }
        if found.is_empty() {
            continue;
        }
        let found = found.join("; ");
        match mode {
            Mode::Enforce if is_enforced => return Err(placed::forbidden(kind, after, &format!("violates PodSecurity {found}"))),
            Mode::Enforce | Mode::Warn => {
                let warning = format!("would violate PodSecurity {found}");
                call.tell(|told| {
                    if !told.warnings.contains(&warning) {
                        told.warnings.push(warning);
                    }
                });
            }
            Mode::Audit => {
                let note = format!("would violate PodSecurity {found}");
                call.tell(|told| told.notes.push((format!("{PREFIX}audit-violations"), note)));
            }
        }
    }
    Ok(())
}

fn violations(bar: Bar, field: &str, pod: &Value) -> Option<String> {
    let found = bar.violations(&pod["metadata"], &pod["spec"])?;
    Some(if field.is_empty() { found } else { format!("{found} in {field}") })
}

/// The pods that an object is or makes, each with its field, as far as levels are about them.
fn asked(kind: &Kind, object: &Value) -> Vec<(String, Value)> {
    let all = if is_core(kind, "Pod") && object.is_object() {
        vec![(String::new(), object.clone())]
    } else {
        pod_security::templates(&kind.group, &kind.kind, object)
    };
    let told = |pod: Value| {
        let mut annotations = pod["metadata"]["annotations"].clone();
        if let Some(all) = annotations.as_object_mut() {
            all.retain(|name, _| name.starts_with("container.apparmor.security.beta.kubernetes.io/"));
        }
        json!({"metadata": {"annotations": annotations.as_object().filter(|all| !all.is_empty())}, "spec": pod["spec"]})
    };
    all.into_iter().map(|(field, pod)| (field, told(pod))).collect()
}

fn is_core(kind: &Kind, name: &str) -> bool {
    kind.group.is_empty() && kind.kind == name
}

/// Tells whoever makes a namespace stricter which of its Pods would not be made again.
async fn warn_of_pods(call: &Call, before: &Value, after: &Value) -> Result<()> {
    let (old, bar) = (Bar::of(before, Mode::Enforce), Bar::of(after, Mode::Enforce));
    if old == bar || bar.level < old.level {
        return Ok(());
    }
    let name = after["metadata"]["name"].as_str().unwrap_or_default();
    let prefix = object::prefix(&pod::kind(), Some(name));
    let page = call.server.store.list(ListOptions { prefix, limit: Some(PODS_MAX), ..ListOptions::default() }).await?;
    let mut told = Vec::new();
    for pod in page.entries.iter().map(object::decode) {
        if let Some(found) = bar.violations(&pod["metadata"], &pod["spec"]) {
            let why = found.split_once("\": ").map_or(found.as_str(), |(_, why)| why).to_owned();
            told.push(format!("{}: {why}", pod["metadata"]["name"].as_str().unwrap_or_default()));
        }
    }
    if told.is_empty() {
        return Ok(());
    }
    let more = told.len().saturating_sub(TOLD_MAX);
    told.truncate(TOLD_MAX);
    call.tell(|aside| {
        aside.warnings.push(format!("existing pods in namespace {name:?} violate the new PodSecurity enforce level {bar}"));
        aside.warnings.extend(told);
        aside.warnings.extend((more > 0).then(|| format!("(and {more} more)")));
    });
    Ok(())
}
