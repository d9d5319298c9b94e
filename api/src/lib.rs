//! The control API: Kubernetes-shaped HTTP over a [`store::Store`].
//!
//! [`Api::router`] is an [`axum::Router`]: behind a TLS listener it serves kubectl, and controllers of this process call it
//! without a socket. A request's way through: [`path`] says what it is about, [`access`] who asks and whether they may,
//! [`serve`] picks the verb, [`body`] and [`admit`] turn what was sent into an object that may be stored, [`answer`] writes
//! what is sent back. Every refusal is a [`Status`].

mod access;
mod admission;
mod admit;
mod answer;
mod audit;
mod body;
mod checks;
mod claims;
mod custom;
mod definitions;
mod discovery;
mod followed;
mod form;
mod limits;
mod object;
mod openapi;
mod owners;
mod path;
mod pod_streams;
mod protobuf;
mod query;
mod registry;
mod serve;
mod status;
mod table;
mod verbs;

use std::sync::{Arc, OnceLock};

use axum::Router;
use model::Clock;
use store::Store;

use followed::Followed;
use limits::Load;

pub use access::{Access, AccountKey, Identity, NotAKey, User};
pub use admission::{Target as WebhookTarget, WebhookCaller};
pub use audit::{AuditLog, Origin};
pub use limits::Limits;
pub use pod_streams::NodeConnector;
pub use registry::{Registry, Served};
pub use status::Status;

/// The largest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// The control API of one store. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    server: Arc<Server>,
}

/// What every request shares.
struct Server {
    store: Arc<dyn Store>,
    kinds: definitions::Kinds,
    clock: Arc<dyn Clock>,
    access: Access,
    policies: Followed<logic::rbac::Policy>,
    admission: Followed<admission::Asked>,
    webhooks: OnceLock<Arc<dyn WebhookCaller>>,
    load: Load,
    audit: OnceLock<Arc<dyn AuditLog>>,
    nodes: Arc<dyn NodeConnector>,
}

impl Api {
    /// An API over `store` that knows the kinds of [`model::KINDS`].
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, access: Access, nodes: Arc<dyn NodeConnector>) -> Self {
        let kinds = definitions::Kinds::new(model::KINDS.iter().map(|kind| kind()));
        let (policies, admission, load) = (Followed::default(), Followed::default(), Load::default());
        let (audit, webhooks) = (OnceLock::new(), OnceLock::new());
        Self { server: Arc::new(Server { store, kinds, clock, access, policies, admission, webhooks, load, audit, nodes }) }
    }

    /// Makes the roles and bindings that people expect; done once before anybody is served. Errors: those of the store.
    pub async fn prepare(&self) -> store::Result<()> {
        access::make_default_roles(&self.server).await
    }

    /// The same API with other limits. To be called before the API is shared; it has no effect after.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        if let Some(server) = Arc::get_mut(&mut self.server) {
            server.load = Load::new(limits);
        }
        self
    }

    /// Has a line kept of each request that may change something. The first log that is named is used.
    pub fn audit_to(&self, log: Arc<dyn AuditLog>) {
        let _ = self.server.audit.set(log);
    }

    /// Has webhooks called so. Without it every call fails. The first caller that is named is used.
    pub fn call_webhooks_by(&self, caller: Arc<dyn WebhookCaller>) {
        let _ = self.server.webhooks.set(caller);
    }

    /// The API for callers that prove who they are with a bearer token, or stay anonymous.
    pub fn router(&self) -> Router {
        Router::new().fallback(serve::serve).with_state(Arc::clone(&self.server))
    }

    /// The API for one caller that is known already: a controller of this process, a peer on a unix socket.
    pub fn router_for(&self, user: User) -> Router {
        self.router().layer(axum::Extension(Identity(user)))
    }
}
