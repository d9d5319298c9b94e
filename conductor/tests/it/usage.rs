//! `kubectl top`'s side of a real server: what programs use, as the system counts it.

use http::Request;
use serde_json::{Value, json};

use crate::server::{Server, create, phase};

/// Billionths of a processor, over all containers.
fn nanos(pod: &Value) -> u64 {
    let amounts = pod["containers"].as_array().unwrap().iter().map(|container| container["usage"]["cpu"].as_str().unwrap());
    amounts.map(|amount| amount.trim_end_matches('n').parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_program_uses_more_than_an_idle_one() {
    let server = Server::start();
    let client = server.client().await;
    let part = |name: &str, script: &str| {
        let container = json!({"name": "main", "command": ["sh", "-c", script]});
        json!({"name": name, "replicas": 1, "pod": {"spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}})
    };
    let parts = [part("busy", "while :; do :; done"), part("idle", "exec sleep 1000")];
    create(
        &client,
        &json!({"apiVersion": "conductor.dev/v1", "kind": "Service", "metadata": {"name": "shop"},
            "spec": {"application": "shop", "parts": parts}}),
    )
    .await;
    phase(&client, "shop-1", "Complete").await;
    let get = async |path: &str| -> Value {
        client.request(Request::get(format!("/apis/metrics.k8s.io/v1beta1/{path}")).body(Vec::new()).unwrap()).await.unwrap()
    };
    let list = get("namespaces/default/pods").await;
    let of = |name: &str| list["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == name).unwrap();
    let (busy, idle) = (nanos(of("shop-busy-1-0")), nanos(of("shop-idle-1-0")));
    assert!(busy > 20_000_000 && idle < busy / 4, "{list}");
    assert!(of("shop-idle-1-0")["containers"][0]["usage"]["memory"].as_str().unwrap().ends_with("Ki"), "{list}");
    let nodes = get("nodes").await;
    let node = nodes["items"][0]["usage"]["cpu"].as_str().unwrap().trim_end_matches('n').parse::<u64>().unwrap();
    assert!(node > 20_000_000, "{nodes}");
}
