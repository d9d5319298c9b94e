//! Channels as streams of a SPDY/3.1 connection, which older clients know instead of WebSockets. The client opens a stream for
//! each channel, and says in its headers which one it is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::unfold;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::channels::{ENDED, Gone, Heard, RESIZE, STATUS, STDERR, STDIN, STDOUT, Sink};
use super::spdy::{self, Decoder, Frame};
use super::upgrade::Upgraded;

/// The protocol that is spoken in the streams. Older ones cannot say with which code a program ended.
pub const PROTOCOL: &str = "v4.channel.k8s.io";
const OPEN_MAX: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 32 * 1024;

/// Who writes to the client.
pub struct Speaker {
    writer: Arc<Mutex<WriteHalf<Upgraded>>>,
    /// The stream of each channel.
    streams: BTreeMap<u8, u32>,
}

impl Speaker {
    /// Sends a piece; one for a channel that the client did not open is dropped. Errors: the client is gone.
    pub async fn say(&self, channel: u8, piece: &[u8]) -> Result<(), Gone> {
        match self.streams.get(&channel) {
            Some(stream) => write(&self.writer, &spdy::piece(*stream, false, piece)).await,
            None => Ok(()),
        }
    }

    /// Ends every stream, and the connection.
    pub async fn close(&self) {
        for stream in self.streams.values() {
            let _ = write(&self.writer, &spdy::piece(*stream, true, b"")).await;
        }
        let _ = self.writer.lock().await.shutdown().await;
    }
}

/// What comes from the client.
struct Listener {
    reader: ReadHalf<Upgraded>,
    writer: Arc<Mutex<WriteHalf<Upgraded>>>,
    decoder: Decoder,
    channels: BTreeMap<u32, u8>,
    waiting: VecDeque<(u8, Bytes)>,
}

/// Waits until the client has opened a stream for each channel expected. `None` when it does not, or goes.
pub async fn begin(connection: Upgraded, expected: &[u8]) -> Option<(Sink, Heard)> {
    let (reader, writer) = tokio::io::split(connection);
    let writer = Arc::new(Mutex::new(writer));
    let decoder = Decoder::default();
    let mut listener = Listener { reader, writer: Arc::clone(&writer), decoder, channels: BTreeMap::new(), waiting: VecDeque::new() };
    timeout(OPEN_MAX, listener.open(expected)).await.ok()??;
    let streams = listener.channels.iter().map(|(stream, channel)| (*channel, *stream)).collect();
    let heard = unfold(listener, async |mut listener| listener.next().await.map(|piece| (piece, listener)));
    Some((Sink::Spdy(Speaker { writer, streams }), heard.boxed()))
}

impl Listener {
    async fn open(&mut self, expected: &[u8]) -> Option<()> {
        while !expected.iter().all(|channel| self.channels.values().any(|open| open == channel)) {
            let frame = self.frame().await?;
            self.take(frame).await?;
        }
        Some(())
    }

    /// The next piece; `None` when the client is gone, or speaks nonsense.
    async fn next(&mut self) -> Option<(u8, Bytes)> {
        loop {
            if let Some(piece) = self.waiting.pop_front() {
                return Some(piece);
            }
            let frame = self.frame().await?;
            self.take(frame).await?;
        }
    }

    async fn frame(&mut self) -> Option<Frame> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Some(frame) = self.decoder.next().ok()? {
                return Some(frame);
            }
            let length = self.reader.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
            self.decoder.push(buffer.get(..length)?);
        }
    }

    async fn take(&mut self, frame: Frame) -> Option<()> {
        let answer = match frame {
            Frame::Open { stream, is_last, headers } => match self.channel(&headers) {
                Some(channel) => {
                    let is_first = self.channels.is_empty();
                    self.channels.insert(stream, channel);
                    self.hear(channel, Bytes::new(), is_last);
                    spdy::reply(stream, is_first)
                }
                None => spdy::refuse(stream),
            },
            Frame::Piece { stream, is_last, bytes } => {
                if let Some(channel) = self.channels.get(&stream).copied() {
                    self.hear(channel, bytes, is_last);
                }
                return Some(());
            }
            Frame::Ping(id) => spdy::ping(id),
            Frame::Reset { .. } | Frame::GoAway | Frame::Other => return Some(()),
        };
        write(&self.writer, &answer).await.ok()
    }

    /// The channel that a new stream is for, unless it is unknown or there already.
    fn channel(&self, headers: &[(String, String)]) -> Option<u8> {
        let kind = headers.iter().find(|(name, _)| name == "streamtype").map(|(_, value)| value.as_str())?;
        let channel = match kind {
            "stdin" => STDIN,
            "stdout" => STDOUT,
            "stderr" => STDERR,
            "error" => STATUS,
            "resize" => RESIZE,
            _ => return None,
        };
        (!self.channels.values().any(|open| *open == channel)).then_some(channel)
    }

    fn hear(&mut self, channel: u8, bytes: Bytes, is_last: bool) {
        if !bytes.is_empty() {
            self.waiting.push_back((channel, bytes));
        }
        if is_last {
            self.waiting.push_back((ENDED, Bytes::copy_from_slice(&[channel])));
        }
    }
}

async fn write(writer: &Mutex<WriteHalf<Upgraded>>, frame: &[u8]) -> Result<(), Gone> {
    let mut writer = writer.lock().await;
    writer.write_all(frame).await.map_err(|_| Gone)?;
    writer.flush().await.map_err(|_| Gone)
}
