//! `PUT` and `PATCH`: a changed object.

use axum::response::Response;
use http::StatusCode;
use serde_json::Value;
use store::{Compare, Entry, Error, Transaction};

use super::patch::{APPLY, Patch};
use super::read::respond;
use crate::admit::Part;
use crate::query::FieldValidation;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{access, addressed, admission, admit, answer, body, claims, conversion, custom, owners, placed, pod_security};

/// How often a change without a version is tried again when another writer comes between.
const TRIES_MAX: usize = 32;
/// Replaces an object, or its status. Errors: 400, 404, 409, 422.
pub async fn update(call: &Call, part: Part) -> Result<Response> {
    let kind = call.kind();
    let accepted = call.accepted()?;
    let dry_run = call.query.dry_run("UpdateOptions")?;
    let mode = call.query.field_validation("UpdateOptions")?;
    call.query.check_manager("UpdateOptions")?;
    let mut sent = body::object(kind, &call.headers, &call.body)?;
    addressed::place(kind, &call.place, &mut sent)?;
    addressed::check_name(call, &sent)?;
    let twice = body::duplicates(&call.headers, &call.body);
    let warnings = admit::shape_of(&call.served, &mut sent, mode, &twice)?;
    let version = addressed::version(&sent)?;
    let entry = change(call, version, part, dry_run, |before| {
        if version.is_none() && needs_version(kind) {
            let problem = model::Problem::invalid("metadata.resourceVersion", "0: must be specified for an update");
            let name = before["metadata"]["name"].as_str().unwrap_or_default();
            return Err(Status::invalid(&kind.group, &kind.plural, name, &[problem]));
        }
        Ok(sent.clone())
    })
    .await?;
    let mut response = respond(call, accepted, StatusCode::OK, &entry);
    answer::warn(&mut response, &warnings);
    Ok(response)
}

/// Whether whoever replaces an object must say which version of it they mean.
fn needs_version(kind: &model::Kind) -> bool {
    let unconditional = ["", "rbac.authorization.k8s.io", "events.k8s.io", "batch"];
    !unconditional.contains(&kind.group.as_str())
}

/// Patches an object, or its status. Errors: as for `update`, and 415 for a patch of a type that is not taken.
pub async fn patch(call: &Call, part: Part) -> Result<Response> {
    let kind = call.kind();
    if body::media_type(&call.headers) == APPLY {
        return super::apply::apply(call, part).await;
    }
    let accepted = call.accepted()?;
    let dry_run = call.query.dry_run("PatchOptions")?;
    let mode = call.query.field_validation("PatchOptions")?;
    call.query.check_patch(false)?;
    let patch = Patch::read(kind, &call.headers, &call.body)?;
    let version = patch.version()?;
    let twice = body::duplicates(&call.headers, &call.body);
    let mut warnings = Vec::new();
    let entry = change(call, version, part, dry_run, |before| {
        let mut object = before.clone();
        patch.apply(&call.served.shape, &mut object)?;
        let shown = patch.shown(&object);
        let unreadable = |status| unreadable(&shown, status);
        if mode == FieldValidation::Strict
            && let Some(refusal) = patch.unknown().first()
        {
            return Err(Status::patch_unreadable(&shown, &format!("strict decoding error: {refusal}")));
        }
        if let Some(why) = patch.conversion_problem(&call.served, &object) {
            return Err(Status::patch_unreadable(&shown, &why));
        }
        addressed::place(kind, &call.place, &mut object).map_err(unreadable)?;
        addressed::check_name(call, &object)?;
        if let Some(uid) = object["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty() && before["metadata"]["uid"] != *uid) {
            return Err(Status::immutable(kind, call.name()?, "metadata.uid", uid));
        }
        warnings = admit::shape_of(&call.served, &mut object, mode, &twice).map_err(unreadable)?;
        if mode == FieldValidation::Warn {
            warnings.splice(0..0, patch.unknown());
        }
        Ok(object)
    })
    .await?;
    let mut response = respond(call, accepted, StatusCode::OK, &entry);
    answer::warn(&mut response, &warnings);
    Ok(response)
}

/// What would be 400 of an object that was sent is 422 of one that a patch made.
fn unreadable(shown: &str, status: Status) -> Status {
    match status.message.split_once(" cannot be handled as a ") {
        Some((_, why)) if status.code == 400 => Status::patch_unreadable(shown, why.split_once(": ").map_or(why, |(_, why)| why)),
        _ => status,
    }
}

/// Reads an object, has it changed, and stores the result; again when another writer came between and no version was asked for.
pub async fn change(
    call: &Call,
    version: Option<u64>,
    part: Part,
    dry_run: bool,
    mut make: impl FnMut(&Value) -> Result<Value>,
) -> Result<Entry> {
    change_owned(call, version, part, dry_run, |before| make(before).map(|object| (object, None))).await
}

