//! `PATCH` with what somebody wants: server-side apply.

use axum::response::Response;
use http::StatusCode;
use logic::patch::apply::{self, Operation};
use model::Kind;
use serde_json::{Value, json};
use store::Entry;

use super::create::{finish, keep};
use super::read::respond;
use super::update::change_owned;
use crate::admit::Part;
use crate::query::FieldValidation;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{addressed, admit, body, owners};

/// Applies an object, or its status: creates it where it is absent. Errors: 400, 404 for the status of what is not there,
/// 409 for a field that another owns or an older version, 422, and 500 for what does not fit the schema, as Kubernetes has it.
pub async fn apply(call: &Call, part: Part) -> Result<Response> {
    let accepted = call.accepted()?;
    let dry_run = call.query.dry_run("PatchOptions")?;
    let mode = call.query.field_validation("PatchOptions")?;
    call.query.check_patch(true)?;
    let wanted = wanted(call, mode == FieldValidation::Strict)?;
    let version = addressed::version(&wanted)?;
    let is_there = call.server.store.get(&call.key(call.name()?), None).await?.is_some();
    let (code, entry) = if is_there {
        (StatusCode::OK, changed(call, &wanted, version, part, dry_run).await?)
    } else if part == Part::Status {
        return Err(Status::not_found(call.kind(), call.name()?));
    } else {
        (StatusCode::CREATED, created(call, &wanted, dry_run).await?)
    };
    Ok(respond(call, accepted, code, &entry))
}

/// What is applied, with its metadata as the path has it.
fn wanted(call: &Call, strict: bool) -> Result<Value> {
    let kind = call.kind();
    let mut wanted = body::applied(&call.body, strict)?;
    check_type(kind, &wanted)?;
    if !wanted["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    addressed::check_name(call, &wanted)?;
    if let Some(problem) = apply::check(call.served.shape.root(), &wanted) {
        let namespace = wanted["metadata"]["namespace"].as_str().unwrap_or_default();
        let of = format!("{namespace}/{name}; {}", type_name(&wanted));
        return Err(Status::unexplained(format!("failed to create typed patch object ({of}): {problem}")));
    }
    addressed::place(kind, &call.place, &mut wanted)?;
    Ok(wanted)
}

fn check_type(kind: &Kind, wanted: &Value) -> Result<()> {
    if wanted["apiVersion"] == kind.api_version() && wanted["kind"] == kind.kind.as_str() {
        return Ok(());
    }
    Err(Status::bad_request(format!("invalid object type: {}", type_name(wanted))))
}

/// `group/version, Kind=kind`.
fn type_name(object: &Value) -> String {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={}", object["kind"].as_str().unwrap_or_default())
}

async fn created(call: &Call, wanted: &Value, dry_run: bool) -> Result<Entry> {
    let (served, name) = (&call.served, call.name()?);
    if let Some(uid) = wanted["metadata"]["uid"].as_str() {
        return Err(Status::immutable(&served.kind, name, "metadata.uid", uid));
    }
    let write = owners::write(call, Operation::Apply);
    let applied = apply::apply(&served.shape, &Value::Null, wanted, Vec::new(), &write, false);
    let applied = applied.map_err(|conflicts| owners::conflict(&conflicts))?;
    let mut object = applied.object;
    for field in ["apiVersion", "kind"] {
        object[field] = wanted[field].clone();
    }
    for field in ["name", "namespace"] {
        object["metadata"][field] = wanted["metadata"][field].clone();
    }
    admit::shape(served, &mut object, FieldValidation::Ignore)?;
    finish(call, &mut object, apply::to_value(&applied.entries), dry_run).await?;
    keep(call, name, object, dry_run).await
}

async fn changed(call: &Call, wanted: &Value, version: Option<u64>, part: Part, dry_run: bool) -> Result<Entry> {
    let (served, force) = (&call.served, call.query.is_true("force"));
    let write = owners::write(call, Operation::Apply);
    change_owned(call, version, part, dry_run, |before| {
        if let Some(asked) = wanted["metadata"]["uid"].as_str().filter(|asked| before["metadata"]["uid"] != *asked) {
            return Err(Status::immutable(&served.kind, call.name()?, "metadata.uid", asked));
        }
        let applied = apply::apply(&served.shape, before, wanted, owners::entries(before), &write, force);
        let applied = applied.map_err(|conflicts| owners::conflict(&conflicts))?;
        let mut object = applied.object;
        object["apiVersion"] = json!(served.kind.api_version());
        object["kind"] = json!(served.kind.kind);
        admit::shape(served, &mut object, FieldValidation::Ignore)?;
        Ok((object, Some(apply::to_value(&applied.entries))))
    })
    .await
}
