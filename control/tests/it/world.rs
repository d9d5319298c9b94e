//! A whole cluster of one node in this process.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Access, Api, NodeConnector, User};
use axum::Router as HttpRouter;
use control::{Agent, NodeFacts};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api as KubeApi, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Config};
use model::{Clock, Revision, RouteTable, Service};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How requests reach the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Without a socket.
    InProcess,
    /// Over HTTP on loopback.
    Http,
}

/// A clock that goes with tokio's, so that a test that pauses tokio's time bends this one too.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        start + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }
}

/// The agent of the one node.
#[derive(Default)]
struct Here(Mutex<Option<HttpRouter>>);

impl NodeConnector for Here {
    fn connect(&self, node: &str) -> Option<HttpRouter> {
        self.0.lock().unwrap().clone().filter(|_| node == "here")
    }
}

pub struct World {
    pub client: Client,
    pub runtime: runtime::fake::Fake,
    pub volumes: runtime::volumes::fake::Fake,
    pub router: Arc<router::fake::Fake>,
    pub store: Arc<store::memory::Memory>,
    clock: Arc<dyn Clock>,
    here: Arc<Here>,
    running: Option<(CancellationToken, Vec<tokio::task::JoinHandle<()>>)>,
}

impl World {
    /// A cluster whose controllers and agent work.
    pub async fn start(transport: Transport) -> Self {
        Self::behind(transport, |api| api).await
    }

    /// The same, where everybody's way to the API leads through something else.
    pub async fn behind(transport: Transport, through: impl FnOnce(HttpRouter) -> HttpRouter) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock(Instant::now()));
        let (store, here) = (Arc::new(store::memory::Memory::new()), Arc::new(Here::default()));
        let api = Api::new(Arc::<store::memory::Memory>::clone(&store), Arc::clone(&clock), Access::default(), Arc::<Here>::clone(&here));
        let router = through(api.router_for(User::master("test")));
        let client = match transport {
            Transport::InProcess => Client::new(router, "default"),
            Transport::Http => over_http(router).await,
        };
        let now = Arc::clone(&clock);
        let runtime = runtime::fake::Fake::with_clock(move || now.now());
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let (router, volumes) = (Arc::new(router::fake::Fake::new(address)), runtime::volumes::fake::Fake::default());
        let mut world = Self { client, runtime, volumes, router, store, clock, here, running: None };
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some("default".into());
        KubeApi::<Namespace>::all(world.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        world.begin();
        world
    }

    /// Starts controllers and agent.
    pub fn begin(&mut self) {
        let stop = CancellationToken::new();
        let facts = NodeFacts {
            name: "here".into(),
            address: "127.0.0.1".into(),
            processors: 1,
            memory_bytes: 1 << 30,
            version: "0".into(),
            system: String::new(),
            kernel: String::new(),
            usage: || Some(runtime::Usage { cpu: Duration::ZERO, memory_bytes: 5 << 20 }),
        };
        let agent = Agent::new(
            self.client.clone(),
            Arc::clone(&self.clock),
            facts,
            vec![Arc::new(self.runtime.clone())],
            Arc::clone(&self.router) as Arc<dyn router::Router>,
            Arc::new(self.volumes.clone()),
        );
        *self.here.0.lock().unwrap() = Some(agent.answers());
        let tasks = vec![
            tokio::spawn(control::controllers::run(self.client.clone(), Arc::clone(&self.clock), stop.clone())),
            tokio::spawn(agent.run(stop.clone())),
        ];
        self.running = Some((stop, tasks));
    }

    /// Ends controllers and agent at once, wherever they are, as a `kill -9` would.
    pub fn kill(&mut self) {
        if let Some((stop, tasks)) = self.running.take() {
            tasks.iter().for_each(tokio::task::JoinHandle::abort);
            stop.cancel();
        }
    }

    pub fn of<K>(&self) -> KubeApi<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        KubeApi::namespaced(self.client.clone(), "default")
    }

    pub async fn create(&self, service: &Value) {
        self.of::<Service>().create(&PostParams::default(), &serde_json::from_value(service.clone()).unwrap()).await.unwrap();
    }

    /// Merges a change into the Service `shop`.
    pub async fn change(&self, change: Value) {
        self.of::<Service>().patch("shop", &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    pub async fn delete(&self, name: &str) {
        self.of::<Service>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn list<K>(&self) -> Vec<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Debug + serde::de::DeserializeOwned,
    {
        self.of::<K>().list(&ListParams::default()).await.unwrap().items
    }

    /// Waits until something is so, and says what was so when it never comes to be.
    #[track_caller]
    pub fn until<'a, F: Future<Output = bool>>(
        &'a self,
        what: &'a str,
        mut holds: impl FnMut() -> F + 'a,
    ) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            for _ in 0..600 {
                if holds().await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let services: Vec<Service> = self.list().await;
            let revisions: Vec<Revision> = self.list().await;
            let pods: Vec<Pod> = self.list().await;
            let tables: Vec<RouteTable> = self.list().await;
            let text = serde_json::to_string_pretty(&json!([services, revisions, pods, tables])).unwrap();
            panic!("{caller}: never so: {what}\n{text}");
        }
    }

    /// Waits until a Revision's rollout has come to this phase.
    pub async fn phase(&self, name: &str, phase: &str) -> Revision {
        self.until(&format!("{name} is {phase}"), || async {
            let revision = self.of::<Revision>().get_opt(name).await.unwrap();
            revision.is_some_and(|revision| format!("{:?}", revision.status.unwrap_or_default().phase) == phase)
        })
        .await;
        self.of::<Revision>().get(name).await.unwrap()
    }
}

async fn over_http(router: HttpRouter) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Client::try_from(Config::new(format!("http://{address}").parse().unwrap())).unwrap()
}

/// A Service `shop` of some copies, which all have `version` in their environment and their image.
pub fn shop(replicas: i32, version: &str) -> Value {
    json!({"apiVersion": "conductor.dev/v1", "kind": "Service", "metadata": {"name": "shop", "namespace": "default"},
        "spec": spec(replicas, version)})
}

pub fn spec(replicas: i32, version: &str) -> Value {
    json!({"application": "shop", "config": {"VERSION": version},
        "parts": [{"name": "web", "replicas": replicas, "pod": {"spec": {"terminationGracePeriodSeconds": 1, "containers": [{
            "name": "web", "image": format!("shop:{version}"), "command": ["web"], "ports": [{"name": "http", "containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 1}}]}}}],
        "routes": [{"host": "shop.test", "path": "/", "part": "web", "port": "http"}],
        "rollout": {"progressDeadline": "5s", "drain": "2s", "watch": "0s"}})
}
