//! A server that is killed while clients write and watch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt as _};

use crate::server::Server;

const CRASHES: u32 = 3;
const WRITERS: u32 = 8;

fn map(name: &str) -> ConfigMap {
    ConfigMap { metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }, ..ConfigMap::default() }
}

/// Writes until the server is gone; the names that it acknowledged.
async fn write(client: Client, next: Arc<AtomicU32>) -> Vec<String> {
    let maps = Api::<ConfigMap>::default_namespaced(client);
    let mut acknowledged = Vec::new();
    loop {
        let name = format!("map-{}", next.fetch_add(1, Ordering::Relaxed));
        match maps.create(&PostParams::default(), &map(&name)).await {
            Ok(made) => acknowledged.push(made.name_any()),
            Err(_) => return acknowledged,
        }
    }
}

/// Follows what is created after a version, until the server is gone or `last` was seen: names in the order of their events, and
/// the version to go on from.
async fn follow(client: Client, mut version: String, last: Option<&str>) -> (Vec<String>, String) {
    let maps = Api::<ConfigMap>::default_namespaced(client);
    let mut seen = Vec::new();
    let Ok(events) = maps.watch(&WatchParams::default(), &version).await else { return (seen, version) };
    let mut events = events.boxed();
    while let Some(Ok(event)) = events.next().await {
        match event {
            WatchEvent::Added(map) => {
                let newer = map.resource_version().unwrap();
                assert!(newer.parse::<u64>().unwrap() > version.parse().unwrap(), "{newer} came after {version}");
                version = newer;
                seen.push(map.name_any());
                if last.is_some_and(|last| last == map.name_any()) {
                    break;
                }
            }
            WatchEvent::Bookmark(_) => {}
            other => panic!("nothing else was done: {other:?}"),
        }
    }
    (seen, version)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_and_watches_go_on_without_a_gap() {
    let mut server = Server::start();
    let next = Arc::new(AtomicU32::new(0));
    let (mut acknowledged, mut seen) = (BTreeSet::new(), Vec::new());
    let listed = Api::<ConfigMap>::default_namespaced(server.client().await).list(&ListParams::default()).await.unwrap();
    let mut version = listed.metadata.resource_version.unwrap();
    for _ in 0..CRASHES {
        let client = server.client().await;
        let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(write(client.clone(), Arc::clone(&next)))).collect();
        let watcher = tokio::spawn(follow(client, version.clone(), None));
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.crash_and_start();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        let (names, newest) = watcher.await.unwrap();
        seen.extend(names);
        version = newest;
    }
    let client = server.client().await;
    let maps = Api::<ConfigMap>::default_namespaced(client.clone());
    maps.create(&PostParams::default(), &map("the-end")).await.unwrap();
    let rest = follow(client, version, Some("the-end"));
    let (names, _) = tokio::time::timeout(Duration::from_secs(30), rest).await.unwrap();
    seen.extend(names);
    let kept: BTreeSet<String> = maps.list(&ListParams::default()).await.unwrap().iter().map(ConfigMap::name_any).collect();
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "acknowledged, and lost: {lost:?}");
    assert!(acknowledged.len() > 50, "only {} writes: the test says nothing", acknowledged.len());
    let told: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(told.len(), seen.len(), "an event came twice");
    assert_eq!(told.difference(&kept).count() + kept.difference(&told).filter(|name| name.starts_with("map-")).count(), 0);
    println!("{} writes acknowledged, {} kept, {} events", acknowledged.len(), kept.len(), seen.len());
}
