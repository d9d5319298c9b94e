//! What can go wrong when objects are read or written.

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object is not there.
    #[error("{tried}: it is not there")]
    NotFound {
        /// What was tried, on what.
        tried: String,
    },
    /// Another writer came first, or the name is taken: read again, and decide again.
    #[error("{tried}: {reason}")]
    Conflict {
        /// What was tried, on what.
        tried: String,
        /// The server's words.
        reason: String,
    },
    /// The server refused, or could not be reached.
    #[error("{tried}: {}", words(failure))]
    Api {
        /// What was tried, on what.
        tried: String,
        /// The failure.
        failure: Box<kube::Error>,
    },
}

/// The server's own words where it answered, the failure's otherwise.
fn words(failure: &kube::Error) -> String {
    match failure {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl Error {
    /// Sorts a failure by what a caller can do about it.
    pub fn new(tried: String, failure: kube::Error) -> Self {
        match &failure {
            kube::Error::Api(status) if status.code == 404 => Self::NotFound { tried },
            kube::Error::Api(status) if status.code == 409 => Self::Conflict { tried, reason: status.message.clone() },
            _ => Self::Api { tried, failure: Box::new(failure) },
        }
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the server understood and refused, so that the same is refused again until somebody changes something.
    pub fn is_refusal(&self) -> bool {
        let Self::Api { failure, .. } = self else { return false };
        matches!(failure.as_ref(), kube::Error::Api(status) if (400..500).contains(&status.code) && ![401, 408, 429].contains(&status.code))
    }

    /// Whether another writer came first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}
