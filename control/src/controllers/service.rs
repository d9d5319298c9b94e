//! Services: freezes Revisions, starts and stops copies, moves routes. `logic::rollout` decides; this does it.

use std::sync::Arc;
use std::time::Duration;

use client::{Because, Error, Objects, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, LogParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use logic::rollout::{Change, Observed, Plan, plan};
use model::revision::RevisionPhase;
use model::{Cause, Clock, Revision, RevisionStatus, RouteTable, Service, ServiceStatus, labels};
use tokio_util::sync::CancellationToken;

use crate::Events;
use crate::status::difference;

const ACTOR: &str = "service-controller";
/// How many lines of a guilty Pod's log go into a failure.
const LOG_LINES: i64 = 20;
/// How long to wait for that log; a node that is away must not hold up the rollout.
const LOG_PATIENCE: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(50);
const RETRY_FAILED: Duration = Duration::from_secs(1);

struct Context {
    client: Client,
    clock: Arc<dyn Clock>,
    events: Events,
}

/// Runs until `stop` is cancelled.
pub async fn run(client: Client, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let all = watcher::Config::default;
    let events = Events::new(&client, &clock, ACTOR);
    let context = Arc::new(Context { client: client.clone(), clock, events });
    Controller::new(Api::<Service>::all(client.clone()), all())
        .owns(Api::<Revision>::all(client.clone()), all())
        .owns(Api::<Pod>::all(client.clone()), all().labels(labels::SERVICE))
        .owns(Api::<RouteTable>::all(client), all())
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, |service, error, _| on_error(&service, error), context)
        .for_each(|outcome| {
            super::looked("service", &outcome);
            std::future::ready(())
        })
        .await;
}

fn on_error(service: &Service, error: &Error) -> Action {
    if error.is_conflict() {
        return Action::requeue(RETRY);
    }
    tracing::warn!(service = %service.name_any(), %error, "a service could not be brought on");
    Action::requeue(RETRY_FAILED)
}

async fn reconcile(seen: Arc<Service>, context: Arc<Context>) -> Result<Action> {
    let namespace = seen.namespace().unwrap_or_default();
    let services = Objects::<Service>::namespaced(&context.client, &namespace);
    // What the watch showed may be old by now; a decision wants what is so.
    let Some(service) = services.get(&seen.name_any()).await? else { return Ok(Action::await_change()) };
    if service.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let plan = observe(&context, &service, &namespace).await?;
    let performer = Performer { context: &context, service: &service, namespace: &namespace };
    for change in plan.changes {
        performer.perform(change).await?;
    }
    performer.report(&services, &plan.status).await?;
    Ok(plan.again_after.map_or_else(Action::await_change, Action::requeue))
}

async fn observe(context: &Context, service: &Service, namespace: &str) -> Result<Plan> {
    let client = &context.client;
    let selector = format!("{}={}", labels::SERVICE, service.name_any());
    let revisions = Objects::<Revision>::namespaced(client, namespace).list(&selector).await?;
    let pods = Objects::<Pod>::namespaced(client, namespace).list(&selector).await?;
    let table = Objects::<RouteTable>::namespaced(client, namespace).get(&service.name_any()).await?;
    let nodes = Objects::<Node>::all(client).list("").await?;
    let routers: Vec<String> = nodes.iter().filter(|node| is_ready(node)).map(|node| node.name_any()).collect();
    let now = context.clock.now();
    Ok(plan(&Observed { service, revisions: &revisions, pods: &pods, table: table.as_ref(), routers: &routers, now }))
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

struct Performer<'a> {
    context: &'a Context,
    service: &'a Service,
    namespace: &'a str,
}

