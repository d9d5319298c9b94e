//! Whether a user may do what a request asks.

use http::Method;
use logic::rbac::{Decision, Deed};
use logic::selector::FieldSelector;
use serde_json::json;

use super::User;
use crate::Server;
use crate::path::Place;
use crate::query::Query;
use crate::status::{Result, Status};

/// Whether `user` may do `verb` at a resource path. Errors: 403.
pub async fn authorize(server: &Server, user: &User, verb: &str, place: &Place, query: &Query) -> Result<()> {
    let resource = match &place.subresource {
        Some(subresource) => format!("{}/{subresource}", place.resource),
        None => place.resource.clone(),
    };
    let name = place.name.clone().or_else(|| selected_name(verb, query)).unwrap_or_default();
    let namespace = namespace_of(place);
    let deed = Deed::Resource { verb, group: &place.group, resource: &resource, namespace, name: &name };
    let decision = decide(server, user, deed).await?;
    if decision.allowed.is_some() { Ok(()) } else { Err(refused(user, deed, "cannot", &decision)) }
}

/// Whether `user` may reach a path that is no resource. Errors: 403.
pub async fn authorize_path(server: &Server, user: &User, method: &Method, path: &str) -> Result<()> {
    let verb = if method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    let decision = decide(server, user, Deed::Path { verb: &verb, path }).await?;
    if decision.allowed.is_some() {
        return Ok(());
    }
    let message = format!("forbidden: User {:?} cannot {verb} path {path:?}{}", user.name, why(&decision));
    Err(Status::forbidden(json!({}), message))
}

/// What the roles say, or that the user may do everything.
pub async fn decide(server: &Server, user: &User, deed: Deed<'_>) -> Result<Decision> {
    if user.is_master() {
        return Ok(Decision { allowed: Some(String::new()), missing: Vec::new() });
    }
    Ok(server.policies.current(server.store.as_ref()).await?.decide(user.asker(), deed))
}

/// 403 for a deed with a resource.
pub fn refused(user: &User, deed: Deed<'_>, cannot: &str, decision: &Decision) -> Status {
    let Deed::Resource { verb, group, resource, namespace, name } = deed else { return Status::unauthorized() };
    let scope = if namespace.is_empty() { "at the cluster scope".to_owned() } else { format!("in the namespace {namespace:?}") };
    let message = format!("User {:?} {cannot} {verb} resource {resource:?} in API group {group:?} {scope}{}", user.name, why(decision));
    let plural = resource.split('/').next().unwrap_or_default();
    let subject = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
    let quoted = if name.is_empty() { String::new() } else { format!(" {name:?}") };
    let mut details = json!({"name": name, "group": group, "kind": plural});
    if let Some(fields) = details.as_object_mut() {
        fields.retain(|_, value| value != "");
    }
    Status::forbidden(details, format!("{subject}{quoted} is forbidden: {message}"))
}

fn why(decision: &Decision) -> String {
    match decision.missing.as_slice() {
        [] => String::new(),
        [only] => format!(": RBAC: {only}"),
        several => format!(": RBAC: [{}]", several.join(", ")),
    }
}

/// The namespace that rules are looked for in: of a namespace itself, its own.
fn namespace_of(place: &Place) -> &str {
    let of_itself = || place.name.as_deref().filter(|_| place.group.is_empty() && place.resource == "namespaces");
    place.namespace.as_deref().or_else(of_itself).unwrap_or_default()
}

/// A list or watch of one name is about that name.
fn selected_name(verb: &str, query: &Query) -> Option<String> {
    let selector = query.get("fieldSelector").filter(|_| ["list", "watch", "deletecollection"].contains(&verb))?;
    FieldSelector::parse(selector).ok()?.name().map(str::to_owned)
}

/// The name of the verb in rules, for a method at a place.
pub fn verb(method: &Method, place: &Place, watch: bool) -> &'static str {
    match (method.as_str(), &place.name) {
        ("GET" | "HEAD", _) if watch || place.watch => "watch",
        ("GET" | "HEAD", Some(_)) => "get",
        ("GET" | "HEAD", None) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", None) => "deletecollection",
        ("DELETE", Some(_)) => "delete",
        _ => "",
    }
}
