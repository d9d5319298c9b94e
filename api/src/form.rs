//! The outer form of an answer: indented for people who look at it, compressed for whoever takes a large one so.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT, VARY};
use http::{HeaderMap, HeaderValue, Request};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::query::Query;

/// Smaller answers are not worth compressing.
const GZIP_BYTES_MIN: u64 = 128 * 1024;

/// What the caller takes.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    pub pretty: bool,
    gzip: bool,
}

impl Form {
    /// As a request asks: `pretty=true`, or a program that shows answers to people and does not say `pretty=false`.
    pub fn of(request: &Request<Body>) -> Self {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let by_people = ["curl", "Wget", "Mozilla/5.0"].iter().any(|agent| header(USER_AGENT).starts_with(agent));
        let pretty = if query.has("pretty") { query.is_true("pretty") || query.get("pretty").is_none() } else { by_people };
        let gzip = header(ACCEPT_ENCODING).split(',').any(|word| word.trim().split(';').next() == Some("gzip"));
        Self { pretty, gzip }
    }

    /// The answer in this form. Streams, of which nothing is there yet, stay as they are.
    pub async fn give(self, response: Response) -> Response {
        let size = response.body().size_hint().lower();
        if size == 0 {
            return response;
        }
        let json = response.headers().get(CONTENT_TYPE).is_some_and(|of| of.as_bytes().starts_with(b"application/json"));
        let pretty = self.pretty && json;
        let gzip = self.gzip && (size >= GZIP_BYTES_MIN || (pretty && size >= GZIP_BYTES_MIN / 2));
        if !pretty && !gzip {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        if !pretty {
            zipped_headers(&mut parts.headers);
            return Response::from_parts(parts, Body::new(Zipped { body, encoder: Some(encoder()) }));
        }
        let Ok(collected) = body.collect().await else { return Response::from_parts(parts, Body::empty()) };
        let mut bytes = collected.to_bytes().to_vec();
        if pretty && let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
            bytes = serde_json::to_vec_pretty(&value).map(logic::json::escaped).unwrap_or(bytes);
        }
        if gzip && let Some(zipped) = zipped(&bytes) {
            bytes = zipped;
            zipped_headers(&mut parts.headers);
        }
        parts.headers.remove(CONTENT_LENGTH);
        Response::from_parts(parts, Body::from(bytes))
    }
}

fn zipped_headers(headers: &mut HeaderMap) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.remove(CONTENT_LENGTH);
}

/// A body that is compressed piece by piece, as it is sent: a long one is never whole in memory.
struct Zipped {
    body: Body,
    /// `None` once all is written.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

fn encoder() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::fast())
}

impl http_body::Body for Zipped {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        while let Some(mut encoder) = this.encoder.take() {
            let frame = match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Pending => {
                    this.encoder = Some(encoder);
                    return Poll::Pending;
                }
                Poll::Ready(frame) => frame.transpose()?,
            };
            let Some(frame) = frame else {
                let rest = encoder.finish().map_err(axum::Error::new)?;
                return Poll::Ready(Some(Ok(Frame::data(rest.into()))));
            };
            if let Some(bytes) = frame.data_ref() {
                encoder.write_all(bytes).map_err(axum::Error::new)?;
            }
            let piece = std::mem::take(encoder.get_mut());
            this.encoder = Some(encoder);
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
            }
        }
        Poll::Ready(None)
    }
}

fn zipped(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = encoder();
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}
