//! Which adapter is used for what. Nothing else names one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use api::{Access, Api, NodeConnector, User};
use axum::Router;
use control::Agent;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use model::Clock;
use router::builtin::{AccessLog, Builtin, Options};
use runtime::Runtime;
use runtime::docker::Docker;
use runtime::process::Process;
use runtime::volumes::disk::Disk;
use store::Store;
use store::embedded::{Embedded, Sealing};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::WallClock;
use crate::paths;
use crate::settings::Settings;

use super::webhooks::Https;
use super::{machine, metrics};

/// How long requests in flight may take when the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Everything, put together and not yet started.
pub struct Parts {
    pub api: Api,
    controllers: Client,
    clock: Arc<dyn Clock>,
    agent: Agent,
    router: Arc<Builtin>,
}

/// What was started.
pub struct Workers {
    tasks: Vec<JoinHandle<()>>,
    router: Arc<Builtin>,
}

/// Opens the store that the settings name.
pub fn open_store(settings: &Settings) -> Result<Arc<Embedded>> {
    Ok(Arc::new(Embedded::open(paths::store(&settings.data), store_options(settings))?))
}

/// How the store is opened: Secrets are sealed in it.
pub fn store_options(settings: &Settings) -> store::embedded::Options {
    let secret = model::secret::kind();
    let prefix = format!("/{}/{}/", if secret.group.is_empty() { "core" } else { &secret.group }, secret.plural);
    let sealing = Sealing { key_file: settings.secrets_key.clone(), prefixes: vec![prefix] };
    store::embedded::Options { sealing: Some(sealing), ..store::embedded::Options::default() }
}

/// Puts everything together over a store and a listener for requests.
pub async fn assemble(settings: &Settings, store: Arc<dyn Store>, access: Access, http: TcpListener) -> Result<Parts> {
    let data = &settings.data;
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    let facts = machine::facts(data)?;
    let here = Arc::new(Here::default());
    let api = Api::new(store, Arc::clone(&clock), access, Arc::clone(&here) as Arc<dyn NodeConnector>);
    api.call_webhooks_by(Arc::new(Https::default()));
    api.prepare().await.context("cannot make the default roles")?;
    let client = |name: &str| Client::new(api.router_for(User::master(&format!("system:conductor:{name}"))), "default");
    make_namespaces(&client("server")).await?;
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let process = Process::open(data.join("pods"), shim_beside(&own)).await.context("cannot open the process runtime")?;
    let router = Arc::new(Builtin::start(http, router_options(settings))?);
    let docker = Docker::open(data.join("docker"), &settings.engine).await.context("cannot open the docker runtime")?;
    let runtimes: Vec<Arc<dyn Runtime>> = vec![Arc::new(process), Arc::new(docker)];
    let node = facts.name.clone();
    let volumes = Arc::new(Disk::new(&data.join("volumes")));
    let carries = Arc::clone(&router) as Arc<dyn router::Router>;
    let agent = Agent::new(client("agent"), Arc::clone(&clock), facts, runtimes, carries, volumes);
    here.set(node, agent.answers());
    Ok(Parts { controllers: client("controllers"), api, clock, agent, router })
}

fn router_options(settings: &Settings) -> Options {
    let access_log = match settings.access_log.as_str() {
        "off" => AccessLog::Off,
        "all" => AccessLog::All,
        _ => AccessLog::Failures,
    };
    Options {
        connections_max: Some(settings.http_connections),
        headers_max: settings.http_headers,
        header_bytes_max: settings.http_header_bytes,
        response_timeout: settings.http_answer_timeout,
        trusted: settings.trusted_proxies.clone(),
        access_log,
        ..Options::default()
    }
}

/// What starts a shim: the small program for it that is installed beside our own, or else our own.
fn shim_beside(own: &Path) -> Vec<String> {
    let small = own.with_file_name("conductor-shim");
    match small.is_file() {
        true => vec![small.to_string_lossy().into_owned()],
        false => vec![own.to_string_lossy().into_owned(), "shim".to_owned()],
    }
}

impl Parts {
    /// Has the API tell the numbers of all parts.
    pub fn tell_numbers(&self, store: Arc<Embedded>) {
        let (router, begun) = (Arc::clone(&self.router), self.clock.now());
        self.api.tell_numbers(Box::new(move |text| metrics::tell(text, begun, &store, &router)));
    }

    /// Starts controllers and agent; they end when `stop` is cancelled.
    pub fn start(self, stop: &CancellationToken) -> Workers {
        let controllers = tokio::spawn(control::controllers::run(self.controllers, self.clock, stop.clone()));
        let agent = tokio::spawn(self.agent.run(stop.clone()));
        Workers { tasks: vec![controllers, agent], router: self.router }
    }
}

impl Workers {
    /// Waits until all have ended and the requests in flight are answered.
    pub async fn finish(self) {
        self.router.shutdown(DRAIN_MAX).await;
        futures::future::join_all(self.tasks).await;
    }
}

/// The agent of this machine, called without a socket.
#[derive(Default)]
struct Here(std::sync::OnceLock<(String, Router)>);

impl Here {
    fn set(&self, node: String, answers: Router) {
        // Set once, where the agent is made.
        let _ = self.0.set((node, answers));
    }
}

impl NodeConnector for Here {
    fn connect(&self, node: &str) -> Option<Router> {
        self.0.get().filter(|(name, _)| name == node).map(|(_, answers)| answers.clone())
    }
}

/// The namespaces that people expect to be there.
async fn make_namespaces(client: &Client) -> Result<()> {
    let namespaces = client::Objects::<Namespace>::all(client);
    let cause = client::Because::circumstance("server", "Server", "start").reason("a namespace that people expect");
    for name in ["default", "kube-system"] {
        if namespaces.get(name).await?.is_none() {
            let mut namespace = Namespace::default();
            namespace.metadata.name = Some(name.into());
            namespaces.create(&namespace, &cause).await?;
        }
    }
    Ok(())
}
