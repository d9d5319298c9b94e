//! Who asks, and whether they may.
//!
//! [`authenticate`] finds out who asks, [`impersonate`] whom they want to be taken for, [`authorize`] whether they may do it.
//! Roles and bindings are objects like others; [`policies`] follows them, and `logic::rbac` decides.

mod account_tokens;
mod authenticate;
mod authorize;
mod default_roles;
mod grants;
mod impersonate;
mod reviews;
mod stored_tokens;
mod token_requests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use logic::rbac::{Asker, MASTERS};
use model::{Kind, Source};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use account_tokens::{AccountKey, NotAKey};
pub use authenticate::authenticate;
pub use authorize::{authorize, authorize_path, decide, verb};
pub use default_roles::make as make_default_roles;
pub use grants::check as check_grant;
pub use impersonate::impersonate;
pub use reviews::answer as answer_review;
pub use stored_tokens::bound as bound_token;
pub use token_requests::create as create_token;

/// Whether a user is a controller or the agent of this process, by name.
pub fn is_ours(name: &str) -> bool {
    name.starts_with("system:conductor:")
}

/// Whoever says nothing of who they are.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of everybody who said who they are.
const AUTHENTICATED: &str = "system:authenticated";
/// How the name of a ServiceAccount, as a user, begins.
const ACCOUNT: &str = "system:serviceaccount:";

/// Somebody who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The name: `admin`, `system:anonymous`, `system:conductor:service`.
    pub name: String,
    /// What tells apart users that had the same name one after another; may be empty.
    pub uid: String,
    /// The groups; a member of `system:masters` may do everything.
    pub groups: Vec<String>,
    /// What else whoever vouches for the user says of them.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// A request extension: who asks is known already. Set by the process itself, never read from a header.
#[derive(Debug, Clone)]
pub struct Identity(pub User);

/// Who is let in: the bearer tokens there are, of which only the hashes are kept, and the key that signs those of ServiceAccounts.
#[derive(Debug, Clone, Default)]
pub struct Access {
    tokens: HashMap<[u8; 32], User>,
    account_key: Option<Arc<AccountKey>>,
}

impl User {
    /// A user of this name, in these groups and in that of everybody who said who they are.
    pub fn new(name: &str, groups: impl IntoIterator<Item = String>) -> Self {
        let mut user = Self { name: name.into(), groups: groups.into_iter().collect(), ..Self::default() };
        user.join(AUTHENTICATED);
        user
    }

    /// A user that may do everything.
    pub fn master(name: &str) -> Self {
        Self::new(name, [MASTERS.to_owned()])
    }

    fn anonymous() -> Self {
        Self { name: ANONYMOUS.into(), groups: vec!["system:unauthenticated".into()], ..Self::default() }
    }

    /// A ServiceAccount as a user.
    fn account(namespace: &str, name: &str) -> Self {
        Self::new(&format!("{ACCOUNT}{namespace}:{name}"), account_groups(namespace))
    }

    fn join(&mut self, group: &str) {
        if !self.groups.iter().any(|other| other == group) {
            self.groups.push(group.to_owned());
        }
    }

    /// Whether the user may do everything.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    fn asker(&self) -> Asker<'_> {
        Asker { name: &self.name, groups: &self.groups }
    }

    /// The user as reviews tell of it.
    pub(crate) fn to_value(&self) -> Value {
        let mut value = json!({"username": self.name});
        if !self.uid.is_empty() {
            value["uid"] = json!(self.uid);
        }
        if !self.groups.is_empty() {
            value["groups"] = json!(self.groups);
        }
        if !self.extra.is_empty() {
            value["extra"] = json!(self.extra);
        }
        value
    }
}

/// The groups that every ServiceAccount of a namespace is in.
fn account_groups(namespace: &str) -> [String; 2] {
    ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}

/// Namespace and name of the ServiceAccount that a user's name stands for.
fn account_of(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(ACCOUNT)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

impl Access {
    /// Adds a token.
    #[must_use]
    pub fn with_token(mut self, token: &str, mut user: User) -> Self {
        user.join(AUTHENTICATED);
        self.tokens.insert(hash(token), user);
        self
    }

    /// Sets the key that signs tokens of ServiceAccounts. Without one none can be had.
    #[must_use]
    pub fn with_account_key(mut self, key: AccountKey) -> Self {
        self.account_key = Some(Arc::new(key));
        self
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The verbs that discovery lists for a kind.
pub fn verbs(kind: &Kind) -> Vec<&'static str> {
    match kind.source {
        Source::Answered => return vec!["create"],
        Source::Measured => return vec!["get", "list"],
        Source::Store => {}
    }
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
    fn the_name_of_an_account_has_its_namespace() {
        assert_eq!(account_of("system:serviceaccount:a:b"), Some(("a", "b")));
        for other in ["system:serviceaccount:a:", "system:serviceaccount::b", "system:serviceaccount:a:b:c", "jane"] {
            assert_eq!(account_of(other), None, "{other}");
        }
        assert_eq!(User::account("a", "b").groups, ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]);
    }
}