impl Performer<'_> {
    fn cause(&self, reason: impl Into<String>) -> Cause {
        Because::of(ACTOR, self.service).reason(reason)
    }

    async fn perform(&self, change: Change) -> Result<()> {
        let (client, namespace) = (&self.context.client, self.namespace);
        match change {
            Change::CreateRevision(revision) => {
                let generation = self.service.metadata.generation.unwrap_or(0);
                let cause = self.cause(format!("generation {generation} of the spec is new"));
                ignore_taken(Objects::<Revision>::namespaced(client, namespace).create(&revision, &cause).await)
            }
            Change::CreatePod(pod, reason) => {
                ignore_taken(Objects::<Pod>::namespaced(client, namespace).create(&pod, &self.cause(reason)).await)
            }
            Change::DeletePod { name, reason } => {
                Objects::<Pod>::namespaced(client, namespace).delete(&name, None, None, &self.cause(reason)).await
            }
            Change::PutTable(table, reason) => self.put_table(&table, reason).await,
            Change::SetRevisionStatus { name, status, log_of } => self.set_status(&name, *status, log_of).await,
            Change::DeleteRevision { name } => {
                let cause = self.cause("only the newest Revisions are kept");
                Objects::<Revision>::namespaced(client, namespace).delete(&name, None, None, &cause).await
            }
        }
    }

    async fn put_table(&self, table: &RouteTable, reason: String) -> Result<()> {
        let tables = Objects::<RouteTable>::namespaced(&self.context.client, self.namespace);
        let cause = self.cause(reason);
        if table.metadata.resource_version.is_some() { tables.replace(table, &cause).await } else { tables.create(table, &cause).await }?;
        Ok(())
    }

    async fn set_status(&self, name: &str, mut status: RevisionStatus, log_of: Option<String>) -> Result<()> {
        if let (Some(pod), Some(failure)) = (&log_of, &mut status.failure) {
            failure.log = tokio::time::timeout(LOG_PATIENCE, self.last_lines(pod)).await.unwrap_or_default();
        }
        let revisions = Objects::<Revision>::namespaced(&self.context.client, self.namespace);
        let Some(revision) = revisions.get(name).await? else { return Ok(()) };
        let old = revision.status.clone().unwrap_or_default();
        let Some(patch) = difference(&old, &status) else { return Ok(()) };
        revisions.merge_status(name, &patch, None, &self.cause(format!("{name} is {:?}", status.phase))).await?;
        self.announce(name, &old, &status).await;
        Ok(())
    }

    async fn announce(&self, name: &str, old: &RevisionStatus, new: &RevisionStatus) {
        let (events, service) = (&self.context.events, self.service);
        if old.failure.is_none() && new.failure.is_some() {
            events.warning(service, "RolloutFailed", format!("{name}: {}", new.message)).await;
        } else if old.phase != new.phase && matches!(new.phase, RevisionPhase::Switched | RevisionPhase::Complete) {
            let reason = if new.phase == RevisionPhase::Switched { "RoutesMoved" } else { "RolloutComplete" };
            events.normal(service, reason, format!("{name}: {}", new.message)).await;
        }
    }

    /// The last lines of a Pod's log; none where there is no log to be had.
    async fn last_lines(&self, pod: &str) -> Vec<String> {
        let api = Api::<Pod>::namespaced(self.context.client.clone(), self.namespace);
        let Ok(object) = api.get(pod).await else { return Vec::new() };
        let statuses = object.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let container = statuses.into_iter().find(|status| !status.ready).map(|status| status.name.clone());
        let parameters = LogParams { tail_lines: Some(LOG_LINES), container, ..LogParams::default() };
        match api.logs(pod, &parameters).await {
            Ok(text) => text.lines().map(|line| line.chars().take(500).collect()).collect(),
            Err(error) => {
                tracing::debug!(pod, %error, "the log of a failed copy cannot be read");
                Vec::new()
            }
        }
    }

    async fn report(&self, services: &Objects<Service>, status: &ServiceStatus) -> Result<()> {
        let old = self.service.status.clone().unwrap_or_default();
        let Some(patch) = difference(&old, status) else { return Ok(()) };
        services.merge_status(&self.service.name_any(), &patch, None, &self.cause("what is so has changed")).await?;
        Ok(())
    }
}

/// A name that is taken was created by an earlier try of the same plan.
fn ignore_taken<K>(created: Result<K>) -> Result<()> {
    match created {
        Ok(_) | Err(Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
