//! What the registries of images are shown, from Secrets and ServiceAccounts to the runtime.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{Event, Pod, Secret, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use runtime::ImageTrouble;
use serde_json::{Value, json};

use crate::world::{Transport, World, shop};

/// Makes an object of a kind.
async fn make<K>(world: &World, object: Value)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    world.of::<K>().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

async fn make_secret(world: &World, name: &str, auths: Value) {
    let config = json!({"auths": auths}).to_string();
    let object = json!({"metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config}});
    make::<Secret>(world, object).await;
}

fn login(username: &str) -> Value {
    json!({"username": username, "password": "hunter2"})
}

async fn make_pod(world: &World, name: &str, image: &str, spec: Value) {
    let mut pod = json!({"metadata": {"name": name}, "spec": spec});
    pod["spec"]["containers"] = json!([{"name": "web", "image": image, "command": ["web"]}]);
    make::<Pod>(world, pod).await;
}

async fn until_runs(world: &World, name: &str) {
    world
        .until(&format!("{name} runs"), || async {
            let pod = world.of::<Pod>().get(name).await.unwrap();
            pod.status.is_some_and(|status| status.phase.as_deref() == Some("Running"))
        })
        .await;
}

/// Who the registry of an image would have been told that we are.
fn users(world: &World, image: &str) -> Vec<String> {
    world.runtime.shown(image).into_iter().map(|credential| format!("{} at {}", credential.username, credential.registry)).collect()
}

async fn why_waiting(world: &World, name: &str) -> String {
    let pod = world.of::<Pod>().get(name).await.unwrap();
    let statuses = pod.status.unwrap_or_default().container_statuses.unwrap_or_default();
    statuses.into_iter().filter_map(|status| status.state?.waiting?.message).collect()
}

/// What was told of secrets that are not to be had.
async fn warnings(world: &World) -> Vec<String> {
    let of_secrets = |event: &Event| event.reason.as_deref() == Some("FailedToRetrieveImagePullSecret");
    world.list::<Event>().await.into_iter().filter(of_secrets).filter_map(|event| event.message).collect()
}

#[tokio::test]
async fn a_registry_is_shown_what_the_secrets_of_the_pod_have_for_it() {
    let world = World::start(Transport::InProcess).await;
    make_secret(&world, "team", json!({"a.test": login("all"), "https://a.test/team": login("team"), "b.test": login("other")})).await;
    make_secret(&world, "stars", json!({"*.test": login("any")})).await;
    let mut service = shop(1, "1");
    service["spec"]["parts"][0]["pod"]["spec"]["imagePullSecrets"] = json!([{"name": "stars"}, {"name": "team"}]);
    service["spec"]["parts"][0]["pod"]["spec"]["containers"][0]["image"] = json!("a.test/team/shop:1");
    world.create(&service).await;
    world.phase("shop-1", "Complete").await;
    assert_eq!(users(&world, "a.test/team/shop:1"), ["team at a.test/team", "all at a.test", "any at *.test"]);
    let shown = world.runtime.shown("a.test/team/shop:1");
    assert!(shown[0].password == "hunter2" && !format!("{shown:?}").contains("hunter2"), "{shown:?}");
    // Another Pod is another matter.
    make_pod(&world, "plain", "a.test/team/shop:2", json!({})).await;
    until_runs(&world, "plain").await;
    assert_eq!(users(&world, "a.test/team/shop:2"), [""; 0]);
    assert_eq!(warnings(&world).await, [""; 0]);
}

#[tokio::test]
async fn a_pod_that_names_no_secrets_has_those_of_its_service_account() {
    let world = World::start(Transport::InProcess).await;
    for name in ["default", "bot", "own"] {
        make_secret(&world, name, json!({"a.test": login(name)})).await;
    }
    for name in ["default", "bot"] {
        let metadata = json!({"name": name});
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "imagePullSecrets": [{"name": name}]});
        world.of::<ServiceAccount>().patch(name, &PatchParams::apply("test"), &Patch::Apply(account)).await.unwrap();
    }
    let cases = [
        (json!({}), &["default at a.test"][..]),
        (json!({"serviceAccountName": "bot"}), &["bot at a.test"]),
        (json!({"serviceAccountName": "bot", "imagePullSecrets": [{"name": "own"}]}), &["own at a.test"]),
    ];
    for (at, (spec, expected)) in cases.into_iter().enumerate() {
        let (name, image) = (format!("p{at}"), format!("a.test/shop:{at}"));
        make_pod(&world, &name, &image, spec).await;
        until_runs(&world, &name).await;
        assert_eq!(users(&world, &image), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_used_is_named_and_the_image_is_fetched_without_it() {
    let world = World::start(Transport::InProcess).await;
    make_secret(&world, "good", json!({"a.test": login("good")})).await;
    make_secret(&world, "odd", json!({"a.test": {"auth": "hunter2"}})).await;
    make::<Secret>(&world, json!({"metadata": {"name": "plain"}, "stringData": {"password": "hunter2"}})).await;
    world.runtime.fail_image("a.test", Some((ImageTrouble::Unauthorised, "denied")));
    let names = ["absent", "odd", "plain", "good"].map(|name| json!({"name": name}));
    make_pod(&world, "p", "a.test/shop:1", json!({"imagePullSecrets": names})).await;
    let mut expected = "imagePullSecrets: Secret absent is not there".to_owned();
    write!(expected, "; Secret odd: data[.dockerconfigjson]: a.test: expected auth to be user:password in base64").unwrap();
    write!(expected, "; Secret plain: type Opaque: expected kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg").unwrap();
    world.until("the Pod says why", || async { why_waiting(&world, "p").await.contains(&expected) }).await;
    assert!(why_waiting(&world, "p").await.contains("denied"));
    assert_eq!(users(&world, "a.test/shop:1")[0], "good at a.test");

    // Mended: told once, tried again by itself.
    make_secret(&world, "absent", json!({"*.test": login("late")})).await;
    world.until("it is tried", || async { users(&world, "a.test/shop:1").contains(&"late at *.test".to_owned()) }).await;
    world.runtime.fail_image("a.test", None);
    until_runs(&world, "p").await;
    let told = warnings(&world).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        told.iter().filter(|told| told.contains("absent")).collect::<Vec<_>>(),
        [&format!("{expected}; images are fetched without")]
    );
    let events = format!("{:?}", world.list::<Event>().await);
    assert!(!events.contains("hunter2"), "{events}");
}
