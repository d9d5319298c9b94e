//! Services whose images are in a registry that wants a password.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bollard::auth::DockerCredentials;
use bollard::query_parameters::{PushImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Event, Pod, Secret, ServiceAccount};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use model::Service;
use serde_json::json;

use crate::docker::Engine;
use crate::load::get;
use crate::server::{Server, create, phase, until};

/// The registry of Debian's package `docker-registry`.
const PROGRAM: &str = "/usr/bin/docker-registry";
/// `conductor`, with the password below.
const USER: &str = "conductor:$2b$04$iMYItgF1jneV5oxyQ3jRp.bm9Ff3GO5khbPxzVozn7eU716O.6vo.";
const PASSWORD: &str = "secret???~~~";
const WRONG: &str = "wrong-password";

/// A registry of this test alone, for who knows the password.
struct Registry {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Registry {
    /// `None` where the program is not installed, or the engine would want TLS of it, which is said.
    async fn start(engine: &Engine) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            crate::without::without("registry", &format!("{PROGRAM} is missing (Debian: docker-registry)"));
            return None;
        }
        let version = engine.client.version().await.unwrap();
        if version.components.iter().flatten().any(|component| component.name.contains("Podman")) {
            crate::without::without("registry", "Podman wants TLS of a registry, even on this machine");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("users"), USER).unwrap();
        let auth = format!("auth: {{htpasswd: {{realm: shop, path: {}}}}}\n", path("users"));
        let storage = format!("storage: {{filesystem: {{rootdirectory: {}}}}}\n", path("store"));
        fs::write(path("config.yml"), format!("version: 0.1\n{storage}http: {{addr: \"{address}\"}}\n{auth}")).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["serve", &path("config.yml")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self { child: command.spawn().unwrap(), address, _dir: dir };
        until("the registry listens", || async { TcpStream::connect(address).is_ok() }).await;
        Some(registry)
    }

    /// Takes an image from the engine, and gives the name that it has here.
    async fn take(&self, engine: &Engine, image: &str) -> String {
        let name = format!("{}/shop", self.address);
        let tag = TagImageOptionsBuilder::default().repo(&name).tag("1").build();
        engine.client.tag_image(image, Some(tag)).await.unwrap();
        let us = DockerCredentials { username: Some("conductor".into()), password: Some(PASSWORD.into()), ..Default::default() };
        // The client's own alphabet is not the engine's.
        let client = engine.client.clone().with_request_modifier(|mut request| {
            if let Some(header) = request.headers_mut().get_mut("x-registry-auth") {
                *header = header.to_str().unwrap().replace('+', "-").replace('/', "_").parse().unwrap();
            }
            request
        });
        let options = PushImageOptionsBuilder::default().tag("1").build();
        let steps: Vec<_> = client.push_image(&name, Some(options), Some(us)).collect().await;
        assert!(steps.iter().all(Result::is_ok), "{steps:?}");
        let image = format!("{name}:1");
        remove(engine, &image).await;
        image
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn remove(engine: &Engine, image: &str) {
    let force = RemoveImageOptionsBuilder::default().force(true).build();
    engine.client.remove_image(image, Some(force), None).await.unwrap();
}

async fn make_secret(client: &Client, name: &str, registry: &str, password: &str) {
    let config = json!({"auths": {registry: {"username": "conductor", "password": password}}}).to_string();
    let object = json!({"metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config}});
    let secrets = Api::<Secret>::default_namespaced(client.clone());
    secrets.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

async fn delete_shop(client: &Client) {
    Api::<Service>::default_namespaced(client.clone()).delete("shop", &DeleteParams::default()).await.unwrap();
    let pods = Api::<Pod>::default_namespaced(client.clone());
    until("no pod is left", || async { pods.list(&ListParams::default()).await.unwrap().items.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_of_a_registry_with_a_password_runs_by_the_secret_that_the_service_names_and_by_that_of_its_account() {
    let server = Server::start();
    let Some(engine) = Engine::find(&server).await else { return };
    let Some(registry) = Registry::start(&engine).await else { return };
    let client = server.client().await;
    let mut service = engine.shop(1, "1");
    let mut pod = service["spec"]["parts"][0]["pod"]["spec"].clone();
    let image = registry.take(&engine, pod["containers"][0]["image"].as_str().unwrap()).await;
    pod["containers"][0]["image"] = json!(image);
    make_secret(&client, "wrong", &registry.address.to_string(), WRONG).await;
    make_secret(&client, "right", &format!("http://{}/v2/", registry.address), PASSWORD).await;

    // With a wrong password it says so, and does not say the password.
    pod["imagePullSecrets"] = json!([{"name": "wrong"}, {"name": "absent"}]);
    service["spec"]["parts"][0]["pod"]["spec"] = pod.clone();
    create(&client, &service).await;
    let pods = Api::<Pod>::default_namespaced(client.clone());
    let waiting = |pod: Pod| pod.status?.container_statuses?.pop()?.state?.waiting;
    let why = || async { pods.list(&ListParams::default()).await.unwrap().items.into_iter().find_map(waiting) };
    let expected =
        [format!("the credentials for {}", registry.address), "does not let us have it".into(), "Secret absent is not there".into()];
    until(&expected, || async {
        let said = why().await.and_then(|waiting| waiting.message).unwrap_or_default();
        expected.iter().all(|part| said.contains(part))
    })
    .await;
    println!("{:?}", why().await);
    let events = Api::<Event>::default_namespaced(client.clone()).list(&ListParams::default()).await.unwrap().items;
    assert!(events.iter().any(|event| event.reason.as_deref() == Some("FailedToRetrieveImagePullSecret")));
    assert!(!format!("{events:?}").contains(WRONG) && !server.log().contains(WRONG));
    delete_shop(&client).await;

    // With the right one beside it, it runs.
    pod["imagePullSecrets"] = json!([{"name": "wrong"}, {"name": "right"}]);
    service["spec"]["parts"][0]["pod"]["spec"] = pod.clone();
    create(&client, &service).await;
    phase(&client, "shop-1", "Complete").await;
    assert!(get(server.http(), "shop.test", "/").await.1.contains("version 1"));
    delete_shop(&client).await;

    // And so it does where only the account of the Pod says it.
    remove(&engine, &image).await;
    let account = json!({"imagePullSecrets": [{"name": "right"}]});
    let accounts = Api::<ServiceAccount>::default_namespaced(client.clone());
    accounts.patch("default", &PatchParams::default(), &Patch::Merge(account)).await.unwrap();
    pod.as_object_mut().unwrap().remove("imagePullSecrets");
    service["spec"]["parts"][0]["pod"]["spec"] = pod;
    create(&client, &service).await;
    phase(&client, "shop-1", "Complete").await;
    assert!(get(server.http(), "shop.test", "/").await.1.contains("version 1"));
    assert!(!server.log().contains(PASSWORD) && !server.log().contains(WRONG));
    delete_shop(&client).await;
    remove(&engine, &image).await;
}
