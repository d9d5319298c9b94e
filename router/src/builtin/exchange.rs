//! One request: find its endpoint, send it there, pass the answer on, and count what the client saw.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::body::{Relay, Upload};
use super::client::Client;
use super::core::Choice;
use super::endpoint::Seat;
use super::headers::{self, Upgrade};
use super::link::{Link, Trouble, Unanswered};
use super::tally::Visit;
use super::tunnel;

/// How often a request that was never sent is tried again.
const TRIES_MAX: u32 = 3;
/// A request that cannot be sent twice only uses a connection that rested less than any server is likely to wait before
/// it closes one.
const REST_MAX_UNREPEATABLE: Duration = Duration::from_secs(1);

/// Answers one request of a client.
pub(super) async fn answer(client: &Arc<Client>, request: Request<Incoming>) -> Response<Relay> {
    let arrival = Instant::now();
    client.pulse.busy(request.version());
    client.core.tolls.requests.fetch_add(1, Relaxed);
    match carry(client, request, arrival).await {
        Ok(response) => response,
        Err(refusal) => {
            client.pulse.rest();
            refusal.response()
        }
    }
}

async fn carry(client: &Arc<Client>, mut request: Request<Incoming>, arrival: Instant) -> Result<Response<Relay>, Refusal> {
    let host = headers::host_of(&request).ok_or(Refusal::BadRequest)?;
    if request.method() == Method::CONNECT {
        return Err(Refusal::NoTunnels);
    }
    let (seat, mut visit) = seat(client, &request, &host, arrival)?;
    let upgrade = headers::take_upgrade(&mut request);
    let mut request = request.map(Upload::new);
    headers::to_endpoint(client, &mut request, &host, upgrade.as_ref());
    match deliver(client, seat, request, &host, upgrade.is_some(), arrival).await {
        Ok(delivered) => pass_on(client, delivered, visit, upgrade),
        Err(refusal) => {
            let failed = refusal.is_ours();
            visit.answered(refusal.status().as_u16(), failed);
            client.core.tolls.failed.fetch_add(u64::from(failed), Relaxed);
            Err(refusal)
        }
    }
}

/// Seats a request that just arrived.
fn seat(client: &Client, request: &Request<Incoming>, host: &HeaderValue, arrival: Instant) -> Result<(Seat, Visit), Refusal> {
    let tolls = &client.core.tolls;
    match client.core.choose(text(host), request.uri().path(), None, arrival) {
        Choice::Seat(seat, tally) => Ok((seat, Visit::new(tally, arrival))),
        Choice::NoEndpoint(tally) => {
            Visit::new(tally, arrival).answered(503, true);
            tolls.failed.fetch_add(1, Relaxed);
            Err(Refusal::NoEndpoint)
        }
        Choice::NoHost if request.method() == Method::GET && request.uri().path() == "/_ping" => Err(Refusal::Pong),
        Choice::NoHost | Choice::NoPath => {
            tolls.unrouted.fetch_add(1, Relaxed);
            Err(Refusal::NoRoute)
        }
    }
}

/// An answer whose head has arrived.
struct Delivered {
    response: Response<Incoming>,
    link: Link,
    seat: Seat,
}

