//! Our process on a node: runs the Pods that are placed on it, carries the routes, shows logs.

mod confinement;
mod credentials;
mod drain;
mod hooks;
mod logs;
mod node;
mod pods;
mod probed;
mod references;
mod routes;
mod sandbox;
mod stop;
mod streams;
mod translated;
mod usage;
mod volumes;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router as HttpRouter;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use model::Clock;
use router::Router;
use runtime::{Runtime, Volumes};
use tokio_util::sync::CancellationToken;

pub use node::NodeFacts;
#[cfg(feature = "fuzzing")]
pub(crate) use streams::spdy;

/// The agent of one node. Cheap to clone.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
}

/// What all parts of an agent use.
struct Shared {
    client: Client,
    clock: Arc<dyn Clock>,
    facts: NodeFacts,
    /// By runtime class.
    runtimes: Vec<Arc<dyn Runtime>>,
    router: Arc<dyn Router>,
    volumes: Arc<dyn Volumes>,
    events: crate::Events,
    look: usage::Kept,
}

impl Agent {
    /// An agent that runs Pods with `runtimes`, their volumes in `volumes`. A Pod that names no class goes to the first runtime that
    /// runs images when each of its containers has one, and otherwise to the first that does not.
    pub fn new(
        client: Client,
        clock: Arc<dyn Clock>,
        facts: NodeFacts,
        runtimes: Vec<Arc<dyn Runtime>>,
        router: Arc<dyn Router>,
        volumes: Arc<dyn Volumes>,
    ) -> Self {
        let events = crate::Events::new(&client, &clock, "agent");
        let look = usage::Kept::default();
        Self { shared: Arc::new(Shared { client, clock, facts, runtimes, router, volumes, events, look }) }
    }

    /// Joins the node and works until `stop` is cancelled. What runs goes on running.
    pub async fn run(self, stop: CancellationToken) {
        node::join(&self.shared, &stop).await;
        let routes = tokio::spawn(routes::run(Arc::clone(&self.shared), stop.clone()));
        pods::run(Arc::clone(&self.shared), stop).await;
        if let Err(error) = routes.await {
            tracing::error!(%error, "the routes of this node ended abnormally");
        }
    }

    /// What the API asks of this node: `GET /pods/UID/log`, what [`streams`] has, and `GET /usage`.
    pub fn answers(&self) -> HttpRouter {
        let shared = || Arc::clone(&self.shared);
        logs::router(shared()).merge(streams::router(shared())).merge(usage::router(shared()))
    }
}

impl Shared {
    /// The runtime for a Pod; `None` when this node does not have the one that it names.
    fn runtime(&self, pod: &Pod) -> Option<&Arc<dyn Runtime>> {
        let Some(class) = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()) else {
            let wants_images = logic::pod::is_of_images(pod);
            return self.runtimes.iter().find(|runtime| runtime.runs_images() == wants_images).or_else(|| self.runtimes.first());
        };
        self.runtimes.iter().find(|runtime| runtime.name() == class)
    }

    /// Every sandbox of every runtime, by uid. A runtime that does not answer is left out, and told of in the log.
    async fn sandboxes(&self) -> BTreeMap<String, (Arc<dyn Runtime>, runtime::PodState)> {
        let mut found = BTreeMap::new();
        for runtime in &self.runtimes {
            match runtime.list().await {
                Ok(states) => found.extend(states.into_iter().map(|state| (state.pod.uid.clone(), (Arc::clone(runtime), state)))),
                Err(error) => tracing::warn!(runtime = runtime.name(), %error, "the runtime does not say what it runs"),
            }
        }
        found
    }
}
