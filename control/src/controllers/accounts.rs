//! Every namespace has a ServiceAccount `default`, that of Pods which name none, as in Kubernetes.

use std::sync::Arc;

use client::{Because, Error, Objects, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use model::Clock;
use model::service_account::DEFAULT;
use tokio_util::sync::CancellationToken;

use super::Context;

const ACTOR: &str = "accounts";

/// Runs until `stop` is cancelled.
pub async fn run(client: Client, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let context = Context::new(&client, clock, ACTOR);
    let defaults = watcher::Config::default().fields(&format!("metadata.name={DEFAULT}"));
    Controller::new(Api::<Namespace>::all(client.clone()), watcher::Config::default())
        .watches(Api::<ServiceAccount>::all(client), defaults, |account| {
            account.namespace().map(|namespace| ObjectRef::<Namespace>::new(&namespace))
        })
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, |namespace, error: &Error, context| on_error(&namespace, error, &context), context)
        .for_each(|outcome| {
            super::looked(ACTOR, &outcome);
            std::future::ready(())
        })
        .await;
}

fn on_error(namespace: &Namespace, error: &Error, context: &Context) -> Action {
    tracing::warn!(namespace = %namespace.name_any(), %error, "a namespace has no ServiceAccount {DEFAULT}");
    Action::requeue(context.back_off.failed(&namespace.name_any()))
}

async fn reconcile(namespace: Arc<Namespace>, context: Arc<Context>) -> Result<Action> {
    if namespace.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let accounts = Objects::<ServiceAccount>::namespaced(&context.client, &namespace.name_any());
    if accounts.get(DEFAULT).await?.is_none() {
        let metadata = ObjectMeta { name: Some(DEFAULT.to_owned()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        let cause = Because::of(ACTOR, namespace.as_ref()).reason("every namespace has one");
        match accounts.create(&account, &cause).await {
            // Somebody else was faster, or the namespace is gone.
            Err(Error::Conflict { .. } | Error::NotFound { .. }) => {}
            Err(error) => {
                let message = format!("it has no ServiceAccount {DEFAULT}: {error}");
                context.events.warning_once(namespace.as_ref(), "FailedCreate", message).await;
                return Err(error);
            }
            Ok(_) => {}
        }
    }
    context.back_off.went_well(&namespace.name_any());
    Ok(Action::await_change())
}
