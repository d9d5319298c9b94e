//! Jobs on a real server with real programs.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::server::{Server, until};

fn job(name: &str, script: &str, spec: Value) -> Job {
    let mut whole = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "command": ["sh", "-c", script]}]}}}});
    spec.as_object().unwrap().iter().for_each(|(field, value)| whole["spec"][field] = value.clone());
    serde_json::from_value(whole).unwrap()
}

async fn start(client: &Client, job: &Job) {
    Api::<Job>::default_namespaced(client.clone()).create(&PostParams::default(), job).await.unwrap();
}

async fn status(client: &Client, name: &str) -> Value {
    let job = Api::<Job>::default_namespaced(client.clone()).get(name).await.unwrap();
    serde_json::to_value(job.status.unwrap_or_default()).unwrap()
}

/// The types of the conditions that are true.
fn conditions(status: &Value) -> Vec<&str> {
    let all = status["conditions"].as_array().into_iter().flatten();
    all.filter(|condition| condition["status"] == "True").map(|condition| condition["type"].as_str().unwrap()).collect()
}

async fn ends(client: &Client, name: &str, how: &str) -> Value {
    until(&format!("{name} is {how}"), || async { conditions(&status(client, name).await).contains(&how) }).await;
    status(client, name).await
}

async fn pods(client: &Client, name: &str) -> Vec<Pod> {
    let of = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
    Api::<Pod>::default_namespaced(client.clone()).list(&of).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_run_to_their_end_and_are_counted() {
    let server = Server::start();
    let client = server.client().await;
    start(&client, &job("one", "echo done", json!({}))).await;
    let told = ends(&client, "one", "Complete").await;
    assert_eq!(conditions(&told), ["SuccessCriteriaMet", "Complete"], "{told}");
    assert_eq!((&told["succeeded"], &told["uncountedTerminatedPods"], &told["ready"]), (&json!(1), &json!({}), &json!(0)), "{told}");
    assert!(told["startTime"].is_string() && told["completionTime"].is_string() && told["active"].is_null(), "{told}");
    let own = pods(&client, "one").await;
    assert_eq!(own.len(), 1);
    assert!(own[0].name_any().starts_with("one-"), "{}", own[0].name_any());
    until("nothing holds its pod", || async { pods(&client, "one").await[0].finalizers().is_empty() }).await;
    let logs = Api::<Pod>::default_namespaced(client.clone()).logs(&own[0].name_any(), &Default::default()).await.unwrap();
    assert_eq!(logs, "done\n");

    start(
        &client,
        &job(
            "indexed",
            "exit $((JOB_COMPLETION_INDEX == 1))",
            json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 0}),
        ),
    )
    .await;
    let told = ends(&client, "indexed", "Failed").await;
    assert_eq!((&told["completedIndexes"], &told["failedIndexes"], &told["failed"]), (&json!("0,2"), &json!("1"), &json!(1)), "{told}");

    let policy = json!({"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]});
    start(&client, &job("policy", "exit 42", json!({"podFailurePolicy": policy}))).await;
    let told = ends(&client, "policy", "Failed").await;
    assert!(
        told["conditions"][1]["message"].as_str().unwrap().contains("failed with exit code 42 matching FailJob rule at index 0"),
        "{told}"
    );

    start(&client, &job("late", "sleep 600", json!({"activeDeadlineSeconds": 1}))).await;
    let told = ends(&client, "late", "Failed").await;
    assert_eq!((&told["conditions"][1]["reason"], &told["failed"]), (&json!("DeadlineExceeded"), &json!(1)), "{told}");

    start(&client, &job("brief", "true", json!({"ttlSecondsAfterFinished": 1}))).await;
    until("it is gone with its pods", || async {
        let gone = Api::<Job>::default_namespaced(client.clone()).get_opt("brief").await.unwrap().is_none();
        gone && pods(&client, "brief").await.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_suspended_stops_and_one_that_is_deleted_leaves_nothing() {
    let server = Server::start();
    let client = server.client().await;
    let jobs = Api::<Job>::default_namespaced(client.clone());
    start(&client, &job("long", "sleep 600", json!({"parallelism": 2, "completions": 2}))).await;
    until("two run", || async { status(&client, "long").await["ready"] == 2 }).await;
    let suspend = |suspend: bool| Patch::Merge(json!({"spec": {"suspend": suspend}}));
    jobs.patch("long", &PatchParams::default(), &suspend(true)).await.unwrap();
    until("none is left", || async { pods(&client, "long").await.is_empty() }).await;
    let told = status(&client, "long").await;
    assert_eq!((conditions(&told), &told["failed"], &told["startTime"]), (vec!["Suspended"], &Value::Null, &Value::Null), "{told}");
    jobs.patch("long", &PatchParams::default(), &suspend(false)).await.unwrap();
    until("two run again", || async { status(&client, "long").await["ready"] == 2 }).await;

    let begun = std::time::Instant::now();
    jobs.delete("long", &DeleteParams::background()).await.unwrap();
    until("its pods are gone", || async { pods(&client, "long").await.is_empty() }).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(server.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_run_is_counted_once_though_the_server_is_killed() {
    let mut server = Server::start();
    let marks = tempfile::tempdir().unwrap();
    let script = format!("sleep 0.2; mktemp {}/XXXXXX", marks.path().display());
    start(&server.client().await, &job("many", &script, json!({"completions": 12, "parallelism": 3}))).await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(350)).await;
        server.crash_and_start();
    }
    let client = server.client().await;
    let told = ends(&client, "many", "Complete").await;
    assert_eq!((&told["succeeded"], &told["failed"]), (&json!(12), &Value::Null), "{told}");
    assert_eq!(std::fs::read_dir(marks.path()).unwrap().count(), 12, "each ran once");
}
