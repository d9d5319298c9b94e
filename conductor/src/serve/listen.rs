//! The doors of the control API: TLS over TCP for everybody with a token, a unix socket for the people of this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result};
use api::{Api, Origin, Owner, User};
use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use router::places::{Place, Places};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::certificate;
use super::escaped::Escaped;
use super::local::Peer;
use super::timed::{Patience, Pulse, Timed};

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long clients may take. Rest is longer than what clients of Kubernetes keep a connection for.
const PATIENCE: Patience = Patience { head: Duration::from_secs(15), rest: Duration::from_secs(120), write: Duration::from_secs(60) };
const STREAMS_MAX: u32 = 1_000;
/// Of so many connections that are refused, one is told of.
const REFUSED_TOLD: usize = 1_000;
/// How long requests in flight may take when the server stops; watches are cut then.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// The pause after a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that only its owner may connect to. One left over by a server that was killed is replaced.
pub fn unix(path: &Path) -> Result<UnixListener> {
    if path.exists() {
        std::fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves at most so many TLS connections at a time, where the largest holder of them gives way to others, until `stop` is cancelled, then finishes what is in flight, in bounded time.
pub async fn serve_tls(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    api: Api,
    connections_max: usize,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(config);
    let door = Door::new(connections_max);
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, from)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = door.admit(from.ip()) else { continue };
        let (door, acceptor, api) = (door.clone(), acceptor.clone(), api.clone());
        tokio::spawn(async move {
            unless_given_away(&place, door.tls(acceptor, stream, from, &api, &place)).await;
        });
    }
    door.close().await;
}

/// Serves at most so many connections at a time of this machine's people: of root, and of the user that the server runs as.
/// `extra` is what only they may ask.
pub async fn serve_unix(listener: UnixListener, api: Api, extra: Router, connections_max: usize, stop: CancellationToken) {
    let door = Door::new(connections_max);
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (Some(user), Some(place)) = (local_user(&stream), door.admit(Ipv4Addr::LOCALHOST.into())) else { continue };
        let (origin, peer) = (Origin(format!("unix:{}", user.name)), Peer(user.name.clone()));
        let served = api.router_for(user).layer(axum::Extension(origin));
        let (door, router) = (door.clone(), extra.clone().layer(axum::Extension(peer)).fallback_service(served));
        tokio::spawn(async move {
            unless_given_away(&place, door.serve(stream, router, &place)).await;
        });
    }
    door.close().await;
}

/// Serves a connection until it ends, or has to give way to another.
async fn unless_given_away(place: &Place, serving: impl Future<Output = ()>) {
    tokio::select! {
        () = place.given_away() => tracing::debug!("a connection gave way to another"),
        () = serving => {}
    }
}

fn local_user(stream: &UnixStream) -> Option<User> {
    let uid = stream.peer_cred().ok()?.uid();
    (uid == 0 || uid == nix::unistd::geteuid().as_raw()).then(|| User::master(&format!("local:{uid}")))
}

/// What connections of one listener share.
#[derive(Clone)]
struct Door {
    places: Arc<Places>,
    refused: Arc<AtomicUsize>,
    graceful: Arc<std::sync::Mutex<Option<GracefulShutdown>>>,
}

impl Door {
    fn new(connections_max: usize) -> Self {
        let graceful = Arc::new(std::sync::Mutex::new(Some(GracefulShutdown::new())));
        Self { places: Places::yielding(connections_max), refused: Arc::default(), graceful }
    }

    /// A place for one more connection; `None` when there are as many as there may be, and none gives way.
    fn admit(&self, from: IpAddr) -> Option<Arc<Place>> {
        let place = self.places.take(from);
        // Who is flooded with connections need not be flooded with words.
        if place.is_none() && self.refused.fetch_add(1, Relaxed).is_multiple_of(REFUSED_TOLD) {
            tracing::warn!("too many connections: one was refused, see the setting api-connections");
        }
        place
    }

    async fn tls(&self, acceptor: TlsAcceptor, stream: TcpStream, from: SocketAddr, api: &Api, place: &Arc<Place>) {
        // Without it an answer waits for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let router = match shown.and_then(|certificate| certificate::user(certificate)) {
                    Some(user) => api.router_for(user),
                    None => api.router(),
                };
                let owner = Arc::clone(place);
                let owner = Owner::new(move |principal| match principal {
                    Some(principal) => owner.belongs_to(principal),
                    None => owner.is_exempt(),
                });
                let router = router.layer(axum::Extension(owner)).layer(axum::Extension(Origin(from.ip().to_string())));
                self.serve(stream, router, place).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, router: Router, place: &Arc<Place>) {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX).keep_alive_interval(Duration::from_secs(30));
        let (pulse, place) = (Pulse::default(), Arc::clone(place));
        let timed = Timed::new(Escaped::new(stream), pulse.clone(), PATIENCE);
        let service = service_fn(move |request: Request<Incoming>| {
            pulse.busy(request.version());
            let (pulse, work, answer) = (pulse.clone(), place.work(), router.clone().oneshot(request.map(Body::new)));
            async move { answer.await.map(|response| pulse.until_sent(response).map(|body| api::body_holding(body, work))) }
        });
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(timed), service).into_owned();
        let watched = self.graceful.lock().ok().and_then(|graceful| graceful.as_ref().map(|graceful| graceful.watch(connection)));
        if let Some(connection) = watched
            && let Err(error) = connection.await
        {
            tracing::debug!(%error, "a connection ended abnormally");
        }
    }

    async fn close(&self) {
        let graceful = self.graceful.lock().ok().and_then(|mut graceful| graceful.take());
        if let Some(graceful) = graceful
            && tokio::time::timeout(DRAIN_MAX, graceful.shutdown()).await.is_err()
        {
            tracing::debug!("watches were cut off");
        }
    }
}
