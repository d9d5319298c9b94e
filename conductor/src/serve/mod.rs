//! `conductor serve`: the control API, the controllers, this machine's agent and its router, in one process.

pub mod audit;
mod certificate;
mod credentials;
mod descriptors;
mod escaped;
mod listen;
pub mod local;
mod logging;
pub mod lost;
mod machine;
mod metrics;
mod names;
pub mod pki;
mod reload;
pub mod systemd;
mod timed;
mod webhooks;
pub mod wiring;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Request;
use serde_json::json;
use store::Store;
use store::embedded::Embedded;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::paths;
use crate::private;
use crate::settings::{Effective, Environment, Flags, Settings};

/// How long requests and controllers may take to finish when the server stops.
const STOP_MAX: Duration = Duration::from_secs(10);
/// How long a predecessor may take to be gone, and how often that is looked at.
const PREDECESSOR_MAX: Duration = Duration::from_secs(5);
const PREDECESSOR_PAUSE: Duration = Duration::from_millis(100);

/// Serves until SIGTERM or SIGINT, then stops in bounded time. What runs as Pods goes on running.
pub async fn serve(flags: Flags) -> Result<()> {
    let environment = Environment::read();
    let effective = Effective::read(&flags, &environment)?;
    let mut settings = effective.settings();
    let level = logging::start(&settings)?;
    descriptors::fit(&mut settings);
    for (name, meant) in environment.slips() {
        tracing::warn!("{name} is no setting: did you mean {meant}?");
    }
    let (notifier, mut handed) = (systemd::Notifier::from_env()?, systemd::Handed::from_env()?);
    // Before anything else: a signal that nobody awaits would end the server.
    let reloads = signal(SignalKind::hangup())?;
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let data = &settings.data;
    prepare(data)?;
    let stored = open_store(&settings).await?;
    // The store is ours, so what another server left is out of date.
    let _ = std::fs::remove_file(paths::ready(data));
    let api_listener = handed.take_or_bind("api", settings.api).await?;
    let http_listener = handed.take_or_bind("http", settings.http).await?;
    let (api_address, http_address) = (api_listener.local_addr()?, http_listener.local_addr()?);
    let names = names::of_api(api_address, &settings.api_names);
    let identity = pki::Identity::load_or_make(&data.join("pki"), &names.all)?;
    let always = credentials::access(data)?;
    let access = credentials::with_token_file(always.clone(), settings.token_file.as_deref())?;
    let parts = wiring::assemble(&settings, Arc::clone(&stored) as Arc<dyn Store>, access, http_listener).await?;
    let records = (settings.audit_bytes > 0).then(|| audit::Records::open(data, &settings)).transpose()?;
    if let Some(records) = records.clone() {
        parts.api.audit_to(records);
    }
    parts.api.limit(reload::limits(&settings));
    parts.api.bound_tokens(reload::token_life(&settings));
    parts.tell_numbers(Arc::clone(&stored));
    let watched = parts.api.clone();
    let reload = reload::Reload::new(flags, effective, level, parts.api.clone(), always, records.clone());
    let stop = CancellationToken::new();
    let socket = listen::unix(&paths::socket(data))?;
    let most = settings.api_connections;
    let tls = tokio::spawn(listen::serve_tls(api_listener, identity.server_config()?, parts.api.clone(), most, stop.clone()));
    let local = tokio::spawn(listen::serve_unix(socket, parts.api.clone(), local::routes(stored, data, records), most, stop.clone()));
    let workers = parts.start(&stop);
    credentials::write_kubeconfig(data, &names.public, &identity.ca_pem)?;
    announce(data, api_address, http_address)?;
    notifier.say("READY=1");
    let reloading = tokio::spawn(reload.run(reloads));
    let losing = tokio::spawn(lost::watch(data.clone(), stop.clone()));
    tokio::select! {
        signalled = wait_for_signal() => signalled?,
        () = keep_watchdog_quiet(&notifier, &watched) => {}
    }
    reloading.abort();
    notifier.say("STOPPING=1");
    tracing::info!("stopping");
    stop.cancel();
    let ended = tokio::time::timeout(STOP_MAX, async {
        let _ = tokio::join!(tls, local, workers.finish(), losing);
        watched.settled().await;
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
    private::make_dir(data).with_context(|| format!("--data: the directory {} cannot be used", data.display()))
}

/// Opens the store, and waits a little for a predecessor that was killed, or is stopping, to be gone.
async fn open_store(settings: &Settings) -> Result<Arc<Embedded>> {
    let give_up = tokio::time::Instant::now() + PREDECESSOR_MAX;
    let mut is_told = false;
    loop {
        let opened = wiring::open_store(settings);
        let is_in_use = opened.as_ref().is_err_and(|error| matches!(error.downcast_ref(), Some(store::Error::InUse { .. })));
        if !is_in_use || tokio::time::Instant::now() >= give_up {
            return opened;
        }
        if !std::mem::replace(&mut is_told, true) {
            tracing::info!("another server still has the store open: waiting for it to end");
        }
        tokio::time::sleep(PREDECESSOR_PAUSE).await;
    }
}

/// Says, to scripts and to people, where the server is reached.
fn announce(data: &Path, api: SocketAddr, http: SocketAddr) -> Result<()> {
    let text = json!({"api": format!("https://{api}"), "http": format!("http://{http}")}).to_string();
    private::write(&paths::ready(data), text.as_bytes())?;
    tracing::info!(api = %format!("https://{api}"), http = %format!("http://{http}"), kubeconfig = %paths::kubeconfig(data).display(), "ready");
    Ok(())
}

/// Tells the watchdog of systemd, for as long as there is one, that the API answers. When it does not, nothing is said, and the server is
/// started again.
async fn keep_watchdog_quiet(notifier: &systemd::Notifier, api: &api::Api) {
    let Some(period) = notifier.watchdog_period() else { return std::future::pending().await };
    let asked = || Request::get("/livez").body(axum::body::Body::empty());
    let router = api.router_for(api::User::master("system:conductor:watchdog"));
    loop {
        if let Ok(request) = asked()
            && let Ok(Ok(answer)) = tokio::time::timeout(period, router.clone().oneshot(request)).await
            && answer.status().is_success()
        {
            notifier.say("WATCHDOG=1");
        }
        tokio::time::sleep(period).await;
    }
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
