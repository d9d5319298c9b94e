//! What the registries of a Pod's images are shown: the Secrets it names, as far as they can be used.
//!
//! A Pod without `imagePullSecrets` has those of its ServiceAccount, and that of a Pod that names none is `default`. Kubernetes
//! writes them into the Pod when it is made; here they are looked up at each start, so a Secret that was added or mended later
//! counts, and what is stored of a Pod is what somebody wrote.

use client::{Objects, Result};
use k8s_openapi::api::core::v1::{Container, LocalObjectReference, Pod, Secret, ServiceAccount};
use kube::ResourceExt as _;
use logic::credentials::{matching, read};
use model::service_account::DEFAULT;
use runtime::{Credential, ImageTrouble};

use super::Shared;

/// What a container's registry is shown.
#[derive(Debug, Default)]
pub struct Shown {
    /// In the order in which they are tried.
    pub credentials: Vec<Credential>,
    /// What is wrong with the Secrets of the Pod; empty where nothing is.
    pub problem: String,
}

impl Shown {
    /// What is to be added to why a container did not start: an image may be missing for want of a Secret.
    pub fn because(&self, error: &runtime::Error) -> String {
        match error {
            runtime::Error::Image { trouble, .. } if *trouble != ImageTrouble::Fetching && !self.problem.is_empty() => {
                format!("; {}", self.problem)
            }
            _ => String::new(),
        }
    }
}

/// Looks up what the registry of a container's image is shown.
pub async fn of(shared: &Shared, pod: &Pod, container: &Container) -> Result<Shown> {
    let image = container.image.as_deref().unwrap_or_default();
    if image.is_empty() || container.image_pull_policy.as_deref() == Some("Never") {
        return Ok(Shown::default());
    }
    let secrets = Objects::<Secret>::namespaced(&shared.client, &pod.namespace().unwrap_or_default());
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for name in names(shared, pod).await? {
        let Some(secret) = secrets.get(&name).await? else {
            problems.push(format!("Secret {name} is not there"));
            continue;
        };
        let (credentials, wrong) = read(&secret);
        found.extend(credentials);
        problems.extend(wrong.into_iter().map(|wrong| format!("Secret {name}: {wrong}")));
    }
    let credentials = matching(image, &found).into_iter().map(|found| Credential {
        registry: found.registry.clone(),
        username: found.username.clone(),
        password: found.password.clone(),
        identity_token: found.identity_token.clone(),
    });
    let problem = if problems.is_empty() { String::new() } else { format!("imagePullSecrets: {}", problems.join("; ")) };
    Ok(Shown { credentials: credentials.collect(), problem })
}

/// The Secrets that count for a Pod, by name. An empty name is none, as in Kubernetes.
async fn names(shared: &Shared, pod: &Pod) -> Result<Vec<String>> {
    let named = |references: Option<Vec<LocalObjectReference>>| -> Vec<String> {
        references.into_iter().flatten().map(|reference| reference.name).filter(|name| !name.is_empty()).collect()
    };
    let spec = pod.spec.clone().unwrap_or_default();
    if spec.image_pull_secrets.as_ref().is_some_and(|references| !references.is_empty()) {
        return Ok(named(spec.image_pull_secrets));
    }
    let account = spec.service_account_name.or(spec.service_account).filter(|name| !name.is_empty());
    let accounts = Objects::<ServiceAccount>::namespaced(&shared.client, &pod.namespace().unwrap_or_default());
    let account = accounts.get(account.as_deref().unwrap_or(DEFAULT)).await?;
    Ok(named(account.and_then(|account| account.image_pull_secrets)))
}
