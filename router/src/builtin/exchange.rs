//! One request: find its endpoint, send it there, pass the answer on, and count what the client saw.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::access::Asked;
use super::body::{Relay, Upload};
use super::client::Client;
use super::core::{Choice, Way};
use super::endpoint::Seat;
use super::headers::{self, Upgrade};
use super::link::{Link, Patience, Trouble, Unanswered};
use super::refusal::Refusal;
use super::tally::Visit;
use super::{request, tunnel};
use crate::Protocol;
use crate::places::Work;

/// How often a request that was never sent is tried again.
const TRIES_MAX: u32 = 3;
/// A request that cannot be sent twice only uses a connection that rested less than any server is likely to wait before
/// it closes one.
const REST_MAX_UNREPEATABLE: Duration = Duration::from_secs(1);

/// Answers one request of a client.
pub(super) async fn answer(client: &Arc<Client>, request: Request<Incoming>) -> Response<Relay> {
    let arrival = Instant::now();
    client.begun.fetch_add(1, Relaxed);
    client.pulse.busy(request.version());
    client.core.tolls.requests.fetch_add(1, Relaxed);
    if client.early.is_waiting() {
        client.early.take();
    }
    let host = headers::host_of(&request);
    let asked = Asked::new(client, &request, host.as_ref().unwrap_or(&HeaderValue::from_static("")));
    let carried = match host {
        Some(host) => carry(client, request, &host, arrival).await,
        None => Err(Refusal::BadRequest),
    };
    match carried {
        Ok(response) => {
            asked.answered(client, response.status().as_u16(), arrival);
            response
        }
        Err(refusal) => {
            client.pulse.rest();
            client.core.tolls.refusals.note(refusal);
            asked.refused(client, refusal.status().as_u16(), refusal.reason(), arrival);
            refusal.response()
        }
    }
}

async fn carry(
    client: &Arc<Client>,
    mut request: Request<Incoming>,
    host: &HeaderValue,
    arrival: Instant,
) -> Result<Response<Relay>, Refusal> {
    let work = client.work();
    request::check(&mut request, &client.core.options)?;
    let path = request::route_path(&request).into_owned();
    let (seat, mut visit, way) = seat(client, &request, host, &path, arrival)?;
    let version = request.version();
    let upgrade = headers::take_upgrade(&mut request).filter(|_| way.protocol == Protocol::Http1);
    // hyper does not tell what an endpoint of HTTP/2 says before its answer.
    let expects = way.protocol == Protocol::Http1 && headers::expects_continue(&request);
    let mut request = request.map(|body| Upload::new(body, expects));
    headers::to_endpoint(client, &mut request, host, upgrade.as_ref());
    let hears_interim = version == Version::HTTP_11;
    let journey = Journey { client, hears_interim, host: text(host), path: &path, way, arrival };
    let delivered = deliver(&journey, seat, request, upgrade.is_some()).await;
    match delivered.and_then(|delivered| acceptable(&delivered.response, upgrade.as_ref(), client).map(|()| delivered)) {
        Ok(delivered) => Ok(pass_on(client, version, delivered, visit, upgrade, work)),
        Err(refusal) => {
            let failed = refusal.is_ours();
            visit.answered(refusal.status().as_u16(), failed);
            client.core.tolls.failed.fetch_add(u64::from(failed), Relaxed);
            Err(refusal)
        }
    }
}

/// Seats a request that just arrived.
fn seat(
    client: &Client,
    request: &Request<Incoming>,
    host: &HeaderValue,
    path: &str,
    arrival: Instant,
) -> Result<(Seat, Visit, Way), Refusal> {
    let tolls = &client.core.tolls;
    match client.core.choose(text(host), path, None, arrival) {
        Choice::Seat(seat, tally, way) => Ok((seat, Visit::new(tally, arrival), way)),
        Choice::NoEndpoint(tally) => {
            Visit::new(tally, arrival).answered(503, true);
            tolls.failed.fetch_add(1, Relaxed);
            Err(Refusal::NoEndpoint)
        }
        Choice::NoHost if request.method() == Method::GET && path == "/_ping" => Err(Refusal::Pong),
        Choice::NoHost | Choice::NoPath => {
            tolls.unrouted.fetch_add(1, Relaxed);
            Err(Refusal::NoRoute)
        }
    }
}

