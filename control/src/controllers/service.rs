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
use logic::placement;
use logic::rollout::{Change, Observed, Obstacle, Plan, plan};
use model::revision::RevisionPhase;
use model::{Cause, Clock, Revision, RevisionStatus, RouteTable, Service, ServiceStatus, labels};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::status::difference;

const ACTOR: &str = "service-controller";
/// How many lines of a guilty Pod's log go into a failure.
const LOG_LINES: i64 = 20;
/// How long to wait for that log; a node that is away must not hold up the rollout.
const LOG_PATIENCE: Duration = Duration::from_secs(3);

/// Runs until `stop` is cancelled.
pub async fn run(client: Client, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let all = watcher::Config::default;
    let context = Context::new(&client, clock, ACTOR);
    Controller::new(Api::<Service>::all(client.clone()), all())
        .owns(Api::<Revision>::all(client.clone()), all())
        .owns(Api::<Pod>::all(client.clone()), all().labels(labels::SERVICE))
        .owns(Api::<RouteTable>::all(client), all())
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, |service, error, context| on_error(&service, error, &context), context)
        .for_each(|outcome| {
            super::looked("service", &outcome);
            std::future::ready(())
        })
        .await;
}

fn on_error(service: &Service, error: &Error, context: &Context) -> Action {
    Action::requeue(wait_after(service, error, context))
}

fn wait_after(service: &Service, error: &Error, context: &Context) -> Duration {
    if !error.is_conflict() {
        tracing::warn!(service = %service.name_any(), %error, "a service could not be brought on");
    }
    context.back_off.failed(&key(service))
}

/// What a Service is known by among the failures.
fn key(service: &Service) -> String {
    service.uid().unwrap_or_default()
}

async fn reconcile(seen: Arc<Service>, context: Arc<Context>) -> Result<Action> {
    let namespace = seen.namespace().unwrap_or_default();
    let services = Objects::<Service>::namespaced(&context.client, &namespace);
    // What the watch showed may be old by now; a decision wants what is so.
    let service = services.get(&seen.name_any()).await?.filter(|service| service.metadata.deletion_timestamp.is_none());
    let Some(service) = service else {
        context.back_off.went_well(&key(&seen));
        return Ok(Action::await_change());
    };
    let world = World::look(&context, &service, &namespace).await?;
    let plan = world.plan(&context, &service, None);
    let performer = Performer { context: &context, service: &service, namespace: &namespace };
    let (mut status, mut again_after) = (plan.status, plan.again_after);
    match performer.perform_all(plan.changes).await {
        Ok(()) => context.back_off.went_well(&key(&service)),
        Err(error) if error.is_conflict() || error.is_not_found() => return Err(error),
        Err(error) => {
            let wait = wait_after(&service, &error, &context);
            let obstacle = Obstacle { message: error.to_string(), is_refusal: error.is_refusal() };
            let told = World::look(&context, &service, &namespace).await?.plan(&context, &service, Some(&obstacle));
            performer.tell(&told, &obstacle).await?;
            status = told.status;
            again_after = Some(told.again_after.map_or(wait, |again| again.min(wait)));
        }
    }
    performer.report(&services, &status).await?;
    Ok(again_after.map_or_else(Action::await_change, Action::requeue))
}

/// All there is about one Service.
struct World {
    revisions: Vec<Revision>,
    pods: Vec<Pod>,
    table: Option<RouteTable>,
    nodes: Vec<String>,
}

impl World {
    async fn look(context: &Context, service: &Service, namespace: &str) -> Result<Self> {
        let client = &context.client;
        let selector = format!("{}={}", labels::SERVICE, service.name_any());
        let nodes = Objects::<Node>::all(client).list("").await?;
        Ok(Self {
            revisions: Objects::<Revision>::namespaced(client, namespace).list(&selector).await?,
            pods: Objects::<Pod>::namespaced(client, namespace).list(&selector).await?,
            table: Objects::<RouteTable>::namespaced(client, namespace).get(&service.name_any()).await?,
            nodes: nodes.iter().filter(|node| placement::is_ready(node)).map(|node| node.name_any()).collect(),
        })
    }

    fn plan(&self, context: &Context, service: &Service, obstacle: Option<&Obstacle>) -> Plan {
        let (revisions, pods, table) = (&self.revisions, &self.pods, self.table.as_ref());
        plan(&Observed { service, revisions, pods, table, routers: &self.nodes, obstacle, now: context.clock.now() })
    }
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

    /// Makes the changes in order. What the server refuses does not hold up the others, but no more Pods are asked for, and how
    /// the rollout goes is told by whoever knows of the refusal: told twice, it would change with each look.
    /// Errors: the first; at once when another writer came first, since a new plan follows from that.
    async fn perform_all(&self, changes: Vec<Change>) -> Result<()> {
        let mut first = Ok(());
        for change in changes {
            if first.is_err() && matches!(change, Change::CreatePod(..) | Change::SetRevisionStatus { .. }) {
                continue;
            }
            match self.perform(change).await {
                Err(error) if error.is_conflict() || error.is_not_found() => return Err(error),
                Err(error) => first = first.and(Err(error)),
                Ok(()) => {}
            }
        }
        first
    }

    /// Writes down what a plan says of an obstacle, and makes none of its other changes.
    async fn tell(&self, told: &Plan, obstacle: &Obstacle) -> Result<()> {
        for change in &told.changes {
            if let Change::SetRevisionStatus { .. } = change {
                self.perform(change.clone()).await?;
            }
        }
        let known = self.service.status.iter().flat_map(|status| &status.conditions);
        if !known.into_iter().any(|condition| condition.message.contains(&obstacle.message)) {
            self.context.events.warning(self.service, "ChangeFailed", obstacle.message.clone()).await;
        }
        Ok(())
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
            Change::SetTableStatus(generation, conditions) => {
                let tables = Objects::<RouteTable>::namespaced(client, namespace);
                let status = serde_json::json!({"observedGeneration": generation, "conditions": conditions});
                let told = tables.merge_status(&self.service.name_any(), &status, None, &self.cause("the routers say so")).await;
                told.map(drop)
            }
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
            let reason = if new.rolled_back_to.is_some() { "RolledBack" } else { "RolloutFailed" };
            events.warning(service, reason, format!("{name}: {}", new.message)).await;
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
