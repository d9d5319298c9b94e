//! What only the people of this machine may ask, over its unix socket: backups, and new keys.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::StatusCode;
use model::Clock as _;
use serde_json::json;
use store::embedded::{Embedded, Made};

use super::audit::Records;
use crate::clock::WallClock;

/// Who is at the other end of a connection to the socket.
#[derive(Debug, Clone)]
pub struct Peer(pub String);

/// Where a backup is asked for.
pub const BACKUP: &str = "/-/backup";
/// Where new keys are asked for.
pub const ROTATE: &str = "/-/secrets/rotate";

const NODE_NAME: &str = "node-name";

/// What of the data directory belongs to a backup: who this server is, and whom it believes.
pub const FILES: &[&str] = &[NODE_NAME, "admin-token", "pki/ca.crt", "pki/ca.key", "pki/service-accounts.key"];

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
    let asker = by.as_ref().map(|Extension(Peer(name))| name.clone()).unwrap_or_default();
    // A client that goes away ends neither the making nor the line.
    let task = tokio::spawn(async move {
        let made = tokio::task::spawn_blocking(move || backup_of(&making.store, &making.data, &asker)).await;
        local.tell(by, "create", "backup", None, !matches!(made, Ok(Ok(_))));
        made
    });
    match task.await {
        Ok(Ok(Ok(bytes))) => bytes.into_response(),
        Ok(Ok(Err(error))) => failure(&format!("{error:#}")),
        Ok(Err(error)) | Err(error) => failure(&error.to_string()),
    }
}

fn backup_of(store: &Embedded, data: &Path, asker: &str) -> anyhow::Result<Vec<u8>> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for name in FILES {
        match std::fs::read(data.join(name)) {
            Ok(content) => files.push(((*name).to_owned(), content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => anyhow::bail!("cannot read {}: {error}", data.join(name).display()),
        }
    }
    let node = files.iter().find(|(name, _)| name == NODE_NAME).map(|(_, name)| String::from_utf8_lossy(name).trim().to_owned());
    let made =
        Made { by: format!("{asker} on {}", node.unwrap_or_default()), at: WallClock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string() };
    Ok(store.backup(&files, &made)?)
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
