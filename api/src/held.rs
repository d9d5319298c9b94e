//! What an answer holds until it is sent: places and charged bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};

use crate::limits::{Charge, Taken};

/// A response extension: what is held until the answer is sent, or its client is gone.
#[derive(Debug, Clone, Default)]
pub struct Held(Vec<Arc<Holding>>);

#[derive(Debug)]
#[expect(dead_code, reason = "held to be dropped")]
enum Holding {
    Place(Taken),
    Bytes(Charge),
}

/// Has an answer hold a place.
pub fn place(response: &mut Response, taken: Taken) {
    add(response, Holding::Place(taken));
}

/// Has an answer hold bytes.
pub fn bytes(response: &mut Response, charge: Charge) {
    add(response, Holding::Bytes(charge));
}

fn add(response: &mut Response, holding: Holding) {
    response.extensions_mut().get_or_insert_default::<Held>().0.push(Arc::new(holding));
}

/// Ties what an answer holds to its body.
pub fn until_sent(mut response: Response) -> Response {
    match response.extensions_mut().remove::<Held>() {
        Some(held) => response.map(|body| body_holding(body, held)),
        None => response,
    }
}

/// A body that drops `held` when all of it is sent, or its client is gone.
pub fn body_holding<T: Send + Unpin + 'static>(body: Body, held: T) -> Body {
    Body::new(Holder { body, _held: held })
}

/// A body that ends when `end` is ready, if it has not ended before.
pub fn body_until(body: Body, end: impl Future<Output = ()> + Send + 'static) -> Body {
    Body::new(Until { body, end: Box::pin(end) })
}

struct Until {
    body: Body,
    end: BoxFuture<'static, ()>,
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => self.end.as_mut().poll(context).map(|()| None),
            ready => ready,
        }
    }
}

struct Holder<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> http_body::Body for Holder<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
