//! What a test can have the fake do.

use std::time::Duration;

use runtime::fake::Fake;
use runtime::{Check, Container, ContainerPhase, Pod, ProbeAnswer, Runtime};

use crate::subject::{pod, port, state};

async fn started(fake: &Fake, name: &str, image: &str) -> Pod {
    let web = Container { name: "web".into(), image: image.into(), ports: vec![port("http")], ..Container::default() };
    let pod = pod(name, vec![web]);
    fake.create(&pod).await.unwrap();
    fake.start(&pod.uid, "web", &[]).await.unwrap();
    pod
}

async fn probe(fake: &Fake, pod: &Pod) -> ProbeAnswer {
    let check = Check::Http { port: "http".into(), path: "/".into(), headers: vec![] };
    fake.probe(&pod.uid, "web", &check, Duration::from_secs(1)).await.unwrap()
}

#[tokio::test]
async fn readiness_goes_by_image_or_by_pod() {
    let fake = Fake::new();
    let (old, new) = (started(&fake, "old", "shop:1").await, started(&fake, "new", "shop:2").await);
    fake.set_ready("shop:2", false);
    assert!(probe(&fake, &old).await.passed && !probe(&fake, &new).await.passed);
    fake.set_ready("shop:2", true);
    fake.set_ready("old", false);
    assert!(!probe(&fake, &old).await.passed && probe(&fake, &new).await.passed);
}

#[tokio::test]
async fn a_rule_answers_probes_before_anything_else() {
    let fake = Fake::new();
    let (a, b) = (started(&fake, "a", "shop:1").await, started(&fake, "b", "shop:1").await);
    fake.set_ready("shop", false);
    fake.set_probe_rule(|pod, _, _| (pod.name == "a").then(|| ProbeAnswer::yes("as you wish")));
    assert_eq!(probe(&fake, &a).await, ProbeAnswer::yes("as you wish"));
    assert!(!probe(&fake, &b).await.passed);
}

#[tokio::test]
async fn a_failure_to_start_can_be_lifted_and_calls_are_remembered_in_order() {
    let fake = Fake::new();
    let kept = fake.clone();
    fake.fail_start("shop", Some("no space left"));
    let web = Container { name: "web".into(), image: "shop:1".into(), ..Container::default() };
    let pod = pod("a", vec![web]);
    fake.create(&pod).await.unwrap();
    assert_eq!(fake.start(&pod.uid, "web", &[]).await.unwrap_err().to_string(), "cannot start shop:1: no space left");
    fake.fail_start("shop", None);
    fake.start(&pod.uid, "web", &[]).await.unwrap();
    fake.stop(&pod.uid, "web", Duration::ZERO).await.unwrap();
    fake.remove(&pod.uid).await.unwrap();
    assert_eq!(kept.calls(), ["create a", "start a/web", "start a/web", "stop a/web", "remove a"]);
}

#[tokio::test]
async fn time_is_the_tests_where_it_hands_it_in() {
    let at = "2030-01-01T00:00:00Z".parse().unwrap();
    let fake = Fake::with_clock(move || at);
    let pod = started(&fake, "a", "shop:1").await;
    assert_eq!(state(&fake, &pod.uid, "web").await.phase, ContainerPhase::Running { since: at });
}