/// What stays the same over all tries of a request.
struct Journey<'a> {
    client: &'a Arc<Client>,
    /// Whether the client can be told of interim answers.
    hears_interim: bool,
    host: &'a str,
    path: &'a str,
    way: Way,
    arrival: Instant,
}

impl Journey<'_> {
    /// The moment at which the whole request must be done.
    fn end(&self) -> Option<Instant> {
        self.way.timeouts.request.filter(|limit| !limit.is_zero()).map(|limit| self.arrival + limit)
    }

    /// How long a try that begins now may take.
    fn patience(&self, now: Instant) -> Patience {
        let timeouts = self.way.timeouts;
        let is_own = timeouts.request.is_some() || timeouts.backend_request.is_some();
        let answer = Some(self.client.core.options.response_timeout).filter(|limit| !is_own && !limit.is_zero());
        let this_try = timeouts.backend_request.filter(|limit| !limit.is_zero()).map(|limit| now + limit);
        Patience { answer, until: [self.end(), this_try].into_iter().flatten().min() }
    }

    fn refusal(&self, trouble: Trouble) -> Refusal {
        let is_over = self.end().is_some_and(|end| end <= Instant::now());
        match trouble {
            Trouble::ConnectTimeout | Trouble::ResponseTimeout if is_over => Refusal::RequestTimeout,
            Trouble::Connect => Refusal::ConnectFailed,
            Trouble::ConnectTimeout => Refusal::ConnectTimeout,
            Trouble::Broken => Refusal::ConnectionClosed,
            Trouble::TooLarge => Refusal::AnswerTooLarge,
            Trouble::Nonsense => Refusal::BadAnswer,
            Trouble::ResponseTimeout => Refusal::AnswerTimeout,
        }
    }
}

/// An answer whose head has arrived.
struct Delivered {
    response: Response<Incoming>,
    link: Link,
    seat: Seat,
    /// The moment at which the rest of it must be here.
    until: Option<Instant>,
}

/// Sends a request until an endpoint answers. A request that was never sent is tried on other connections and endpoints;
/// one that was sent without an answer is sent once more if that cannot do harm.
async fn deliver(journey: &Journey<'_>, mut seat: Seat, mut request: Request<Upload>, is_upgrade: bool) -> Result<Delivered, Refusal> {
    let core = &journey.client.core;
    let mut rest_max = REST_MAX_UNREPEATABLE;
    let mut may_repeat = headers::is_idempotent(request.method()) && request.body().is_empty() && !is_upgrade;
    if may_repeat {
        rest_max = core.options.link_idle;
    }
    let mut tries = 1;
    let mut now = journey.arrival;
    loop {
        let progress = request.body().progress();
        let spare = may_repeat.then(|| copy(&request));
        let patience = journey.patience(now);
        let Unanswered { trouble, request: unsent } = match attempt(journey, &seat, request, rest_max, now, patience).await {
            Ok((response, link)) => return Ok(Delivered { response, link, seat, until: patience.until }),
            Err(unanswered) => unanswered,
        };
        if progress.is_some_and(|progress| progress.client_failed()) {
            return Err(Refusal::BadRequest);
        }
        now = Instant::now();
        let was_sent = unsent.is_none();
        // Another try would be told the same, or come too late.
        let is_final = matches!(trouble, Trouble::ResponseTimeout | Trouble::TooLarge | Trouble::Nonsense);
        request = match unsent.or(spare) {
            Some(request) if tries < TRIES_MAX && !is_final => request,
            _ => return Err(journey.refusal(trouble)),
        };
        if was_sent && !core.may_resend(now) {
            return Err(journey.refusal(trouble));
        }
        tries += 1;
        may_repeat &= !was_sent;
        rest_max = Duration::ZERO;
        let failed_at = seat.endpoint.address;
        let avoid = (was_sent || trouble != Trouble::Broken).then_some(failed_at);
        // A broken connection may be no fault of its endpoint; otherwise there is no point in asking the same one.
        let may_stay = trouble == Trouble::Broken && !seat.is_cut();
        seat = match core.choose(journey.host, journey.path, avoid, now) {
            Choice::Seat(next, ..) if may_stay || next.endpoint.address != failed_at => next,
            _ => return Err(journey.refusal(trouble)),
        };
    }
}

