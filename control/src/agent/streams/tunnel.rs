//! Port-forwarding as kubectl does it: SPDY frames, in the messages of a WebSocket or, for older clients, bare. Two streams a
//! connection, which name each other by a request id: one carries bytes, the other what went wrong.

use std::collections::HashMap;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::io::ReaderStream;

use super::forward::Ports;
use super::spdy::{self, Decoder, Frame};
use super::upgrade::Upgraded;

/// What the streams of a tunnel that is a connection of its own speak.
pub const STREAM_PROTOCOL: &str = "portforward.k8s.io";
/// The protocol of the WebSocket.
pub const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
const PIECE_BYTES: usize = 32 * 1024;
const PIECES_MAX: usize = 16;
/// How many streams may be open at a time.
const STREAMS_MAX: usize = 512;

/// What the client sends in a stream.
enum Sent {
    Bytes(Bytes),
    End,
}

/// The streams of one tunnel.
struct Tunnel {
    ports: Ports,
    frames: mpsc::Sender<Vec<u8>>,
    /// The streams that carry bytes.
    data: HashMap<u32, mpsc::Sender<Sent>>,
    /// The streams that carry what went wrong, by request id.
    errors: HashMap<String, u32>,
    connections: JoinSet<u32>,
    replied: bool,
}

/// Serves a tunnel through a WebSocket until the client is gone.
pub async fn over_websocket(socket: WebSocket, ports: Ports) {
    let (mut sink, stream) = socket.split();
    let until_closed = stream.take_while(|message| {
        let is_open = matches!(message, Ok(message) if !matches!(message, Message::Close(_)));
        std::future::ready(is_open)
    });
    let pieces = until_closed.filter_map(async |message| match message {
        Ok(Message::Binary(bytes)) => Some(bytes),
        _ => None,
    });
    run(pieces.boxed(), async move |frame| sink.send(Message::Binary(frame.into())).await.is_ok(), ports).await;
}

/// Serves a tunnel that is a connection of its own until the client is gone.
pub async fn over_connection(connection: Upgraded, ports: Ports) {
    let (reader, mut writer) = tokio::io::split(connection);
    let pieces = ReaderStream::with_capacity(reader, PIECE_BYTES);
    let pieces = pieces.take_while(|piece| std::future::ready(piece.is_ok())).filter_map(async |piece| piece.ok());
    run(pieces.boxed(), async move |frame: Vec<u8>| writer.write_all(&frame).await.is_ok() && writer.flush().await.is_ok(), ports).await;
}

/// Serves one tunnel: `pieces` come from the client, `send` takes frames to it and says whether it is still there.
async fn run(mut pieces: BoxStream<'static, Bytes>, mut send: impl AsyncFnMut(Vec<u8>) -> bool, ports: Ports) {
    let (frames, mut to_send) = mpsc::channel::<Vec<u8>>(PIECES_MAX);
    let (data, errors) = (HashMap::new(), HashMap::new());
    let mut tunnel = Tunnel { ports, frames, data, errors, connections: JoinSet::new(), replied: false };
    let sending = async {
        while let Some(frame) = to_send.recv().await {
            if !send(frame).await {
                return;
            }
        }
    };
    let listening = async {
        let mut decoder = Decoder::default();
        while let Some(bytes) = pieces.next().await {
            decoder.push(&bytes);
            while let Some(frame) = decoder.next()? {
                tunnel.take(frame).await;
            }
        }
        Ok::<(), &'static str>(())
    };
    tokio::select! {
        () = sending => {}
        ended = listening => if let Err(error) = ended {
            tracing::debug!(error, "a tunnel was ended");
        },
    }
}

impl Tunnel {
    async fn take(&mut self, frame: Frame) {
        while let Some(Ok(ended)) = self.connections.try_join_next() {
            self.data.remove(&ended);
        }
        match frame {
            Frame::Open { stream, headers, is_last } => self.open(stream, &headers, is_last).await,
            Frame::Piece { stream, is_last, bytes } => {
                let Some(to) = self.data.get(&stream) else { return };
                if !bytes.is_empty() {
                    let _ = to.send(Sent::Bytes(bytes)).await;
                }
                if is_last {
                    let _ = to.send(Sent::End).await;
                }
            }
            Frame::Reset { stream } => {
                self.data.remove(&stream);
                self.errors.retain(|_, error| *error != stream);
            }
            Frame::Ping(id) => self.send(spdy::ping(id)).await,
            Frame::GoAway | Frame::Other => {}
        }
    }

    async fn open(&mut self, stream: u32, headers: &[(String, String)], is_last: bool) {
        let header = |name: &str| headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let (request, port) = (header("requestid").to_owned(), header("port").parse::<u16>());
        let is_full = self.data.len() + self.errors.len() >= STREAMS_MAX;
        match (header("streamtype"), port) {
            ("error", Ok(_)) if !is_full => {
                self.errors.insert(request, stream);
                self.reply(stream).await;
            }
            ("data", Ok(port)) if !is_full => {
                let Some(error) = self.errors.remove(&request) else { return self.send(spdy::refuse(stream)).await };
                self.reply(stream).await;
                let (to, sent) = mpsc::channel(PIECES_MAX);
                if is_last {
                    let _ = to.send(Sent::End).await;
                }
                self.data.insert(stream, to);
                let connection = Connection { data: stream, error, frames: self.frames.clone() };
                self.connections.spawn(connection.carry(self.ports.clone(), port, sent));
            }
            _ => self.send(spdy::refuse(stream)).await,
        }
    }

    async fn reply(&mut self, stream: u32) {
        let is_first = !std::mem::replace(&mut self.replied, true);
        self.send(spdy::reply(stream, is_first)).await;
    }

    async fn send(&self, frame: Vec<u8>) {
        // Fails when the client is gone, which whoever listens to it finds out.
        let _ = self.frames.send(frame).await;
    }
}

/// One connection and its two streams.
struct Connection {
    data: u32,
    error: u32,
    frames: mpsc::Sender<Vec<u8>>,
}

impl Connection {
    /// Carries bytes both ways until both ends are through, or the client gives up; the number of the stream.
    async fn carry(self, ports: Ports, port: u16, sent: mpsc::Receiver<Sent>) -> u32 {
        match ports.connect(port).await {
            Ok(stream) => {
                let (reader, writer) = stream.into_split();
                let given_up = async {
                    if !write(writer, sent).await {
                        return;
                    }
                    std::future::pending().await
                };
                tokio::select! {
                    () = self.read(reader) => {}
                    () = given_up => {}
                }
            }
            Err(why) => self.send(spdy::piece(self.error, false, why.as_bytes())).await,
        }
        self.send(spdy::piece(self.data, true, b"")).await;
        self.send(spdy::piece(self.error, true, b"")).await;
        self.data
    }

    async fn read(&self, mut reader: OwnedReadHalf) {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            self.send(spdy::piece(self.data, false, buffer.get(..length).unwrap_or_default())).await;
        }
    }

    async fn send(&self, frame: Vec<u8>) {
        let _ = self.frames.send(frame).await;
    }
}

/// Writes what the client sends; whether it came to its end.
async fn write(mut writer: OwnedWriteHalf, mut sent: mpsc::Receiver<Sent>) -> bool {
    while let Some(piece) = sent.recv().await {
        match piece {
            Sent::Bytes(bytes) if writer.write_all(&bytes).await.is_ok() => {}
            // Nobody reads there any more; what comes from there still counts.
            Sent::Bytes(_) => return true,
            Sent::End => {
                let _ = writer.shutdown().await;
                return true;
            }
        }
    }
    false
}
