//! The routers, seen from outside: one suite for all of them, and what only the one that carries requests can show.
#![expect(clippy::unwrap_used, reason = "tests")]

mod backend;
mod carrying;
mod conformance;
mod counting;
mod drain;
mod endurance;
mod frames;
mod half_closed;
mod http2;
mod limits;
mod retries;
mod rfc;
mod rollout;
mod streams;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use router::builtin::{Builtin, Options};
use router::{Route, Router, Table};

/// Long enough for anything that must happen on a loaded machine.
pub const SOON: Duration = Duration::from_secs(20);

pub async fn builtin() -> Builtin {
    builtin_with(Options::default()).await
}

pub async fn builtin_with(options: Options) -> Builtin {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    Builtin::start(listener, options).unwrap()
}

pub fn route(host: &str, path: &str, endpoints: &[SocketAddr]) -> Route {
    Route { service: "default/shop".into(), host: host.into(), path: path.into(), endpoints: endpoints.to_vec(), ..Route::default() }
}

pub fn table(routes: impl IntoIterator<Item = Route>) -> Table {
    Table { routes: routes.into_iter().collect() }
}

/// Sends every request to `endpoints`.
pub async fn send_all_to(router: &impl Router, endpoints: &[SocketAddr]) {
    router.apply(table([route("", "/", endpoints)])).await.unwrap();
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
