//! Pods without a node: gives each one, or says why none takes it. `logic::placement` decides.

use std::sync::Arc;
use std::time::Duration;

use client::{Because, Error, Objects, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use logic::placement::{Placement, place};
use model::{Clock, labels};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Context;

const ACTOR: &str = "placement";
/// How soon a Pod that no node takes is tried again; a change of a node tries it at once.
const RETRY_NOWHERE: Duration = Duration::from_secs(30);

/// Runs until `stop` is cancelled.
pub async fn run(client: Client, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let unplaced = watcher::Config::default().fields("spec.nodeName=");
    let controller = Controller::new(Api::<Pod>::all(client.clone()), unplaced);
    let waiting = controller.store();
    let context = Context::new(&client, clock, ACTOR);
    controller
        .watches(Api::<Node>::all(client), watcher::Config::default(), move |_| {
            waiting.state().iter().map(|pod| ObjectRef::from_obj(pod.as_ref())).collect::<Vec<_>>()
        })
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, |pod, error: &Error, context| on_error(&pod, error, &context), context)
        .for_each(|outcome| {
            super::looked("placement", &outcome);
            std::future::ready(())
        })
        .await;
}

fn on_error(pod: &Pod, error: &Error, context: &Context) -> Action {
    tracing::warn!(pod = %pod.name_any(), %error, "a pod could not be placed");
    Action::requeue(context.back_off.failed(&pod.uid().unwrap_or_default()))
}

async fn reconcile(pod: Arc<Pod>, context: Arc<Context>) -> Result<Action> {
    let is_bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_ref().is_some_and(|node| !node.is_empty()));
    if is_bound || pod.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let nodes = Objects::<Node>::all(&context.client).list("").await?;
    let pods = Objects::<Pod>::all(&context.client).list("").await?;
    match place(&pod, &nodes, &pods) {
        Placement::Node(node) => {
            if let Err(error) = bind(&context.client, &pod, &node).await {
                report(&context, &pod, "SchedulerError", &error.to_string()).await?;
                return Err(error);
            }
            context.back_off.went_well(&pod.uid().unwrap_or_default());
            Ok(Action::await_change())
        }
        Placement::Nowhere(why) => {
            report(&context, &pod, "Unschedulable", &why).await?;
            Ok(Action::requeue(RETRY_NOWHERE))
        }
    }
}

async fn bind(client: &Client, pod: &Pod, node: &str) -> Result<()> {
    let cause = Because::of(ACTOR, pod).reason(format!("{node} has the fewest copies"));
    let binding = Binding {
        metadata: ObjectMeta {
            name: pod.metadata.name.clone(),
            annotations: Some([(labels::CAUSE.to_owned(), cause.to_annotation())].into()),
            ..ObjectMeta::default()
        },
        target: ObjectReference { kind: Some("Node".into()), name: Some(node.into()), ..ObjectReference::default() },
    };
    let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let bound = api.create_subresource::<_, serde_json::Value>("binding", &pod.name_any(), &PostParams::default(), &binding).await;
    match bound {
        Ok(_) => Ok(()),
        // Somebody else bound or deleted it, which is as good.
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(()),
        Err(source) => Err(Error::new(format!("could not bind pod {} to {node}", pod.name_any()), source)),
    }
}

/// Says on a Pod why it has no node.
async fn report(context: &Context, pod: &Pod, reason: &str, why: &str) -> Result<()> {
    let told = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if told.into_iter().any(|condition| condition.type_ == "PodScheduled" && condition.message.as_deref() == Some(why)) {
        return Ok(());
    }
    let time = context.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": reason, "message": why, "lastTransitionTime": time});
    let pods = Objects::<Pod>::namespaced(&context.client, &pod.namespace().unwrap_or_default());
    let cause = Because::of(ACTOR, pod).reason("no node takes it");
    context.events.warning(pod, "FailedScheduling", why).await;
    let others = pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).filter(|other| other.type_ != "PodScheduled");
    let conditions: Vec<serde_json::Value> = others.map(|other| json!(other)).chain([condition]).collect();
    match pods.merge_status(&pod.name_any(), &json!({"conditions": conditions}), None, &cause).await {
        Err(Error::NotFound { .. }) => Ok(()),
        other => other.map(drop),
    }
}
