//! Who owns whom, by uid. Most objects have no owner and stay for long: of those no more is known than that they are there.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// An object that has owners or is being deleted.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its kind, as the caller numbers them.
    pub kind: usize,
    pub namespace: String,
    pub name: String,
    pub owners: Vec<OwnerReference>,
    pub finalizers: Vec<String>,
    pub deleting: bool,
}

impl Known {
    fn is_plain(&self) -> bool {
        self.owners.is_empty() && !self.deleting
    }

    /// Whether it stays until what it owns is gone.
    pub fn waits(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == super::FOREGROUND)
    }
}

/// The objects there are.
#[derive(Debug, Default)]
pub struct Graph {
    known: HashMap<String, Known>,
    /// Those that name an owner, by its uid.
    owned: HashMap<String, BTreeSet<String>>,
    /// All others, with their kinds.
    plain: HashMap<Short, u16>,
    /// Kinds of which a list is being read, and what it has had so far.
    listed: HashMap<usize, HashSet<Short>>,
}

/// A uid in few bytes.
type Short = [u8; 16];

impl Graph {
    /// Takes in what an object is now; whether there may be something to do about it.
    pub fn learn(&mut self, uid: &str, object: Known) -> bool {
        self.forget(uid);
        if let Some(listed) = self.listed.get_mut(&object.kind) {
            listed.insert(short(uid));
        }
        if object.is_plain() {
            self.plain.insert(short(uid), u16::try_from(object.kind).unwrap_or(u16::MAX));
            return false;
        }
        for owner in &object.owners {
            self.owned.entry(owner.uid.clone()).or_default().insert(uid.to_owned());
        }
        self.known.insert(uid.to_owned(), object);
        true
    }

    /// An object is gone.
    pub fn forget(&mut self, uid: &str) {
        self.plain.remove(&short(uid));
        for owner in self.known.remove(uid).iter().flat_map(|object| &object.owners) {
            if let Some(owned) = self.owned.get_mut(&owner.uid) {
                owned.remove(uid);
                if owned.is_empty() {
                    self.owned.remove(&owner.uid);
                }
            }
        }
    }

    /// A list of a kind begins anew: what it does not have is gone.
    pub fn doubt(&mut self, kind: usize) {
        self.listed.insert(kind, HashSet::new());
    }

    /// The list has come to its end. Returns those gone that may have owned something.
    pub fn forget_doubted(&mut self, kind: usize) -> Vec<String> {
        let Some(listed) = self.listed.remove(&kind) else { return Vec::new() };
        let number = u16::try_from(kind).unwrap_or(u16::MAX);
        self.plain.retain(|uid, of| *of != number || listed.contains(uid));
        let gone = self.known.iter().filter(|(uid, known)| known.kind == kind && !listed.contains(&short(uid)));
        let gone: Vec<String> = gone.map(|(uid, _)| uid.clone()).collect();
        gone.iter().for_each(|uid| self.forget(uid));
        self.owned.keys().filter(|uid| !self.has(uid)).cloned().collect()
    }

    /// Whether an object was seen and has not gone.
    pub fn has(&self, uid: &str) -> bool {
        self.known.contains_key(uid) || self.plain.contains_key(&short(uid))
    }

    /// An object that has owners or is being deleted.
    pub fn get(&self, uid: &str) -> Option<&Known> {
        self.known.get(uid)
    }

    /// The objects that name an owner.
    pub fn dependents(&self, uid: &str) -> Vec<String> {
        self.owned.get(uid).into_iter().flatten().cloned().collect()
    }

    /// All objects about which there may be something to do.
    pub fn all(&self) -> Vec<String> {
        self.known.keys().cloned().collect()
    }
}

/// A uid as the bytes of a number: its hexadecimal digits, where it has as many as UUIDs have.
fn short(uid: &str) -> Short {
    let digits = uid.chars().filter(|c| *c != '-').map(|c| c.to_digit(16));
    let number = digits.clone().try_fold(0_u128, |number, digit| digit.map(|digit| number << 4 | u128::from(digit)));
    let number = number.filter(|_| digits.count() == 32).unwrap_or_else(|| {
        let hash = |text: &str| u128::from(BuildHasherDefault::<DefaultHasher>::default().hash_one(text));
        hash(uid) << 64 | hash(&format!("{uid}{uid}"))
    });
    number.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned_by(owners: &[&str]) -> Known {
        let owners = owners.iter().map(|uid| OwnerReference { uid: (*uid).to_owned(), ..OwnerReference::default() }).collect();
        Known { owners, ..Known::default() }
    }

    #[test]
    fn dependents_follow_what_objects_say_last() {
        let (a, b, c) = ("7b6b2c1e-0000-4000-8000-00000000000a", "no uuid", "7b6b2c1e-0000-4000-8000-00000000000c");
        let mut graph = Graph::default();
        assert!(!graph.learn(a, Known::default()));
        assert!(!graph.learn(b, Known::default()));
        assert!(graph.learn(c, owned_by(&[a, b])));
        assert_eq!((graph.dependents(a), graph.dependents(b), graph.all()), (vec![c.to_owned()], vec![c.to_owned()], vec![c.to_owned()]));
        assert!(graph.learn(c, owned_by(&[b])));
        assert_eq!((graph.dependents(a), graph.dependents(b).len()), (Vec::new(), 1));
        assert!(graph.has(a) && graph.has(b) && graph.has(c) && !graph.has("7b6b2c1e-0000-4000-8000-00000000000d"));
        assert!(!graph.learn(c, Known::default()), "it has no owner any more");
        assert!(graph.dependents(b).is_empty() && graph.get(c).is_none() && graph.has(c));
        assert!(graph.learn(a, Known { deleting: true, ..Known::default() }));
        assert!(graph.get(a).is_some_and(|object| object.deleting));
        graph.learn(c, owned_by(&[a, b]));
        graph.doubt(1);
        assert!(graph.forget_doubted(1).is_empty() && graph.has(a), "another kind was listed");
        graph.doubt(0);
        graph.learn(c, owned_by(&[a, b]));
        let mut gone = graph.forget_doubted(0);
        gone.sort();
        assert_eq!(gone, [a, b], "what a new list does not have is gone");
        assert!(!graph.has(a) && !graph.has(b) && graph.has(c));
        for uid in [a, b, c] {
            graph.forget(uid);
            assert!(!graph.has(uid));
        }
        assert!(graph.owned.is_empty() && graph.plain.is_empty() && graph.known.is_empty(), "{graph:?}");
    }
}
