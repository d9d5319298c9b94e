//! A container engine of this machine, and containers in it that do as a test says.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use bollard::exec::CreateExecOptions;
use bollard::query_parameters::{
    ImportImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures::StreamExt as _;
use runtime::docker::Docker;
use runtime::{Container, Runtime};
use serde_json::{Value, json};
use sha2::Digest as _;
use tempfile::TempDir;

use crate::subject::Subject;

/// A program that does what comes over a pipe.
const TOLD: &str = r#"trap 'exit 143' TERM
    mkfifo /control
    exec 3<>/control
    while read -r word rest <&3; do
        case $word in
            say) echo "$rest" ;;
            exit) exit "$rest" ;;
            listen) httpd -f -p 8080 -h /tmp & listener=$! ;;
            deaf) kill -9 $listener; wait $listener ;;
        esac
    done &
    wait $!
    exit $?"#;

/// Says a word to that program, once it listens.
const TELL: &str = "until [ -p /control ]; do sleep 0.01; done; echo \"$0\" >/control";

/// The engine that tests use: `DOCKER_HOST`, or Docker's own socket.
pub fn address() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| runtime::docker::ADDRESS.into())
}

/// A client of the engine, when one answers. Where none does, the test that asks says that it was not run.
pub async fn client() -> Option<bollard::Docker> {
    let address = address();
    let client = bollard::Docker::connect_with_unix(&address, 60, bollard::API_DEFAULT_VERSION).ok();
    let client = match client {
        Some(client) => client.negotiate_version().await.ok(),
        None => None,
    };
    if client.is_none() {
        crate::without::without("engine", &format!("no container engine answers at {address}"));
    }
    client.filter(|_| {
        let has_busybox = Path::new("/bin/busybox").exists();
        if !has_busybox {
            crate::without::without("engine", "/bin/busybox is missing (Debian: busybox-static)");
        }
        has_busybox
    })
}

/// A tag that no other test has.
pub fn tag() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed))
}

/// An image with a shell, of one test alone.
pub async fn import_busybox(client: &bollard::Docker) -> String {
    let (name, tag) = ("localhost/conductor-test-busybox", tag());
    let image = format!("{name}:{tag}");
    load(client, &image, own_architecture(), json!({"Env": ["PATH=/bin"]})).await;
    image
}

/// This machine's processor, as images call it.
pub fn own_architecture() -> &'static str {
    if std::env::consts::ARCH == "x86_64" { "amd64" } else { "arm64" }
}

/// Loads an image of busybox, for a processor, with what it says of itself.
pub async fn load(client: &bollard::Docker, image: &str, architecture: &str, config: Value) {
    let archive = bollard::body_full(saved(image, architecture, &config).into());
    let steps: Vec<_> = client.import_image(ImportImageOptionsBuilder::default().build(), archive, None).collect().await;
    assert!(steps.iter().all(Result::is_ok), "{steps:?}");
}

/// Whether the engine is Podman, which does a few things in its own way.
pub async fn is_podman(client: &bollard::Docker) -> bool {
    let engine = client.version().await.unwrap();
    engine.components.iter().flatten().any(|component| component.name.contains("Podman"))
}

