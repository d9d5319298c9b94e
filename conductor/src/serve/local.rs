//! What only the people of this machine may ask, over its unix socket: backups, and new keys.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::json;
use store::embedded::Embedded;

/// Where a backup is asked for.
pub const BACKUP: &str = "/-/backup";
/// Where new keys are asked for.
pub const ROTATE: &str = "/-/secrets/rotate";

/// What of the data directory belongs to a backup: who this server is, and whom it believes.
pub const FILES: &[&str] = &["node-name", "admin-token", "pki/ca.crt", "pki/ca.key", "pki/service-accounts.key"];

/// What is served to them, over a store and its data directory.
pub fn routes(store: Arc<Embedded>, data: &Path) -> Router {
    let data: Arc<Path> = data.into();
    let backup = move |State(store): State<Arc<Embedded>>| async move {
        match tokio::task::spawn_blocking(move || backup(&store, &data)).await {
            Ok(Ok(bytes)) => bytes.into_response(),
            Ok(Err(error)) => failure(&format!("{error:#}")),
            Err(error) => failure(&error.to_string()),
        }
    };
    Router::new().route(BACKUP, get(backup)).route(ROTATE, post(rotate)).with_state(store)
}

fn backup(store: &Embedded, data: &Path) -> anyhow::Result<Vec<u8>> {
    let mut files = Vec::new();
    for name in FILES {
        match std::fs::read(data.join(name)) {
            Ok(content) => files.push(((*name).to_owned(), content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => anyhow::bail!("cannot read {}: {error}", data.join(name).display()),
        }
    }
    Ok(store.backup(&files)?)
}

async fn rotate(State(store): State<Arc<Embedded>>) -> Response {
    match store.rotate().await {
        Ok(key) => {
            tracing::info!(key, "Secrets are sealed with a new key");
            axum::Json(json!({"key": key})).into_response()
        }
        Err(error) => failure(&error.to_string()),
    }
}

/// A Status, as the API sends it.
fn failure(message: &str) -> Response {
    tracing::error!("{message}");
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": "InternalError", "code": 500});
    (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(status)).into_response()
}
