//! Several streams in one WebSocket: each message begins with the number of its channel.

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::SinkExt as _;
use futures::stream::SplitSink;

/// The protocols that are spoken, the best first. The older one cannot say that one channel ended.
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

/// The end of a WebSocket that is written to.
pub type Sink = SplitSink<WebSocket, Message>;

/// Sends a piece on a channel. Errors: the client is gone.
pub async fn send(sink: &mut Sink, channel: u8, piece: &[u8]) -> Result<(), axum::Error> {
    let mut message = BytesMut::with_capacity(piece.len() + 1);
    message.put_u8(channel);
    message.put_slice(piece);
    sink.send(Message::Binary(message.freeze())).await
}

/// Ends a WebSocket properly. A client that is gone does not mind.
pub async fn close(sink: &mut Sink) {
    let frame = CloseFrame { code: close_code::NORMAL, reason: "".into() };
    let _ = sink.send(Message::Close(Some(frame))).await;
    let _ = sink.close().await;
}

/// The channel and the piece of a message; `None` for one that carries nothing.
pub fn piece(message: Message) -> Option<(u8, Bytes)> {
    let mut bytes = match message {
        Message::Binary(bytes) => bytes,
        Message::Text(text) => Bytes::from(text),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return None,
    };
    let channel = *bytes.first()?;
    Some((channel, bytes.split_off(1)))
}
