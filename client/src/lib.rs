//! The SDK: typed reads, and writes that must say why.
//!
//! [`Objects`] is the only writer in `control`. It works over any [`kube::Client`]: the API of this process, one across the
//! network, or a Kubernetes cluster.

mod error;
mod objects;

pub use error::{Error, Result};
pub use kube::Client;
pub use objects::{Because, Objects};
