//! Being taken for somebody else, for those who may: the `Impersonate-` headers.

use http::HeaderMap;
use logic::rbac::Deed;
use model::review::AUTHENTICATION;

use super::authorize::{decide, refused};
use super::{User, account_groups, account_of};
use crate::Server;
use crate::path::decoded;
use crate::status::{Result, Status};

const EXTRA: &str = "impersonate-extra-";

/// The user that the headers ask to be taken for, or `user` when they ask for none.
/// Errors: 400 for headers that name no user, 403 when `user` may not.
pub async fn impersonate(server: &Server, user: User, headers: &HeaderMap) -> Result<User> {
    let Some(wanted) = wanted(headers)? else { return Ok(user) };
    let may = async |group: &str, resource: &str, namespace: &str, name: &str| {
        let deed = Deed::Resource { verb: "impersonate", group, resource, namespace, name };
        let decision = decide(server, &user, deed).await?;
        if decision.allowed.is_some() { Ok(()) } else { Err(refused(&user, deed, "cannot", &decision)) }
    };
    match account_of(&wanted.name) {
        Some((namespace, name)) => may("", "serviceaccounts", namespace, name).await?,
        None => may("", "users", "", &wanted.name).await?,
    }
    for group in &wanted.groups {
        may("", "groups", "", group).await?;
    }
    if !wanted.uid.is_empty() {
        may(AUTHENTICATION, "uids", "", &wanted.uid).await?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            may(AUTHENTICATION, &format!("userextras/{key}"), "", value).await?;
        }
    }
    Ok(completed(wanted))
}

/// Gives the groups that a user of that name is always in.
fn completed(mut user: User) -> User {
    if let (true, Some((namespace, _))) = (user.groups.is_empty(), account_of(&user.name)) {
        user.groups = account_groups(namespace).to_vec();
    }
    let always = if user.name == "system:anonymous" { "system:unauthenticated" } else { super::AUTHENTICATED };
    if always != super::AUTHENTICATED || !user.groups.iter().any(|group| group == "system:unauthenticated") {
        user.join(always);
    }
    user
}

fn wanted(headers: &HeaderMap) -> Result<Option<User>> {
    let texts =
        |name: &str| -> Vec<String> { headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect() };
    let first = |name: &str| texts(name).into_iter().next().unwrap_or_default();
    let groups = texts("impersonate-group").into_iter().filter(|group| !group.is_empty()).collect();
    let mut wanted = User { name: first("impersonate-user"), uid: first("impersonate-uid"), groups, ..User::default() };
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            let key = decoded(key).ok_or_else(|| Status::bad_request(format!("{name}: the key is no UTF-8")))?;
            wanted.extra.insert(key.to_lowercase(), texts(name.as_str()));
        }
    }
    if wanted == User::default() {
        return Ok(None);
    }
    if wanted.name.is_empty() {
        return Err(Status::bad_request(format!("requested {} without impersonating a user name", shown(&wanted))));
    }
    Ok(Some(wanted))
}

/// A user in the form in which Kubernetes quotes it.
fn shown(user: &User) -> String {
    let list = |texts: &[String]| texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ");
    let groups = if user.groups.is_empty() { "[]string(nil)".to_owned() } else { format!("[]string{{{}}}", list(&user.groups)) };
    let extra = if user.extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let entries = user.extra.iter().map(|(key, values)| format!("{key:?}:[]string{{{}}}", list(values)));
        format!("map[string][]string{{{}}}", entries.collect::<Vec<_>>().join(", "))
    };
    format!("&user.DefaultInfo{{Name:\"\", UID:{:?}, Groups:{groups}, Extra:{extra}}}", user.uid)
}
