//! The controls of `restricted` beyond those of `baseline`.

use serde_json::Value;

use super::Bar;
use super::baseline::added_beyond;
use super::spec::{PodView, name, of_containers, quoted, setters, subject, texts};

/// The volumes that hold nothing of the machine's.
const VOLUMES: [&str; 8] = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

/// What a pod violates.
pub(super) fn violations(pod: &PodView<'_>, bar: Bar) -> Vec<String> {
    [escalation(pod), capabilities(pod), volumes(pod), not_root(pod), root_user(pod, bar), seccomp(pod)].into_iter().flatten().collect()
}

fn escalation(pod: &PodView<'_>) -> Option<String> {
    let names = pod.names(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    let why = of_containers(&names, "must set securityContext.allowPrivilegeEscalation=false");
    why.map(|why| format!("allowPrivilegeEscalation != false ({why})"))
}

fn capabilities(pod: &PodView<'_>) -> Option<String> {
    let names = pod.names(|container| !texts(&container["securityContext"]["capabilities"]["drop"]).any(|dropped| dropped == "ALL"));
    let dropped = of_containers(&names, "must set securityContext.capabilities.drop=[\"ALL\"]");
    let all: Vec<String> = [dropped, added_beyond(pod, &["NET_BIND_SERVICE"])].into_iter().flatten().collect();
    (!all.is_empty()).then(|| format!("unrestricted capabilities ({})", all.join("; ")))
}

fn volumes(pod: &PodView<'_>) -> Option<String> {
    let kind = |volume: &Value| -> Option<String> {
        let fields = volume.as_object()?.iter().filter(|(field, value)| *field != "name" && !value.is_null());
        fields.map(|(field, _)| field.clone()).find(|field| !VOLUMES.contains(&field.as_str()))
    };
    let all = pod.spec["volumes"].as_array().into_iter().flatten();
    let bad: Vec<(String, String)> = all.filter_map(|volume| Some((name(volume), kind(volume)?))).collect();
    let (names, mut kinds): (Vec<String>, Vec<String>) = bad.into_iter().unzip();
    kinds.sort();
    kinds.dedup();
    let many = |count: usize, one: &'static str, more: &'static str| if count == 1 { one } else { more };
    (!names.is_empty()).then(|| {
        let (volume, uses) = (many(names.len(), "volume", "volumes"), many(names.len(), "uses", "use"));
        let types = many(kinds.len(), "restricted volume type", "restricted volume types");
        format!("restricted volume types ({volume} {} {uses} {types} {})", quoted(&names), quoted(&kinds))
    })
}

fn not_root(pod: &PodView<'_>) -> Option<String> {
    let said = |context: &Value| context["runAsNonRoot"].as_bool();
    let of_pod = said(pod.context());
    let explicit = pod.names(|container| said(&container["securityContext"]) == Some(false));
    if let Some(who) = setters(of_pod == Some(false), &explicit) {
        return Some(format!("runAsNonRoot != true ({who} must not set securityContext.runAsNonRoot=false)"));
    }
    let silent = pod.names(|container| said(&container["securityContext"]).is_none());
    let is_missing = of_pod.is_none() && !silent.is_empty();
    is_missing.then(|| format!("runAsNonRoot != true (pod or {} must set securityContext.runAsNonRoot=true)", subject(&silent)))
}

fn root_user(pod: &PodView<'_>, bar: Bar) -> Option<String> {
    let is_root = |context: &Value| context["runAsUser"] == 0;
    let names = pod.names(|container| is_root(&container["securityContext"]));
    let who = setters(is_root(pod.context()), &names).filter(|_| bar.is_since(23))?;
    Some(format!("runAsUser=0 ({who} must not set runAsUser=0)"))
}

fn seccomp(pod: &PodView<'_>) -> Option<String> {
    let is_good = |kind: &str| ["RuntimeDefault", "Localhost"].contains(&kind);
    let said = |context: &Value| context["seccompProfile"]["type"].as_str().map(str::to_owned);
    let bad = |context: &Value| said(context).filter(|kind| !is_good(kind));
    let names = pod.names(|container| bad(&container["securityContext"]).is_some());
    let mut values: Vec<String> = pod.containers().filter_map(|container| bad(&container["securityContext"])).collect();
    values.extend(bad(pod.context()));
    values.sort();
    if let Some(who) = setters(bad(pod.context()).is_some(), &names) {
        return Some(format!("seccompProfile ({who} must not set securityContext.seccompProfile.type to {})", quoted(&values)));
    }
    let silent = pod.names(|container| said(&container["securityContext"]).is_none());
    let is_missing = said(pod.context()).is_none() && !silent.is_empty();
    let what = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
    is_missing.then(|| format!("seccompProfile (pod or {} {what})", subject(&silent)))
}
