//! Whose a host is: the namespace's that holds it first, and nobody else's while it does.
//!
//! Beside the claims of hosts with paths there is a key for each host, whose value is the namespace. Who adds a claim writes it anew,
//! who gives up the last deletes it, each on condition that nobody did meanwhile. Stores from before have none: there the
//! oldest claim says whose the host is.

use std::collections::BTreeSet;

use logic::pod_security::{Bar, Level, Mode};
use logic::rbac::Deed;
use serde_json::json;
use store::{Compare, Entry, ListOptions, Transaction};

use super::PREFIX;
use crate::serve::Call;
use crate::status::Result;
use crate::{access, object};

/// What a role names to let its holders take hosts of others, wildcards, and all hosts at once.
const VERB: &str = "claim";
const RESOURCE: &str = "hosts";
const GROUP: &str = "conductor.dev";

/// The host of a claim.
pub(super) fn of(claim: &str) -> &str {
    claim.split('/').next().unwrap_or_default()
}

/// Why whoever asks may not take a host for their namespace; `None` where they may.
pub(super) async fn refusal(call: &Call, host: &str) -> Result<Option<String>> {
    let namespace = call.place.namespace.as_deref().unwrap_or_default();
    let mut why = None;
    if (host.is_empty() || host.starts_with("*.")) && !is_administrators(call, namespace).await? {
        let all = if host.is_empty() { "every host" } else { "every host of a domain" };
        why = Some(format!("is {all}, which only who may {VERB} it takes outside of namespaces that are privileged"));
    }
    for held in covering(host) {
        if let Some(owner) = owner(call, &held).await?.filter(|owner| owner != namespace) {
            why = Some(format!("is held by namespace {owner}{}", if held == host { String::new() } else { format!(" as {held:?}") }));
            break;
        }
    }
    let Some(why) = why else { return Ok(None) };
    let name = if host.is_empty() { "*" } else { host };
    let deed = Deed::Resource { verb: VERB, group: GROUP, resource: RESOURCE, namespace, name };
    if access::decide(&call.server, &call.user, deed).await?.allowed.is_some() {
        return Ok(None);
    }
    Ok(Some(format!("host {name:?} {why}; taking it needs the verb {VERB:?} on {RESOURCE}.{GROUP}")))
}

/// A host and the wildcards that cover it.
fn covering(host: &str) -> Vec<String> {
    let domains = host.match_indices('.').map(|(at, _)| format!("*{}", &host[at..]));
    let mut all = vec![host.to_owned()];
    all.extend(domains.filter(|wildcard| wildcard != host));
    all
}

/// Adds to a transaction what makes these hosts the namespace's, where they are nobody's.
pub(super) async fn take(call: &Call, mut transaction: Transaction, hosts: &BTreeSet<&str>) -> Result<Transaction> {
    let namespace = call.place.namespace.as_deref().unwrap_or_default();
    for host in hosts {
        let key = key(call, host);
        transaction = match call.server.store.get(&key, None).await? {
            Some(entry) => transaction.when(Compare::Modified(key.clone(), entry.modified)).put(key, entry.value),
            None => {
                let owner = owner(call, host).await?.unwrap_or_else(|| namespace.to_owned());
                transaction.when(Compare::Absent(key.clone())).put(key, owner)
            }
        };
    }
    Ok(transaction)
}

/// Adds to a transaction what follows from giving up claims: a host of which none is left is nobody's, and one of which only
/// others have claims is theirs.
pub(super) async fn give_up(call: &Call, mut transaction: Transaction, given: &[&str], taken: &BTreeSet<&str>) -> Result<Transaction> {
    let hosts: BTreeSet<&str> = given.iter().map(|claim| of(claim)).filter(|host| !taken.contains(host)).collect();
    for host in hosts {
        let key = key(call, host);
        let Some(entry) = call.server.store.get(&key, None).await? else { continue };
        let left: Vec<Entry> = claims(call, host).await?;
        let left: Vec<&Entry> = left.iter().filter(|left| !given.iter().any(|claim| left.key == super::key(call.kind(), claim))).collect();
        let owner = String::from_utf8_lossy(&entry.value).into_owned();
        transaction = transaction.when(Compare::Modified(key.clone(), entry.modified));
        transaction = match left.iter().min_by_key(|left| left.created) {
            None => transaction.delete(key),
            Some(_) if left.iter().any(|left| namespace_of(left) == owner) => transaction.put(key, owner),
            Some(oldest) => transaction.put(key, namespace_of(oldest)),
        };
    }
    Ok(transaction)
}

/// The namespace that holds a host.
async fn owner(call: &Call, host: &str) -> Result<Option<String>> {
    if let Some(entry) = call.server.store.get(&key(call, host), None).await? {
        return Ok(Some(String::from_utf8_lossy(&entry.value).into_owned()));
    }
    Ok(claims(call, host).await?.iter().min_by_key(|entry| entry.created).map(namespace_of))
}

async fn claims(call: &Call, host: &str) -> Result<Vec<Entry>> {
    let prefix = format!("{PREFIX}{}/{host}/", call.kind().qualified_plural());
    Ok(call.server.store.list(ListOptions { prefix, ..ListOptions::default() }).await?.entries)
}

fn namespace_of(claim: &Entry) -> String {
    let owner = String::from_utf8_lossy(&claim.value);
    owner.split('/').next().unwrap_or_default().to_owned()
}

fn key(call: &Call, host: &str) -> String {
    format!("{PREFIX}hosts.{}/{host}", call.kind().qualified_plural())
}

/// Whether those who may write in a namespace may do everything on the machine anyway.
async fn is_administrators(call: &Call, name: &str) -> Result<bool> {
    let entry = call.server.store.get(&object::namespace_key(name), None).await?;
    let namespace = entry.map_or_else(|| json!({"metadata": {"name": name}}), |entry| object::decode(&entry));
    Ok(Bar::of(&namespace, Mode::Enforce).level == Level::Privileged)
}
