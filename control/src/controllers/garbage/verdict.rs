//! What becomes of an object, given what its owners are at the moment.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// What an owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It is there, and what it owns may stay.
    Solid,
    /// It is being deleted and waits until what it owns is gone.
    Waiting,
    /// It is not there.
    Absent,
    /// Nobody can say: its kind is not served, or it cannot be asked for.
    Unknown,
}

/// What is to be done about an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing.
    Keep,
    /// These are its owners from now on.
    Reown(Vec<OwnerReference>),
    /// It goes. With `waited_for`, an owner waits for it.
    Delete { waited_for: bool },
}

/// Decides. An object goes only when every owner that it names is known to be gone, or to wait for its end.
pub fn verdict(owners: &[(OwnerReference, Owner)]) -> Verdict {
    let any = |wanted: Owner| owners.iter().any(|(_, owner)| *owner == wanted);
    if owners.is_empty() || any(Owner::Unknown) {
        return Verdict::Keep;
    }
    match (any(Owner::Solid), any(Owner::Waiting) || any(Owner::Absent)) {
        (true, false) => Verdict::Keep,
        (true, true) => {
            Verdict::Reown(owners.iter().filter(|(_, owner)| *owner == Owner::Solid).map(|(reference, _)| reference.clone()).collect())
        }
        (false, _) => Verdict::Delete { waited_for: any(Owner::Waiting) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_goes_only_when_no_owner_is_left_and_all_are_known() {
        use Owner::{Absent, Solid, Unknown, Waiting};
        for (owners, expected) in [
            (&[][..], "keep"),
            (&[Solid], "keep"),
            (&[Solid, Solid], "keep"),
            (&[Unknown], "keep"),
            (&[Absent, Unknown], "keep"),
            (&[Waiting, Unknown], "keep"),
            (&[Absent], "delete"),
            (&[Absent, Absent], "delete"),
            (&[Waiting], "delete, waited for"),
            (&[Absent, Waiting], "delete, waited for"),
            (&[Absent, Solid], "owned by 1"),
            (&[Solid, Waiting], "owned by 0"),
            (&[Solid, Absent, Solid], "owned by 0 2"),
        ] {
            let named = |(at, owner): (usize, &Owner)| (OwnerReference { uid: at.to_string(), ..OwnerReference::default() }, *owner);
            let owners: Vec<_> = owners.iter().enumerate().map(named).collect();
            let found = match verdict(&owners) {
                Verdict::Keep => "keep".to_owned(),
                Verdict::Delete { waited_for } => if waited_for { "delete, waited for" } else { "delete" }.to_owned(),
                Verdict::Reown(left) => format!("owned by {}", left.into_iter().map(|owner| owner.uid).collect::<Vec<_>>().join(" ")),
            };
            assert_eq!(found, expected, "{owners:?}");
        }
    }
}
