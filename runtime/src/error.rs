//! What can go wrong in a runtime.

/// The result of a call on a runtime.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a runtime refused or failed a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pod asks for something that this runtime does not do.
    #[error("{field}: {expected}")]
    Refused {
        /// The field, as a path within the pod's spec.
        field: String,
        /// What was expected instead.
        expected: String,
    },
    /// A port is taken by somebody else.
    #[error("port {port} is in use by another program")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// No sandbox has this uid.
    #[error("there is no pod {0} here")]
    NoSuchPod(String),
    /// The pod has no such container.
    #[error("pod {pod} has no container {container}, it has {known}")]
    NoSuchContainer {
        /// The pod's name.
        pod: String,
        /// The name asked for.
        container: String,
        /// The names there are.
        known: String,
    },
    /// The log of an earlier run was asked for, but there was none.
    #[error("container {0} has not run before")]
    NoPreviousRun(String),
    /// The program could not be started.
    #[error("cannot start {program}: {reason}")]
    CannotStart {
        /// The program.
        program: String,
        /// The system's words.
        reason: String,
    },
    /// The runtime itself failed: tried what, and what came of it.
    #[error("{tried}: {reason}")]
    Failed {
        /// What was tried, on what.
        tried: String,
        /// What came of it.
        reason: String,
    },
}
