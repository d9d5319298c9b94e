//! What the runtime and a shim say to each other: JSON, a line each, over the socket in the pod's directory.
//!
//! The shim greets with [`Message::State`] and repeats it at each change, always before the answer to the call that made it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ContainerState, Error};

/// The longest line either side accepts, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// What the runtime asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Call {
    /// Chosen by the caller; the answer carries it.
    pub id: u64,
    pub request: Request,
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Start a container unless it runs.
    Start { container: String },
    /// End a container; answered when it has ended.
    Stop { container: String, grace_ms: u64 },
    /// Leave the writing end of a container's standard input to the caller alone.
    TakeInput { container: String },
    /// End all and go; answered when all has ended.
    Shutdown,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { container } => write!(f, "start container {container}"),
            Self::Stop { container, .. } => write!(f, "stop container {container}"),
            Self::TakeInput { container } => write!(f, "take the standard input of container {container}"),
            Self::Shutdown => f.write_str("shut down"),
        }
    }
}

/// What a shim says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// The containers as they are, in the pod's order.
    State { containers: Vec<ContainerState> },
    /// A call was done.
    Done { id: u64 },
    /// A call could not be done.
    Failed { id: u64, failure: Failure },
}

/// Why a call could not be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Failure {
    /// The program could not be started.
    CannotStart { program: String, reason: String },
    /// The shim is about to end.
    Ending,
    /// Anything else.
    Other { tried: String, reason: String },
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::CannotStart { program, reason } => Error::CannotStart { program, reason },
            Failure::Ending => Error::Failed { tried: "start a container".to_owned(), reason: "its shim is about to end".to_owned() },
            Failure::Other { tried, reason } => Error::Failed { tried, reason },
        }
    }
}
