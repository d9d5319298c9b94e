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
    /// The image is not to be had, or not for this machine. Nothing was started.
    #[error("image {image}: {trouble}{}{said}", if said.is_empty() { "" } else { ": " })]
    Image {
        /// The image.
        image: String,
        /// What is wrong.
        trouble: ImageTrouble,
        /// What the engine or the registry said; may be empty.
        said: String,
    },
    /// What the runtime works through does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// The runtime itself failed: tried what, and what came of it.
    #[error("{tried}: {reason}")]
    Failed {
        /// What was tried, on what.
        tried: String,
        /// What came of it.
        reason: String,
    },
}

/// What is wrong with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageTrouble {
    /// It is on its way.
    #[error("is being fetched")]
    Fetching,
    /// It failed lately and is tried again later.
    #[error("is tried again in {0} seconds")]
    BackOff(u64),
    /// Nobody has it.
    #[error("there is no such image in the registry")]
    Missing,
    /// It is not here, and must not be fetched.
    #[error("is not on this machine, and imagePullPolicy is Never")]
    NeverFetched,
    /// It is for machines of another kind.
    #[error("is not for this machine's processor")]
    WrongArchitecture,
    /// The registry wants to know who asks.
    #[error("the registry does not let us have it; check its name and the imagePullSecrets")]
    Unauthorised,
    /// The registry does not answer.
    #[error("the registry cannot be reached")]
    Unreachable,
    /// Its name is none.
    #[error("is not an image's name, such as registry.example:5000/shop:7")]
    InvalidName,
    /// Something else.
    #[error("could not be fetched")]
    Other,
}
