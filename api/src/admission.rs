//! Before something is stored: policies and webhooks may change it, then policies and webhooks may refuse it.
//!
//! What they say is `logic::admission`'s to work out; here are the objects that they need, and the calls.

mod changes;
mod policies;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;

use logic::admission::{Policy, Request, Resource, matching};
use logic::patch::apply;
use logic::rules::Authorizer;
use serde_json::{Value, json};

use crate::followed::FromObjects;
use crate::query::FieldValidation;
use crate::serve::Call;
use crate::status::Result;
use crate::{addressed, admit, object};

/// What is told when policies or webhooks left `managedFields` that cannot be read; those from before are kept.
const UNREADABLE_OWNERS: &str = ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated \
    mutating admission controller; please fix your requests";

/// Everything that is asked before something is stored.
#[derive(Clone, Default)]
pub struct Asked {
    policies: BTreeMap<String, Arc<Policy>>,
    bindings: BTreeMap<String, Arc<Value>>,
    validating: BTreeMap<String, Arc<Value>>,
    mutating: BTreeMap<String, Arc<Value>>,
    mutating_policies: BTreeMap<String, Arc<Policy>>,
    mutating_bindings: BTreeMap<String, Arc<Value>>,
}

impl Asked {
    /// Whether there is anything that refuses.
    fn may_refuse(&self) -> bool {
        !self.bindings.is_empty() || !self.validating.is_empty()
    }
}

impl FromObjects for Asked {
    const PREFIX: &'static str = "/admissionregistration.k8s.io/";

    fn set(&mut self, resource: &str, _: &str, name: &str, object: Option<&Value>) {
        let policies = match resource {
            "validatingadmissionpolicies" => Some(&mut self.policies),
            "mutatingadmissionpolicies" => Some(&mut self.mutating_policies),
            _ => None,
        };
        if let Some(into) = policies {
            match object {
                Some(object) => into.insert(name.to_owned(), Arc::new(Policy::read(object))),
                None => into.remove(name),
            };
            return;
        }
        let into = match resource {
            "validatingadmissionpolicybindings" => &mut self.bindings,
            "mutatingadmissionpolicybindings" => &mut self.mutating_bindings,
            "validatingwebhookconfigurations" => &mut self.validating,
            "mutatingwebhookconfigurations" => &mut self.mutating,
            _ => return,
        };
        match object {
            Some(object) => into.insert(name.to_owned(), Arc::new(object.clone())),
            None => into.remove(name),
        };
    }
}

/// What is told beside an answer.
#[derive(Debug, Default)]
pub struct Aside {
    /// To whoever asked.
    pub warnings: Vec<String>,
    /// To whoever reads the audit log.
    pub notes: Vec<(String, String)>,
}

/// What the audit log notes beside a request: a response extension.
#[derive(Debug, Clone)]
pub struct Notes(pub Vec<(String, String)>);

/// Whether there is anything that changes objects before they are stored.
pub async fn may_change(call: &Call) -> Result<bool> {
    Ok(call.server.admission.current(call.server.store.as_ref()).await?.may_change())
}

/// Whether there is anybody who may be asked.
pub async fn is_asked(call: &Call) -> Result<bool> {
    let asked = call.server.admission.current(call.server.store.as_ref()).await?;
    Ok(asked.may_change() || asked.may_refuse())
}

/// Has policies and webhooks change a new or changed object; whether any did. Its `managedFields` say who owns what without that;
/// they may be changed too, but not into what nobody can read. Errors: what a webhook refuses, what fails, and what is no object
/// of the kind and place any more.
pub async fn change(call: &Call, operation: &'static str, before: &Value, after: &mut Value, dry_run: bool) -> Result<bool> {
    if !changed(call, operation, before, after, dry_run).await? {
        return Ok(false);
    }
    addressed::place(call.kind(), &call.place, after)?;
    admit::shape(&call.served, after, FieldValidation::Ignore)?;
    Ok(true)
}

