//! Every namespace has a ServiceAccount `default`, that of Pods which name none, as in Kubernetes.

use std::sync::Arc;
use std::time::Duration;

use client::{Because, Error, Objects, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use model::service_account::DEFAULT;
use tokio_util::sync::CancellationToken;

const ACTOR: &str = "accounts";
const RETRY: Duration = Duration::from_secs(1);

/// Runs until `stop` is cancelled.
pub async fn run(client: Client, stop: CancellationToken) {
    let defaults = watcher::Config::default().fields(&format!("metadata.name={DEFAULT}"));
    Controller::new(Api::<Namespace>::all(client.clone()), watcher::Config::default())
        .watches(Api::<ServiceAccount>::all(client.clone()), defaults, |account| {
            account.namespace().map(|namespace| ObjectRef::<Namespace>::new(&namespace))
        })
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, |namespace, error: &Error, _| on_error(&namespace, error), Arc::new(client))
        .for_each(|outcome| {
            super::looked(ACTOR, &outcome);
            std::future::ready(())
        })
        .await;
}

fn on_error(namespace: &Namespace, error: &Error) -> Action {
    tracing::warn!(namespace = %namespace.name_any(), %error, "a namespace has no ServiceAccount {DEFAULT}");
    Action::requeue(RETRY)
}

async fn reconcile(namespace: Arc<Namespace>, client: Arc<Client>) -> Result<Action> {
    if namespace.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let accounts = Objects::<ServiceAccount>::namespaced(&client, &namespace.name_any());
    if accounts.get(DEFAULT).await?.is_none() {
        let metadata = ObjectMeta { name: Some(DEFAULT.to_owned()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        let cause = Because::of(ACTOR, namespace.as_ref()).reason("every namespace has one");
        match accounts.create(&account, &cause).await {
            // Somebody else was faster, or the namespace is gone.
            Err(Error::Conflict { .. } | Error::NotFound { .. }) => {}
            other => drop(other?),
        }
    }
    Ok(Action::await_change())
}