/// An image as `docker save` writes it, with what it says of itself.
fn saved(name: &str, architecture: &str, config: &Value) -> Vec<u8> {
    // The name is in it, so that no two tests have the same image: an engine that drops one while the other comes loses both.
    let layer = busybox();
    let digest: String = sha2::Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({"architecture": architecture, "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]}, "history": [{"created_by": name}]});
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

/// An archive with a static busybox and the names that tests call it by.
pub fn busybox() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.sparse(false);
    archive.append_path_with_name("/bin/busybox", "bin/busybox").unwrap();
    for name in ["sh", "sleep", "cat", "mkfifo", "true", "pwd", "env", "httpd", "head"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        archive.append_link(&mut header, format!("bin/{name}"), "busybox").unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o777);
    archive.append_data(&mut header, "tmp/", std::io::empty()).unwrap();
    let mut bytes = archive.into_inner().unwrap();
    bytes.flush().unwrap();
    bytes
}

/// The runtime under test, over an engine of this machine.
pub struct DockerSubject {
    runtime: Option<Docker>,
    pub client: bollard::Docker,
    pub image: String,
    pub dir: TempDir,
}

impl DockerSubject {
    /// `None` where there is no engine, which is said.
    pub async fn new() -> Option<Self> {
        let client = client().await?;
        let image = import_busybox(&client).await;
        let dir = tempfile::tempdir().unwrap();
        let runtime = Some(Self::open(&dir).await);
        Some(Self { runtime, client, image, dir })
    }

    async fn open(dir: &TempDir) -> Docker {
        Docker::open(dir.path(), &address()).await.unwrap()
    }

    /// Lets go of the runtime and begins anew; what it ran goes on.
    pub async fn reopen(&mut self) {
        self.drop_runtime();
        self.runtime = Some(Self::open(&self.dir).await);
    }

    pub fn drop_runtime(&mut self) {
        self.runtime = None;
    }

    /// A container that runs a shell script.
    pub fn shell(&self, name: &str, script: &str) -> Container {
        let command = vec!["/bin/sh".into(), "-c".into(), script.into()];
        Container { name: name.into(), image: self.image.clone(), command, ..Container::default() }
    }

    /// Our label in the engine.
    pub fn server(&self) -> String {
        let id = std::fs::read_to_string(self.dir.path().join("server-id")).unwrap();
        format!("dev.conductor.server={id}")
    }

    /// Ends all that the test ran, and sees that nothing of it is left.
    pub async fn close(mut self) {
        if self.runtime.is_none() {
            self.reopen().await;
        }
        for pod in self.runtime().list().await.unwrap() {
            self.runtime().remove(&pod.pod.uid).await.unwrap();
        }
        let left = containers(&self.client, &[self.server()]).await;
        assert!(left.is_empty(), "{left:?} are left");
    }

    /// Runs a program in the container that runs for one of ours, and does not wait for it to end.
    fn tell(&self, uid: &str, container: &str, word: &str) {
        let labels = [self.server(), format!("dev.conductor.uid={uid}"), format!("dev.conductor.container={container}")];
        let (client, word) = (self.client.clone(), word.to_owned());
        aside(async move {
            let id = running(&client, &labels).await;
            let command = ["/bin/sh", "-c", TELL, &word].map(str::to_owned).to_vec();
            let options = CreateExecOptions { cmd: Some(command), attach_stdout: Some(true), ..CreateExecOptions::default() };
            let exec = client.create_exec(&id, options).await.unwrap().id;
            if let bollard::exec::StartExecResults::Attached { mut output, .. } = client.start_exec(&exec, None).await.unwrap() {
                while output.next().await.is_some() {}
            }
        });
    }
}

impl Drop for DockerSubject {
    fn drop(&mut self) {
        let (client, image, server) = (self.client.clone(), self.image.clone(), self.server());
        self.runtime = None;
        aside(async move {
            for id in containers(&client, &[server]).await {
                let _ = client.remove_container(&id, Some(RemoveContainerOptionsBuilder::default().force(true).build())).await;
            }
            let force = RemoveImageOptionsBuilder::default().force(true).build();
            let _ = client.remove_image(&image, Some(force), None).await;
        });
    }
}

/// Does something asynchronous from where nothing can be waited for.
fn aside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let run = move || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    thread::spawn(run).join().unwrap()
}

/// The ids of the containers with these labels.
pub async fn containers(client: &bollard::Docker, labels: &[String]) -> Vec<String> {
    let filters = [("label".to_owned(), labels.to_vec())].into();
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    client.list_containers(Some(options)).await.unwrap().into_iter().filter_map(|summary| summary.id).collect()
}

async fn running(client: &bollard::Docker, labels: &[String]) -> String {
    let filters = [("label".to_owned(), labels.to_vec())].into();
    let options = ListContainersOptionsBuilder::default().filters(&filters).build();
    let found = client.list_containers(Some(options)).await.unwrap();
    found.into_iter().find_map(|summary| summary.id).expect("the container runs")
}

impl Subject for DockerSubject {
    fn runtime(&self) -> &dyn Runtime {
        self.runtime.as_ref().unwrap()
    }

    fn container(&self, name: &str) -> Container {
        self.shell(name, TOLD)
    }

    fn echo(&self, name: &str) -> Container {
        self.shell(name, "exec cat")
    }

    fn busy(&self, name: &str) -> Container {
        self.shell(name, "trap 'exit 143' TERM; while :; do :; done")
    }

    fn say(&self, uid: &str, container: &str, line: &str) {
        self.tell(uid, container, &format!("say {line}"));
    }

    fn exit(&self, uid: &str, container: &str, code: i32) {
        self.tell(uid, container, &format!("exit {code}"));
    }

    fn missing_command(&self) -> Vec<String> {
        vec!["/nowhere/program".into()]
    }

    fn exec_command(&self, _container: &Container, code: i32, line: &str) -> Vec<String> {
        self.shell("", &format!("echo {line}; exit {code}")).command
    }

    fn listen(&mut self, uid: &str, endpoint: SocketAddr, is_listening: bool) {
        // Where nothing was started, nothing can listen.
        let labels = [self.server(), format!("dev.conductor.uid={uid}")];
        let client = self.client.clone();
        if aside(async move { containers(&client, &labels).await }).is_empty() {
            return;
        }
        self.tell(uid, "web", if is_listening { "listen" } else { "deaf" });
        if is_listening {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
            while std::time::Instant::now() < deadline && !answers(endpoint) {
                thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }

    fn told_port(&self, _endpoint: SocketAddr) -> u16 {
        8080
    }
}

/// Whether something that speaks HTTP is there.
fn answers(endpoint: SocketAddr) -> bool {
    let Ok(mut stream) = std::net::TcpStream::connect(endpoint) else { return false };
    stream.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
    std::io::Read::read(&mut stream, &mut [0]).is_ok_and(|read| read == 1)
}
