//! The answers that are the router's own, and why: each reason is told to the client, in the access log and in the metrics.

use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use model::metrics::Counter;

use super::body::Relay;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why the router answers for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It was asked whether it is there.
    Pong,
    /// `OPTIONS` with no forwarding left.
    OptionsHere,
    /// No request can be made of what was sent.
    BadRequest,
    /// There are too many headers, or too large ones.
    HeadTooLarge,
    /// The body is coded in a way that we cannot pass on.
    UnknownCoding,
    /// `CONNECT`, or `TRACE` with no forwarding left.
    NotAllowed,
    /// No Service has this host and path.
    NoRoute,
    /// The Service has no ready copy.
    NoEndpoint,
    /// The copy's address refuses connections.
    ConnectFailed,
    /// No connection to the copy came about in time.
    ConnectTimeout,
    /// The copy closed the connection before it answered.
    ConnectionClosed,
    /// The head of the copy's answer has too many headers, or too large ones.
    AnswerTooLarge,
    /// What the copy answered is no HTTP.
    BadAnswer,
    /// The copy changed to a protocol that was not asked for.
    UpgradeFailed,
    /// The answer did not begin in time.
    AnswerTimeout,
    /// The request was not done in the time that its route gives it.
    RequestTimeout,
}

/// A refusal's row: status, the label in metrics and logs, the error type of RFC 9209 where there is one, words.
type Row = (u16, &'static str, &'static str, &'static str);

impl Refusal {
    /// All that are counted, in the order of the table.
    pub const COUNTED: [Self; 14] = [
        Self::BadRequest,
        Self::HeadTooLarge,
        Self::UnknownCoding,
        Self::NotAllowed,
        Self::NoRoute,
        Self::NoEndpoint,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::ConnectionClosed,
        Self::AnswerTooLarge,
        Self::BadAnswer,
        Self::UpgradeFailed,
        Self::AnswerTimeout,
        Self::RequestTimeout,
    ];

    const fn row(self) -> Row {
        match self {
            Self::Pong => (200, "ping", "", "pong\n"),
            Self::OptionsHere => (200, "options", "", ""),
            Self::BadRequest => (400, "bad_request", "http_request_error", "the request cannot be understood\n"),
            Self::HeadTooLarge => (431, "head_too_large", "http_request_error", "the request has too many headers, or too large ones\n"),
            Self::UnknownCoding => (501, "unknown_coding", "http_request_error", "only chunked is known as a transfer coding\n"),
            Self::NotAllowed => (405, "not_allowed", "http_request_denied", "the method is not offered here\n"),
            Self::NoRoute => (404, "no_route", "destination_not_found", "no service is routed here\n"),
            Self::NoEndpoint => (503, "no_ready_copy", "destination_unavailable", "the service has no ready copy\n"),
            Self::ConnectFailed => (502, "connect_failed", "connection_refused", "the service cannot be reached\n"),
            Self::ConnectTimeout => (504, "connect_timeout", "connection_timeout", "the service cannot be reached in time\n"),
            Self::ConnectionClosed => {
                (502, "connection_closed", "connection_terminated", "the service closed the connection before it answered\n")
            }
            Self::AnswerTooLarge => {
                (502, "answer_head_too_large", "http_response_header_section_size", "the service answered with too many headers\n")
            }
            Self::BadAnswer => (502, "bad_answer", "http_protocol_error", "the service answered with something that is no HTTP\n"),
            Self::UpgradeFailed => (502, "upgrade_failed", "http_upgrade_failed", "the service changed to a protocol nobody asked for\n"),
            Self::AnswerTimeout => (504, "answer_timeout", "http_response_timeout", "the service did not answer in time\n"),
            Self::RequestTimeout => {
                (504, "request_timeout", "http_response_timeout", "the request was not done in the time its route gives\n")
            }
        }
    }

    /// Whether the client did nothing wrong.
    pub(super) fn is_ours(self) -> bool {
        matches!(self.status().as_u16(), 502..=504)
    }

    pub(super) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::BAD_GATEWAY)
    }

    /// The word for it in metrics and logs.
    pub fn reason(self) -> &'static str {
        self.row().1
    }

    /// The answer that a client gets.
    pub(super) fn response(self) -> Response<Relay> {
        let (_, _, error, words) = self.row();
        let mut response = Response::new(Relay::Text(words));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if !words.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        if matches!(self, Self::NotAllowed | Self::OptionsHere) {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        if self.is_ours()
            && let Ok(status) = HeaderValue::try_from(format!("conductor; error={error}"))
        {
            headers.insert(PROXY_STATUS, status);
        }
        response
    }
}

/// How often each refusal was given.
#[derive(Debug, Default)]
pub(super) struct Refusals([Counter; Refusal::COUNTED.len()]);

impl Refusals {
    pub(super) fn note(&self, refusal: Refusal) {
        if let Some(at) = Refusal::COUNTED.iter().position(|counted| *counted == refusal) {
            self.0[at].add_one();
        }
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        Refusal::COUNTED.iter().zip(&self.0).map(|(refusal, count)| (refusal.reason(), count.get())).collect()
    }
}
