//! CronJobs on a real server with real programs.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::kubectl::{Kubectl, kubectl};
use crate::server::{Server, until};

async fn create(client: &Client, name: &str, script: &str, spec: Value) {
    let mut whole = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": {
        "schedule": "@every 1s", "jobTemplate": {"metadata": {"labels": {"of": name}}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "command": ["sh", "-c", script]}]}}}}}});
    spec.as_object().unwrap().iter().for_each(|(field, value)| whole["spec"][field] = value.clone());
    let cron_job = serde_json::from_value(whole).unwrap();
    Api::<CronJob>::default_namespaced(client.clone()).create(&PostParams::default(), &cron_job).await.unwrap();
}

async fn jobs(client: &Client, of: &str) -> Vec<Job> {
    let labels = ListParams::default().labels(&format!("of={of}"));
    Api::<Job>::default_namespaced(client.clone()).list(&labels).await.unwrap().items
}

async fn names(client: &Client, of: &str) -> Vec<String> {
    jobs(client, of).await.iter().map(ResourceExt::name_any).collect()
}

async fn status(client: &Client, name: &str) -> Value {
    let cron_job = Api::<CronJob>::default_namespaced(client.clone()).get(name).await.unwrap();
    serde_json::to_value(cron_job.status.unwrap_or_default()).unwrap()
}

async fn suspend(client: &Client, name: &str) {
    let suspended = Patch::Merge(json!({"spec": {"suspend": true}}));
    Api::<CronJob>::default_namespaced(client.clone()).patch(name, &PatchParams::default(), &suspended).await.unwrap();
}

async fn has_event(client: &Client, name: &str, reason: &str) -> bool {
    let of = ListParams::default().fields(&format!("involvedObject.name={name},reason={reason}"));
    !Api::<Event>::default_namespaced(client.clone()).list(&of).await.unwrap().items.is_empty()
}

fn is_complete(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_runs_and_the_last_ones_are_kept() {
    let server = Server::start();
    let client = server.client().await;
    create(&client, "tick", "true", json!({"successfulJobsHistoryLimit": 2})).await;
    let seen = Mutex::new(BTreeSet::new());
    until("six have run", || async {
        let names = names(&client, "tick").await;
        let mut seen = seen.lock().unwrap();
        seen.extend(names);
        seen.len() >= 6
    })
    .await;
    suspend(&client, "tick").await;
    until("two are kept", || async {
        let kept = jobs(&client, "tick").await;
        kept.len() == 2 && kept.iter().all(is_complete)
    })
    .await;
    let told = status(&client, "tick").await;
    assert!(told["active"].is_null() && told["lastScheduleTime"].is_string() && told["lastSuccessfulTime"].is_string(), "{told}");
    assert!(has_event(&client, "tick", "SuccessfulCreate").await && has_event(&client, "tick", "SawCompletedJob").await);
    let before = names(&client, "tick").await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(names(&client, "tick").await, before, "it is suspended");

    Api::<CronJob>::default_namespaced(client.clone()).delete("tick", &DeleteParams::background()).await.unwrap();
    until("its jobs are gone", || async { jobs(&client, "tick").await.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_still_runs_is_waited_for_or_replaced() {
    let server = Server::start();
    let client = server.client().await;
    create(&client, "calm", "sleep 600", json!({"concurrencyPolicy": "Forbid"})).await;
    until("one was passed over", || has_event(&client, "calm", "JobAlreadyActive")).await;
    let first = jobs(&client, "calm").await;
    let of_calm = server.processes().len();
    create(&client, "hasty", "sleep 600", json!({"concurrencyPolicy": "Replace"})).await;
    until("one was replaced", || has_event(&client, "hasty", "SuccessfulDelete")).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(jobs(&client, "calm").await.iter().map(ResourceExt::uid).collect::<Vec<_>>(), [first[0].uid()]);
    suspend(&client, "hasty").await;
    until("one alone runs", || async { jobs(&client, "hasty").await.len() == 1 }).await;
    Api::<Job>::default_namespaced(client.clone())
        .delete_collection(&DeleteParams::background(), &ListParams::default().labels("of=hasty"))
        .await
        .unwrap();
    until("of what was replaced nothing runs", || async { server.processes().len() == of_calm }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_runs_twice_though_the_server_is_killed() {
    let mut server = Server::start();
    let marks = tempfile::tempdir().unwrap();
    let script = format!("mktemp {}/XXXXXX", marks.path().display());
    let keep_all = json!({"successfulJobsHistoryLimit": 100, "failedJobsHistoryLimit": 100});
    create(&server.client().await, "tick", &script, keep_all).await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.crash_and_start();
    }
    let client = server.client().await;
    suspend(&client, "tick").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    until("all have ended", || async { jobs(&client, "tick").await.iter().all(is_complete) }).await;
    let started = jobs(&client, "tick").await.len();
    assert!(started >= 3, "{started}");
    assert_eq!(std::fs::read_dir(marks.path()).unwrap().count(), started, "each ran once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_shows_them_and_starts_one_by_hand() {
    let Some(path) = kubectl() else { return };
    let kubectl = Kubectl { path, server: Server::start() };
    let client = kubectl.server.client().await;
    create(&client, "yearly", "echo by hand", json!({"schedule": "@yearly", "timeZone": "Europe/Berlin"})).await;
    kubectl.good("get cronjob yearly", "@yearly");
    kubectl.good("create job now --from=cronjob/yearly", "job.batch/now created");
    kubectl.good("wait --for=condition=complete --timeout=30s job/now", "condition met");
    kubectl.good("logs job/now", "by hand");
    kubectl.good("describe cronjob yearly", "Europe/Berlin");
    let shown = String::from_utf8(kubectl.server.run(&["jobs"]).stdout).unwrap();
    assert!(shown.contains("@yearly Europe/Berlin") && shown.contains("\n  now "), "{shown}");
    assert_eq!(kubectl.server.run(&["jobs", "none"]).status.code(), Some(4));
    create(&client, "never", "true", json!({"schedule": "0 0 30 2 *"})).await;
    until("it is told", || has_event(&client, "never", "InvalidSchedule")).await;
    kubectl.good("describe cronjob never", "it is never due");
}
