//! `POST`: a new object.

use axum::response::Response;
use http::StatusCode;
use model::Kind;
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::{Compare, Entry, Error, Transaction};

use super::read::respond;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{access, addressed, admission, admit, answer, body, claims, conversion, custom, object, owners, placed, pod_security};

/// Creates an object. Errors: 400, 404 for a namespace that is not there, 403 for one that is going, 409, 422.
pub async fn create(call: &Call) -> Result<Response> {
    let (kind, served) = (call.kind(), &call.served);
    let accepted = call.accepted()?;
    let dry_run = call.query.dry_run("CreateOptions")?;
    let mode = call.query.field_validation("CreateOptions")?;
    call.query.check_manager("CreateOptions")?;
    let mut object = body::object(kind, &call.headers, &call.body)?;
    addressed::place(kind, &call.place, &mut object)?;
    let twice = body::duplicates(&call.headers, &call.body);
    let warnings = admit::shape_of(served, &mut object, mode, &twice)?;
    let owned = owners::created(call, &admit::meant(served, &object));
    finish(call, &mut object, owned, dry_run).await?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let entry = keep(call, &name, object, dry_run).await?;
    let mut response = respond(call, accepted, StatusCode::CREATED, &entry);
    answer::warn(&mut response, &warnings);
    Ok(response)
}

/// Has webhooks change a new object, and prepares what comes of that. `owned` is who owns what before that: what webhooks change
/// belongs to nobody. Errors: what a webhook refuses or fails at, and 422.
pub(super) async fn finish(call: &Call, object: &mut Value, owned: Value, dry_run: bool) -> Result<()> {
    object["metadata"]["managedFields"] = owned;
    placed::resolve(call, object).await?;
    admission::change(call, "CREATE", &Value::Null, object, dry_run).await?;
    let owned = object["metadata"]["managedFields"].take();
    let uid = uuid::Uuid::new_v4().to_string();
    admit::new_object(&call.served, object, call.server.clock.now(), &uid, &suffix(&uid))?;
    object["metadata"]["managedFields"] = owned;
    if call.kind().group.is_empty() && call.kind().kind == "Secret" {
        access::bound_token(&call.server, object)?;
    }
    Ok(())
}

pub(super) async fn keep(call: &Call, name: &str, object: Value, dry_run: bool) -> Result<Entry> {
    let (kind, store) = (call.kind(), &call.server.store);
    access::check_grant(call, &Value::Null, &object).await?;
    pod_security::check(call, &Value::Null, &object).await?;
    admission::validate(call, "CREATE", &Value::Null, &object, dry_run).await?;
    if call.served.custom.as_ref().is_some_and(|custom| custom.terminating) {
        return Err(Status::kind_is_going());
    }
    let key = call.key(name);
    let mut transaction = call.guarded(Transaction::new().when(Compare::Absent(key.clone())));
    let namespace = call.place.namespace.as_deref().filter(|_| kind.is_namespaced());
    let namespace_key = namespace.map(object::namespace_key);
    if let (Some(namespace), Some(namespace_key)) = (namespace, &namespace_key) {
        check_namespace(call, name, namespace, namespace_key).await?;
        transaction = transaction.when(Compare::Present(namespace_key.clone()));
    }
    transaction = claims::take(call, transaction, &Value::Null, &object).await?;
    let bytes = bytes::Bytes::from(conversion::kept(&call.server, &call.served, object).await?);
    let entry = |revision| {
        let entry = Entry { key: key.clone(), value: bytes.clone(), created: revision, modified: revision };
        call.shown(entry)
    };
    if dry_run {
        return match store.get(&key, None).await? {
            Some(there) => Err(taken(kind, name, &there)),
            None => entry(0).await,
        };
    }
    match store.commit(transaction.put(&key, bytes.clone())).await {
        Ok(committed) => entry(committed.revision).await,
        Err(Error::Conflict { key: conflicting, .. }) => Err(refused(call, name, &key, &conflicting, namespace).await?),
        Err(other) => Err(other.into()),
    }
}

async fn refused(call: &Call, name: &str, key: &str, conflicting: &str, namespace: Option<&str>) -> Result<Status> {
    if conflicting == key {
        let there = call.server.store.get(key, None).await?;
        return Ok(there.map_or_else(|| Status::already_exists(call.kind(), name, false), |there| taken(call.kind(), name, &there)));
    }
    if custom::is_schema_key(conflicting) {
        return Ok(Status::redefined());
    }
    if claims::is_claim(conflicting) {
        return Ok(Status::conflict_because(call.kind(), name, "a route was claimed by another object meanwhile; try again"));
    }
    Ok(Status::not_found(&model::namespace::kind(), namespace.unwrap_or_default()))
}

fn taken(kind: &Kind, name: &str, there: &Entry) -> Status {
    let terminating = object::decode(there)["metadata"]["deletionTimestamp"].is_string();
    Status::already_exists(kind, name, terminating)
}

async fn check_namespace(call: &Call, name: &str, namespace: &str, key: &str) -> Result<()> {
    let kind = call.kind();
    let Some(entry) = call.server.store.get(key, None).await? else {
        return Err(Status::not_found(&model::namespace::kind(), namespace));
    };
    if !is_terminating(&entry.value) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let causes = serde_json::json!([{
        "reason": "NamespaceTerminating", "field": "metadata.namespace", "message": format!("namespace {namespace} is being terminated"),
    }]);
    let mut details = serde_json::json!({"name": name, "group": kind.kept_group(), "kind": kind.plural, "causes": causes});
    if let Some(fields) = details.as_object_mut() {
        fields.retain(|_, value| value != "");
    }
    Err(Status::forbidden(details, format!("{} {name:?} is forbidden: {why}", kind.qualified_plural())))
}

/// Whether a stored namespace is going away; parsed only when the word occurs at all.
fn is_terminating(stored: &[u8]) -> bool {
    const WORD: &[u8] = b"\"deletionTimestamp\"";
    memchr::memmem::find(stored, WORD).is_some()
        && serde_json::from_slice::<Value>(stored).is_ok_and(|object| object["metadata"]["deletionTimestamp"].is_string())
}

/// Five letters and digits for a generated name, without vowels and look-alikes, drawn from a fresh uid.
pub(super) fn suffix(uid: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::digest(uid);
    digest.iter().take(5).map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}
