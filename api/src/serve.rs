//! From a request to the verb that serves it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use model::metrics::Text;
use model::{Kind, Source};
use store::{Entry, Transaction};

use crate::access::{Identity, User, authenticate, authorize, authorize_path, impersonate, verb};
use crate::admission::{Aside, Notes};
use crate::admit::Part;
use crate::audit::{Attempt, Origin};
use crate::form::Form;
use crate::held;
use crate::limits::{Charge, Owner, Principal, Taken};
use crate::path::Place;
use crate::query::Query;
use crate::recorded::{self, Doing};
use crate::registry::{Registry, Served};
use crate::requests::Told;
use crate::status::{Result, Status};
use crate::table::Include;
use crate::withdrawn::Grant;
use crate::{
    BODY_BYTES_MAX, Server, access, answer, conversion, definitions, discovery, object, openapi, pod_streams, routes, usage, verbs,
};

/// How often a request is served anew when the definition of its kind changes meanwhile.
const TRIES_MAX: usize = 8;

/// How long a body may take to come.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the rest of one may that is answered already.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// A request for a resource, with all that its verb needs.
pub struct Call {
    pub server: Arc<Server>,
    pub user: User,
    pub served: Arc<Served>,
    pub place: Place,
    pub query: Query,
    pub headers: HeaderMap,
    /// What the connection lets be done with it: what an upgrade needs.
    pub extensions: http::Extensions,
    pub body: Bytes,
    /// Who is charged for it; nobody where it is an administrator's.
    pub principal: Option<Arc<Principal>>,
    /// What is told beside the answer.
    pub aside: Mutex<Aside>,
}

impl Call {
    /// The object's name. Errors: 405 where the path has none.
    pub fn name(&self) -> Result<&str> {
        self.place.name.as_deref().ok_or_else(Status::method_not_allowed)
    }

