//! Services whose copies are an engine's containers: they change under load, survive a crash of the server, and say what is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams};
use model::Service;
use serde_json::{Value, json};

use crate::load::{Load, get};
use crate::server::{CONDUCTOR, Server, change, create, phase, shop, until};

/// Where the machine's engine is.
pub fn address_of_machine() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into())
}

/// The engine, an image of the example program in it, and what ran of it; all of it goes at the end.
pub struct Engine {
    pub client: bollard::Docker,
    image: String,
    data: PathBuf,
}

impl Engine {
    /// The machine's. `None` where no engine answers, which is said.
    pub async fn find(server: &Server) -> Option<Self> {
        Self::at(&address_of_machine(), server).await
    }

    /// That at an address. `None` where no engine answers, which is said.
    pub async fn at(address: &str, server: &Server) -> Option<Self> {
        let client = bollard::Docker::connect_with_unix(address, 60, bollard::API_DEFAULT_VERSION).ok();
        let client = match client {
            Some(client) => client.negotiate_version().await.ok(),
            None => None,
        };
        let Some(client) = client else {
            crate::without::without("engine", &format!("no container engine answers at {address}"));
            return None;
        };
        let tag = format!("{}-{}", std::process::id(), server.http().port());
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(&format!("localhost/conductor-test-hello:{tag}"))
            .changes(["ENTRYPOINT [\"/hello\"]", "ENV ADDRESS=0.0.0.0"].map(str::to_owned).to_vec())
            .build();
        let mut archive = tar::Builder::new(Vec::new());
        archive.sparse(false);
        archive.append_path_with_name(static_hello(), "hello").unwrap();
        let body = bollard::body_full(archive.into_inner().unwrap().into());
        let steps: Vec<_> = client.create_image(Some(options), Some(body), None).collect().await;
        assert!(steps.iter().all(Result::is_ok), "{steps:?}");
        Some(Self { client, image: format!("localhost/conductor-test-hello:{tag}"), data: server.data() })
    }

    /// The Service of the other tests, by image.
    pub fn shop(&self, replicas: i32, version: &str) -> Value {
        let mut service = shop(replicas, version);
        let container = &mut service["spec"]["parts"][0]["pod"]["spec"]["containers"][0];
        container["image"] = json!(self.image);
        container.as_object_mut().unwrap().remove("command");
        service
    }

    /// The engine's containers of this server, with when they were made.
    pub async fn containers(&self) -> Vec<(String, i64)> {
        containers(&self.client, &self.data).await
    }
}

async fn containers(client: &bollard::Docker, data: &Path) -> Vec<(String, i64)> {
    let server = std::fs::read_to_string(data.join("docker/server-id")).unwrap();
    let filters = [("label", vec![format!("dev.conductor.server={server}")])].into();
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = client.list_containers(Some(options)).await.unwrap();
    let mut all: Vec<_> = found.into_iter().map(|found| (found.id.unwrap(), found.created.unwrap())).collect();
    all.sort();
    all
}

impl Drop for Engine {
    fn drop(&mut self) {
        let (client, image, data) = (self.client.clone(), self.image.clone(), self.data.clone());
        let work = async move {
            for (id, _) in containers(&client, &data).await {
                let _ = client.remove_container(&id, Some(RemoveContainerOptionsBuilder::default().force(true).build())).await;
            }
            let _ = client.remove_image(&image, Some(RemoveImageOptionsBuilder::default().force(true).build()), None).await;
        };
        let run = move || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
        std::thread::spawn(run).join().unwrap();
    }
}

/// The example program without libraries, so that it is an image by itself.
fn static_hello() -> PathBuf {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let dir = Path::new(CONDUCTOR).parent().unwrap().with_file_name("static");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root).args(["build", "-q", "-p", "hello", "--target", &target, "--target-dir"]).arg(&dir);
    assert!(command.env("RUSTFLAGS", "-C target-feature=+crt-static").status().unwrap().success());
    dir.join(target).join("debug/hello")
}

