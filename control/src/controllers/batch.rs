//! Jobs: starts their pods, counts how those end, and says when the work is done. `logic::batch` decides; this does it.

use std::sync::Arc;
use std::time::Duration;

use client::{Because, Error, Objects, Result};
use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::core::Selector;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use logic::batch::{Change, Plan, Start, TRACKING, plan, pod_of};
use model::{Clock, batch};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::status::difference_of;

const ACTOR: &str = "job-controller";
/// How often a Job is brought on before others have their turn.
const ROUNDS_MAX: usize = 20;

/// Runs until `stop` is cancelled.
pub async fn run(client: Client, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let context = Context::new(&client, clock, ACTOR);
    let of_jobs = || watcher::Config::default().labels(batch::NAME);
    let jobs = Controller::new(Api::<Job>::all(client.clone()), watcher::Config::default())
        .owns(Api::<Pod>::all(client.clone()), of_jobs())
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, |job, error: &Error, context| on_error(&job.uid().unwrap_or_default(), error, &context), Arc::clone(&context))
        .for_each(|outcome| {
            super::looked("jobs", &outcome);
            std::future::ready(())
        });
    let left_behind = Controller::new(Api::<Pod>::all(client), of_jobs())
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(let_go, |pod, error: &Error, context| on_error(&pod.uid().unwrap_or_default(), error, &context), context)
        .for_each(|outcome| {
            super::looked("pods-of-jobs", &outcome);
            std::future::ready(())
        });
    futures::join!(jobs, left_behind);
}

fn on_error(uid: &str, error: &Error, context: &Context) -> Action {
    if !error.is_conflict() {
        tracing::warn!(uid, %error, "a job could not be brought on");
    }
    Action::requeue(context.back_off.failed(uid))
}

async fn reconcile(seen: Arc<Job>, context: Arc<Context>) -> Result<Action> {
    let (namespace, key) = (seen.namespace().unwrap_or_default(), seen.uid().unwrap_or_default());
    let jobs = Objects::<Job>::namespaced(&context.client, &namespace);
    for _ in 0..ROUNDS_MAX {
        // What the watch showed may be old by now; a decision wants what is so, and pods that were read after their Job.
        let Some(job) = jobs.get(&seen.name_any()).await?.filter(|job| job.uid() == seen.uid()) else {
            context.back_off.went_well(&key);
            return Ok(Action::await_change());
        };
        let pods = pods_of(&context.client, &job).await?;
        let plan = plan(&job, &pods, context.clock.now());
        let again_after = plan.again_after;
        let performer = Performer { context: &context, jobs: &jobs, job: &job, pods: &pods };
        if !performer.perform(plan).await? {
            context.back_off.went_well(&key);
            return Ok(again_after.map_or_else(Action::await_change, Action::requeue));
        }
    }
    Ok(Action::requeue(Duration::from_millis(10)))
}

/// The pods that a Job controls.
async fn pods_of(client: &Client, job: &Job) -> Result<Vec<Pod>> {
    let selector = job.spec.as_ref().and_then(|spec| Selector::try_from(spec.selector.clone()?).ok()).unwrap_or_default();
    let pods = Objects::<Pod>::namespaced(client, &job.namespace().unwrap_or_default()).list(&selector.to_string()).await?;
    let uid = job.uid();
    Ok(pods.into_iter().filter(|pod| controller_of(pod).map(|(_, uid)| uid) == uid).collect())
}

/// The name and uid of the Job that controls a pod.
fn controller_of(pod: &Pod) -> Option<(String, String)> {
    let job = pod.owner_references().iter().find(|owner| owner.kind == "Job" && owner.controller == Some(true))?;
    Some((job.name.clone(), job.uid.clone()))
}

/// A pod whose Job is gone, or was taken from it, is held by nobody any more.
async fn let_go(pod: Arc<Pod>, context: Arc<Context>) -> Result<Action> {
    if !pod.finalizers().iter().any(|finalizer| finalizer == TRACKING) {
        return Ok(Action::await_change());
    }
    let namespace = pod.namespace().unwrap_or_default();
    let is_held = match controller_of(&pod) {
        Some((name, uid)) => {
            Objects::<Job>::namespaced(&context.client, &namespace).get(&name).await?.and_then(|job| job.uid()) == Some(uid)
        }
        None => false,
    };
    if !is_held {
        release(&context.client, &pod, &Because::of(ACTOR, pod.as_ref()), "its job is gone").await?;
    }
    context.back_off.went_well(&pod.uid().unwrap_or_default());
    Ok(Action::await_change())
}

