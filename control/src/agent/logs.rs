//! What Pods of this node wrote, as a stream for the API.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::StreamExt as _;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use jiff::SignedDuration;
use runtime::{Error, LogOptions};
use serde::Deserialize;

use super::Shared;

/// The parameters of `/log`, as the API passes them on.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parameters {
    container: String,
    follow: Option<String>,
    previous: Option<String>,
    timestamps: Option<String>,
    tail_lines: Option<u64>,
    since_seconds: Option<i64>,
    since_time: Option<jiff::Timestamp>,
    limit_bytes: Option<u64>,
}

/// `GET /pods/UID/log?container=…`.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/pods/{uid}/log", get(log)).with_state(shared)
}

async fn log(State(shared): State<Arc<Shared>>, Path(uid): Path<String>, Query(parameters): Query<Parameters>) -> Response {
    let is_true = |text: &Option<String>| text.as_deref().is_some_and(|text| text == "true" || text == "1");
    let since = parameters.since_seconds.map(|seconds| shared.clock.now() - SignedDuration::from_secs(seconds.clamp(0, 1_000_000_000)));
    let options = LogOptions {
        follow: is_true(&parameters.follow),
        previous: is_true(&parameters.previous),
        timestamps: is_true(&parameters.timestamps),
        tail: parameters.tail_lines,
        since: parameters.since_time.or(since),
        limit_bytes: parameters.limit_bytes,
    };
    let Some((runtime, _)) = shared.sandboxes().await.remove(&uid) else {
        return refusal(400, "BadRequest", &format!("container {:?} is waiting to start", parameters.container));
    };
    match runtime.logs(&uid, &parameters.container, options).await {
        Ok(stream) => {
            let mut response = Response::new(Body::from_stream(stream.map(Ok::<_, std::convert::Infallible>)));
            response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
            response
        }
        Err(error @ (Error::NoPreviousRun(_) | Error::NoSuchContainer { .. } | Error::NoSuchPod(_))) => {
            refusal(400, "BadRequest", &error.to_string())
        }
        Err(error) => refusal(500, "InternalError", &error.to_string()),
    }
}

fn refusal(code: u16, reason: &str, message: &str) -> Response {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code,
    });
    (StatusCode::from_u16(code).unwrap_or_default(), [(CONTENT_TYPE, "application/json")], status.to_string()).into_response()
}
