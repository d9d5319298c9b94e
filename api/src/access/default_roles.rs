//! Makes the default roles and bindings, and adds to those that an older server made.

use logic::rbac::{defaults, merged};
use serde_json::{Value, json};
use store::{Compare, Error, Transaction};

use crate::{Server, admit, object};

/// Makes what is missing. What people changed or added stays. Errors: those of the store.
pub async fn make(server: &Server) -> store::Result<()> {
    for default in defaults() {
        while let Err(error) = make_one(server, &default).await {
            if !matches!(error, Error::Conflict { .. }) {
                return Err(error);
            }
        }
    }
    Ok(())
}

async fn make_one(server: &Server, default: &Value) -> store::Result<()> {
    let kind = if default["kind"] == "ClusterRole" { model::rbac::cluster_role() } else { model::rbac::cluster_role_binding() };
    let key = object::key(&kind, None, default["metadata"]["name"].as_str().unwrap_or_default());
    let (condition, object) = match server.store.get(&key, None).await? {
        Some(entry) => {
            let Some(object) = merged(&object::decode(&entry), default) else { return Ok(()) };
            (Compare::Modified(key.clone(), entry.modified), object)
        }
        None => {
            let mut object = default.clone();
            object["metadata"]["uid"] = json!(uuid::Uuid::new_v4().to_string());
            object["metadata"]["creationTimestamp"] = json!(admit::timestamp(server.clock.now()));
            (Compare::Absent(key.clone()), object)
        }
    };
    let bytes = object::encode(&kind, object);
    server.store.commit(Transaction::new().when(condition).put(key, bytes)).await.map(|_| ())
}
