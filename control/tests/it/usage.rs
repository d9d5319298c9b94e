//! What nodes and Pods use, from the runtime to whoever asks the API.

use std::time::{Duration, Instant};

use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::world::{Transport, World, shop};

const PODS: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";

async fn get(world: &World, path: &str) -> Result<Value, kube::Error> {
    world.client.request(Request::get(path).body(Vec::new()).unwrap()).await
}

/// Billionths of a processor.
fn nanos(amount: &Value) -> u64 {
    amount.as_str().unwrap().trim_end_matches('n').parse().unwrap()
}

#[tokio::test]
async fn what_runs_uses_what_the_runtime_counts() {
    let world = World::start(Transport::InProcess).await;
    world.runtime.set_usage("shop:1", 250, 3 << 20);
    world.create(&shop(2, "1")).await;
    world.phase("shop-1", "Complete").await;
    let begun = Instant::now();
    let list = get(&world, PODS).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(400), "two looks are compared");
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("PodMetricsList"), 2));
    for item in list["items"].as_array().unwrap() {
        let container = &item["containers"][0];
        assert_eq!((&container["name"], &container["usage"]["memory"]), (&json!("web"), &json!("3072Ki")));
        let used = nanos(&container["usage"]["cpu"]);
        assert!((200_000_000..300_000_000).contains(&used), "{list}");
        assert_eq!(item["metadata"]["labels"]["conductor.dev/service"], "shop");
    }
    // The look before is kept, so that the next answer need not wait.
    let begun = Instant::now();
    let pod = world.list::<Pod>().await.remove(0).name_any();
    let one = get(&world, &format!("{PODS}/{pod}")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
    assert_eq!((&one["kind"], &one["metadata"]["name"]), (&json!("PodMetrics"), &json!(pod)));
    for (query, found) in [("labelSelector=conductor.dev/service%3Dshop", 2), ("labelSelector=a%3Db", 0)] {
        assert_eq!(get(&world, &format!("{PODS}?{query}")).await.unwrap()["items"].as_array().unwrap().len(), found, "{query}");
    }
    let everywhere = get(&world, "/apis/metrics.k8s.io/v1beta1/pods?fieldSelector=metadata.namespace%3Ddefault").await.unwrap();
    assert_eq!(everywhere["items"].as_array().unwrap().len(), 2);
    let nodes = get(&world, "/apis/metrics.k8s.io/v1beta1/nodes").await.unwrap();
    assert_eq!((&nodes["items"][0]["metadata"]["name"], &nodes["items"][0]["usage"]["memory"]), (&json!("here"), &json!("5120Ki")));
}

#[tokio::test]
async fn what_does_not_run_uses_nothing_and_is_not_found() {
    let world = World::start(Transport::InProcess).await;
    world.create(&shop(1, "1")).await;
    world.phase("shop-1", "Complete").await;
    let pod = world.list::<Pod>().await.remove(0);
    world.runtime.fail_start("shop:1", Some("no such program"));
    world.runtime.exit(&pod.uid().unwrap(), "web", 3);
    let Err(kube::Error::Api(refusal)) = get(&world, &format!("{PODS}/{}", pod.name_any())).await else { panic!("it was found") };
    assert_eq!((refusal.code, refusal.reason.as_str()), (404, "NotFound"));
    assert_eq!(get(&world, PODS).await.unwrap()["items"], json!([]));
}
