//! `/portforward`: connections to a Pod's ports, in channels of a WebSocket or in streams tunnelled through it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use futures::StreamExt as _;
use runtime::PodState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::upgrade::{Upgrade, Way, accept_spdy};
use super::{MESSAGE_BYTES_MAX, Shared, channels, refusal, tunnel, values};

const CHANNELS: &str = "v4.channel.k8s.io";
const PIECE_BYTES: usize = 32 * 1024;
const PIECES_MAX: usize = 16;
const PORTS_MAX: usize = 64;
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Where the ports of a Pod are reached: by the number that its spec has, and by the one that it was given.
#[derive(Debug, Clone)]
pub struct Ports {
    by_number: BTreeMap<u16, SocketAddr>,
    pod: String,
}

/// Carries connections to the ports of a Pod.
pub async fn forward(State(shared): State<Arc<Shared>>, Path(uid): Path<String>, RawQuery(query): RawQuery, upgrade: Upgrade) -> Response {
    let Some((_, state)) = shared.sandboxes().await.remove(&uid) else { return refusal(400, "the pod has not been started") };
    let ports = Ports::of(&state);
    let Upgrade { way, lease } = upgrade;
    let upgrade = match way {
        Way::WebSocket(upgrade) => upgrade.protocols([tunnel::PROTOCOL, CHANNELS]).max_message_size(MESSAGE_BYTES_MAX),
        Way::Spdy(upgrade, offered) => {
            let talk = async move |connection| lease.hold(tunnel::over_connection(connection, ports)).await;
            return accept_spdy(upgrade, &offered, tunnel::STREAM_PROTOCOL, talk);
        }
    };
    let protocol = upgrade.selected_protocol().and_then(|name| name.to_str().ok()).unwrap_or_default().to_owned();
    if protocol == tunnel::PROTOCOL {
        return upgrade.on_upgrade(async move |socket| lease.hold(tunnel::over_websocket(socket, ports)).await);
    }
    if protocol != CHANNELS {
        return refusal(400, &format!("expected one of the WebSocket protocols {}, {CHANNELS}", tunnel::PROTOCOL));
    }
    let asked = values(&query.unwrap_or_default(), "ports");
    let numbers: Option<Vec<u16>> = asked.iter().flat_map(|text| text.split(',')).map(|text| text.parse().ok()).collect();
    match numbers {
        Some(numbers) if !numbers.is_empty() && numbers.len() <= PORTS_MAX => {
            upgrade.on_upgrade(async move |socket| lease.hold(over_channels(socket, &ports, &numbers)).await)
        }
        _ => refusal(400, &format!("ports: expected 1 to {PORTS_MAX} port numbers, found {asked:?}")),
    }
}

impl Ports {
    fn of(state: &PodState) -> Self {
        let mut by_number: BTreeMap<u16, SocketAddr> = state.endpoints.values().map(|address| (address.port(), *address)).collect();
        for port in state.pod.containers.iter().flat_map(|container| &container.ports) {
            if let Some(address) = state.endpoints.get(&port.name) {
                by_number.insert(port.container_port, *address);
            }
        }
        Self { by_number, pod: state.pod.name.clone() }
    }

    /// A connection to a port. Errors, in a sentence: the Pod has no such port, or nothing answers there.
    pub async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let Some(address) = self.by_number.get(&port) else {
            let known: Vec<String> = self.by_number.keys().map(u16::to_string).collect();
            return Err(format!("pod {} has no port {port}: it has {}", self.pod, known.join(", ")));
        };
        match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                Ok(stream)
            }
            Ok(Err(error)) => Err(format!("failed to connect to port {port} of pod {}, at {address}: {error}", self.pod)),
            Err(_) => Err(format!("failed to connect to port {port} of pod {}, at {address}: it took too long", self.pod)),
        }
    }
}

/// One connection a port: channels 2n carry its bytes, channels 2n+1 what went wrong. Each begins with the port's number.
async fn over_channels(socket: WebSocket, ports: &Ports, numbers: &[u16]) {
    let (mut sink, mut heard) = channels::of_websocket(socket);
    let (pieces, mut to_send) = mpsc::channel::<(u8, Vec<u8>)>(PIECES_MAX);
    let (mut writers, mut readers): (Vec<Option<OwnedWriteHalf>>, JoinSet<()>) = (Vec::new(), JoinSet::new());
    for (at, number) in numbers.iter().enumerate() {
        let data = u8::try_from(at * 2).unwrap_or(u8::MAX);
        for channel in [data, data.saturating_add(1)] {
            if sink.send(channel, &number.to_le_bytes()).await.is_err() {
                return;
            }
        }
        match ports.connect(*number).await {
            Ok(connection) => {
                let (reader, writer) = connection.into_split();
                writers.push(Some(writer));
                readers.spawn(read(reader, data, pieces.clone()));
            }
            Err(why) => {
                writers.push(None);
                let _ = pieces.send((data.saturating_add(1), why.into_bytes())).await;
            }
        }
    }
    drop(pieces);
    let sending = async {
        // Ends when every connection has.
        while let Some((channel, piece)) = to_send.recv().await {
            if sink.send(channel, &piece).await.is_err() {
                return;
            }
        }
        sink.close().await;
    };
    let listening = async {
        while let Some((channel, bytes)) = heard.next().await {
            if let Some(Some(writer)) = writers.get_mut(usize::from(channel / 2)).filter(|_| channel % 2 == 0) {
                let _ = writer.write_all(&bytes).await;
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = listening => {}
    }
}

async fn read(mut reader: OwnedReadHalf, channel: u8, pieces: mpsc::Sender<(u8, Vec<u8>)>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        if pieces.send((channel, buffer.get(..length).unwrap_or_default().to_vec())).await.is_err() {
            return;
        }
    }
}