async fn changed(call: &Call, operation: &'static str, before: &Value, after: &mut Value, dry_run: bool) -> Result<bool> {
    let asked = call.server.admission.current(call.server.store.as_ref()).await?;
    if !asked.may_change() {
        return Ok(false);
    }
    let mut request = request(call, operation, before, after, dry_run).await?;
    if matching::is_exempt(&request) || !asked.concerns(&request) {
        return Ok(false);
    }
    admit::fill_in(&call.served, &mut request.object);
    let changed = changes::change(call, &asked, &mut request).await?;
    if changed {
        let owned = after.pointer_mut("/metadata/managedFields").map(Value::take).unwrap_or_default();
        *after = request.object;
        if apply::entries(&after["metadata"]["managedFields"]).is_none() {
            after["metadata"]["managedFields"] = owned;
            call.tell(|told| told.warnings.push(UNREADABLE_OWNERS.to_owned()));
        }
    }
    Ok(changed)
}

/// Asks policies and validating webhooks about what is to be stored. Errors: what they refuse, and webhooks that fail.
pub async fn validate(call: &Call, operation: &'static str, before: &Value, after: &Value, dry_run: bool) -> Result<()> {
    let asked = call.server.admission.current(call.server.store.as_ref()).await?;
    if !asked.may_refuse() {
        return Ok(());
    }
    let request = request(call, operation, before, after, dry_run).await?;
    if matching::is_exempt(&request) {
        return Ok(());
    }
    policies::validate(call, &asked, &request).await?;
    webhooks::validate(call, &asked.validating, &request).await
}

/// Asks everybody about something that stores nothing of its own: a deletion, a connection. Errors: as for `validate`.
pub async fn ask(call: &Call, operation: &'static str, before: &Value, after: &Value, dry_run: bool) -> Result<()> {
    let mut unchanged = after.clone();
    changed(call, operation, before, &mut unchanged, dry_run).await?;
    validate(call, operation, before, after, dry_run).await
}

async fn request(call: &Call, operation: &'static str, before: &Value, after: &Value, dry_run: bool) -> Result<Request> {
    let (kind, server) = (call.kind(), &call.server);
    let subresource = call.place.subresource.clone().unwrap_or_default();
    let (before, after) = if subresource == "scale" {
        (crate::verbs::as_scale(call, before)?, crate::verbs::as_scale(call, after)?)
    } else {
        (before.clone(), after.clone())
    };
    let shown = if after.is_object() { &after } else { &before };
    let name = shown["metadata"]["name"].as_str().or(call.place.name.as_deref()).unwrap_or_default().to_owned();
    let is_namespace = kind.group.is_empty() && kind.plural == "namespaces";
    let namespace = if is_namespace { Some(name.clone()) } else { call.place.namespace.clone() };
    let namespace_object = match &namespace {
        Some(namespace) if !is_namespace => {
            let key = object::namespace_key(namespace);
            server.store.get(&key, None).await?.map_or(Value::Null, |entry| object::decode(&entry))
        }
        _ => Value::Null,
    };
    let of = |group: &str, version: &str| Resource {
        group: group.into(),
        version: version.into(),
        plural: kind.plural.clone(),
        kind: shown["kind"].as_str().unwrap_or(&kind.kind).to_owned(),
        kind_api: shown["apiVersion"].as_str().filter(|_| shown["kind"] != kind.kind.as_str()).map(str::to_owned),
    };
    let registry = server.kinds().await?;
    let others = registry.all().iter().map(|served| &served.kind).filter(|other| {
        other.plural == kind.plural && other.kept_group() == kind.kept_group() && other.api_version() != kind.api_version()
    });
    Ok(Request {
        operation,
        resource: of(&kind.group, &kind.version),
        equivalents: others.map(|other| of(&other.group, &other.version)).collect(),
        subresource,
        name,
        namespace: namespace.unwrap_or_default(),
        namespace_object,
        object: after,
        old_object: before,
        options: options(call, operation, dry_run),
        dry_run,
        user: call.user.to_value(),
        authorizer: Authorizer::new(server.policies.current(server.store.as_ref()).await?, &call.user.name, &call.user.groups),
    })
}

fn options(call: &Call, operation: &str, dry_run: bool) -> Value {
    let kind = match operation {
        "CREATE" => "CreateOptions",
        "UPDATE" => "UpdateOptions",
        "DELETE" => "DeleteOptions",
        _ => return Value::Null,
    };
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if dry_run {
        options["dryRun"] = json!(["All"]);
    }
    for field in ["fieldManager", "fieldValidation"] {
        if let Some(value) = call.query.get(field) {
            options[field] = json!(value);
        }
    }
    options
}
