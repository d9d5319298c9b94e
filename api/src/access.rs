//! Who asks, and whether they may.

use std::collections::HashMap;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use model::Kind;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::path::Place;
use crate::status::{Result, Status};

/// Somebody who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name: `admin`, `system:anonymous`, `system:conductor:service`.
    pub name: String,
    /// The groups; a member of `system:masters` may do everything.
    pub groups: Vec<String>,
}

/// A request extension: who asks is known already. Set by the process itself, never read from a header.
#[derive(Debug, Clone)]
pub struct Identity(pub User);

/// Which bearer tokens there are. Only their hashes are kept.
#[derive(Debug, Clone, Default)]
pub struct Access {
    tokens: HashMap<[u8; 32], User>,
}

impl User {
    /// A user that may do everything.
    pub fn master(name: &str) -> Self {
        Self { name: name.into(), groups: vec!["system:masters".into(), "system:authenticated".into()] }
    }

    fn anonymous() -> Self {
        Self { name: "system:anonymous".into(), groups: vec!["system:unauthenticated".into()] }
    }

    fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }
}

impl Access {
    /// Adds a token.
    #[must_use]
    pub fn with_token(mut self, token: &str, mut user: User) -> Self {
        if !user.groups.iter().any(|group| group == "system:authenticated") {
            user.groups.push("system:authenticated".into());
        }
        self.tokens.insert(Sha256::digest(token).into(), user);
        self
    }

    /// Who a request's headers say that it is from. Errors: 401 for a token that is none of ours.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<User> {
        let Some(header) = headers.get(AUTHORIZATION) else { return Ok(User::anonymous()) };
        let text = header.to_str().unwrap_or_default();
        let Some(("Bearer" | "bearer", token)) = text.split_once(' ') else { return Ok(User::anonymous()) };
        let digest: [u8; 32] = Sha256::digest(token.trim()).into();
        self.tokens.get(&digest).cloned().ok_or_else(Status::unauthorized)
    }
}

/// Whether `user` may do `verb` at a resource path. Errors: 403.
pub fn authorize(user: &User, verb: &str, place: &Place) -> Result<()> {
    if user.is_master() {
        return Ok(());
    }
    let resource = match &place.subresource {
        Some(subresource) => format!("{}/{subresource}", place.resource),
        None => place.resource.clone(),
    };
    let scope = match &place.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".into(),
    };
    let message = format!("User {:?} cannot {verb} resource {resource:?} in API group {:?} {scope}", user.name, place.group);
    let name = place.name.clone().unwrap_or_default();
    let subject = if place.group.is_empty() { place.resource.clone() } else { format!("{}.{}", place.resource, place.group) };
    let quoted = if name.is_empty() { String::new() } else { format!(" {name:?}") };
    let mut details = json!({"name": name, "group": place.group, "kind": place.resource});
    if let Some(fields) = details.as_object_mut() {
        fields.retain(|_, value| value != "");
    }
    Err(Status::forbidden(details, format!("{subject}{quoted} is forbidden: {message}")))
}

/// Whether `user` may read a path that is no resource. Errors: 403.
pub fn authorize_path(user: &User, path: &str) -> Result<()> {
    let open = ["/version", "/healthz", "/livez", "/readyz"];
    let is_open = open.iter().any(|open| path.strip_prefix(open).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let discovers = ["/api", "/apis", "/openapi", "/"].iter().any(|prefix| path.starts_with(prefix));
    if is_open || user.is_master() || (discovers && user.groups.iter().any(|group| group == "system:authenticated")) {
        return Ok(());
    }
    let message = format!("forbidden: User {:?} cannot get path {path:?}", user.name);
    Err(Status::forbidden(json!({}), message))
}

/// The name of the verb in access rules, for a method at a place.
pub fn verb(method: &http::Method, place: &Place, watch: bool) -> &'static str {
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

/// The verbs that discovery lists for a kind.
pub fn verbs(kind: &Kind) -> Vec<&'static str> {
    let mut verbs = vec!["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    if kind.defined {
        verbs = vec!["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
    }
    if kind.plural == "namespaces" && kind.group.is_empty() {
        verbs.retain(|verb| *verb != "deletecollection");
    }
    verbs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_tokens_pass() {
        let access = Access::default().with_token("secret", User::master("admin"));
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, text.parse().unwrap());
            access.authenticate(&headers)
        };
        assert_eq!(with("Bearer secret").unwrap().name, "admin");
        assert_eq!(with("Bearer other").unwrap_err().code, 401);
        assert_eq!(with("Basic c2VjcmV0").unwrap().name, "system:anonymous");
        assert_eq!(access.authenticate(&HeaderMap::new()).unwrap().name, "system:anonymous");
    }

    #[test]
    fn a_stranger_may_see_the_version_and_nothing_else() {
        let stranger = User::anonymous();
        assert!(authorize_path(&stranger, "/version").is_ok());
        assert!(authorize_path(&stranger, "/livez/ping").is_ok());
        assert!(authorize_path(&stranger, "/versions").is_err());
        assert!(authorize_path(&stranger, "/apis").is_err());
        let place = Place::parse("/api/v1/namespaces/a/pods/b").unwrap();
        let refusal = authorize(&stranger, "get", &place).unwrap_err();
        assert_eq!(refusal.code, 403);
        assert!(refusal.message.starts_with("pods \"b\" is forbidden: User \"system:anonymous\" cannot get resource \"pods\""));
    }
}