    /// Adds to what is told beside the answer.
    pub fn tell(&self, add: impl FnOnce(&mut Aside)) {
        add(&mut self.aside.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Charges bytes that are about to be written. Errors: 429.
    pub async fn charge(&self, bytes: usize) -> Result<Option<Charge>> {
        match &self.principal {
            Some(principal) => principal.charge(bytes).await.map(Some),
            None => Ok(None),
        }
    }

    /// The kind.
    pub fn kind(&self) -> &Kind {
        &self.served.kind
    }

    /// The key of the object of this name.
    pub fn key(&self, name: &str) -> String {
        object::key(&self.served.kind, self.place.namespace.as_deref(), name)
    }

    /// A transaction that holds only as long as the kind is defined as it is now.
    pub fn guarded(&self, transaction: Transaction) -> Transaction {
        match &self.served.custom {
            Some(custom) => custom.guard(transaction),
            None => transaction,
        }
    }

    /// An entry in the version of the kind. Errors: 500 where a webhook that converts it fails.
    pub async fn shown(&self, entry: Entry) -> Result<Entry> {
        if !conversion::is_needed(&self.served) {
            return Ok(entry);
        }
        Ok(self.shown_all(vec![entry.clone()]).await?.pop().unwrap_or(entry))
    }

    /// As `shown`, for many.
    pub async fn shown_all(&self, entries: Vec<Entry>) -> Result<Vec<Entry>> {
        conversion::shown(&self.server, &self.served, entries).await
    }

    /// Whether `/scale` is a resource of its own.
    pub fn has_scale(&self) -> bool {
        self.kind().scale.is_some() || self.served.custom.as_ref().is_some_and(|custom| custom.scale.is_some())
    }

    /// The form of the answer. Errors: 406, and 400 for a table of nobody knows what.
    pub fn accepted(&self) -> Result<answer::Accepted> {
        let accepted = answer::Accepted::from_headers(&self.headers, self.served.protobuf)?;
        if accepted.view == answer::View::Table {
            Include::parse(self.query.get("includeObject"))?;
        }
        Ok(accepted)
    }
}

/// Serves any request; every error becomes a Status. What may change something is a task of its own that goes on to its end,
/// whatever becomes of the connection: the write, what follows from it, and the line that tells of it are one.
pub async fn serve(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
        return serve_whole(server, request).await;
    }
    let (held, refusal_format) = (Arc::clone(&server.changing), answer::format_of_refusal(request.headers()));
    let task = tokio::spawn(async move {
        let response = serve_whole(server, request).await;
        drop(held);
        response
    });
    // Nobody aborts it: it fails only by a panic, which is a defect.
    task.await.unwrap_or_else(|_| answer::refusal(refusal_format, &Status::internal("the request could not be served")))
}

async fn serve_whole(server: Arc<Server>, mut request: Request<Body>) -> Response {
    let (form, refusal_format) = (Form::of(&request), answer::format_of_refusal(request.headers()));
    request.extensions_mut().insert(form);
    let (parts, mut body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    let served = server.requests.begin(request.method(), request.headers());
    let doing = server.audit.get().and_then(|log| {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let origin = request.extensions().get::<Origin>();
        let attempt = Attempt::of(&served.id, request.method(), request.uri().path(), &query, origin, log.reads())?;
        Some(Doing::new(attempt, Arc::clone(log), Arc::clone(&server.clock)))
    });
    let mut told = Told::default();
    let routed = route(Arc::clone(&server), request, &mut body, &mut told);
    let routed = match &doing {
        Some(doing) => doing.serving(routed).await,
        None => routed.await,
    };
    let mut response = routed.unwrap_or_else(|status| answer::refusal(refusal_format, &status));
    if let Some(doing) = doing {
        doing.tell(told.by.as_ref(), &mut response);
    }
    server.requests.end(served, &told, &mut response);
    discard(body).await;
    held::until_sent(form.give(response).await)
}

/// Takes in what an early answer left of a body: an HTTP/2 stream that is left with one is reset, and the reset may overtake the answer.
async fn discard(mut body: Body) {
    let taking = async {
        let mut left = BODY_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // One that does not come does not hold up its answer.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, taking).await;
}

/// Serves a request; `told` becomes who asks and what for.
async fn route(server: Arc<Server>, request: Request<()>, body: &mut Body, told: &mut Told) -> Result<Response> {
    let (parts, ()) = request.into_parts();
    let (asker, principal) = admitted(&server, &parts).await?;
    told.by = Some((asker.clone(), asker.clone()));
    let user = impersonate(&server, asker.clone(), &parts.headers).await?;
    recorded::is_from(&asker, &user);
    told.by = Some((asker, user.clone()));
    let path = parts.uri.path();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let Some(place) = Place::parse(path) else {
        authorize_path(&server, &user, &parts.method, path).await?;
        if path == "/metrics" && parts.method == Method::GET {
            return Ok(metrics(&server));
        }
        let registry = server.kinds().await?;
        return elsewhere(&registry, &parts.method, path, parts.uri.query().unwrap_or_default(), &parts.headers);
    };
    let is_watch = query.is_true("watch") || place.watch;
    authorize(&server, &user, verb(&parts.method, &place, is_watch), &place, &query).await?;
    let registry = server.kinds().await?;
    let Some(served) = registry.find(&place.group, &place.version, &place.resource).cloned() else {
        return unknown(&registry, &place);
    };
    told.resource = Some((verb(&parts.method, &place, is_watch), place.group.clone(), named(&served, &place)));
    routes::check(&served, &place, &parts.method, &parts.headers)?;
    let (body, _charge) = read(body, principal.as_deref()).await?;
    let shared = Arc::clone(&server);
    // Only now: what is waited for has no place, so whoever sends no body keeps none from the others.
    let taken = principal.as_deref().map(|principal| shared.load.place(principal)).transpose()?;
    let (headers, extensions, aside) = (parts.headers, parts.extensions, Mutex::default());
    let mut call = Call { server, user, served, place, query, headers, extensions, body, principal, aside };
    for _ in 0..TRIES_MAX {
        let deprecated = call.served.custom.as_ref().and_then(|custom| custom.warning.clone());
        call.tell(|aside| *aside = Aside { warnings: deprecated.into_iter().collect(), ..Aside::default() });
        match dispatch(&call, &parts.method, is_watch).await {
            // Its definition changed between the reading of the object and the writing of it.
            Err(status) if status == Status::redefined() => {
                let (registry, place) = (call.server.kinds().await?, &call.place);
                let Some(served) = registry.find(&place.group, &place.version, &place.resource).cloned() else {
                    return unknown(&registry, place);
                };
                call.served = served;
                tokio::task::yield_now().await;
            }
            Err(status) => {
                let mut response = answer::refusal(answer::format_of_refusal(&call.headers), &status);
                call.tell(|told| beside(&mut response, told));
                return Ok(response);
            }
            Ok(mut response) => {
                call.tell(|told| beside(&mut response, told));
                if parts.method != Method::GET {
                    settle_after(&call).await;
                }
                let follows = call.place.subresource.as_deref() == Some("log") && call.query.is_true("follow");
                let goes_on = is_watch || follows;
                hold(&call, &mut response, taken, goes_on)?;
                if !goes_on {
                    return Ok(response);
                }
                let grant = Grant::of(&call, verb(&parts.method, &call.place, is_watch));
                return Ok(response.map(|body| held::body_until(body, grant.withdrawn())));
            }
        }
    }
    Err(Status::redefined())
}

/// Who asks, and who is charged for it: the user, or the address where nobody is known. Errors: 401, 429.
async fn admitted(server: &Server, parts: &Parts) -> Result<(User, Option<Arc<Principal>>)> {
    let asker = match parts.extensions.get::<Identity>() {
        Some(Identity(user)) => Ok(user.clone()),
        None => authenticate(server, &parts.headers).await,
    };
    let known = asker.as_ref().ok().filter(|asker| asker.name != access::ANONYMOUS);
    let owned_by = |name: Option<&str>| parts.extensions.get::<Owner>().into_iter().for_each(|owner| owner.is(name));
    if known.is_some_and(User::is_master) {
        owned_by(None);
        return Ok((asker?, None));
    }
    let from = || parts.extensions.get::<Origin>().map(|Origin(from)| from.as_str()).unwrap_or_default();
    let name = known.map_or_else(|| format!("address {}", from()), |asker| format!("user {}", asker.name));
    if known.is_some() {
        owned_by(Some(&name));
    }
    let principal = server.load.admit(&name, server.clock.now())?;
    Ok((asker?, Some(principal)))
}

/// An answer has its place until it is sent; one that goes on has one of another kind. Errors: 429.
fn hold(call: &Call, response: &mut Response, taken: Option<Taken>, goes_on: bool) -> Result<()> {
    let Some(principal) = &call.principal else { return Ok(()) };
    if goes_on {
        held::place(response, principal.stream()?);
    } else if let Some(taken) = taken {
        held::place(response, taken);
    }
    Ok(())
}

/// Puts beside an answer what is told with it.
fn beside(response: &mut Response, told: &mut Aside) {
    answer::warn(response, &told.warnings);
    if !told.notes.is_empty() {
        response.extensions_mut().insert(Notes(std::mem::take(&mut told.notes)));
    }
}

/// The resource of a request with its subresource; clients can make up no further names.
fn named(served: &Served, place: &Place) -> String {
    let is_known = |name: &str| ["status", "scale"].contains(&name) || served.kind.subresources.iter().any(|(other, _)| other == name);
    match place.subresource.as_deref() {
        None => place.resource.clone(),
        Some(name) if is_known(name) => format!("{}/{name}", place.resource),
        Some(_) => format!("{}/unknown", place.resource),
    }
}

/// What was written may be a definition, or the last object of one that is going.
async fn settle_after(call: &Call) {
    let is_last = call.served.custom.as_ref().is_some_and(|custom| custom.terminating);
    if (is_last || model::custom_resource_definition::is_definition(call.kind()))
        && let Err(status) = definitions::settle(&call.server).await
    {
        tracing::error!(error = %status.message, "the definitions could not be put in force");
    }
}

/// A Status below a group of Kubernetes' own or ours, whatever the version; plain text where people defined the group, or nobody did.
fn unknown(registry: &Registry, place: &Place) -> Result<Response> {
    let is_routed = registry.all().iter().any(|served| !served.kind.defined && served.kind.group == place.group);
    if is_routed { Err(Status::no_such_resource()) } else { Ok(page_not_found()) }
}

/// Kubernetes' answer where nothing is.
pub fn page_not_found() -> Response {
    answer::bytes(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", Bytes::from_static(b"404 page not found\n"))
}

/// Reads a body, which is charged before it is read. Errors: 400, 408, 413, 429.
async fn read(body: &mut Body, principal: Option<&Principal>) -> Result<(Bytes, Option<Charge>)> {
    let hint = body.size_hint();
    let expected = hint.upper().and_then(|bytes| usize::try_from(bytes).ok()).map_or(BODY_BYTES_MAX, |bytes| bytes.min(BODY_BYTES_MAX));
    let charge = match principal {
        Some(principal) if expected > 0 => Some(principal.charge(expected).await?),
        _ => None,
    };
    let reading = tokio::time::timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect());
    let Ok(read) = reading.await else {
        return Err(Status::request_timeout(format!("the body did not come within {} seconds", BODY_TIME_MAX.as_secs())));
    };
    match read {
        Ok(collected) => Ok((collected.to_bytes(), charge)),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(BODY_BYTES_MAX)),
        Err(error) => Err(Status::bad_request(format!("the body could not be read: {error}"))),
    }
}

/// The numbers of this server, as Prometheus reads them.
fn metrics(server: &Server) -> Response {
    let mut text = Text::default();
    server.requests.tell(&mut text);
    if let Some(numbers) = server.numbers.get() {
        numbers(&mut text);
    }
    answer::bytes(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Bytes::from(text.finish()))
}

fn elsewhere(registry: &Registry, method: &Method, path: &str, query: &str, headers: &HeaderMap) -> Result<Response> {
    if method != Method::GET {
        return Err(Status::method_not_allowed());
    }
    match path.trim_end_matches('/') {
        "/healthz" | "/livez" | "/readyz" | "/livez/ping" | "/readyz/ping" | "/healthz/ping" => {
            Ok(answer::bytes(StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"ok")))
        }
        path if path.starts_with("/openapi/") => Ok(openapi::serve(registry, path, query, headers)),
        path => discovery::serve(registry, path, headers),
    }
}

async fn dispatch(call: &Call, method: &Method, is_watch: bool) -> Result<Response> {
    if let Some(subresource) = call.place.subresource.as_deref() {
        return subresources(call, method, subresource).await;
    }
    let (kind, named) = (call.kind(), call.place.name.is_some());
    if kind.defined && !kind.is_namespaced() && call.place.namespace.is_some() {
        return Ok(page_not_found());
    }
    let misplaced = kind.is_namespaced() && call.place.namespace.is_none();
    // No route of Kubernetes' own kinds has such a path, whatever the method.
    if !kind.defined && (misplaced && named || !kind.is_namespaced() && call.place.namespace.is_some()) {
        return Err(Status::no_such_resource());
    }
    match (kind.source, method.as_str()) {
        (Source::Store, _) => {}
        (Source::Answered, "POST") if !named => return access::answer_review(call).await,
        (Source::Measured, "GET") if !is_watch && (kind.is_namespaced() || call.place.namespace.is_none()) && !(named && misplaced) => {
            return if named { usage::get(call).await } else { usage::list(call).await };
        }
        _ => return Err(Status::method_not_allowed()),
    }
    match (method.as_str(), named) {
        ("GET", _) if is_watch => verbs::watch(call).await,
        ("GET", false) => verbs::list(call).await,
        _ if kind.defined && misplaced => Ok(page_not_found()),
        _ if misplaced => Err(Status::method_not_allowed()),
        ("GET", true) => verbs::get(call).await,
        ("POST", false) => verbs::create(call).await,
        // The path of a defined kind says no more than which kind it is.
        ("POST", true) if kind.defined => verbs::create(call).await,
        ("PUT" | "PATCH", false) if kind.defined => Err(Status::bad_request("name must be provided")),
        ("PUT", true) => verbs::update(call, Part::Main).await,
        ("PATCH", true) => verbs::patch(call, Part::Main).await,
        ("DELETE", true) => verbs::delete(call).await,
        ("DELETE", false) if access::verbs(kind).contains(&"deletecollection") => verbs::delete_collection(call).await,
        _ => Err(Status::method_not_allowed()),
    }
}

async fn subresources(call: &Call, method: &Method, subresource: &str) -> Result<Response> {
    let kind = call.kind();
    // Of a defined kind, what follows a part's name is not looked at.
    let subresource = if kind.defined { subresource.split('/').next().unwrap_or_default() } else { subresource };
    let known = |name: &str| kind.subresources.iter().any(|(other, _)| other == name);
    match (subresource, method.as_str()) {
        ("status", "GET") if kind.status => verbs::get(call).await,
        ("status", "PUT") if kind.status => verbs::update(call, Part::Status).await,
        ("status", "PATCH") if kind.status => verbs::patch(call, Part::Status).await,
        ("scale", "GET" | "PUT" | "PATCH") if call.has_scale() => verbs::scale(call, method).await,
        ("log", "GET") if known("log") => pod_streams::log(call).await,
        ("exec" | "attach" | "portforward", "GET" | "POST") if known(subresource) => pod_streams::connect(call, subresource).await,
        ("eviction", "POST") if known("eviction") => verbs::evict(call).await,
        ("token", "POST") if known("token") => access::create_token(call).await,
        ("binding", "POST") if known("binding") => verbs::bind(call).await,
        ("finalize", "PUT") if known("finalize") => verbs::finalize(call).await,
        ("status" | "scale", method)
            if kind.defined && (subresource == "scale" && call.has_scale() || subresource == "status" && kind.status) =>
        {
            Err(Status::verb_not_supported(kind, if method == "DELETE" { "delete" } else { "create" }))
        }
        (name, _) if known(name) || (name == "status" && kind.status) || (name == "scale" && call.has_scale()) => {
            Err(Status::method_not_allowed())
        }
        _ if kind.defined => Err(Status::not_found(kind, call.name()?)),
        _ => Err(Status::no_such_resource()),
    }
}
