//! The control API: Kubernetes-shaped HTTP over a [`store::Store`].
//!
//! [`Api::router`] is an [`axum::Router`]: behind a TLS listener it serves kubectl, and controllers of this process call it
//! without a socket. A request's way through: [`path`] says what it is about, [`access`] who asks and whether they may,
//! [`serve`] picks the verb, [`body`] and [`admit`] turn what was sent into an object that may be stored, [`answer`] writes
//! what is sent back. Every refusal is a [`Status`].

mod access;
mod addressed;
mod admission;
mod admit;
mod answer;
mod audit;
mod body;
mod checks;
mod claims;
mod conversion;
mod custom;
mod definitions;
mod discovery;
mod followed;
mod form;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod held;
mod limits;
mod object;
mod openapi;
mod owners;
mod path;
mod placed;
mod pod_security;
mod pod_streams;
mod protobuf;
mod query;
mod recorded;
mod registry;
mod requests;
mod routes;
mod serve;
mod status;
mod table;
mod usage;
mod verbs;
mod webhook;
mod withdrawn;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use axum::Router;
use jiff::SignedDuration;
use model::Clock;
use model::metrics::Text;
use store::Store;

use followed::Followed;
use limits::Load;
use requests::Requests;

pub use access::{Access, AccountKey, Identity, NotAKey, User};
pub use audit::{AuditLog, Origin, Record, deed};
pub use held::body_holding;
pub use limits::{Limits, Owner};
pub use pod_streams::NodeConnector;
pub use registry::{Registry, Served};
pub use status::Status;
pub use webhook::{WebhookCaller, WebhookTarget};

/// Tells the numbers of what is beside the API.
pub type Numbers = Box<dyn Fn(&mut Text) + Send + Sync>;

/// The largest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How long a token lasts at most where nobody says: a year.
const TOKEN_SECONDS_MAX: i64 = 365 * 24 * 3_600;

const SETTLED_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

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
    access: ArcSwap<Access>,
    policies: Followed<logic::rbac::Policy>,
    admission: Followed<admission::Asked>,
    webhooks: OnceLock<Arc<dyn WebhookCaller>>,
    load: Load,
    audit: OnceLock<Arc<dyn AuditLog>>,
    requests: Requests,
    numbers: OnceLock<Numbers>,
    /// How long a token lasts at most, in seconds.
    token_seconds_max: AtomicI64,
    nodes: Arc<dyn NodeConnector>,
    /// Each watch holds one, so that they can be counted.
    watching: Arc<()>,
    /// Each request that may change something holds one until all that follows from it is done.
    changing: Arc<()>,
}

impl Server {
    /// How long a token lasts at most.
    fn token_life(&self) -> SignedDuration {
        SignedDuration::from_secs(self.token_seconds_max.load(Ordering::Relaxed))
    }
}

impl Api {
    /// An API over `store` that knows the kinds of [`model::KINDS`].
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, access: Access, nodes: Arc<dyn NodeConnector>) -> Self {
        let kinds = definitions::Kinds::new(model::KINDS.iter().map(|kind| kind()));
        let (policies, admission, load) = (Followed::default(), Followed::default(), Load::default());
        let (audit, webhooks, requests, numbers) = (OnceLock::new(), OnceLock::new(), Requests::default(), OnceLock::new());
        let (access, watching, changing) = (ArcSwap::from_pointee(access), Arc::default(), Arc::default());
        let store: Arc<dyn Store> = Arc::new(recorded::Recorded(store));
        let server = Server {
            store,
            kinds,
            clock,
            access,
            policies,
            admission,
            webhooks,
            load,
            audit,
            requests,
            numbers,
            token_seconds_max: AtomicI64::new(TOKEN_SECONDS_MAX),
            nodes,
            watching,
            changing,
        };
        Self { server: Arc::new(server) }
    }

    /// Makes the roles and bindings that people expect; done once before anybody is served. What a new store was before is not
    /// kept, so that whoever comes with a version of another server's is told to begin anew. Errors: those of the store.
    pub async fn prepare(&self) -> store::Result<()> {
        let store = &self.server.store;
        let is_new = store.revision() == 0;
        access::make_default_roles(&self.server).await?;
        placed::make_default_classes(&self.server).await?;
        if is_new { store.compact(store.revision()).await } else { Ok(()) }
    }

    /// Serves this much from here on.
    pub fn limit(&self, limits: Limits) {
        self.server.load.limit(limits);
    }

    /// Lets these in from here on, and nobody else: whoever is no longer among them is refused at their next request.
    pub fn let_in(&self, access: Access) {
        self.server.access.store(Arc::new(access));
    }

    /// No token lasts longer, from here on: neither one that is made nor one that there is.
    pub fn bound_tokens(&self, life: SignedDuration) {
        self.server.token_seconds_max.store(life.as_secs(), Ordering::Relaxed);
    }

    /// Has a line kept of each request that may change something. The first log that is named is used.
    pub fn audit_to(&self, log: Arc<dyn AuditLog>) {
        let _ = self.server.audit.set(log);
    }

    /// Has webhooks called so. Without it every call fails. The first caller that is named is used.
    pub fn call_webhooks_by(&self, caller: Arc<dyn WebhookCaller>) {
        let _ = self.server.webhooks.set(caller);
    }

    /// Has `/metrics` tell these numbers after the API's own. The first that are named are told.
    pub fn tell_numbers(&self, numbers: Numbers) {
        let _ = self.server.numbers.set(numbers);
    }

    /// Waits until all that was begun to be changed is changed and told of. Bounded by whoever calls.
    pub async fn settled(&self) {
        while Arc::strong_count(&self.server.changing) > 1 {
            tokio::time::sleep(SETTLED_PAUSE).await;
        }
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
