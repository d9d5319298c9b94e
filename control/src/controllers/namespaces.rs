//! Namespaces that are being deleted: empties them, then lets them go.

use std::sync::Arc;
use std::time::Duration;

use client::{Because, Error, Objects, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use model::Clock;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Context;

const ACTOR: &str = "namespaces";
const AGAIN: Duration = Duration::from_millis(200);
/// How seldom a namespace is looked at in which something is held for long.
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// The condition of a namespace that cannot be emptied, as Kubernetes names it.
const FAILURE: &str = "NamespaceDeletionContentFailure";

/// Runs until `stop` is cancelled.
pub async fn run(client: Client, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let context = Context::new(&client, clock, ACTOR);
    Controller::new(Api::<Namespace>::all(client), watcher::Config::default())
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, |namespace, error: &Error, context| on_error(&namespace, error, &context), context)
        .for_each(|outcome| {
            super::looked("namespaces", &outcome);
            std::future::ready(())
        })
        .await;
}

fn on_error(namespace: &Namespace, error: &Error, context: &Context) -> Action {
    tracing::warn!(namespace = %namespace.name_any(), %error, "a namespace could not be emptied");
    Action::requeue(context.back_off.failed(&namespace.name_any()))
}

async fn reconcile(namespace: Arc<Namespace>, context: Arc<Context>) -> Result<Action> {
    if namespace.metadata.deletion_timestamp.is_none() {
        return Ok(Action::await_change());
    }
    match bring_on(&namespace, &context).await {
        Err(error) => {
            report(&namespace, &context, &error).await?;
            Err(error)
        }
        other => other,
    }
}

async fn bring_on(namespace: &Namespace, context: &Context) -> Result<Action> {
    let (client, name) = (&context.client, namespace.name_any());
    let mut left = 0;
    for resource in namespaced_resources(client).await? {
        left += empty(client, &name, &resource).await?;
    }
    if left > 0 {
        return Ok(Action::requeue(context.back_off.failed(&name).clamp(AGAIN, AGAIN_MAX)));
    }
    let mut finalized = namespace.clone();
    finalized.spec = Some(k8s_openapi::api::core::v1::NamespaceSpec { finalizers: Some(Vec::new()) });
    let body = serde_json::to_vec(&finalized).unwrap_or_default();
    let request = http::Request::put(format!("/api/v1/namespaces/{name}/finalize")).header("content-type", "application/json").body(body);
    let request = request.map_err(|error| failed("finalize", &name, kube::Error::HttpError(error)))?;
    match client.request::<serde_json::Value>(request).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(failed("finalize", &name, error)),
        Ok(_) => {}
    }
    context.back_off.went_well(&name);
    Ok(Action::await_change())
}

/// Says on a namespace why it cannot be emptied.
async fn report(namespace: &Namespace, context: &Context, error: &Error) -> Result<()> {
    let message = error.to_string();
    let told = namespace.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let (same, others): (Vec<_>, Vec<_>) = told.partition(|condition| condition.type_ == FAILURE);
    if same.iter().any(|condition| condition.message.as_deref() == Some(&message)) {
        return Ok(());
    }
    let time = context.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let failure =
        json!({"type": FAILURE, "status": "True", "reason": "ContentDeletionFailed", "message": message, "lastTransitionTime": time});
    let conditions: Vec<serde_json::Value> = others.into_iter().map(|other| json!(other)).chain([failure]).collect();
    let cause = Because::of(ACTOR, namespace).reason("it cannot be emptied");
    let namespaces = Objects::<Namespace>::all(&context.client);
    match namespaces.merge_status(&namespace.name_any(), &json!({"conditions": conditions}), None, &cause).await {
        Err(Error::NotFound { .. }) => Ok(()),
        other => other.map(drop),
    }
}

/// The kinds that live in namespaces, Services first so that nothing starts what is being removed, those that people defined last.
pub(super) async fn namespaced_resources(client: &Client) -> Result<Vec<ApiResource>> {
    let kinds = model::KINDS.iter().map(|kind| kind()).filter(|kind| kind.is_kept() && kind.is_namespaced());
    let mut resources: Vec<ApiResource> = kinds
        .map(|kind| ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind), &kind.plural))
        .collect();
    let definitions = Api::<CustomResourceDefinition>::all(client.clone()).list(&ListParams::default()).await;
    let definitions = definitions.map_err(|error| failed("list the definitions for", "any", error))?;
    resources.extend(definitions.items.iter().filter_map(defined));
    Ok(resources)
}

/// The kind that a definition brings, when it is in force and lives in namespaces.
fn defined(definition: &CustomResourceDefinition) -> Option<ApiResource> {
    let conditions = definition.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let is_established = conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True");
    let (spec, names) = (&definition.spec, &definition.spec.names);
    let version = spec.versions.iter().find(|version| version.served).filter(|_| is_established && spec.scope == "Namespaced")?;
    let kind = GroupVersionKind::gvk(&spec.group, &version.name, &names.kind);
    Some(ApiResource::from_gvk_with_plural(&kind, &names.plural))
}

/// Deletes what is there of a kind; how much is left.
async fn empty(client: &Client, namespace: &str, resource: &ApiResource) -> Result<usize> {
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, resource);
    let list = api.list_metadata(&ListParams::default()).await.map_err(|error| failed("list", namespace, error))?;
    if list.items.iter().any(|object| object.metadata.deletion_timestamp.is_none()) {
        let deleted = api.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
        deleted.map_err(|error| failed("empty", namespace, error))?;
    }
    Ok(list.items.len())
}

fn failed(verb: &str, namespace: &str, source: kube::Error) -> Error {
    Error::new(format!("could not {verb} namespace {namespace}"), source)
}
