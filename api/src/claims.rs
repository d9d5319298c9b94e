//! What only one object of a kind may have: the host and path of a route.
//!
//! Each claim is a key of its own, taken and given up in the same transaction as its object, so that two objects can never
//! hold one claim, whoever writes when.

mod ownership;

use std::collections::BTreeSet;

use model::{Kind, Problem, ProblemKind};
use serde_json::Value;
use store::{Compare, Transaction};

use crate::admit;
use crate::serve::Call;
use crate::status::Result;

const PREFIX: &str = "/-/claims/";

/// Whether a key of the store is a claim.
pub fn is_claim(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// Adds to a transaction what takes the claims that `after` has and gives up those that only `before` had.
/// Errors: 422 naming the field and the object that holds the claim, or the namespace that holds its host.
pub async fn take(call: &Call, mut transaction: Transaction, before: &Value, after: &Value) -> Result<Transaction> {
    let kind = call.kind();
    let Some(claims) = kind.claims else { return Ok(transaction) };
    let (old, new) = (claims(before), claims(after));
    let mut problems = Vec::new();
    let mut hosts = BTreeSet::new();
    let metadata = if after.is_null() { &before["metadata"] } else { &after["metadata"] };
    let owner = format!("{}/{}", metadata["namespace"].as_str().unwrap_or_default(), metadata["name"].as_str().unwrap_or_default());
    for (field, claim) in new.iter().filter(|(_, claim)| !old.iter().any(|(_, other)| other == claim)) {
        let key = key(kind, claim);
        match call.server.store.get(&key, None).await? {
            Some(entry) if entry.value != owner.as_bytes() => {
                let holder = String::from_utf8_lossy(&entry.value);
                let detail = format!("{claim:?} is held by {} {holder}", kind.kind);
                problems.push(Problem::new(ProblemKind::Duplicate, field, detail));
                continue;
            }
            Some(_) => {}
            None => transaction = transaction.when(Compare::Absent(key.clone())).put(key, owner.clone()),
        }
        match ownership::refusal(call, ownership::of(claim)).await? {
            Some(why) => problems.push(Problem::new(ProblemKind::Forbidden, field, why)),
            None => drop(hosts.insert(ownership::of(claim))),
        }
    }
    if !problems.is_empty() {
        return Err(admit::invalid(kind, after, &problems));
    }
    let given: Vec<&str> =
        old.iter().map(|(_, claim)| claim.as_str()).filter(|claim| !new.iter().any(|(_, other)| other == claim)).collect();
    for claim in &given {
        transaction = transaction.delete(key(kind, claim));
    }
    transaction = ownership::take(call, transaction, &hosts).await?;
    ownership::give_up(call, transaction, &given, &hosts).await
}

fn key(kind: &Kind, claim: &str) -> String {
    format!("{PREFIX}{}/{claim}", kind.qualified_plural())
}
