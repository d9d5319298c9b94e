//! `conductor serve`: the control API, the controllers, this machine's agent and its router, in one process.

mod audit;
mod certificate;
mod credentials;
mod listen;
pub mod local;
mod logging;
mod machine;
mod metrics;
pub mod pki;
mod reload;
pub mod wiring;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::paths;
use crate::settings::{Effective, Environment, Flags};

/// How long requests and controllers may take to finish when the server stops.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT, then stops in bounded time. What runs as Pods goes on running.
pub async fn serve(flags: Flags) -> Result<()> {
    let environment = Environment::read();
    let effective = Effective::read(&flags, &environment)?;
    let settings = effective.settings();
    let level = logging::start(&settings)?;
    for (name, meant) in environment.slips() {
        tracing::warn!("{name} is no setting: did you mean {meant}?");
    }
    // Before anything else: a signal that nobody awaits would end the server.
    let reloads = signal(SignalKind::hangup())?;
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let data = &settings.data;
    prepare(data)?;
    let stored = wiring::open_store(&settings)?;
    // The store is ours, so what another server left is out of date.
    let _ = std::fs::remove_file(paths::ready(data));
    let api_listener = bind("--api", settings.api).await?;
    let http_listener = bind("--http", settings.http).await?;
    let (api_address, http_address) = (api_listener.local_addr()?, http_listener.local_addr()?);
    let identity = pki::Identity::load_or_make(&data.join("pki"), api_address.ip())?;
    let access = credentials::access(data, settings.token_file.as_deref())?;
    let parts = wiring::assemble(&settings, Arc::clone(&stored) as Arc<dyn Store>, access, http_listener).await?;
    if settings.audit_bytes > 0 {
        let bounds = audit::Bounds { bytes: settings.audit_bytes, files: settings.audit_files };
        parts.api.audit_to(Arc::new(audit::AuditFile::open(data, bounds)?));
    }
    parts.api.limit(reload::limits(&settings));
    parts.tell_numbers(Arc::clone(&stored));
    let reload = reload::Reload::new(flags, effective, level, parts.api.clone());
    let stop = CancellationToken::new();
    let socket = listen::unix(&paths::socket(data))?;
    let most = settings.api_connections;
    let tls = tokio::spawn(listen::serve_tls(api_listener, identity.server_config()?, parts.api.clone(), most, stop.clone()));
    let local = tokio::spawn(listen::serve_unix(socket, parts.api.clone(), local::routes(stored, data), most, stop.clone()));
    let workers = parts.start(&stop);
    credentials::write_kubeconfig(data, api_address, &identity.ca_pem)?;
    announce(data, api_address, http_address)?;
    let mut reloading = tokio::spawn(reload.run(reloads));
    tokio::select! {
        signalled = wait_for_signal() => signalled?,
        _ = &mut reloading => {}
    }
    reloading.abort();
    tracing::info!("stopping");
    stop.cancel();
    let ended = tokio::time::timeout(STOP_MAX, async {
        let _ = tokio::join!(tls, local, workers.finish());
    });
    if ended.await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
    for file in [paths::ready(data), paths::socket(data)] {
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

fn prepare(data: &Path) -> Result<()> {
    paths::make_private(data).with_context(|| format!("--data: cannot use the directory {}", data.display()))
}

async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{flag} {address}: cannot listen there; is another server running? Name another address, or port 0 for any free one")
    })
}

/// Says, to scripts and to people, where the server is reached.
fn announce(data: &Path, api: SocketAddr, http: SocketAddr) -> Result<()> {
    let text = json!({"api": format!("https://{api}"), "http": format!("http://{http}")}).to_string();
    paths::write_private(&paths::ready(data), text.as_bytes())?;
    tracing::info!(api = %format!("https://{api}"), http = %format!("http://{http}"), kubeconfig = %paths::kubeconfig(data).display(), "ready");
    Ok(())
}

async fn wait_for_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
