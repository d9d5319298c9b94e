//! Images from a real registry: fetched, missing, forbidden, and for other machines.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bollard::query_parameters::{ImportImageOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use futures::StreamExt as _;
use runtime::{Container, ImageTrouble, PullPolicy};
use serde_json::json;
use sha2::Digest as _;
use tempfile::TempDir;

use crate::docker::fault;
use crate::engine::{DockerSubject, busybox};
use crate::subject::{Subject, eventually, exit, pod, state};

/// The registry of Debian's package `docker-registry`.
const PROGRAM: &str = "/usr/bin/docker-registry";
/// `conductor:secret`.
const USER: &str = "conductor:$2b$04$ccWhmhIPlyJSk4VEkXiRl.COIiifLaJBmFkb6Cugv7DzAYkLsv3c.";

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
            println!("NOT RUN: {PROGRAM} is missing; install docker-registry");
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

#[tokio::test]
async fn an_image_is_fetched_when_it_is_not_here_and_one_that_nobody_has_is_told() {
    let (Some(subject), Some(registry)) = (DockerSubject::new().await, Registry::start(false).await) else { return };
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
        eventually("the image was fetched", async || subject.runtime().start(&pod.uid, "web").await.ok()).await;
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

#[tokio::test]
async fn a_registry_that_wants_a_password_is_told_from_one_that_is_empty() {
    let (Some(subject), Some(registry)) = (DockerSubject::new().await, Registry::start(true).await) else { return };
    let (trouble, said) = fault(&subject, &format!("{}/shop:7", registry.address), PullPolicy::IfNotPresent).await;
    assert_eq!(trouble, ImageTrouble::Unauthorised, "{said}");
    subject.close().await;
}

/// An image as `docker save` writes it, for another processor.
fn saved(name: &str, architecture: &str) -> Vec<u8> {
    let layer = busybox();
    let digest: String = sha2::Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({"architecture": architecture, "os": "linux", "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]}, "history": [{"created_by": "a test"}]});
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    for (file, bytes) in
        [("config.json", config.to_string().into_bytes()), ("layer.tar", layer), ("manifest.json", manifest.to_string().into_bytes())]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, file, bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

#[tokio::test]
async fn an_image_for_other_machines_is_told() {
    let Some(subject) = DockerSubject::new().await else { return };
    let (name, tag) = ("localhost/conductor-test-other", std::process::id().to_string());
    let other = if std::env::consts::ARCH == "x86_64" { "arm64" } else { "amd64" };
    let image = format!("{name}:{tag}");
    let archive = bollard::body_full(saved(&image, other).into());
    let steps: Vec<_> = subject.client.import_image(ImportImageOptionsBuilder::default().build(), archive, None).collect().await;
    assert!(steps.iter().all(Result::is_ok), "{steps:?}");
    let (trouble, said) = fault(&subject, &image, PullPolicy::IfNotPresent).await;
    assert_eq!(trouble, ImageTrouble::WrongArchitecture, "{said}");
    assert!(said.starts_with(&format!("it is for {other}")), "{said}");
    subject.client.remove_image(&image, Some(RemoveImageOptionsBuilder::default().force(true).build()), None).await.unwrap();
    subject.close().await;
}
