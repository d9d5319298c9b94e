//! The bodies that pass through: piece by piece, never gathered.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::exchange::Passage;

/// The body of a request on its way to an endpoint.
#[derive(Debug)]
pub(super) enum Upload {
    /// None.
    Empty,
    /// What the client sends.
    Stream(Incoming, Arc<UploadProgress>),
}

impl Upload {
    pub(super) fn new(incoming: Incoming) -> Self {
        if incoming.is_end_stream() { Self::Empty } else { Self::Stream(incoming, Arc::new(UploadProgress::new())) }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// How far it got; `None` when there is nothing to send.
    pub(super) fn progress(&self) -> Option<Arc<UploadProgress>> {
        match self {
            Self::Empty => None,
            Self::Stream(_, progress) => Some(Arc::clone(progress)),
        }
    }
}

/// How far the body of a request got.
#[derive(Debug)]
pub(super) struct UploadProgress {
    began: Instant,
    latest_millis: AtomicU64,
    client_failed: AtomicBool,
}

impl UploadProgress {
    fn new() -> Self {
        Self { began: Instant::now(), latest_millis: AtomicU64::new(0), client_failed: AtomicBool::new(false) }
    }

    /// When the last piece was sent.
    pub(super) fn latest(&self) -> Instant {
        self.began + Duration::from_millis(self.latest_millis.load(Relaxed))
    }

    /// Whether the client broke off.
    pub(super) fn client_failed(&self) -> bool {
        self.client_failed.load(Relaxed)
    }

    fn note<T, E>(&self, piece: &Option<Result<T, E>>) {
        match piece {
            Some(Err(_)) => self.client_failed.store(true, Relaxed),
            Some(Ok(_)) | None => {
                let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.latest_millis.store(millis, Relaxed);
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stream(incoming, progress) => {
                let piece = ready!(Pin::new(incoming).poll_frame(context));
                progress.note(&piece);
                Poll::Ready(piece)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(incoming, _) => incoming.size_hint(),
        }
    }
}

/// The body of an answer on its way to the client.
#[derive(Debug)]
pub(super) enum Relay {
    /// Our own words.
    Text(&'static str),
    /// What the endpoint sends; the passage ends with it.
    Endpoint(Incoming, Passage),
}

impl Relay {
    pub(super) const EMPTY: Self = Self::Text("");

    /// The body of an answer that came over `passage`, which may be over already.
    pub(super) fn new(incoming: Incoming, mut passage: Passage) -> Self {
        if incoming.is_end_stream() {
            passage.complete();
        }
        Self::Endpoint(incoming, passage)
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let (incoming, passage) = match self.get_mut() {
            Self::Text("") => return Poll::Ready(None),
            Self::Text(text) => {
                let bytes = Bytes::from_static(std::mem::take(text).as_bytes());
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Self::Endpoint(incoming, passage) => (incoming, passage),
        };
        let piece = ready!(Pin::new(&mut *incoming).poll_frame(context));
        match &piece {
            Some(Ok(_)) if !incoming.is_end_stream() => {}
            Some(Ok(_)) | None => passage.complete(),
            Some(Err(_)) => passage.broken_off(),
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Endpoint(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.len() as u64),
            Self::Endpoint(incoming, _) => incoming.size_hint(),
        }
    }
}
