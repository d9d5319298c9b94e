//! What systemd is told, and what it hands over: readiness, the watchdog, listeners that it holds for us.

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use listenfd::ListenFd;
use tokio::net::TcpListener;

/// Whoever waits to be told, if anybody does.
#[derive(Debug)]
pub struct Notifier {
    to: Option<(UnixDatagram, UnixAddress)>,
    /// How often the watchdog wants to hear of us.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says. Errors: `NOTIFY_SOCKET` names nothing that can be told.
    pub fn from_env() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let to = variable("NOTIFY_SOCKET").map(|socket| address(&socket)).transpose()?;
        let is_for_us = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").and_then(|text| text.parse().ok()).filter(|micros| *micros > 0 && is_for_us);
        Ok(Self { to, watchdog: micros.map(Duration::from_micros) })
    }

    /// Says something, a line of `NAME=value` each. A listener that is gone is no reason to fail.
    pub fn say(&self, words: &str) {
        if let Some((socket, address)) = &self.to
            && let Err(error) = socket.send_to_addr(words.as_bytes(), address)
        {
            tracing::warn!(%error, words, "systemd cannot be told");
        }
    }

    /// How often the watchdog is to be told: twice as often as it wants to.
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.to.is_some()).map(|period| period / 2)
    }
}

fn address(socket: &str) -> Result<(UnixDatagram, UnixAddress)> {
    let address = match socket.strip_prefix('@') {
        Some(name) => UnixAddress::from_abstract_name(name),
        None => UnixAddress::from_pathname(socket),
    };
    let address = address.with_context(|| format!("NOTIFY_SOCKET: {socket:?} is no address of a socket"))?;
    Ok((UnixDatagram::unbound().context("cannot make a socket for systemd")?, address))
}

/// How many descriptors after the standard ones were handed to this process, as sd_listen_fds(3) says.
pub fn handed() -> u16 {
    let said = |name: &str| std::env::var(name).ok();
    let is_ours = said("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
    said("LISTEN_FDS").filter(|_| is_ours).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// The listeners that systemd holds, by the names that its socket units give them.
pub struct Handed {
    held: ListenFd,
    names: Vec<String>,
}

impl Handed {
    /// What was handed over. Errors: a listener that has a name of nothing here.
    pub fn from_env() -> Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let held = ListenFd::from_env();
        let names: Vec<String> = if held.len() == 0 { Vec::new() } else { names.split(':').map(str::to_owned).collect() };
        if let Some(name) = names.iter().find(|name| !["api", "http"].contains(&name.as_str())) {
            bail!("systemd hands over a listener named {name:?}: expected FileDescriptorName=api or http in its socket unit");
        }
        if names.len() != held.len() {
            bail!("systemd hands over {} listeners and names {} of them in LISTEN_FDNAMES", held.len(), names.len());
        }
        Ok(Self { held, names })
    }

    /// The listener of this name, or a new one at `address`. Errors: it cannot listen there.
    pub async fn take_or_bind(&mut self, name: &str, address: SocketAddr) -> Result<TcpListener> {
        if let Some(at) = self.names.iter().position(|other| other == name)
            && let Some(listener) = self.held.take_tcp_listener(at).with_context(|| format!("the listener {name} of systemd"))?
        {
            listener.set_nonblocking(true).with_context(|| format!("the listener {name} of systemd"))?;
            return TcpListener::from_std(listener).with_context(|| format!("the listener {name} of systemd"));
        }
        TcpListener::bind(address).await.with_context(|| {
            format!("--{name} {address}: cannot listen there; is another server running? Name another address, or port 0 for any free one")
        })
    }
}
