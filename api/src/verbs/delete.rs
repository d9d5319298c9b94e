//! `DELETE`: an object goes, at once or when whoever holds it lets go.

use axum::response::Response;
use http::StatusCode;
use jiff::SignedDuration;
use logic::definition::names;
use model::{Kind, Problem, ProblemKind, custom_resource_definition as definition};
use serde_json::{Value, json};
use store::{Compare, Entry, Error, Transaction};

use super::read::{page, respond, respond_list};
use super::update::{is_finished, is_redefined};
use crate::query::Query;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{addressed, admission, admit, answer, claims, conversion, object};

const TRIES_MAX: usize = 32;
/// Namespaces that are there for good.
const LASTING: [&str; 3] = ["default", "kube-system", "kube-public"];

/// What a deletion was told.
struct Deletion {
    uid: Option<String>,
    version: Option<String>,
    grace_seconds: Option<i64>,
    finalizer: Option<&'static str>,
    dry_run: bool,
    warnings: Vec<String>,
}

/// What whoever deletes an object without saying so is told, where that leaves what belongs to it.
const ORPHANS: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or \
     set propagationPolicy=Orphan to suppress this warning";

/// Deletes one object. Answers the object where it stays for a while, a Status where it is gone. Errors: 404, 409.
pub async fn delete(call: &Call) -> Result<Response> {
    let accepted = call.accepted()?;
    let deletion = Deletion::read(call)?;
    let (kind, name) = (call.kind(), call.name()?);
    if kind.group.is_empty() && kind.kind == "Namespace" && LASTING.contains(&name) {
        let message = format!("namespaces {name:?} is forbidden: this namespace may not be deleted");
        return Err(Status::forbidden(json!({"name": name, "kind": kind.plural}), message));
    }
    for _ in 0..TRIES_MAX {
        let entry = call.server.store.get(&call.key(name), None).await?.ok_or_else(|| Status::not_found(kind, name))?;
        match remove(call, &entry, &deletion).await {
            Err(error @ Error::Conflict { .. }) if !is_redefined(&error) => {}
            Err(other) => return Err(other.into()),
            Ok(removed) => {
                let (left, gone) = removed?;
                // What goes at once is shown as it was; only a Pod's end is told by its grace.
                let shown = if gone && kind.kind != "Pod" { &entry } else { &left };
                if (!gone || answers_object(kind))
                    && let Ok(shown) = call.shown(shown.clone()).await
                {
                    let mut response = respond(call, accepted, StatusCode::OK, &shown);
                    answer::warn(&mut response, &deletion.warnings);
                    return Ok(response);
                }
                let uid = object::decode(&left)["metadata"]["uid"].clone();
                let mut details = json!({"name": name, "group": kind.kept_group(), "kind": kind.plural, "uid": uid});
                if let Some(fields) = details.as_object_mut() {
                    fields.retain(|_, value| value != "");
                }
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
                return Ok(answer::value(accepted.format, StatusCode::OK, &status));
            }
        }
    }
    Err(Status::conflict(kind, name))
}

fn answers_object(kind: &Kind) -> bool {
    kind.group.is_empty() && ["Pod", "Namespace", "ServiceAccount"].contains(&kind.kind.as_str())
}

/// Deletes every object that a list with the same query would give, and answers that list: a page where it has a limit.
pub async fn delete_collection(call: &Call) -> Result<Response> {
    let accepted = call.accepted()?;
    let deletion = Deletion::read(call)?;
    let (listed, metadata) = page(call).await?;
    let mut deleted = Vec::new();
    for listed in listed {
        for _ in 0..TRIES_MAX {
            let Some(entry) = call.server.store.get(&listed.key, None).await? else { break };
            match remove(call, &entry, &deletion).await {
                Err(error @ Error::Conflict { .. }) if !is_redefined(&error) => {}
                Err(other) => return Err(other.into()),
                Ok(removed) => {
                    removed?;
                    deleted.push(entry);
                    break;
                }
            }
        }
    }
    // They are gone, even where they can be shown no more.
    let deleted = call.shown_all(deleted).await.unwrap_or_default();
    let mut response = respond_list(call, accepted, deleted, &metadata);
    answer::warn(&mut response, &deletion.warnings);
    Ok(response)
}

