//! Who we are to a registry.

use std::fmt;

/// What the registry of an image is shown. Its `Debug` says no secret.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credential {
    /// Where it is for, as people are told: `registry.example:5000`.
    pub registry: String,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
    /// A token that takes the place of user and password; may be empty.
    pub identity_token: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("registry", &self.registry).finish_non_exhaustive()
    }
}
