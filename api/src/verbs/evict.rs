//! `POST …/pods/NAME/eviction`: a Pod is asked to go, as for maintenance of its node.

use std::sync::{Arc, Mutex};

use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::delete::delete;
use crate::path::Place;
use crate::query::Query;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{addressed, admission, answer};

/// Deletes a Pod as its eviction's deleteOptions say. Errors: 400 for the eviction of another, 404, 409.
pub async fn evict(call: &Call) -> Result<Response> {
    let accepted = call.accepted()?;
    let dry_run = call.query.dry_run("CreateOptions")?;
    let eviction = addressed::EVICTION.read(call)?;
    let (name, named) = (call.name()?, eviction["metadata"]["name"].as_str().unwrap_or_default());
    if !named.is_empty() && named != name {
        return Err(Status::bad_request(format!("name in URL does not match name in Eviction object: {named:?}, expected {name:?}")));
    }
    addressed::check_namespace(&call.place, &eviction)?;
    admission::ask(call, "CREATE", &Value::Null, &eviction, dry_run).await?;
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
    for (field, value) in eviction["deleteOptions"].as_object().into_iter().flatten() {
        options[field] = value.clone();
    }
    if dry_run {
        options["dryRun"] = json!(["All"]);
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let deletion = Call {
        server: Arc::clone(&call.server),
        user: call.user.clone(),
        served: Arc::clone(&call.served),
        place: Place { subresource: None, ..call.place.clone() },
        query: Query::default(),
        headers,
        extensions: http::Extensions::new(),
        body: options.to_string().into(),
        principal: call.principal.clone(),
        aside: Mutex::default(),
    };
    let deleted = delete(&deletion).await;
    deletion.tell(|inner| call.tell(|told| *told = std::mem::take(inner)));
    deleted?;
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(answer::value(accepted.format, StatusCode::CREATED, &status))
}
