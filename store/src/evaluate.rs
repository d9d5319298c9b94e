//! What a transaction would change, as a plain function of what is there.

use std::collections::HashMap;
use std::sync::Arc;

use crate::history::{Change, Slot};
use crate::{Compare, Error, Operation, Result, Revision, Transaction};

/// The changes that `transaction` makes when it commits as `revision`, one a key, in the order in which keys first
/// occur; empty when it changes nothing. `current` is what is under a key before it.
/// Errors: [`Error::Conflict`] for the first comparison that does not hold.
pub(crate) fn evaluate(transaction: Transaction, revision: Revision, current: impl Fn(&str) -> Option<Slot>) -> Result<Vec<Change>> {
    for compare in &transaction.compares {
        check(compare, &current)?;
    }
    let mut changes: Vec<Change> = Vec::with_capacity(transaction.operations.len());
    let mut places: HashMap<Arc<str>, usize> = HashMap::new();
    for operation in transaction.operations {
        let (key, value) = match operation {
            Operation::Put(key, value) => (Arc::<str>::from(key), Some(value)),
            Operation::Delete(key) => (Arc::<str>::from(key), None),
        };
        let place = *places.entry(key.clone()).or_insert_with(|| {
            let before = current(&key);
            changes.push(Change { key, after: before.clone(), before });
            changes.len() - 1
        });
        let Some(change) = changes.get_mut(place) else { continue };
        change.after = match (value, change.after.take()) {
            (None, _) => None,
            (Some(value), Some(slot)) if slot.value == value => Some(slot),
            (Some(value), slot) => {
                let created = slot.map_or(revision, |slot| slot.created);
                Some(Slot { value, created, modified: revision })
            }
        };
    }
    changes.retain(differs);
    Ok(changes)
}

fn check(compare: &Compare, current: impl Fn(&str) -> Option<Slot>) -> Result<()> {
    let (Compare::Absent(key) | Compare::Present(key) | Compare::Modified(key, _)) = compare;
    let actual = current(key).map_or(0, |slot| slot.modified);
    let holds = match compare {
        Compare::Absent(_) => actual == 0,
        Compare::Present(_) => actual != 0,
        Compare::Modified(_, expected) => actual == *expected,
    };
    if holds { Ok(()) } else { Err(Error::Conflict { key: key.clone(), actual }) }
}

/// Whether anything but the revision of the last change is different, so that writing there and back is no change.
fn differs(change: &Change) -> bool {
    match (&change.before, &change.after) {
        (None, None) => false,
        (Some(before), Some(after)) => (before.created, &before.value) != (after.created, &after.value),
        (Some(_), None) | (None, Some(_)) => true,
    }
}