/// Takes the finalizer off. Errors: a conflict where somebody else changed the pod, which is looked at again then.
async fn release(client: &Client, pod: &Pod, because: &Because, why: &str) -> Result<()> {
    let rest: Vec<&String> = pod.finalizers().iter().filter(|finalizer| *finalizer != TRACKING).collect();
    let change = json!({"metadata": {"uid": pod.uid(), "resourceVersion": pod.resource_version(), "finalizers": rest}});
    let pods = Objects::<Pod>::namespaced(client, &pod.namespace().unwrap_or_default());
    match pods.merge(&pod.name_any(), &change, &because.reason(why)).await {
        Err(Error::NotFound { .. }) => Ok(()),
        other => other.map(drop),
    }
}

struct Performer<'a> {
    context: &'a Context,
    jobs: &'a Objects<Job>,
    job: &'a Job,
    pods: &'a [Pod],
}

impl Performer<'_> {
    /// Starts what is to be started, and otherwise says how it stands and does the rest; whether anything was done.
    async fn perform(&self, plan: Plan) -> Result<bool> {
        let (starts, others): (Vec<_>, Vec<_>) = plan.changes.iter().cloned().partition(|change| matches!(change, Change::Start(_)));
        for change in &starts {
            let Change::Start(start) = change else { continue };
            if let Err(error) = self.start(start).await {
                self.context.events.warning_once(self.job, "FailedCreate", format!("Error creating: {error}")).await;
                self.report(&plan).await?;
                return Err(error);
            }
        }
        if !starts.is_empty() {
            return Ok(true);
        }
        let said = self.report(&plan).await?;
        for change in &others {
            self.change(change).await?;
        }
        for note in plan.notes {
            match note.is_warning {
                true => self.context.events.warning(self.job, &note.reason, note.message).await,
                false => self.context.events.normal(self.job, &note.reason, note.message).await,
            }
        }
        Ok(said || !others.is_empty())
    }

    /// Says how it stands; whether that was news.
    async fn report(&self, plan: &Plan) -> Result<bool> {
        let before = self.job.status.clone().unwrap_or_default();
        let Some(status) = difference_of("batch.JobStatus", &before, &plan.status) else { return Ok(false) };
        let cause = Because::of(ACTOR, self.job).reason("how its pods do");
        self.jobs.merge_status(&self.job.name_any(), &status, self.job.resource_version().as_deref(), &cause).await?;
        Ok(true)
    }

    async fn start(&self, start: &Start) -> Result<()> {
        let pods = Objects::<Pod>::namespaced(&self.context.client, &self.job.namespace().unwrap_or_default());
        let cause = Because::of(ACTOR, self.job).reason("one more is wanted");
        let pod = pods.create(&pod_of(self.job, start), &cause).await?;
        self.context.events.normal(self.job, "SuccessfulCreate", format!("Created pod: {}", pod.name_any())).await;
        Ok(())
    }

    async fn change(&self, change: &Change) -> Result<()> {
        let because = Because::of(ACTOR, self.job);
        let find = |uid: &String| self.pods.iter().find(|pod| pod.uid().as_ref() == Some(uid));
        match change {
            Change::Start(_) => Ok(()),
            Change::Release { uid, .. } => match find(uid) {
                Some(pod) => release(&self.context.client, pod, &because, "its end is counted").await,
                None => Ok(()),
            },
            Change::End { name, uid, counts } => {
                if let Some(pod) = find(uid).filter(|_| !counts) {
                    release(&self.context.client, pod, &because, "its end does not count").await?;
                }
                let pods = Objects::<Pod>::namespaced(&self.context.client, &self.job.namespace().unwrap_or_default());
                pods.delete(name, Some(uid), None, &because.reason("it is not wanted any more")).await?;
                self.context.events.normal(self.job, "SuccessfulDelete", format!("Deleted pod: {name}")).await;
                Ok(())
            }
            Change::Remove => {
                let version = self.job.resource_version();
                self.jobs.delete_with_dependents(&self.job.name_any(), self.job.uid().as_deref(), version.as_deref()).await
            }
        }
    }
}
