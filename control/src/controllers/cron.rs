//! CronJobs: creates the Jobs that are due, and removes those that are not kept. `logic::batch::cron` decides; this does it.

use std::sync::Arc;
use std::time::Duration;

use client::{Because, Error, Objects, Result};
use futures::StreamExt as _;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::Api;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use logic::batch::cron::{Change, Plan, plan};
use model::Clock;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::status::difference_of;

const ACTOR: &str = "cronjob-controller";
/// How often a CronJob is brought on before others have their turn.
const ROUNDS_MAX: usize = 5;
/// The machine's clock may be set while nothing is due for long.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Runs until `stop` is cancelled.
pub async fn run(client: Client, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let context = Context::new(&client, clock, ACTOR);
    Controller::new(Api::<CronJob>::all(client.clone()), watcher::Config::default())
        .owns(Api::<Job>::all(client), watcher::Config::default())
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, |cron_job, error: &Error, context| on_error(&cron_job, error, &context), context)
        .for_each(|outcome| {
            super::looked("cron-jobs", &outcome);
            std::future::ready(())
        })
        .await;
}

fn on_error(cron_job: &CronJob, error: &Error, context: &Context) -> Action {
    if !error.is_conflict() {
        tracing::warn!(cron_job = %cron_job.name_any(), %error, "a cron job could not be brought on");
    }
    Action::requeue(context.back_off.failed(&cron_job.uid().unwrap_or_default()))
}

async fn reconcile(seen: Arc<CronJob>, context: Arc<Context>) -> Result<Action> {
    let key = seen.uid().unwrap_or_default();
    let cron_jobs = Objects::<CronJob>::namespaced(&context.client, &seen.namespace().unwrap_or_default());
    for _ in 0..ROUNDS_MAX {
        // What the watch showed may be old by now; a decision wants what is so, and Jobs that were read after their CronJob.
        let Some(cron_job) = cron_jobs.get(&seen.name_any()).await?.filter(|found| found.uid() == seen.uid()) else {
            context.back_off.went_well(&key);
            return Ok(Action::await_change());
        };
        let jobs = jobs_of(&context.client, &cron_job).await?;
        let plan = plan(&cron_job, &jobs, context.clock.now(), &TimeZone::system());
        let again_after = plan.again_after;
        if !perform(&context, &cron_jobs, &cron_job, plan).await? {
            context.back_off.went_well(&key);
            return Ok(again_after.map_or_else(Action::await_change, |again| Action::requeue(again.min(LOOK_AGAIN))));
        }
    }
    Ok(Action::requeue(Duration::from_millis(10)))
}

/// The Jobs that a CronJob controls.
async fn jobs_of(client: &Client, cron_job: &CronJob) -> Result<Vec<Job>> {
    let jobs = Objects::<Job>::namespaced(client, &cron_job.namespace().unwrap_or_default()).list("").await?;
    let uid = cron_job.uid().unwrap_or_default();
    let is_own = |job: &Job| job.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid);
    Ok(jobs.into_iter().filter(is_own).collect())
}

/// Does what is planned, then says how it stands; whether there may be more to do.
async fn perform(context: &Context, cron_jobs: &Objects<CronJob>, cron_job: &CronJob, plan: Plan) -> Result<bool> {
    for change in &plan.changes {
        if let Err(error) = perform_one(context, cron_job, change).await {
            if let Change::Start(_) = change {
                context.events.warning_once(cron_job, "FailedCreate", format!("Error creating job: {error}")).await;
            }
            return Err(error);
        }
    }
    for note in plan.notes {
        match note.is_warning {
            true => context.events.warning_once(cron_job, &note.reason, note.message).await,
            false => context.events.normal_once(cron_job, &note.reason, note.message).await,
        }
    }
    let before = cron_job.status.clone().unwrap_or_default();
    let Some(status) = difference_of("batch.CronJobStatus", &before, &plan.status) else { return Ok(!plan.changes.is_empty()) };
    let cause = Because::of(ACTOR, cron_job).reason("how its jobs do");
    cron_jobs.merge_status(&cron_job.name_any(), &status, cron_job.resource_version().as_deref(), &cause).await?;
    Ok(true)
}

async fn perform_one(context: &Context, cron_job: &CronJob, change: &Change) -> Result<()> {
    let jobs = Objects::<Job>::namespaced(&context.client, &cron_job.namespace().unwrap_or_default());
    match change {
        Change::Remove { name, uid } => {
            jobs.delete_with_dependents(name, Some(uid), None).await?;
            context.events.normal(cron_job, "SuccessfulDelete", format!("Deleted job {name}")).await;
        }
        Change::Start(job) => {
            jobs.create(job, &Because::of(ACTOR, cron_job).reason("it is due")).await?;
            context.events.normal(cron_job, "SuccessfulCreate", format!("Created job {}", job.name_any())).await;
        }
    }
    Ok(())
}