/// As `change`, where the maker may also say who owns what from here on, as `managedFields`.
pub async fn change_owned(
    call: &Call,
    version: Option<u64>,
    part: Part,
    dry_run: bool,
    mut make: impl FnMut(&Value) -> Result<(Value, Option<Value>)>,
) -> Result<Entry> {
    let (kind, name) = (call.kind(), call.name()?);
    let key = call.key(name);
    // What is sent to these is no object of the kind.
    let is_other = ["scale", "binding"].contains(&call.place.subresource.as_deref().unwrap_or_default());
    for _ in 0..TRIES_MAX {
        let entry = call.server.store.get(&key, None).await?.ok_or_else(|| Status::not_found(kind, name))?;
        if version.is_some_and(|version| version != entry.modified) {
            return Err(Status::conflict(kind, name));
        }
        let entry = call.shown(entry).await?;
        let before = call.served.read(&entry);
        let (mut after, owned) = make(&before)?;
        let sent = after["metadata"]["managedFields"].take();
        let mut shown = (!is_other && admission::may_change(call).await?).then(|| after.clone());
        let mut prepared = admit::changed_object(&call.served, &before, &mut after, part);
        // What webhooks change belongs to nobody.
        after["metadata"]["managedFields"] = owned.unwrap_or_else(|| owners::updated(call, &before, &after, &sent));
        if let Some(shown) = &mut shown {
            shown["metadata"]["managedFields"] = after["metadata"]["managedFields"].clone();
            if admission::change(call, "UPDATE", &before, shown, dry_run).await? {
                addressed::check_name(call, shown)?;
                let owned = shown["metadata"]["managedFields"].take();
                after = shown.take();
                prepared = admit::changed_object(&call.served, &before, &mut after, part);
                after["metadata"]["managedFields"] = owned;
            }
        }
        prepared?;
        placed::check_change(call, &before, &after).await?;
        access::check_grant(call, &before, &after).await?;
        pod_security::check(call, &before, &after).await?;
        if call.place.subresource.as_deref() != Some("binding") {
            admission::validate(call, "UPDATE", &before, &after, dry_run).await?;
        }
        match store_change(call, &entry, &before, after, dry_run).await {
            Err(error @ Error::Conflict { .. }) if is_redefined(&error) => return Err(error.into()),
            Err(Error::Conflict { .. }) if version.is_none() => {}
            Err(Error::Conflict { .. }) => return Err(Status::conflict(kind, name)),
            Err(other) => return Err(other.into()),
            Ok(stored) => return stored,
        }
    }
    Err(Status::conflict(kind, name))
}

/// Stores a change, or removes the object when this change took its last finalizer while it was being deleted.
async fn store_change(call: &Call, entry: &Entry, before: &Value, after: Value, dry_run: bool) -> store::Result<Result<Entry>> {
    let gone = is_finished(&after);
    let condition = Transaction::new().when(Compare::Modified(entry.key.clone(), entry.modified));
    let condition = call.guarded(condition);
    let transaction = match claims::take(call, condition, before, if gone { &Value::Null } else { &after }).await {
        Ok(transaction) => transaction,
        Err(status) => return Ok(Err(status)),
    };
    if !gone && is_same(before, &after) {
        return Ok(Ok(entry.clone()));
    }
    let value = match conversion::kept(&call.server, &call.served, after).await {
        Ok(bytes) => bytes::Bytes::from(bytes),
        Err(status) => return Ok(Err(status)),
    };
    let transaction = if gone { transaction.delete(&entry.key) } else { transaction.put(&entry.key, value.clone()) };
    let revision = if dry_run { entry.modified } else { call.server.store.commit(transaction).await?.revision };
    let stored = Entry { key: entry.key.clone(), value, created: entry.created, modified: revision };
    Ok(call.shown(stored).await)
}

/// Whether a conflict is about the definition of a kind, not about an object.
pub(super) fn is_redefined(error: &Error) -> bool {
    matches!(error, Error::Conflict { key, .. } if custom::is_schema_key(key))
}

/// Whether two objects say the same, whatever the order of their fields.
fn is_same(before: &Value, after: &Value) -> bool {
    let fields = |object: &Value| object.as_object().map_or(0, |fields| fields.values().filter(|value| !value.is_null()).count());
    let metadata = |object: &Value| fields(&object["metadata"]) - usize::from(object["metadata"]["resourceVersion"].is_string());
    let same = |before: &Value, after: &Value| {
        after
            .as_object()
            .into_iter()
            .flatten()
            .all(|(name, value)| name == "metadata" || name == "resourceVersion" || before.get(name).unwrap_or(&Value::Null) == value)
    };
    let (old, new) = (&before["metadata"], &after["metadata"]);
    fields(before) == fields(after) && metadata(before) == metadata(after) && same(before, after) && same(old, new)
}

/// Whether an object that is being deleted has nothing left to wait for.
pub fn is_finished(object: &Value) -> bool {
    let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let metadata = &object["metadata"];
    metadata["deletionTimestamp"].is_string()
        && is_empty(&metadata["finalizers"])
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && (object["kind"] != "Namespace" || is_empty(&object["spec"]["finalizers"]))
}
