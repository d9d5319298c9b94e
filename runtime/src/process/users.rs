//! The users of the machine that programs of namespaces run as: one a namespace, recorded beside the pods, and given to no other.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};

use crate::ports::hash;
use crate::process::records;

/// The first number; those below belong to people, services, and what systemd gives to containers.
pub(super) const FIRST: u32 = 2_000_000_000;
/// How many there are. Servers on one machine begin at different places among them.
pub(super) const COUNT: u32 = 100_000_000;
const FILE: &str = ".users.json";

/// The user of a namespace, of the pods that rest in `dir`. Errors: the record cannot be read or written, or all are taken.
pub(super) fn of(dir: &Path, namespace: &str) -> io::Result<u32> {
    let file = dir.join(FILE);
    let mut known: BTreeMap<String, u32> = records::read(&file)?.unwrap_or_default();
    if let Some(user) = known.get(namespace) {
        return Ok(*user);
    }
    let is_free = |number: u32| {
        let is_known = |found: nix::Result<bool>| found.unwrap_or(true);
        !is_known(User::from_uid(Uid::from_raw(number)).map(|user| user.is_some()))
            && !is_known(Group::from_gid(Gid::from_raw(number)).map(|group| group.is_some()))
    };
    let user = choose(&dir.display().to_string(), namespace, &known, is_free).ok_or_else(|| io::Error::other("every user is taken"))?;
    known.insert(namespace.to_owned(), user);
    records::write(&file, &known)?;
    Ok(user)
}

fn choose(dir: &str, namespace: &str, known: &BTreeMap<String, u32>, is_free: impl Fn(u32) -> bool) -> Option<u32> {
    let start = hash(dir, namespace) % u64::from(COUNT);
    let all = (0..1_000).filter_map(|step| u32::try_from((start + step) % u64::from(COUNT)).ok()).map(|offset| FIRST + offset);
    all.into_iter().find(|number| !known.values().any(|other| other == number) && is_free(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_a_user_that_nobody_else_has() {
        let first = choose("/d", "shop", &BTreeMap::new(), |_| true).unwrap();
        assert!((FIRST..FIRST + COUNT).contains(&first));
        let known = BTreeMap::from([("other".to_owned(), first)]);
        assert_eq!(choose("/d", "shop", &known, |_| true), Some(first + 1));
        assert_eq!(choose("/d", "shop", &known, |number| number > first + 5), Some(first + 6));
        assert_ne!(choose("/e", "shop", &BTreeMap::new(), |_| true), Some(first));
    }

    #[test]
    fn a_namespace_keeps_its_user() {
        let dir = tempfile::tempdir().unwrap();
        let first = of(dir.path(), "shop").unwrap();
        assert_ne!(of(dir.path(), "other").unwrap(), first);
        assert_eq!(of(dir.path(), "shop").unwrap(), first);
    }
}
