//! Jobs, CronJobs, and Events in their two forms.

use serde_json::json;

use crate::server::Server;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const CORE_EVENTS: &str = "/api/v1/namespaces/default/events";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn job(name: &str) -> serde_json::Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a:1"}]}}}})
}

#[tokio::test]
async fn a_job_gets_a_selector_of_its_own_and_leaves_its_pods_when_it_goes() {
    let server = Server::start().await;
    let made = server.post(JOBS, job("a")).await.expect(201).body;
    assert_eq!(made["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], made["metadata"]["uid"]);
    assert_eq!(made["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"], "a");
    let owned = made["metadata"]["managedFields"][0]["fieldsV1"].to_string();
    assert!(!owned.contains("controller-uid") && !owned.contains("f:selector"), "{owned}");
    server.merge(&format!("{JOBS}/a"), json!({"spec": {"completions": 3}})).await.refused(422, "Invalid");
    server.merge(&format!("{JOBS}/a/status"), json!({"status": {"succeeded": 1}})).await.expect(200);
    for (selector, count) in [("status.successful=1", 1), ("status.successful=0", 0)] {
        let found = server.get(&format!("{JOBS}?fieldSelector={selector}")).await.expect(200).body;
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{selector}");
    }
    let deleted = server.delete(&format!("{JOBS}/a")).await.expect(200);
    assert_eq!((deleted.body["metadata"]["finalizers"].clone(), deleted.warnings.len()), (json!(["orphan"]), 1));
    server.post(JOBS, job("b")).await.expect(201);
    let deleted = server.delete(&format!("{JOBS}/b?propagationPolicy=Background")).await.expect(200);
    assert_eq!((&deleted.body["status"], deleted.warnings.len()), (&json!("Success"), 0));
}

#[tokio::test]
async fn events_are_one_kind_of_object_in_two_forms() {
    let server = Server::start().await;
    let about = json!({"kind": "ConfigMap", "name": "a", "namespace": "default"});
    let old = json!({"metadata": {"name": "old"}, "involvedObject": about, "message": "hello", "type": "Normal"});
    server.post(CORE_EVENTS, old).await.expect(201);
    let shown = server.get(&format!("{EVENTS}/old")).await.expect(200).body;
    assert_eq!((&shown["note"], &shown["regarding"], &shown["eventTime"]), (&json!("hello"), &about, &json!(null)));
    assert_eq!(shown["apiVersion"], "events.k8s.io/v1");
    let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "new"}, "regarding": about, "type": "Warning",
        "eventTime": "2001-01-01T00:00:00.000001Z", "action": "Test", "reason": "Tested", "reportingController": "a.dev/b", "reportingInstance": "b-1"});
    server.post(EVENTS, &new).await.expect(201);
    let kept = server.get(&format!("{CORE_EVENTS}/new")).await.expect(200).body;
    assert_eq!((&kept["involvedObject"], &kept["reportingComponent"], &kept["source"]), (&about, &json!("a.dev/b"), &json!({})));
    for (uri, expected) in [
        (format!("{EVENTS}?fieldSelector=regarding.name=a"), 2),
        (format!("{CORE_EVENTS}?fieldSelector=involvedObject.name=a,type=Warning"), 1),
        (format!("{CORE_EVENTS}?fieldSelector=source=a.dev/b"), 1),
    ] {
        assert_eq!(server.get(&uri).await.expect(200).body["items"].as_array().unwrap().len(), expected, "{uri}");
    }
    let refused = server.merge(&format!("{EVENTS}/new"), json!({"note": "other"})).await.refused(422, "Invalid");
    assert!(refused.contains("field is immutable"), "{refused}");
    server.delete(&format!("{EVENTS}/old")).await.expect(200);
    assert_eq!(server.get(&format!("{CORE_EVENTS}/old")).await.refused(404, "NotFound"), "events \"old\" not found");
}

#[tokio::test]
async fn a_deletion_may_say_in_its_query_what_it_would_in_its_body() {
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    let server = Server::start().await;
    for (query, finalizer) in [
        ("orphanDependents=true", "orphan"),
        ("orphanDependents=1", "orphan"),
        ("orphanDependents", "orphan"),
        ("propagationPolicy=Orphan", "orphan"),
        ("propagationPolicy=Foreground", "foregroundDeletion"),
    ] {
        for path in [format!("{MAPS}/a?{query}"), format!("{MAPS}?{query}")] {
            server.post(MAPS, json!({"metadata": {"name": "a"}})).await.expect(201);
            server.delete(&path).await.expect(200);
            let left = server.get(&format!("{MAPS}/a")).await.expect(200).body;
            assert_eq!(left["metadata"]["finalizers"], json!([finalizer]), "{path}");
            server.merge(&format!("{MAPS}/a"), json!({"metadata": {"finalizers": null}})).await.expect(200);
        }
    }
    server.post(MAPS, json!({"metadata": {"name": "b"}})).await.expect(201);
    for path in [format!("{MAPS}/b?uid=other"), format!("{MAPS}?uid=other")] {
        server.delete(&path).await.refused(409, "Conflict");
    }
    for query in ["orphanDependents=true&propagationPolicy=Orphan", "propagationPolicy=Never", "dryRun=Some"] {
        server.delete(&format!("{MAPS}/b?{query}")).await.refused(422, "Invalid");
    }
    server.delete(&format!("{MAPS}/b?gracePeriodSeconds=x")).await.refused(400, "BadRequest");
    let uid = server.get(&format!("{MAPS}/b")).await.expect(200).body["metadata"]["uid"].as_str().unwrap().to_owned();
    server.delete(&format!("{MAPS}/b?uid={uid}&orphanDependents=false")).await.expect(200);
    server.get(&format!("{MAPS}/b")).await.refused(404, "NotFound");
}
