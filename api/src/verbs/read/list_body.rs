//! A list as JSON, put together from stored bytes piece by piece while it is sent: a long one is never whole in memory.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec::IntoIter;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use serde_json::{Value, json};
use store::Entry;

use crate::registry::Served;

/// A piece ends with the object that makes it this long, in bytes.
pub const PIECE_BYTES_MIN: usize = 256 * 1024;

/// The rest of a list: what is written already, and what is to be.
pub struct ListBody {
    served: Arc<Served>,
    ready: Vec<u8>,
    rest: IntoIter<Entry>,
    is_first: bool,
    is_done: bool,
}

impl ListBody {
    /// The list of these objects. Items of core kinds carry no apiVersion and kind, as Kubernetes has it.
    pub fn new(served: Arc<Served>, entries: Vec<Entry>, metadata: &Value) -> Self {
        let kind = &served.kind;
        let (list_kind, version) = (json!(kind.list_kind), json!(kind.api_version()));
        let ready = format!("{{\"kind\":{list_kind},\"apiVersion\":{version},\"metadata\":{metadata},\"items\":[").into_bytes();
        let mut body = Self { served, ready, rest: entries.into_iter(), is_first: true, is_done: false };
        body.write(PIECE_BYTES_MIN);
        body
    }

    /// All of it, at once.
    pub fn at_once(mut self) -> Vec<u8> {
        self.write(usize::MAX);
        self.ready
    }

    /// Writes objects until so much is ready, or all is.
    fn write(&mut self, bytes_min: usize) {
        while self.ready.len() < bytes_min && !self.is_done {
            match self.rest.next() {
                Some(entry) => {
                    if !std::mem::take(&mut self.is_first) {
                        self.ready.push(b',');
                    }
                    self.served.write(&mut self.ready, &entry, !self.served.kind.keeps_unknown);
                }
                None => {
                    self.ready.extend_from_slice(b"]}\n");
                    self.is_done = true;
                }
            }
        }
    }
}

impl Body for ListBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ready.is_empty() && !self.is_done {
            self.ready.reserve(PIECE_BYTES_MIN + PIECE_BYTES_MIN / 8);
            self.write(PIECE_BYTES_MIN);
        }
        let piece = std::mem::take(&mut self.ready);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_done && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let ready = self.ready.len() as u64;
        if self.is_done {
            return SizeHint::with_exact(ready);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(ready);
        hint
    }
}