/// Marks or removes an object. Returns what is left of it, and whether it is gone.
async fn remove(call: &Call, entry: &Entry, deletion: &Deletion) -> store::Result<Result<(Entry, bool)>> {
    let kind = call.kind();
    let before = match asked(call, entry, deletion).await {
        Ok(before) => before,
        Err(status) => return Ok(Err(status)),
    };
    let (after, bytes) = conversion::marked(&call.served, entry, &before, |object| deletion.mark(kind, object, call.server.clock.now()));
    let gone = is_finished(&after);
    let condition = Transaction::new().when(Compare::Modified(entry.key.clone(), entry.modified));
    let condition = call.guarded(condition);
    let transaction = match claims::take(call, condition, &before, if gone { &Value::Null } else { &after }).await {
        Ok(transaction) => transaction,
        Err(status) => return Ok(Err(status)),
    };
    let value = bytes::Bytes::from(bytes);
    let transaction = if gone { transaction.delete(&entry.key) } else { transaction.put(&entry.key, value.clone()) };
    let revision = if deletion.dry_run { entry.modified } else { call.server.store.commit(transaction).await?.revision };
    Ok(Ok((Entry { key: entry.key.clone(), value, created: entry.created, modified: revision }, gone)))
}

/// The object, once its deletion may begin: it is the one that is meant, and nobody refuses. It is as it is kept where nobody is
/// asked, so that an object can go whose webhook is away.
async fn asked(call: &Call, entry: &Entry, deletion: &Deletion) -> Result<Value> {
    if !admission::is_asked(call).await? {
        let before = call.served.read(entry);
        return deletion.check(call.kind(), &before, entry.modified).map(|()| before);
    }
    let before = call.served.read(&call.shown(entry.clone()).await?);
    deletion.check(call.kind(), &before, entry.modified)?;
    admission::ask(call, "DELETE", &before, &Value::Null, deletion.dry_run).await?;
    Ok(before)
}

