//! `conductor jobs`: Jobs, below the CronJobs that start them.

use clap::Args;
use client::Objects;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use model::Clock as _;
use serde_json::Value;

use super::cells::cell;
use super::failure::{Exit, Failure, Result};
use super::grid::grid;
use super::output::{self, Output};
use super::reach::Reach;
use super::server::values;
use crate::clock::WallClock;

/// What `jobs` can be told.
#[derive(Debug, Args)]
pub struct Batch {
    /// Jobs and CronJobs to show [default: all]
    names: Vec<String>,
    /// Of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// Everything there is to show, as JSON.
#[derive(Debug, Default)]
struct Scene {
    cron_jobs: Vec<Value>,
    jobs: Vec<Value>,
}

/// Shows CronJobs, below each the Jobs that it started, and then the other Jobs.
pub async fn jobs(args: Batch) -> Result<()> {
    let server = args.reach.connect().await?;
    let all = args.all_namespaces;
    let cron_jobs = if all { Objects::all(&server.client) } else { server.objects::<CronJob>() }.list("").await?;
    let jobs = if all { Objects::all(&server.client) } else { server.objects::<Job>() }.list("").await?;
    let mut scene = Scene { cron_jobs: values(&cron_jobs)?, jobs: values(&jobs)? };
    scene.narrow(&args.names)?;
    let objects: Vec<Value> = scene.cron_jobs.iter().chain(&scene.jobs).cloned().collect();
    if objects.is_empty() && args.output.is_for_people() {
        let place = if all { "anywhere".to_owned() } else { format!("in namespace {}", server.namespace) };
        output::note(&format!("there are no jobs {place}"));
        return Ok(());
    }
    args.output.objects(&objects, || table(&scene, all, args.output.is_wide(), WallClock.now()))
}

impl Scene {
    /// Keeps what is named and what is theirs; everything where nothing is named. Errors: something named is not there.
    fn narrow(&mut self, names: &[String]) -> Result<()> {
        let is = |object: &Value, name: &String| object["metadata"]["name"].as_str() == Some(name);
        if let Some(name) = names.iter().find(|name| !self.cron_jobs.iter().chain(&self.jobs).any(|object| is(object, name))) {
            return Err(Failure::new(Exit::NotFound, format!("there is no job or cron job {name}")));
        }
        if !names.is_empty() {
            let is_named = |object: &Value| names.iter().any(|name| is(object, name));
            let cron_jobs: Vec<Value> = self.cron_jobs.iter().filter(|object| is_named(object)).cloned().collect();
            self.jobs.retain(|job| is_named(job) || cron_jobs.iter().any(|cron_job| starts(cron_job, job)));
            self.cron_jobs = cron_jobs;
        }
        self.jobs.sort_by_key(|job| job["metadata"]["creationTimestamp"].as_str().map(str::to_owned));
        Ok(())
    }
}

/// Whether a CronJob controls a Job.
fn starts(cron_job: &Value, job: &Value) -> bool {
    let mut owners = job["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.any(|owner| owner["controller"] == true && owner["uid"] == cron_job["metadata"]["uid"])
}

fn table(scene: &Scene, has_namespace: bool, is_wide: bool, now: Timestamp) -> String {
    let (cron_kind, kind) = (model::batch::cron_job(), model::batch::job());
    let mut header = vec!["NAME", "STATUS", "COMPLETIONS", "DURATION", "SCHEDULE", "AGE"];
    if has_namespace {
        header.insert(0, "NAMESPACE");
    }
    header.extend(is_wide.then_some("IMAGES"));
    let placed = |object: &Value, mut cells: Vec<String>| {
        if has_namespace {
            cells.insert(0, object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned());
        }
        cells
    };
    let cron_row = |cron_job: &Value| {
        let shown = |column| cell(&cron_kind, column, cron_job, now);
        let status = if cron_job["spec"]["suspend"] == true { "Suspended".to_owned() } else { format!("{} active", shown("Active")) };
        let zone = cron_job["spec"]["timeZone"].as_str().map(|zone| format!(" {zone}")).unwrap_or_default();
        let schedule = format!("{}{zone}", shown("Schedule"));
        let mut cells = vec![shown("Name"), status, String::new(), String::new(), schedule, shown("Age")];
        cells.extend(is_wide.then(|| shown("Images")));
        placed(cron_job, cells)
    };
    let row = |job: &Value, indent: &str| {
        let shown = |column| cell(&kind, column, job, now);
        let name = format!("{indent}{}", shown("Name"));
        let mut cells = vec![name, shown("Status"), shown("Completions"), shown("Duration"), String::new(), shown("Age")];
        cells.extend(is_wide.then(|| shown("Images")));
        placed(job, cells)
    };
    let mut rows = Vec::new();
    for cron_job in &scene.cron_jobs {
        rows.push(cron_row(cron_job));
        rows.extend(scene.jobs.iter().filter(|job| starts(cron_job, job)).map(|job| row(job, "  ")));
    }
    let others = scene.jobs.iter().filter(|job| !scene.cron_jobs.iter().any(|cron_job| starts(cron_job, job)));
    rows.extend(others.map(|job| row(job, "")));
    grid(&header, &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scene() -> Scene {
        let made = |name: &str, minute: u8, owner: Option<&str>, status: Value| {
            let owners: Vec<Value> = owner.map(|uid| json!({"uid": uid, "controller": true})).into_iter().collect();
            json!({"kind": "Job", "metadata": {"name": name, "namespace": "n", "uid": name, "ownerReferences": owners,
                "creationTimestamp": format!("2026-01-01T00:0{minute}:00Z")}, "spec": {"completions": 1}, "status": status})
        };
        let done = json!({"succeeded": 1, "startTime": "2026-01-01T00:01:00Z", "completionTime": "2026-01-01T00:01:30Z",
            "conditions": [{"type": "Complete", "status": "True"}]});
        let mut nightly = made("nightly", 0, None, json!({"active": [{}]}));
        nightly["kind"] = json!("CronJob");
        nightly["spec"] = json!({"schedule": "0 3 * * *", "timeZone": "Europe/Berlin"});
        let jobs = vec![
            made("nightly-2", 2, Some("nightly"), json!({})),
            made("once", 1, None, json!({})),
            made("nightly-1", 1, Some("nightly"), done),
        ];
        Scene { cron_jobs: vec![nightly], jobs }
    }

    #[test]
    fn jobs_stand_below_what_starts_them() {
        let now = "2026-01-01T00:05:00Z".parse().unwrap();
        let mut all = scene();
        all.narrow(&[]).unwrap();
        let shown = table(&all, false, false, now);
        let words: Vec<Vec<&str>> =
            shown.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
        assert_eq!(words[1], ["nightly", "1 active", "<none>", "<none>", "0 3 * * * Europe/Berlin", "5m"], "{shown}");
        assert_eq!(words[2], ["nightly-1", "Complete", "1/1", "30s", "<none>", "4m"], "{shown}");
        assert!(shown.lines().nth(3).unwrap().starts_with("  nightly-2") && shown.lines().nth(4).unwrap().starts_with("once"), "{shown}");
        let mut named = scene();
        named.narrow(&["nightly".to_owned()]).unwrap();
        assert_eq!((named.cron_jobs.len(), named.jobs.len()), (1, 2));
        assert!(table(&named, true, false, now).starts_with("NAMESPACE"));
        assert_eq!(scene().narrow(&["none".to_owned()]).unwrap_err().exit(), Exit::NotFound);
    }
}
