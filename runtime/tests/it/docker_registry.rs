//! Images from a real registry: fetched, missing, forbidden, and for other machines.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bollard::auth::DockerCredentials;
use bollard::query_parameters::{PushImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use futures::StreamExt as _;
use runtime::{Container, Credential, ImageTrouble, PullPolicy};
use serde_json::json;
use tempfile::TempDir;

use crate::docker::{fault, fault_with};
use crate::engine::{DockerSubject, is_podman, load};
use crate::subject::{Subject, eventually, exit, pod, state};

/// The registry of Debian's package `docker-registry`.
const PROGRAM: &str = "/usr/bin/docker-registry";
/// `conductor`, with a password whose base64 differs between the alphabets.
const USER: &str = "conductor:$2b$04$iMYItgF1jneV5oxyQ3jRp.bm9Ff3GO5khbPxzVozn7eU716O.6vo.";
const PASSWORD: &str = "secret???~~~";

/// A registry of this test alone.
struct Registry {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Registry {
    /// One for everybody, or one for who knows the password. `None` where the program is not installed, which is said.
    async fn start(is_locked: bool) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            crate::without::without("registry", &format!("{PROGRAM} is missing (Debian: docker-registry)"));
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("users"), USER).unwrap();
        let auth = if is_locked { format!("auth: {{htpasswd: {{realm: shop, path: {}}}}}\n", path("users")) } else { String::new() };
        let storage = format!("storage: {{filesystem: {{rootdirectory: {}}}}}\n", path("store"));
        fs::write(path("config.yml"), format!("version: 0.1\n{storage}http: {{addr: \"{address}\"}}\n{auth}")).unwrap();
        let mut command = Command::new(PROGRAM);
        let child =
            command.args(["serve", &path("config.yml")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let registry = Self { child, address, _dir: dir };
        eventually("the registry listens", async || TcpStream::connect(address).ok()).await;
        Some(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An engine and a registry that it talks to; `None` where one is missing, which is said.
async fn both(is_locked: bool) -> Option<(DockerSubject, Registry)> {
    let subject = DockerSubject::new().await?;
    if is_podman(&subject.client).await {
        crate::without::without("registry", "Podman wants TLS of a registry, even on this machine");
        return None;
    }
    Some((subject, Registry::start(is_locked).await?))
}

#[tokio::test]
async fn an_image_is_fetched_when_it_is_not_here_and_one_that_nobody_has_is_told() {
    let Some((subject, registry)) = both(false).await else { return };
    let name = format!("{}/shop", registry.address);
    let image = format!("{name}:7");
    subject.client.tag_image(&subject.image, Some(TagImageOptionsBuilder::default().repo(&name).tag("7").build())).await.unwrap();
    let push = PushImageOptionsBuilder::default().tag("7").build();
    let steps: Vec<_> = subject.client.push_image(&name, Some(push), None).collect().await;
    assert!(steps.iter().all(Result::is_ok), "{steps:?}");
    let force = || Some(RemoveImageOptionsBuilder::default().force(true).build());
    subject.client.remove_image(&image, force(), None).await.unwrap();

    for pull in [PullPolicy::IfNotPresent, PullPolicy::Always] {
        let web = Container { image: image.clone(), pull, ..subject.shell("web", "exit 3") };
        let pod = pod("a", vec![web]);
        subject.runtime().create(&pod).await.unwrap();
        eventually("the image was fetched", async || subject.runtime().start(&pod.uid, "web", &[]).await.ok()).await;
        assert_eq!(exit(subject.runtime(), &pod.uid, "web").await.code, 3);
        let image_id = state(subject.runtime(), &pod.uid, "web").await.image_id.unwrap();
        assert!(image_id.starts_with(&format!("{name}@sha256:")), "{image_id}");
        subject.runtime().remove(&pod.uid).await.unwrap();
    }
    assert_eq!(fault(&subject, &format!("{name}:8"), PullPolicy::IfNotPresent).await.0, ImageTrouble::Missing);
    let _ = subject.client.remove_image(&image, force(), None).await;
    // With the registry gone, what is here runs, and what must be fetched does not.
    drop(registry);
    assert_eq!(fault(&subject, &image, PullPolicy::Always).await.0, ImageTrouble::Unreachable);
    subject.close().await;
}

/// Puts the image of the test into the registry, and takes it from the engine.
async fn push(subject: &DockerSubject, name: &str) {
    subject.client.tag_image(&subject.image, Some(TagImageOptionsBuilder::default().repo(name).tag("7").build())).await.unwrap();
    let options = PushImageOptionsBuilder::default().tag("7").build();
    let us = DockerCredentials { username: Some("conductor".into()), password: Some(PASSWORD.into()), ..DockerCredentials::default() };
    // The client's own alphabet is not the engine's.
    let client = subject.client.clone().with_request_modifier(|mut request| {
        if let Some(header) = request.headers_mut().get_mut("x-registry-auth") {
            *header = header.to_str().unwrap().replace('+', "-").replace('/', "_").parse().unwrap();
        }
        request
    });
    let steps: Vec<_> = client.push_image(name, Some(options), Some(us)).collect().await;
    assert!(steps.iter().all(Result::is_ok), "{steps:?}");
    let force = RemoveImageOptionsBuilder::default().force(true).build();
    subject.client.remove_image(&format!("{name}:7"), Some(force), None).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_wants_a_password_is_shown_those_that_are_for_it() {
    let Some((subject, registry)) = both(true).await else { return };
    let name = format!("{}/shop", registry.address);
    let image = format!("{name}:7");
    push(&subject, &name).await;
    let (trouble, said) = fault(&subject, &image, PullPolicy::IfNotPresent).await;
    assert_eq!(trouble, ImageTrouble::Unauthorised, "{said}");
    assert!(said.starts_with("no credentials were tried: "), "{said}");

    let with = |registry: &str, password: &str| Credential {
        registry: registry.into(),
        username: "conductor".into(),
        password: password.into(),
        ..Credential::default()
    };
    // Not made to wait by what went wrong without credentials.
    let (trouble, said) = fault_with(&subject, &image, PullPolicy::Always, &[with("a", "hunter2"), with("b", "hunter3")]).await;
    assert_eq!(trouble, ImageTrouble::Unauthorised, "{said}");
    assert!(said.starts_with("with the credentials for a: ") && said.contains("; with the credentials for b: "), "{said}");
    assert!(!said.contains("hunter"), "{said}");

    let (wrong, right) = (with("a", "hunter2"), with("b", PASSWORD));
    let pod = pod("a", vec![Container { image: image.clone(), ..subject.shell("web", "exit 3") }]);
    subject.runtime().create(&pod).await.unwrap();
    let credentials = [wrong, right.clone()];
    eventually("the image was fetched", async || subject.runtime().start(&pod.uid, "web", &credentials).await.ok()).await;
    assert_eq!(exit(subject.runtime(), &pod.uid, "web").await.code, 3);
    let (trouble, said) = fault_with(&subject, &format!("{name}:8"), PullPolicy::IfNotPresent, &[right]).await;
    assert_eq!(trouble, ImageTrouble::Missing, "{said}");

    subject.runtime().remove(&pod.uid).await.unwrap();
    let force = RemoveImageOptionsBuilder::default().force(true).build();
    subject.client.remove_image(&image, Some(force), None).await.unwrap();
    subject.close().await;
}

#[tokio::test]
async fn an_image_for_other_machines_is_told() {
    let Some(subject) = DockerSubject::new().await else { return };
    let (name, tag) = ("localhost/conductor-test-other", crate::engine::tag());
    let other = if crate::engine::own_architecture() == "amd64" { "arm64" } else { "amd64" };
    let image = format!("{name}:{tag}");
    load(&subject.client, &image, other, json!({"Cmd": ["/bin/true"]})).await;
    let (trouble, said) = fault(&subject, &image, PullPolicy::IfNotPresent).await;
    assert_eq!(trouble, ImageTrouble::WrongArchitecture, "{said}");
    assert!(said.starts_with(&format!("it is for {other}")), "{said}");
    subject.client.remove_image(&image, Some(RemoveImageOptionsBuilder::default().force(true).build()), None).await.unwrap();
    subject.close().await;
}