async fn pods(client: &Client) -> Vec<Pod> {
    Api::<Pod>::default_namespaced(client.clone()).list(&ListParams::default()).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_an_image_are_replaced_under_load_without_a_failed_request_and_leave_nothing() {
    let server = Server::start();
    let Some(engine) = Engine::find(&server).await else { return };
    let client = server.client().await;
    create(&client, &engine.shop(2, "0")).await;
    phase(&client, "shop-1", "Complete").await;
    let load = Load::start(server.http(), "shop.test", 4);
    for version in 1..=3 {
        change(&client, json!({"spec": {"config": {"VERSION": version.to_string()}}})).await;
        let receipt = phase(&client, &format!("shop-{}", version + 1), "Complete").await.status.unwrap().receipt.unwrap();
        assert!(receipt.requests.unwrap() > 0, "{receipt:?}");
        assert_eq!((receipt.failed, receipt.started), (Some(0), 2), "{receipt:?}");
    }
    let outcomes = load.stop().await;
    println!("requests by outcome: {outcomes:?}");
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), ["200"], "{outcomes:?}");
    assert!(get(server.http(), "shop.test", "/").await.1.contains("version 3"));
    let status = pods(&client).await.pop().unwrap().status.unwrap().container_statuses.unwrap().pop().unwrap();
    assert!(status.image_id.contains("sha256:"), "{status:?}");

    Api::<Service>::default_namespaced(client.clone()).delete("shop", &DeleteParams::default()).await.unwrap();
    until("no pod is left", || async { pods(&client).await.is_empty() }).await;
    assert_eq!(engine.containers().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_survive_a_crash_of_the_server_and_are_adopted() {
    let mut server = Server::start();
    let Some(engine) = Engine::find(&server).await else { return };
    let client = server.client().await;
    create(&client, &engine.shop(2, "1")).await;
    phase(&client, "shop-1", "Complete").await;
    let before = engine.containers().await;
    assert_eq!(before.len(), 2);
    server.crash_and_start();
    until("requests are answered again", || async { get(server.http(), "shop.test", "/").await.0 == 200 }).await;
    assert_eq!(engine.containers().await, before, "nothing was started again");
    // In the middle of a rollout, too.
    let client = server.client().await;
    change(&client, json!({"spec": {"config": {"VERSION": "2"}}})).await;
    until("a container of the new version is there", || async { engine.containers().await.len() > 2 }).await;
    server.crash_and_start();
    let client = server.client().await;
    phase(&client, "shop-2", "Complete").await;
    assert!(get(server.http(), "shop.test", "/").await.1.contains("version 2"));
    until("two copies are left", || async { engine.containers().await.len() == 2 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_is_not_to_be_had_says_why_and_the_version_before_goes_on() {
    let server = Server::start();
    let Some(engine) = Engine::find(&server).await else { return };
    let client = server.client().await;
    create(&client, &engine.shop(1, "1")).await;
    phase(&client, "shop-1", "Complete").await;
    let mut broken = engine.shop(1, "2");
    broken["spec"]["rollout"] = json!({"progressDeadline": "4s"});
    // Nobody listens on port 1.
    broken["spec"]["parts"][0]["pod"]["spec"]["containers"][0]["image"] = json!("127.0.0.1:1/shop:2");
    change(&client, json!({"spec": broken["spec"]})).await;
    until("the pod says that its image cannot be fetched", || async {
        let waiting = |pod: &Pod| pod.status.clone()?.container_statuses?.pop()?.state?.waiting?.reason;
        pods(&client).await.iter().filter_map(waiting).any(|reason| reason == "ErrImagePull" || reason == "ImagePullBackOff")
    })
    .await;
    let failure = phase(&client, "shop-2", "Failed").await.status.unwrap().failure.unwrap();
    assert!(failure.detail.contains("127.0.0.1:1/shop:2") && failure.detail.contains("cannot be reached"), "{failure:?}");
    assert!(get(server.http(), "shop.test", "/").await.1.contains("version 1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_engine_a_service_of_images_says_what_to_do_and_programs_run() {
    let server = Server::start_with(&[("DOCKER_HOST", "unix:///nowhere/engine.sock")]);
    let client = server.client().await;
    let mut service = shop(1, "1");
    service["spec"]["rollout"] = json!({"progressDeadline": "3s"});
    service["spec"]["parts"][0]["pod"]["spec"]["containers"][0]["image"] = json!("shop:7");
    create(&client, &service).await;
    let why = "no container engine answers at unix:///nowhere/engine.sock; start Docker";
    let why_waiting = |pod: &Pod| pod.status.clone()?.container_statuses?.pop()?.state?.waiting?.message;
    until("the pod says so", || async { pods(&client).await.iter().filter_map(why_waiting).any(|message| message.contains(why)) }).await;
    // The same by the program of this machine.
    change(&client, json!({"spec": {"config": {"VERSION": "2"}, "parts": shop(1, "2")["spec"]["parts"]}})).await;
    until("it is served", || async { get(server.http(), "shop.test", "/").await.0 == 200 }).await;
}
