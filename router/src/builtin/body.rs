//! The bodies that pass through: piece by piece, never gathered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::exchange::Passage;

/// How long a client that asked whether to send its body is kept waiting for an endpoint that says nothing: some never do.
const HOLD_MAX: Duration = Duration::from_secs(1);

/// What went wrong with a body; the connection ends with it.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request on its way to an endpoint.
#[derive(Debug)]
pub(super) enum Upload {
    /// None.
    Empty,
    /// What the client sends.
    Stream(Incoming, Arc<UploadProgress>),
    /// What the client will send once it is told to go on (`Expect: 100-continue`). Asking for the first piece tells it so; that
    /// waits until the endpoint asks, or answers at once.
    Held(Incoming, Arc<UploadProgress>, Pin<Box<Sleep>>),
}

impl Upload {
    pub(super) fn new(incoming: Incoming, expects: bool) -> Self {
        match incoming.is_end_stream() {
            true => Self::Empty,
            false if expects => Self::Held(incoming, Arc::default(), Box::pin(tokio::time::sleep(HOLD_MAX))),
            false => Self::Stream(incoming, Arc::default()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether the endpoint is to be asked first.
    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Held(..))
    }

    /// How far it got; `None` when there is nothing to send.
    pub(super) fn progress(&self) -> Option<Arc<UploadProgress>> {
        match self {
            Self::Empty => None,
            Self::Stream(_, progress) | Self::Held(_, progress, _) => Some(Arc::clone(progress)),
        }
    }
}

/// How far the body of a request got.
#[derive(Debug)]
pub(super) struct UploadProgress {
    began: Instant,
    latest_millis: AtomicU64,
    client_failed: AtomicBool,
    may_go_on: AtomicBool,
    is_refused: AtomicBool,
    waiting: AtomicWaker,
}

impl Default for UploadProgress {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            latest_millis: AtomicU64::new(0),
            client_failed: AtomicBool::new(false),
            may_go_on: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
        }
    }
}

impl UploadProgress {
    /// The endpoint wants the body.
    pub(super) fn go_on(&self) {
        self.may_go_on.store(true, Release);
        self.waiting.wake();
    }

    /// The endpoint answered. Unless that is a refusal, it still wants the body. Returns whether a held body is never to be sent.
    pub(super) fn answered(&self, is_refusal: bool) -> bool {
        if !is_refusal {
            self.go_on();
        }
        let is_refused = is_refusal && !self.may_go_on.load(Acquire);
        self.is_refused.store(is_refused, Release);
        is_refused
    }

    /// Whether it was told to go on, within its time.
    fn poll_held(&self, context: &mut Context<'_>, hold: &mut Pin<Box<Sleep>>) -> Poll<()> {
        self.waiting.register(context.waker());
        if self.may_go_on.load(Acquire) {
            return Poll::Ready(());
        }
        if self.is_refused.load(Acquire) {
            return Poll::Pending;
        }
        hold.as_mut().poll(context).map(|()| self.go_on())
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
        let this = self.get_mut();
        if let Self::Held(_, progress, hold) = this {
            ready!(progress.poll_held(context, hold));
            progress.note::<(), ()>(&None);
            if let Self::Held(incoming, progress, _) = std::mem::replace(this, Self::Empty) {
                *this = Self::Stream(incoming, progress);
            }
        }
        match this {
            Self::Empty | Self::Held(..) => Poll::Ready(None),
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
            Self::Stream(incoming, _) | Self::Held(incoming, ..) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(incoming, _) | Self::Held(incoming, ..) => incoming.size_hint(),
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
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (incoming, passage) = match self.get_mut() {
            Self::Text("") => return Poll::Ready(None),
            Self::Text(text) => {
                let bytes = Bytes::from_static(std::mem::take(text).as_bytes());
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Self::Endpoint(incoming, passage) => (incoming, passage),
        };
        let Poll::Ready(piece) = Pin::new(&mut *incoming).poll_frame(context) else {
            ready!(passage.poll_time_up(context));
            passage.broken_off();
            return Poll::Ready(Some(Err("the answer was not done in the time its route gives".into())));
        };
        match &piece {
            Some(Ok(_)) if !incoming.is_end_stream() => {}
            Some(Ok(_)) | None => passage.complete(),
            Some(Err(_)) => passage.broken_off(),
        }
        Poll::Ready(piece.map(|piece| piece.map_err(Into::into)))
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
