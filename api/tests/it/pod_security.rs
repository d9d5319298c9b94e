//! Pod Security levels: who is refused, who is warned, and who may say which level a namespace has.

use serde_json::{Value, json};

use crate::crud::service;
use crate::server::Server;

const NAMESPACES: &str = "/api/v1/namespaces";

fn pod(name: &str, more: &Value) -> Value {
    let mut spec = more.clone();
    spec["containers"] = json!([{"name": "c", "image": "i"}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

async fn server_with(labels: &Value) -> Server {
    let server = Server::start().await;
    server.post(NAMESPACES, json!({"metadata": {"name": "shop", "labels": labels}})).await.expect(201);
    server
}

#[tokio::test]
async fn a_new_namespace_takes_no_pod_that_reaches_for_the_machine() {
    let server = server_with(&json!({})).await;
    let pods = "/api/v1/namespaces/shop/pods";
    let refused = server.post(pods, pod("a", &json!({"hostPID": true}))).await.refused(403, "Forbidden");
    assert_eq!(refused, "pods \"a\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)");
    let volume = json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]});
    server.post(pods, pod("a", &volume)).await.refused(403, "Forbidden");
    server.post(&format!("{pods}?dryRun=All"), pod("a", &volume)).await.refused(403, "Forbidden");
    server.post(pods, pod("a", &json!({}))).await.expect(201);
    server.post("/api/v1/namespaces/default/pods", pod("a", &json!({"hostPID": true}))).await.expect(201);
}

#[tokio::test]
async fn a_service_is_refused_at_the_door_and_may_be_scaled_when_its_namespace_became_stricter() {
    let server = server_with(&json!({"pod-security.kubernetes.io/enforce": "privileged"})).await;
    let services = "/apis/conductor.dev/v1/namespaces/shop/services";
    let mut beyond = service("web");
    beyond["spec"]["parts"][0]["pod"]["spec"]["hostPID"] = json!(true);
    server.post(services, &beyond).await.expect(201);
    let stricter = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": null}}});
    server.merge(&format!("{NAMESPACES}/shop"), stricter).await.expect(200);
    server.merge(&format!("{services}/web"), json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
    let more = json!({"spec": {"replicas": 3}});
    server.merge(&format!("{services}/web/scale"), more).await.expect(200);
    beyond["metadata"]["name"] = json!("other");
    beyond["spec"]["routes"] = json!([]);
    let refused = server.post(services, &beyond).await.refused(403, "Forbidden");
    assert!(refused.contains("violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true) in spec.parts[0].pod"), "{refused}");
}

#[tokio::test]
async fn a_template_is_warned_of_and_its_job_is_taken() {
    let server = server_with(&json!({"pod-security.kubernetes.io/warn": "restricted"})).await;
    let mut template = pod("a", &json!({"restartPolicy": "Never"}));
    template["spec"]["containers"][0]["command"] = json!(["true"]);
    let job = json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": template["spec"]}}});
    let made = server.post("/apis/batch/v1/namespaces/shop/jobs", job).await.expect(201);
    let warned = made.warnings.iter().any(|warning| {
        warning.contains("would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation != false")
            && warning.contains("in spec.template")
    });
    assert!(warned, "{:?}", made.warnings);
}

#[tokio::test]
async fn whoever_makes_a_namespace_stricter_is_told_which_pods_are_beyond_it() {
    let server = server_with(&json!({"pod-security.kubernetes.io/enforce": "privileged"})).await;
    server.post("/api/v1/namespaces/shop/pods", pod("a", &json!({"hostIPC": true}))).await.expect(201);
    let stricter = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    let changed = server.merge(&format!("{NAMESPACES}/shop"), stricter).await.expect(200);
    let [first, second] = changed.warnings.as_slice() else { panic!("{:?}", changed.warnings) };
    assert!(first.contains("violate the new PodSecurity enforce level"), "{first}");
    assert!(second.contains("a: host namespaces (hostIPC=true)"), "{second}");
    let touched = json!({"metadata": {"annotations": {"a": "b"}}});
    server.merge("/api/v1/namespaces/shop/pods/a", touched).await.expect(200);
}

#[tokio::test]
async fn a_level_that_is_none_is_refused() {
    let server = Server::start().await;
    let labels = json!({"pod-security.kubernetes.io/enforce": "low"});
    let refused = server.post(NAMESPACES, json!({"metadata": {"name": "a", "labels": labels}})).await.refused(422, "Invalid");
    assert!(refused.contains("must be one of privileged, baseline, restricted"), "{refused}");
    let refused = server.merge(&format!("{NAMESPACES}/default"), json!({"metadata": {"labels": labels}})).await.refused(422, "Invalid");
    assert!(refused.contains("must be one of privileged, baseline, restricted"), "{refused}");
}
