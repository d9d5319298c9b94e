//! Nobody gives away more than they have: what a write of a role, of a binding or of a stored token would let somebody do.

use logic::rbac::{Deed, Rule, beyond, everything, shown};
use model::Kind;
use serde_json::{Value, json};

use super::authorize::{decide, refused};
use super::{User, stored_tokens};
use crate::Server;
use crate::serve::Call;
use crate::status::{Result, Status};

/// Checks a write; `before` is null for a new object. Errors: 403; 404 for a binding to a role that is not there.
pub async fn check(call: &Call, before: &Value, after: &Value) -> Result<()> {
    let (kind, user) = (call.kind(), &call.user);
    if user.is_master() {
        return Ok(());
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        (model::rbac::GROUP, "Role" | "ClusterRole") => role(call, before, after).await,
        (model::rbac::GROUP, "RoleBinding" | "ClusterRoleBinding") => binding(call, before, after).await,
        ("", "Secret") if stored_tokens::is_one(after) => stored_token(call, after).await,
        _ => Ok(()),
    }
}

/// Makes a role allow something: only what the writer may do, or who may `escalate`.
async fn role(call: &Call, before: &Value, after: &Value) -> Result<()> {
    let is_same = before["rules"] == after["rules"] && before["aggregationRule"] == after["aggregationRule"];
    let name = after["metadata"]["name"].as_str().unwrap_or_default();
    if (!before.is_null() && is_same) || may(call, "escalate", &call.kind().plural, name).await? {
        return Ok(());
    }
    let mut wanted = Rule::list(&after["rules"]);
    if after["aggregationRule"].is_object() && before["aggregationRule"] != after["aggregationRule"] {
        wanted.extend(everything());
    }
    confirm(call, name, &wanted).await
}

/// Gives a role to somebody: only one that allows what the writer may do, or who may `bind` it.
async fn binding(call: &Call, before: &Value, after: &Value) -> Result<()> {
    if !before.is_null() && before["subjects"] == after["subjects"] && before["roleRef"] == after["roleRef"] {
        return Ok(());
    }
    let role_name = after["roleRef"]["name"].as_str().unwrap_or_default();
    let (role_kind, namespace) = if after["roleRef"]["kind"] == "ClusterRole" {
        (model::rbac::cluster_role(), "")
    } else {
        (model::rbac::role(), call.place.namespace.as_deref().unwrap_or_default())
    };
    if may(call, "bind", &role_kind.plural, role_name).await? {
        return Ok(());
    }
    let policy = call.server.policies.current(call.server.store.as_ref()).await?;
    let Some(rules) = policy.role(namespace, role_name) else { return Err(Status::not_found(&role_kind, role_name)) };
    confirm(call, after["metadata"]["name"].as_str().unwrap_or_default(), rules).await
}

/// Makes a token of somebody: only who may be taken for that user and its groups.
async fn stored_token(call: &Call, after: &Value) -> Result<()> {
    let (name, groups) = stored_tokens::subject(after);
    for (resource, name) in std::iter::once(("users", &name)).chain(groups.iter().map(|group| ("groups", group))) {
        let deed = Deed::Resource { verb: "impersonate", group: "", resource, namespace: "", name };
        let decision = decide(&call.server, &call.user, deed).await?;
        if decision.allowed.is_none() {
            return Err(refused(&call.user, deed, "cannot", &decision));
        }
    }
    Ok(())
}

async fn may(call: &Call, verb: &str, resource: &str, name: &str) -> Result<bool> {
    let namespace = call.place.namespace.as_deref().unwrap_or_default();
    let deed = Deed::Resource { verb, group: model::rbac::GROUP, resource, namespace, name };
    Ok(decide(&call.server, &call.user, deed).await?.allowed.is_some())
}

async fn confirm(call: &Call, name: &str, wanted: &[Rule]) -> Result<()> {
    let namespace = call.place.namespace.as_deref().unwrap_or_default();
    let lacking = beyond(&held(&call.server, &call.user, namespace).await?, wanted);
    if lacking.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = call.user.groups.iter().map(|group| format!("{group:?}")).collect();
    let who = format!("user {:?} (groups=[{}])", call.user.name, groups.join(" "));
    let why = format!("{who} is attempting to grant RBAC permissions not currently held:\n{}", shown(&lacking));
    Err(forbidden(call.kind(), name, &why))
}

async fn held(server: &Server, user: &User, namespace: &str) -> Result<Vec<Rule>> {
    Ok(server.policies.current(server.store.as_ref()).await?.rules_of(user.asker(), namespace))
}

fn forbidden(kind: &Kind, name: &str, why: &str) -> Status {
    let details = json!({"name": name, "group": kind.group, "kind": kind.plural});
    Status::forbidden(details, format!("{} {name:?} is forbidden: {why}", kind.qualified_plural()))
}
