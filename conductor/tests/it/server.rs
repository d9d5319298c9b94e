//! A server of the real binary in a directory of its own, with everything it runs removed at the end.

use std::fmt::Debug;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use model::{Revision, Service};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};

pub const CONDUCTOR: &str = env!("CARGO_BIN_EXE_conductor");

pub struct Server {
    pub dir: tempfile::TempDir,
    child: Child,
    env: Vec<(String, String)>,
}

impl Server {
    /// A server on a store of its own.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// One with these variables in its environment.
    pub fn start_with(env: &[(&str, &str)]) -> Self {
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::spawn_in(tempfile::Builder::new().prefix("conductor-").tempdir().unwrap(), env)
    }

    /// One in a directory that holds something already.
    pub fn start_in(dir: tempfile::TempDir, env: &[(&str, &str)]) -> Self {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::spawn_in(dir, env)
    }

    fn spawn_in(dir: tempfile::TempDir, env: Vec<(String, String)>) -> Self {
        let child = spawn(dir.path(), &env);
        let mut server = Self { dir, child, env };
        server.wait_until_ready();
        server
    }

    /// Ends the server at once, as a crash would, and starts it again on the same store.
    pub fn crash_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let _ = fs::remove_file(self.data().join("ready.json"));
        self.child = spawn(self.dir.path(), &self.env);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        while !self.data().join("ready.json").exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the server is not ready: {}", self.log());
            assert!(self.child.try_wait().unwrap().is_none(), "the server ended: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks the server to stop, and says how it ended and how long that took.
    pub fn stop(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        self.signal(Signal::SIGTERM);
        (self.child.wait().unwrap().code(), begun.elapsed())
    }

    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn ready(&self) -> Value {
        serde_json::from_slice(&fs::read(self.data().join("ready.json")).unwrap()).unwrap()
    }

    /// Where Services are reached.
    pub fn http(&self) -> SocketAddr {
        self.ready()["http"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// A client that reads the kubeconfig, as any would.
    pub async fn client(&self) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(self.data().join("kubeconfig")).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// Runs the command line against this server.
    pub fn run(&self, args: &[&str]) -> Output {
        Command::new(CONDUCTOR).args(args).env("CONDUCTOR_DATA", self.data()).env_remove("KUBECONFIG").output().unwrap()
    }

    /// Processes that belong to pods of this server.
    pub fn processes(&self) -> Vec<i32> {
        let needle = fs::canonicalize(self.data()).unwrap_or_else(|_| self.data()).join("pods").to_string_lossy().into_owned().into_bytes();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let of_ours = |pid: &i32| {
            let files = ["environ", "cmdline"].map(|file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default());
            files.iter().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
        };
        pids.filter(of_ours).collect()
    }
}

fn spawn(dir: &Path, env: &[(String, String)]) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
    Command::new(CONDUCTOR)
        .args(["serve", "--api", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"])
        .arg(dir.join("data"))
        .env("RUST_LIB_BACKTRACE", "0")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in self.processes() {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The example program, built when it is not there.
pub fn hello() -> PathBuf {
    let path = Path::new(CONDUCTOR).with_file_name("hello");
    if !path.exists() {
        let built = Command::new(env!("CARGO")).args(["build", "-q", "-p", "hello"]).status().unwrap();
        assert!(built.success());
    }
    path
}

/// A Service `shop` of the example program.
pub fn shop(replicas: i32, version: &str) -> Value {
    json!({"apiVersion": "conductor.dev/v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": {
        "application": "shop", "config": {"VERSION": version},
        "parts": [{"name": "web", "replicas": replicas, "pod": {"spec": {"terminationGracePeriodSeconds": 5, "containers": [{
            "name": "web", "command": [hello()], "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}}}]}}}],
        "routes": [{"host": "shop.test", "part": "web", "port": "http"}],
        "rollout": {"progressDeadline": "60s"}}})
}

pub async fn create(client: &Client, service: &Value) {
    let services = Api::<Service>::default_namespaced(client.clone());
    services.create(&PostParams::default(), &serde_json::from_value(service.clone()).unwrap()).await.unwrap();
}

pub async fn change(client: &Client, change: Value) {
    let services = Api::<Service>::default_namespaced(client.clone());
    services.patch("shop", &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
}

/// Waits until a Revision's rollout has come to this phase.
pub async fn phase(client: &Client, name: &str, phase: &str) -> Revision {
    let revisions = Api::<Revision>::default_namespaced(client.clone());
    let revision = || async { revisions.get_opt(name).await.unwrap() };
    until(&format!("{name} is {phase}"), || async {
        revision().await.is_some_and(|revision| format!("{:?}", revision.status.unwrap_or_default().phase) == phase)
    })
    .await;
    revision().await.unwrap()
}

/// Waits, at most a minute and a half.
pub async fn until<F: Future<Output = bool>>(what: impl Debug, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(90) {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never so: {what:?}");
}
