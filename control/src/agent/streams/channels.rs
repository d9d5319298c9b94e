//! What a client and a program say to each other: pieces on numbered channels, whichever protocol carries them.

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream::{BoxStream, SplitSink};
use futures::{SinkExt as _, StreamExt as _};

use super::spdy_channels::Speaker;

/// The protocols that are spoken over a WebSocket, the best first. The older one cannot say that one channel ended.
pub const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// What a program reads.
pub const STDIN: u8 = 0;
/// What it writes.
pub const STDOUT: u8 = 1;
/// What it complains of.
pub const STDERR: u8 = 2;
/// How it ended, as a Status.
pub const STATUS: u8 = 3;
/// The size of its terminal.
pub const RESIZE: u8 = 4;
/// Says that the channel named by the next byte has ended.
pub const ENDED: u8 = 255;

/// What a client says: a channel and a piece each. Ends when the client is gone.
pub type Heard = BoxStream<'static, (u8, Bytes)>;

/// The client is gone.
#[derive(Debug)]
pub struct Gone;

/// What is said to a client.
pub enum Sink {
    /// In messages, which begin with their channel.
    WebSocket(SplitSink<WebSocket, Message>),
    /// In streams, one a channel.
    Spdy(Speaker),
}

impl Sink {
    /// Sends a piece on a channel. Errors: the client is gone.
    pub async fn send(&mut self, channel: u8, piece: &[u8]) -> Result<(), Gone> {
        match self {
            Self::WebSocket(sink) => {
                let mut message = BytesMut::with_capacity(piece.len() + 1);
                message.put_u8(channel);
                message.put_slice(piece);
                sink.send(Message::Binary(message.freeze())).await.map_err(|_| Gone)
            }
            Self::Spdy(speaker) => speaker.say(channel, piece).await,
        }
    }

    /// Ends the conversation properly. A client that is gone does not mind.
    pub async fn close(&mut self) {
        match self {
            Self::WebSocket(sink) => {
                let frame = CloseFrame { code: close_code::NORMAL, reason: "".into() };
                let _ = sink.send(Message::Close(Some(frame))).await;
                let _ = sink.close().await;
            }
            Self::Spdy(speaker) => speaker.close().await,
        }
    }
}

/// The two directions of a WebSocket.
pub fn of_websocket(socket: WebSocket) -> (Sink, Heard) {
    let (sink, stream) = socket.split();
    let until_closed = stream.take_while(|message| {
        let is_open = matches!(message, Ok(message) if !matches!(message, Message::Close(_)));
        std::future::ready(is_open)
    });
    let heard = until_closed.filter_map(async |message| piece(message.ok()?));
    (Sink::WebSocket(sink), heard.boxed())
}

/// The channel and the piece of a message; `None` for one that carries nothing.
fn piece(message: Message) -> Option<(u8, Bytes)> {
    let mut bytes = match message {
        Message::Binary(bytes) => bytes,
        Message::Text(text) => Bytes::from(text),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return None,
    };
    let channel = *bytes.first()?;
    Some((channel, bytes.split_off(1)))
}
