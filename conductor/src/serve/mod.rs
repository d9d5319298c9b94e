//! `conductor serve`: the control API, the controllers, this machine's agent and its router, in one process.

mod audit;
mod certificate;
mod credentials;
mod listen;
mod machine;
pub mod pki;
mod webhooks;
mod wiring;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::paths;

/// How long requests and controllers may take to finish when the server stops.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What `serve` can be told.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Directory of everything the server keeps
    #[arg(long, env = "CONDUCTOR_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of the control API (HTTPS); port 0 takes any free one
    #[arg(long, env = "CONDUCTOR_API", value_name = "HOST:PORT", default_value = "127.0.0.1:6443")]
    pub api: SocketAddr,
    /// Address at which Services are reached (HTTP); port 0 takes any free one
    #[arg(long, env = "CONDUCTOR_HTTP", value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// File of bearer tokens: lines of token,user,uid,"group,group"
    #[arg(long, env = "CONDUCTOR_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Requests that one user may make a second, over time; three times as many at once. Administrators may make any number
    #[arg(long, env = "CONDUCTOR_CLIENT_REQUESTS", value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub client_requests: u32,
    #[command(flatten)]
    pub audit: audit::AuditArgs,
}

/// Serves until SIGTERM or SIGINT, then stops in bounded time. What runs as Pods goes on running.
pub async fn serve(args: ServeArgs) -> Result<()> {
    start_logging();
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let data = args.data.clone().unwrap_or_else(paths::default_data_dir);
    prepare(&data)?;
    let stored = wiring::open_store(&data)?;
    // The store is ours, so what another server left is out of date.
    let _ = std::fs::remove_file(paths::ready(&data));
    let api_listener = bind("--api", args.api).await?;
    let http_listener = bind("--http", args.http).await?;
    let (api_address, http_address) = (api_listener.local_addr()?, http_listener.local_addr()?);
    let identity = pki::Identity::load_or_make(&data.join("pki"), api_address.ip())?;
    let access = credentials::access(&data, args.token_file.as_deref())?;
    let burst = args.client_requests.saturating_mul(3);
    let limits = api::Limits { requests_per_second: args.client_requests, burst, ..api::Limits::default() };
    let parts = wiring::assemble(&data, stored, access, limits, http_listener).await?;
    if args.audit.audit_bytes > 0 {
        parts.api.audit_to(Arc::new(audit::AuditFile::open(&data, args.audit)?));
    }
    let stop = CancellationToken::new();
    let socket = listen::unix(&paths::socket(&data))?;
    let tls = tokio::spawn(listen::serve_tls(api_listener, identity.server_config()?, parts.api.clone(), stop.clone()));
    let local = tokio::spawn(listen::serve_unix(socket, parts.api.clone(), stop.clone()));
    let workers = parts.start(&stop);
    credentials::write_kubeconfig(&data, api_address, &identity.ca_pem)?;
    announce(&data, api_address, http_address)?;
    wait_for_signal().await?;
    tracing::info!("stopping");
    stop.cancel();
    let ended = tokio::time::timeout(STOP_MAX, async {
        let _ = tokio::join!(tls, local, workers.finish());
    });
    if ended.await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
    for file in [paths::ready(&data), paths::socket(&data)] {
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CONDUCTOR_LOG").unwrap_or_else(|_| "info,kube_runtime=error".into());
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::IsTerminal::is_terminal(&std::io::stderr()) { logging.try_init() } else { logging.json().try_init() };
    if let Err(error) = started {
        eprintln!("logging could not be started: {error}");
    }
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