/// Sends a request until an endpoint answers. A request that was never sent is tried on other connections and endpoints;
/// one that was sent without an answer is sent once more if that cannot do harm.
async fn deliver(
    client: &Client,
    mut seat: Seat,
    mut request: Request<Upload>,
    host: &HeaderValue,
    is_upgrade: bool,
    arrival: Instant,
) -> Result<Delivered, Refusal> {
    let mut rest_max = REST_MAX_UNREPEATABLE;
    let mut may_repeat = headers::is_idempotent(request.method()) && request.body().is_empty() && !is_upgrade;
    if may_repeat {
        rest_max = client.core.options.link_idle;
    }
    let mut tries = 1;
    let mut now = arrival;
    loop {
        let progress = request.body().progress();
        let spare = may_repeat.then(|| copy(&request));
        let Unanswered { trouble, request: unsent } = match attempt(client, &seat, request, rest_max, now).await {
            Ok((response, link)) => return Ok(Delivered { response, link, seat }),
            Err(unanswered) => unanswered,
        };
        if progress.is_some_and(|progress| progress.client_failed()) {
            return Err(Refusal::BadRequest);
        }
        now = Instant::now();
        let was_sent = unsent.is_none();
        request = match unsent.or(spare) {
            Some(request) if tries < TRIES_MAX && trouble != Trouble::ResponseTimeout => request,
            _ => return Err(trouble.into()),
        };
        if was_sent && !client.core.may_resend(now) {
            return Err(trouble.into());
        }
        tries += 1;
        may_repeat &= !was_sent;
        rest_max = Duration::ZERO;
        let failed_at = seat.endpoint.address;
        let avoid = (was_sent || trouble != Trouble::Broken).then_some(failed_at);
        // A broken connection may be no fault of its endpoint; otherwise there is no point in asking the same one.
        let may_stay = trouble == Trouble::Broken && !seat.is_cut();
        seat = match client.core.choose(text(host), request.uri().path(), avoid, now) {
            Choice::Seat(next, _) if may_stay || next.endpoint.address != failed_at => next,
            _ => return Err(trouble.into()),
        };
    }
}

/// Sends a request over an idle connection that rested no longer than `rest_max`, or a new one.
async fn attempt(
    client: &Client,
    seat: &Seat,
    request: Request<Upload>,
    rest_max: Duration,
    now: Instant,
) -> Result<(Response<Incoming>, Link), Unanswered> {
    let options = &client.core.options;
    let endpoint = &seat.endpoint;
    let kept = if rest_max.is_zero() { None } else { endpoint.take_link(client.shelf, rest_max, now) };
    let mut link = match kept {
        Some(link) => link,
        None => match Link::open(seat, options).await {
            Ok(link) => {
                endpoint.connected();
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
    let response = link.send(request, now, options.response_timeout).await?;
    Ok((response, link))
}

fn pass_on(client: &Arc<Client>, delivered: Delivered, mut visit: Visit, upgrade: Option<Upgrade>) -> Result<Response<Relay>, Refusal> {
    let Delivered { mut response, link, seat } = delivered;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        visit.answered(101, upgrade.is_none());
        let upgrade = upgrade.ok_or(Refusal::BadGateway)?;
        client.pulse.free();
        return Ok(tunnel::begin(response, link, seat, upgrade));
    }
    visit.answered(response.status().as_u16(), false);
    *response.version_mut() = Version::HTTP_11;
    headers::to_client(response.headers_mut());
    let passage = Passage { client: Arc::clone(client), visit, connection: Some((link, seat)) };
    Ok(response.map(|incoming| Relay::new(incoming, passage)))
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
}

impl Passage {
    /// The whole body has come: the connection is kept for the next request.
    pub(super) fn complete(&mut self) {
        let Some((mut link, seat)) = self.connection.take() else { return };
        self.client.pulse.rest();
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

/// An answer of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Pong,
    BadRequest,
    NoTunnels,
    NoRoute,
    NoEndpoint,
    BadGateway,
    GatewayTimeout,
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Connect | Trouble::Broken => Self::BadGateway,
            Trouble::ConnectTimeout | Trouble::ResponseTimeout => Self::GatewayTimeout,
        }
    }
}

impl Refusal {
    /// Whether the client did nothing wrong.
    fn is_ours(self) -> bool {
        matches!(self, Self::NoEndpoint | Self::BadGateway | Self::GatewayTimeout)
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Pong => StatusCode::OK,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NoTunnels => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoEndpoint => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn response(self) -> Response<Relay> {
        let words = match self {
            Self::Pong => "pong\n",
            Self::BadRequest => "the request cannot be understood\n",
            Self::NoTunnels => "CONNECT is not offered here\n",
            Self::NoRoute => "no service is routed here\n",
            Self::NoEndpoint => "the service has no ready copy\n",
            Self::BadGateway => "the service did not answer\n",
            Self::GatewayTimeout => "the service did not answer in time\n",
        };
        let mut response = Response::new(Relay::Text(words));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}
