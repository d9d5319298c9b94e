//! What only the people of this machine may ask, over its unix socket: backups, and new keys.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::StatusCode;
use serde_json::json;
use store::embedded::Embedded;

use super::audit::Records;

/// Who is at the other end of a connection to the socket.
#[derive(Debug, Clone)]
pub struct Peer(pub String);

/// Where a backup is asked for.
pub const BACKUP: &str = "/-/backup";
/// Where new keys are asked for.
pub const ROTATE: &str = "/-/secrets/rotate";

/// What of the data directory belongs to a backup: who this server is, and whom it believes.
pub const FILES: &[&str] = &["node-name", "admin-token", "pki/ca.crt", "pki/ca.key", "pki/service-accounts.key"];

/// What their requests are served with.
#[derive(Clone)]
struct Local {
    store: Arc<Embedded>,
    data: Arc<Path>,
    records: Option<Arc<Records>>,
}

/// What is served to them, over a store and its data directory. Each request leaves a line in the record.
pub fn routes(store: Arc<Embedded>, data: &Path, records: Option<Arc<Records>>) -> Router {
    Router::new().route(BACKUP, get(backup)).route(ROTATE, post(rotate)).with_state(Local { store, data: data.into(), records })
}

impl Local {
    fn tell(&self, user: Option<Extension<Peer>>, verb: &str, resource: &str, name: Option<&str>, failed: bool) {
        if let Some(records) = &self.records {
            let user = user.map(|Extension(Peer(name))| name).unwrap_or_default();
            records.deed(&user, verb, resource, name, failed);
        }
    }
}

async fn backup(State(local): State<Local>, by: Option<Extension<Peer>>) -> Response {
    let making = local.clone();
    // A client that goes away ends neither the making nor the line.
    let task = tokio::spawn(async move {
        let made = tokio::task::spawn_blocking(move || backup_of(&making.store, &making.data)).await;
        local.tell(by, "create", "backup", None, !matches!(made, Ok(Ok(_))));
        made
    });
    match task.await {
        Ok(Ok(Ok(bytes))) => bytes.into_response(),
        Ok(Ok(Err(error))) => failure(&format!("{error:#}")),
        Ok(Err(error)) | Err(error) => failure(&error.to_string()),
    }
}

fn backup_of(store: &Embedded, data: &Path) -> anyhow::Result<Vec<u8>> {
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

async fn rotate(State(local): State<Local>, by: Option<Extension<Peer>>) -> Response {
    let task = tokio::spawn(async move {
        let rotated = local.store.rotate().await;
        local.tell(by, "rotate", "secrets-key", rotated.as_deref().ok(), rotated.is_err());
        rotated
    });
    match task.await {
        Ok(Ok(key)) => {
            tracing::info!(key, "Secrets are sealed with a new key");
            axum::Json(json!({"key": key})).into_response()
        }
        Ok(Err(error)) => failure(&error.to_string()),
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
