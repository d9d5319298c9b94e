//! What takes connections: on the caller's runtime, or on threads that have one each.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::client::{Client, Watched};
use super::core::Core;
use super::exchange;
use super::options::Options;
use super::refusal::Refusal;
use crate::places::{Place, Places};

/// How long to wait when there are no more sockets, or places.
const BREATH: Duration = Duration::from_millis(20);
/// A silent HTTP/2 client is asked after this long whether it is still there.
const HTTP2_ALIVE_PERIOD: Duration = Duration::from_secs(20);
const HTTP2_STREAMS_MAX: u32 = 256;

/// Everything that accepts on the one listener.
#[derive(Debug)]
pub(super) struct Acceptors {
    /// Stop accepting; let connections finish.
    stop: CancellationToken,
    /// End at once.
    kill: CancellationToken,
    /// Acceptors that still have connections.
    busy: TaskTracker,
    /// Acceptors that still run.
    running: TaskTracker,
}

impl Acceptors {
    pub(super) fn start(listener: TcpListener, core: &Arc<Core>) -> io::Result<Self> {
        let acceptors =
            Self { stop: CancellationToken::new(), kill: CancellationToken::new(), busy: TaskTracker::new(), running: TaskTracker::new() };
        let places = core.options.connections_max.map(Places::new);
        let workers = core.options.workers;
        if workers == 0 {
            let acceptor = acceptors.acceptor(0, core, places);
            acceptors.running.spawn(acceptor.run(listener));
            return Ok(acceptors);
        }
        let listener = listener.into_std()?;
        for shelf in 0..workers {
            let acceptor = acceptors.acceptor(shelf, core, places.clone());
            acceptors.spawn_thread(acceptor, listener.try_clone()?)?;
        }
        Ok(acceptors)
    }

    fn acceptor(&self, shelf: usize, core: &Arc<Core>, places: Option<Arc<Places>>) -> Acceptor {
        Acceptor {
            core: Arc::clone(core),
            shelf,
            places,
            protocols: Arc::new(protocols(&core.options)),
            stop: self.stop.clone(),
            kill: self.kill.clone(),
            busy: self.busy.token(),
        }
    }

    fn spawn_thread(&self, acceptor: Acceptor, listener: std::net::TcpListener) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let running = self.running.token();
        let name = format!("router-{}", acceptor.shelf);
        std::thread::Builder::new().name(name).spawn(move || {
            runtime.block_on(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => acceptor.run(listener).await,
                    Err(error) => tracing::error!(%error, "a router thread cannot use its listener"),
                }
            });
            drop(runtime);
            drop(running);
        })?;
        Ok(())
    }

    /// See [`super::Builtin::shutdown`].
    pub(super) async fn shutdown(&self, core: &Core, patience: Duration) -> usize {
        self.stop.cancel();
        self.busy.close();
        self.running.close();
        let began = tokio::time::Instant::now();
        let _ = tokio::time::timeout(patience, self.busy.wait()).await;
        let cut = core.drain_all(patience.saturating_sub(began.elapsed())).await;
        self.kill.cancel();
        self.running.wait().await;
        cut
    }
}

impl Drop for Acceptors {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}

struct Acceptor {
    core: Arc<Core>,
    shelf: usize,
    places: Option<Arc<Places>>,
    protocols: Arc<Builder<TokioExecutor>>,
    stop: CancellationToken,
    kill: CancellationToken,
    busy: TaskTrackerToken,
}

impl Acceptor {
    /// Accepts until told to stop, lets the connections finish, and stays until killed: tunnels live on this runtime.
    async fn run(self, listener: TcpListener) {
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        tokio::select! {
            () = self.accept(listener, &graceful, &mut connections) => {}
            () = self.kill.cancelled() => return,
        }
        tokio::select! {
            () = graceful.shutdown() => {}
            () = self.kill.cancelled() => return,
        }
        drop(self.busy);
        self.kill.cancelled().await;
    }

    /// The listener is dropped, and so closed, on return.
    async fn accept(&self, listener: TcpListener, graceful: &GracefulShutdown, connections: &mut JoinSet<()>) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                Some(_ended) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
                Ok((stream, from)) => {
                    let Some(place) = self.place(from).await else { return };
                    if let Some(client) = self.client(&stream, from, place) {
                        connections.spawn(serve(Arc::clone(&self.protocols), stream, client, graceful.watcher()));
                    }
                }
            }
        }
    }

    /// A place for a connection, once there is one; those after it wait in the listener's queue until then. `None` when told to stop.
    async fn place(&self, from: SocketAddr) -> Option<Option<Arc<Place>>> {
        let Some(places) = &self.places else { return Some(None) };
        loop {
            if let Some(place) = places.take(from.ip()) {
                return Some(Some(place));
            }
            self.stop.run_until_cancelled(tokio::time::sleep(BREATH)).await?;
        }
    }

    /// `None` when the client is gone already.
    fn client(&self, stream: &TcpStream, from: SocketAddr, place: Option<Arc<Place>>) -> Option<Arc<Client>> {
        stream.set_nodelay(true).ok()?;
        Some(Arc::new(Client::new(Arc::clone(&self.core), self.shelf, from, place)))
    }
}

async fn serve(
    protocols: Arc<Builder<TokioExecutor>>,
    stream: TcpStream,
    client: Arc<Client>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let (peer, place) = (client.peer, client.place.clone());
    let io = Watched::new(stream, Arc::clone(&client));
    let core = Arc::clone(&client.core);
    let service = service_fn(move |request| {
        let client = Arc::clone(&client);
        async move { Ok::<_, Infallible>(exchange::answer(&client, request).await) }
    });
    let connection = protocols.serve_connection_with_upgrades(io, service).into_owned();
    let given_away = async {
        match &place {
            Some(place) => place.given_away().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = watcher.watch(connection) => ended,
        () = given_away => return,
    };
    if let Err(error) = ended {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            note_too_large(&core, peer);
        }
        tracing::trace!(%error, "a client's connection ended early");
    }
}

/// hyper answered 431 before a request was there to be logged.
fn note_too_large(core: &Core, peer: IpAddr) {
    core.tolls.refusals.note(Refusal::HeadTooLarge);
    if core.access.may_log(std::time::Instant::now()).is_some() {
        let (headers, bytes) = (core.options.headers_max, core.options.header_bytes_max);
        tracing::warn!(target: "access", client = %peer, status = 431, reason = Refusal::HeadTooLarge.reason(), "a request has more than {headers} headers, or more than {bytes} bytes of them: see the settings http-headers and http-header-bytes");
    }
}

fn protocols(options: &Options) -> Builder<TokioExecutor> {
    let bytes_max = options.header_bytes_max.max(8192);
    let mut protocols = Builder::new(TokioExecutor::new());
    protocols.http1().max_buf_size(bytes_max).max_headers(options.headers_max);
    protocols
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_ALIVE_PERIOD)
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(bytes_max).unwrap_or(u32::MAX));
    protocols
}