/// Sends a request over an idle connection that rested no longer than `rest_max`, a shared one, or a new one.
async fn attempt(
    journey: &Journey<'_>,
    seat: &Seat,
    request: Request<Upload>,
    rest_max: Duration,
    now: Instant,
    patience: Patience,
) -> Result<(Response<Incoming>, Link), Unanswered> {
    let (client, protocol) = (journey.client, journey.way.protocol);
    let options = &client.core.options;
    let endpoint = &seat.endpoint;
    let kept = match protocol {
        _ if rest_max.is_zero() => None,
        Protocol::Http1 => endpoint.take_link(client.shelf, rest_max, now),
        Protocol::H2c => endpoint.shared(client.shelf).map(|shared| Link::of(shared, options)),
    };
    let within = patience.until.map_or(options.connect_timeout, |until| options.connect_timeout.min(until.saturating_duration_since(now)));
    let mut link = match kept {
        Some(link) => link,
        None => match Link::open(seat, protocol, options, within).await {
            Ok(link) => {
                endpoint.connected();
                if let Some(shared) = link.shared() {
                    endpoint.share(client.shelf, shared);
                }
                link
            }
            Err(trouble) => {
                if trouble != Trouble::Broken {
                    endpoint.connect_failed(Instant::now(), options);
                }
                return Err(Unanswered { trouble, request: Some(request) });
            }
        },
    };
    let response = link.send(request, now, patience, journey.hears_interim.then_some(client)).await?;
    Ok((response, link))
}

/// Whether an answer can be passed on.
fn acceptable(response: &Response<Incoming>, upgrade: Option<&Upgrade>, client: &Client) -> Result<(), Refusal> {
    if !headers::is_coding_known(response.headers()) {
        return Err(Refusal::BadAnswer);
    }
    if response.headers().len() > client.core.options.headers_max {
        return Err(Refusal::AnswerTooLarge);
    }
    let is_changed = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if is_changed && !upgrade.is_some_and(|upgrade| headers::is_granted(response.headers(), upgrade)) {
        return Err(Refusal::UpgradeFailed);
    }
    Ok(())
}

fn pass_on(
    client: &Arc<Client>,
    version: Version,
    delivered: Delivered,
    mut visit: Visit,
    upgrade: Option<Upgrade>,
    work: Option<Work>,
) -> Response<Relay> {
    let Delivered { mut response, link, seat, until } = delivered;
    visit.answered(response.status().as_u16(), false);
    // What could not be written by now comes too late.
    if client.early.is_waiting() {
        client.early.take();
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(upgrade) = upgrade
    {
        client.pulse.free();
        return tunnel::begin(response, link, seat, upgrade, work);
    }
    *response.version_mut() = Version::HTTP_11;
    headers::to_client(version, response.status(), response.headers_mut());
    let time_up = until.map(|until| Box::pin(tokio::time::sleep_until(until.into())));
    let passage = Passage { client: Arc::clone(client), visit, connection: Some((link, seat)), time_up, _work: work };
    response.map(|incoming| Relay::new(incoming, passage))
}

/// A request without a body, once more.
fn copy(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::Empty);
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    request.headers().clone_into(copy.headers_mut());
    copy
}

fn text(host: &HeaderValue) -> &str {
    host.to_str().unwrap_or_default()
}

/// The way an answer's body comes, from its head to its end. When it is dropped before the end, the client went away:
/// the connection to the endpoint is closed and nobody failed.
#[derive(Debug)]
pub(super) struct Passage {
    client: Arc<Client>,
    visit: Visit,
    connection: Option<(Link, Seat)>,
    time_up: Option<Pin<Box<Sleep>>>,
    _work: Option<Work>,
}

impl Passage {
    /// Ready when the answer has taken longer than it may.
    pub(super) fn poll_time_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.time_up.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(context))
    }

    /// The whole body has come: the connection is kept for the next request.
    pub(super) fn complete(&mut self) {
        let Some((mut link, seat)) = self.connection.take() else { return };
        self.client.pulse.rest();
        link.finish();
        if link.shared().is_some() {
            return;
        }
        let client = Arc::clone(&self.client);
        let endpoint = Arc::clone(&seat.endpoint);
        if link.is_ready() {
            endpoint.keep_link(client.shelf, link, &client.core.options);
        } else if link.is_open() {
            tokio::spawn(async move {
                if link.ready().await {
                    endpoint.keep_link(client.shelf, link, &client.core.options);
                }
            });
        }
    }

    /// The endpoint broke off.
    pub(super) fn broken_off(&mut self) {
        if self.connection.take().is_some() {
            self.visit.broken_off();
            self.client.core.tolls.failed.fetch_add(1, Relaxed);
        }
    }
}
