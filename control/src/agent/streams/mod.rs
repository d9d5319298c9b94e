//! Talking to Pods of this node: programs run in them, what they write, their ports. Over
//! WebSockets, or over SPDY for older clients.

mod channels;
mod exec;
mod forward;
pub(crate) mod spdy;
mod spdy_channels;
mod spdy_headers;
mod tunnel;
mod upgrade;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::Shared;

/// The longest message that a client may send, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// `GET /pods/UID/exec`, `/attach` and `/portforward`, with the query that the API was sent.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/pods/{uid}/exec", get(exec::exec))
        .route("/pods/{uid}/attach", get(exec::attach))
        .route("/pods/{uid}/portforward", get(forward::forward))
        .with_state(shared)
}

/// A Status that says what went wrong.
fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code})
}

fn refusal(code: u16, message: &str) -> Response {
    let body = failure(code, if code == 400 { "BadRequest" } else { "InternalError" }, message);
    (StatusCode::from_u16(code).unwrap_or_default(), [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// The values of a parameter of a query, in order.
fn values(query: &str, name: &str) -> Vec<String> {
    let pairs = pairs_of(query);
    pairs.into_iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
}

/// Whether a parameter says yes.
fn is_true(query: &str, name: &str) -> bool {
    values(query, name).iter().any(|value| value == "true" || value == "1")
}

/// The pairs of a query.
fn pairs_of(query: &str) -> Vec<(String, String)> {
    let uri = http::Uri::builder().path_and_query(format!("/?{query}")).build().unwrap_or_default();
    axum::extract::Query::try_from_uri(&uri).map(|axum::extract::Query(pairs)| pairs).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_may_come_many_times() {
        let query = "command=sh&command=-c&command=echo%20a%2Bb&tty=true&stdin=0";
        assert_eq!(values(query, "command"), ["sh", "-c", "echo a+b"]);
        assert!(is_true(query, "tty") && !is_true(query, "stdin") && !is_true(query, "stdout"));
        assert!(values("%zz&\u{1}", "x").is_empty());
    }
}
