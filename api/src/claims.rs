//! What only one object of a kind may have: the host and path of a route.
//!
//! Each claim is a key of its own, taken and given up in the same transaction as its object, so that two objects can never
//! hold one claim, whoever writes when.

use model::{Problem, ProblemKind};
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
/// Errors: 422 naming the field and the object that holds the claim.
pub async fn take(call: &Call, mut transaction: Transaction, before: &Value, after: &Value) -> Result<Transaction> {
    let kind = call.kind();
    let Some(claims) = kind.claims else { return Ok(transaction) };
    let (old, new) = (claims(before), claims(after));
    let mut problems = Vec::new();
    let metadata = if after.is_null() { &before["metadata"] } else { &after["metadata"] };
    let owner = format!("{}/{}", metadata["namespace"].as_str().unwrap_or_default(), metadata["name"].as_str().unwrap_or_default());
    for (field, claim) in &new {
        let key = format!("{PREFIX}{}/{claim}", kind.qualified_plural());
        if old.iter().any(|(_, other)| other == claim) {
            continue;
        }
        match call.server.store.get(&key, None).await? {
            Some(entry) if entry.value != owner.as_bytes() => {
                let holder = String::from_utf8_lossy(&entry.value);
                let detail = format!("{claim:?} is held by {} {holder}", kind.kind);
                problems.push(Problem::new(ProblemKind::Duplicate, field, detail));
            }
            Some(_) => {}
            None => transaction = transaction.when(Compare::Absent(key.clone())).put(key, owner.clone()),
        }
    }
    for (_, claim) in old.iter().filter(|(_, claim)| !new.iter().any(|(_, other)| other == claim)) {
        transaction = transaction.delete(format!("{PREFIX}{}/{claim}", kind.qualified_plural()));
    }
    if problems.is_empty() { Ok(transaction) } else { Err(admit::invalid(kind, after, &problems)) }
}
