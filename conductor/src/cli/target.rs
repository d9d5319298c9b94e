//! The Pods that somebody means: those of a Service, of one part of it, or one Pod.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use model::{Service, labels};

use super::failure::{Exit, Failure, Result};
use super::named::Target;
use super::rollout::selector;
use super::server::{Server, absent, check_name};

/// The Pods that were found.
pub struct Chosen {
    /// Those there are.
    pub pods: Vec<Pod>,
    /// The selector of copies that may come, where a Service was meant.
    pub selector: Option<String>,
}

/// Finds what is meant. Where no kind is said a Service comes first, for people know those by name. Errors: it is not there, with the
/// name that was most likely meant.
pub async fn resolve(server: &Server, target: &Target) -> Result<Chosen> {
    let (Target::Pod(text) | Target::Service(text) | Target::Either(text)) = target;
    let (name, part) = text.split_once('/').map_or((text.as_str(), None), |(service, part)| (service, Some(part)));
    check_name(name)?;
    let pods = server.objects::<Pod>();
    if !matches!(target, Target::Pod(_))
        && let Some(service) = server.objects::<Service>().get(name).await?
    {
        let mut selector = selector(name);
        if let Some(part) = part {
            check_part(&service, part)?;
            selector = format!("{selector},{}={part}", labels::PART);
        }
        return Ok(Chosen { pods: pods.list(&selector).await?, selector: Some(selector) });
    }
    let found = if matches!(target, Target::Service(_)) || part.is_some() { None } else { pods.get(name).await? };
    match found {
        Some(pod) => Ok(Chosen { pods: vec![pod], selector: None }),
        None => Err(unknown(server, target, name).await?),
    }
}

/// One Pod that runs: the only one that is meant, or the first that is ready. Errors: there is none.
pub async fn running(server: &Server, target: &Target) -> Result<Pod> {
    let chosen = resolve(server, target).await?;
    let is = |pod: &&Pod, condition: &str| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|found| found.type_ == condition && found.status == "True")
    };
    let runs = |pod: &&Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
    let found = chosen.pods.iter().find(|pod| is(pod, "Ready")).or_else(|| chosen.pods.iter().find(runs)).or(chosen.pods.first());
    found.cloned().ok_or_else(|| Failure::new(Exit::NotFound, format!("no copy of {target} is there")))
}

async fn unknown(server: &Server, target: &Target, name: &str) -> Result<Failure> {
    let mut names: Vec<String> = Vec::new();
    if !matches!(target, Target::Pod(_)) {
        names.extend(server.objects::<Service>().list("").await?.iter().map(kube::ResourceExt::name_any));
    }
    if !matches!(target, Target::Service(_)) {
        names.extend(server.objects::<Pod>().list("").await?.iter().map(kube::ResourceExt::name_any));
    }
    let kinds = match target {
        Target::Pod(_) => "no Pod",
        Target::Service(_) => "no Service",
        Target::Either(_) => "no Service and no Pod",
    };
    Ok(absent(&format!("there is {kinds} {name} in namespace {}", server.namespace), name, names.iter().map(String::as_str)))
}

fn check_part(service: &Service, part: &str) -> Result<()> {
    let names: Vec<&str> = service.spec.parts.iter().map(|part| part.name.as_str()).collect();
    if names.contains(&part) {
        return Ok(());
    }
    let what = format!("Service {} has no part {part}; it has {}", service.name_any(), names.join(", "));
    Err(absent(&what, part, names.into_iter()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_that_there_is_not_may_have_been_meant_otherwise() {
        let spec = json!({"application": "shop", "parts": [{"name": "web", "pod": {}}]});
        let service: Service = serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": spec})).unwrap();
        assert!(check_part(&service, "web").is_ok());
        assert!(check_part(&service, "wbe").unwrap_err().message().ends_with("it has web: did you mean web?"));
    }
}