/// What a query says where there is no body: the same options, but for the version.
fn of_query(query: &Query) -> Result<Value> {
    let mut options = json!({});
    if let Some(seconds) = query.number("gracePeriodSeconds")? {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    if query.has("orphanDependents") {
        // Whatever does not say no says yes.
        let says_no = query.get("orphanDependents").is_some_and(|said| said == "0" || said.eq_ignore_ascii_case("false"));
        options["orphanDependents"] = json!(!says_no);
    }
    if let Some(policy) = query.get("propagationPolicy") {
        options["propagationPolicy"] = json!(policy);
    }
    if let Some(uid) = query.get("uid") {
        options["preconditions"]["uid"] = json!(uid);
    }
    Ok(options)
}

impl Deletion {
    fn read(call: &Call) -> Result<Self> {
        let body = addressed::delete_options(call)?;
        let dry_run = if body.is_null() { call.query.dry_run("DeleteOptions")? } else { body["dryRun"] == json!(["All"]) };
        let body = if body.is_null() { of_query(&call.query)? } else { body };
        Self::check_options(&body)?;
        let policy = body["propagationPolicy"].as_str().filter(|policy| !policy.is_empty());
        let (grace_seconds, orphans) = (body["gracePeriodSeconds"].as_i64(), body["orphanDependents"].as_bool());
        let finalizer = match (policy, orphans) {
            (Some("Orphan"), _) | (None, Some(true)) => Some("orphan"),
            (Some("Foreground"), _) => Some("foregroundDeletion"),
            (None, None) if call.kind().orphans => Some("orphan"),
            (Some("Background") | None, _) => None,
            (Some(other), _) => {
                let detail = format!("{other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"");
                let problem = model::Problem::new(model::ProblemKind::NotSupported, "propagationPolicy", detail);
                return Err(Status::invalid_options("DeleteOptions", &[problem]));
            }
        };
        let text = |field: &str| body["preconditions"][field].as_str().map(str::to_owned);
        let unsaid = call.kind().orphans && orphans.is_none() && policy.is_none();
        let warnings = if unsaid { vec![ORPHANS.to_owned()] } else { Vec::new() };
        Ok(Self { uid: text("uid"), version: text("resourceVersion"), grace_seconds, finalizer, dry_run, warnings })
    }

    /// Errors: 422 for options that contradict each other.
    fn check_options(body: &Value) -> Result<()> {
        let mut found = Vec::new();
        if let Some(policy) = body["propagationPolicy"].as_str().filter(|_| body["orphanDependents"].is_boolean()) {
            let detail = format!("{policy:?}: orphanDependents and deletionPropagation cannot be both set");
            found.push(Problem::invalid("propagationPolicy", detail));
        }
        let dry_run = &body["dryRun"];
        if dry_run.as_array().is_some_and(|list| list.iter().any(|item| item != "All")) {
            found.push(Problem::new(ProblemKind::NotSupported, "dryRun", format!("{dry_run}: supported values: \"All\"")));
        }
        if found.is_empty() { Ok(()) } else { Err(Status::invalid_options("DeleteOptions", &found)) }
    }

    fn check(&self, kind: &Kind, object: &Value, modified: u64) -> Result<()> {
        let metadata = &object["metadata"];
        let (name, uid) = (metadata["name"].as_str().unwrap_or_default(), metadata["uid"].as_str().unwrap_or_default());
        if let Some(asked) = self.uid.as_deref().filter(|asked| *asked != uid) {
            let why = format!(
                "the UID in the precondition ({asked}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            );
            return Err(Status::precondition(kind, name, &why));
        }
        if let Some(asked) = self.version.as_deref().filter(|asked| *asked != modified.to_string()) {
            let why = format!(
                "the ResourceVersion in the precondition ({asked}) does not match the ResourceVersion in record ({modified}). The object might have been modified"
            );
            return Err(Status::precondition(kind, name, &why));
        }
        Ok(())
    }

    /// Marks an object as being deleted. A Pod on a node keeps its grace, until its agent deletes it with a grace of 0.
    fn mark(&self, kind: &Kind, object: &mut Value, now: jiff::Timestamp) {
        let graceful =
            kind.group.is_empty() && kind.kind == "Pod" && object["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
        let ended = ["Succeeded", "Failed"].contains(&object["status"]["phase"].as_str().unwrap_or_default());
        let own_grace = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
        let mut grace = if graceful && !ended { self.grace_seconds.unwrap_or(own_grace).max(0) } else { 0 };
        let metadata = &mut object["metadata"];
        if metadata["deletionTimestamp"].is_string() {
            let current = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
            grace = if self.grace_seconds.is_some() { grace.min(current) } else { current };
            metadata["deletionGracePeriodSeconds"] = json!(grace);
            return;
        }
        let end = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
        metadata["deletionTimestamp"] = json!(admit::timestamp(end));
        metadata["deletionGracePeriodSeconds"] = json!(grace);
        if let Some(finalizer) = self.finalizer {
            let mut finalizers = metadata["finalizers"].as_array().cloned().unwrap_or_default();
            if !finalizers.contains(&json!(finalizer)) {
                finalizers.push(json!(finalizer));
            }
            metadata["finalizers"] = json!(finalizers);
        }
        let generation = metadata["generation"].as_i64().filter(|_| kind.generation && metadata["finalizers"].is_array());
        if let Some(generation) = generation {
            metadata["generation"] = json!(generation + 1);
        }
        model::drop_nulls(metadata);
        if kind.kind == "Namespace" && kind.group.is_empty() {
            object["status"]["phase"] = json!("Terminating");
        }
        if definition::is_definition(kind) {
            object["status"] = names::terminating(&object["status"], &admit::timestamp(now));
        }
    }
}
