//! Volumes of Pods: what they wait for, what they are filled with, and that they follow it.

use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use runtime::volumes::Source;
use serde_json::{Value, json};

use crate::world::{Transport, World};

async fn pod(world: &World, volumes: Value) -> Pod {
    let mounts =
        volumes.as_array().unwrap().iter().map(|volume| json!({"name": volume["name"], "mountPath": format!("/{}", volume["name"])}));
    let container = json!({"name": "web", "command": ["web"], "volumeMounts": mounts.collect::<Value>()});
    let pod = json!({"metadata": {"name": "p", "labels": {"tier": "1"}}, "spec": {"containers": [container], "volumes": volumes}});
    world.of::<Pod>().create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap()
}

async fn config(world: &World, text: &str) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"key": text}});
    let force = PatchParams::apply("test").force();
    world.of::<ConfigMap>().patch("app", &force, &Patch::Apply(map)).await.unwrap();
}

/// The files of a volume of the Pod, a word each.
fn files(world: &World, pod: &Pod, name: &str) -> Option<String> {
    let Source::Files { files, .. } = world.volumes.volume(&pod.uid().unwrap(), name)?.source else { return None };
    Some(files.iter().map(|file| format!("{}={}", file.path, String::from_utf8_lossy(&file.bytes))).collect::<Vec<_>>().join(" "))
}

async fn waiting(world: &World) -> Option<(String, String)> {
    let waiting = world.of::<Pod>().get("p").await.unwrap().status?.container_statuses?.pop()?.state?.waiting?;
    Some((waiting.reason?, waiting.message.unwrap_or_default()))
}

async fn runs(world: &World) -> bool {
    let status = world.of::<Pod>().get("p").await.unwrap().status;
    status.and_then(|status| status.container_statuses?.pop()?.state?.running).is_some()
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_what_its_volumes_are_filled_from_and_follows_it() {
    let world = World::start(Transport::InProcess).await;
    let labels = json!({"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]});
    let volumes = json!([{"name": "config", "configMap": {"name": "app"}}, {"name": "pod", "downwardAPI": labels}, {"name": "work"}]);
    let made = pod(&world, volumes).await;
    let expected = "MountVolume.SetUp failed for volume \"config\" : configmap \"app\" not found";
    world
        .until("it says what it waits for", || async { waiting(&world).await == Some(("ContainerCreating".into(), expected.into())) })
        .await;
    world
        .until("an event says so", || async {
            let events: Vec<Event> = world.list().await;
            events.iter().any(|event| event.reason.as_deref() == Some("FailedMount") && event.message.as_deref() == Some(expected))
        })
        .await;
    config(&world, "one").await;
    world.until("it runs", || async { runs(&world).await }).await;
    assert_eq!(files(&world, &made, "config").as_deref(), Some("key=one"));
    assert!(matches!(world.volumes.volume(&made.uid().unwrap(), "work").unwrap().source, Source::Empty { is_memory: false, .. }));

    config(&world, "two").await;
    world.until("its file follows", || async { files(&world, &made, "config").as_deref() == Some("key=two") }).await;
    assert_eq!(files(&world, &made, "pod").as_deref(), Some("labels=tier=\"1\""));
    let label = json!({"metadata": {"labels": {"tier": "2"}}});
    world.of::<Pod>().patch("p", &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    world.until("its labels follow", || async { files(&world, &made, "pod").as_deref() == Some("labels=tier=\"2\"") }).await;

    world.of::<ConfigMap>().delete("app", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(runs(&world).await && files(&world, &made, "config").as_deref() == Some("key=two"));

    world.of::<Pod>().delete("p", &DeleteParams::default()).await.unwrap();
    world.until("the pod is gone", || async { world.list::<Pod>().await.is_empty() }).await;
    assert_eq!(files(&world, &made, "config"), None);
}

#[tokio::test(start_paused = true)]
async fn what_changed_while_nobody_looked_is_caught_up_with_and_orphans_are_removed() {
    let mut world = World::start(Transport::InProcess).await;
    let secret = |text: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"k": text}});
    let force = PatchParams::apply("test").force();
    world.of::<Secret>().patch("key", &force, &Patch::Apply(secret("1"))).await.unwrap();
    let made = pod(&world, json!([{"name": "secret", "secret": {"secretName": "key"}}])).await;
    world.until("it runs", || async { runs(&world).await }).await;
    world.kill();
    world.of::<Secret>().patch("key", &force, &Patch::Apply(secret("2"))).await.unwrap();
    let orphan = runtime::volumes::Volume {
        uid: "gone".into(),
        name: "work".into(),
        source: Source::Empty { is_memory: false, bytes_max: None },
        owner: None,
        group: None,
    };
    runtime::Volumes::set_up(&world.volumes, &orphan).await.unwrap();
    world.begin();
    world.until("its file is new", || async { files(&world, &made, "secret").as_deref() == Some("k=2") }).await;
    world.until("the orphan is gone", || async { world.volumes.volume("gone", "work").is_none() }).await;
    assert!(runs(&world).await);
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_cannot_be_set_up_keeps_no_other_pod_from_running() {
    let world = World::start(Transport::InProcess).await;
    world.volumes.fail("broken", Some("no space left on device"));
    pod(&world, json!([{"name": "broken", "emptyDir": {}}])).await;
    let other = json!({"metadata": {"name": "q"}, "spec": {"containers": [{"name": "web", "command": ["web"]}]}});
    world.of::<Pod>().create(&PostParams::default(), &serde_json::from_value(other).unwrap()).await.unwrap();
    world
        .until("it says why", || async {
            waiting(&world).await.is_some_and(|(_, message)| message.ends_with("\"broken\" : no space left on device"))
        })
        .await;
    world
        .until("the other runs", || async {
            world.of::<Pod>().get("q").await.unwrap().status.is_some_and(|status| status.phase.as_deref() == Some("Running"))
        })
        .await;
    world.volumes.fail("broken", None);
    world.until("it runs too", || async { runs(&world).await }).await;
}
