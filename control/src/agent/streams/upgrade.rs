//! How a request leaves HTTP for a conversation: to a WebSocket, or to SPDY, which older clients know.

use std::future::Future;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONNECTION, HeaderMap, HeaderName, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use super::channels::{self, Heard, Sink};
use super::{MESSAGE_BYTES_MAX, refusal, spdy_channels};

/// A connection that has left HTTP.
pub type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

const SPDY: &str = "SPDY/3.1";
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// What a client asked for.
pub struct Upgrade {
    /// What it speaks.
    pub way: Way,
    /// How long it may.
    pub lease: Lease,
}

/// Held for as long as a conversation lasts, which ends when it is withdrawn.
pub struct Lease(Option<Arc<CancellationToken>>);

impl Lease {
    /// Holds a conversation until it ends, or may go on no longer.
    pub async fn hold(self, talk: impl Future<Output = ()>) {
        match self.0 {
            None => talk.await,
            Some(lease) => {
                lease.run_until_cancelled(talk).await;
            }
        }
    }
}

/// What a client asked to speak.
pub enum Way {
    /// Messages.
    WebSocket(WebSocketUpgrade),
    /// Frames of SPDY, in one of these protocols.
    Spdy(OnUpgrade, Vec<String>),
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let lease = Lease(parts.extensions.get().cloned());
        let is_spdy = parts.headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(SPDY.as_bytes()));
        if is_spdy && let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() {
            return Ok(Self { way: Way::Spdy(upgrade, protocols(&parts.headers)), lease });
        }
        match WebSocketUpgrade::from_request_parts(parts, state).await {
            Ok(upgrade) => Ok(Self { way: Way::WebSocket(upgrade), lease }),
            Err(rejection) => Err(rejection.into_response()),
        }
    }
}

/// The protocols that a client offers, in one header or several.
fn protocols(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(STREAM_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_owned()).collect()
}

impl Upgrade {
    /// Upgrades to numbered channels, and holds a conversation over them. `expected` are the channels that the client opens where it
    /// must open them. A client that speaks none of our protocols is refused.
    pub fn converse<F, Talk>(self, expected: Vec<u8>, talk: F) -> Response
    where
        F: FnOnce(Sink, Heard) -> Talk + Send + 'static,
        Talk: Future<Output = ()> + Send,
    {
        let Self { way, lease } = self;
        match way {
            Way::WebSocket(upgrade) => {
                let upgrade = upgrade.protocols(channels::PROTOCOLS).max_message_size(MESSAGE_BYTES_MAX);
                if upgrade.selected_protocol().is_none() {
                    return refusal(400, &format!("expected one of the WebSocket protocols {}", channels::PROTOCOLS.join(", ")));
                }
                upgrade.on_upgrade(async move |socket| {
                    let (sink, heard) = channels::of_websocket(socket);
                    lease.hold(talk(sink, heard)).await;
                })
            }
            Way::Spdy(upgrade, offered) => accept_spdy(upgrade, &offered, spdy_channels::PROTOCOL, async move |connection| {
                if let Some((sink, heard)) = spdy_channels::begin(connection, &expected).await {
                    lease.hold(talk(sink, heard)).await;
                }
            }),
        }
    }
}

/// Upgrades to SPDY, when the client offers `protocol` for what is in its streams.
pub fn accept_spdy<F, Talk>(upgrade: OnUpgrade, offered: &[String], protocol: &'static str, talk: F) -> Response
where
    F: FnOnce(Upgraded) -> Talk + Send + 'static,
    Talk: Future<Output = ()> + Send,
{
    if !offered.iter().any(|name| name == protocol) {
        let message = format!("expected the protocol {protocol} in the header {STREAM_PROTOCOL}, found {offered:?}");
        let mut response = refusal(403, &message);
        response.headers_mut().insert(ACCEPTED_PROTOCOLS, HeaderValue::from_static(protocol));
        return response;
    }
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => talk(TokioIo::new(connection)).await,
            Err(error) => tracing::debug!(%error, "a client asked for SPDY and went"),
        }
    });
    let headers = [
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static(SPDY)),
        (STREAM_PROTOCOL, HeaderValue::from_static(protocol)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_come_in_one_header_or_in_several() {
        let mut headers = HeaderMap::new();
        headers.append(STREAM_PROTOCOL, HeaderValue::from_static("v4.channel.k8s.io, v3.channel.k8s.io"));
        headers.append(STREAM_PROTOCOL, HeaderValue::from_static("channel.k8s.io"));
        assert_eq!(protocols(&headers), ["v4.channel.k8s.io", "v3.channel.k8s.io", "channel.k8s.io"]);
    }
}
