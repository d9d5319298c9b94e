//! What can go wrong in a router.

/// The result of a call on a router.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a router refused or failed a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address to listen on cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The table is contradictory; the one before stays in force.
    #[error("the table was refused: {0}")]
    Refused(String),
    /// The router does not answer.
    #[error("the router does not answer: {0}")]
    Unavailable(String),
}
