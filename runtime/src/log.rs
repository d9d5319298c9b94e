//! What a reader of logs asks for.

use jiff::Timestamp;

/// Which part of a container's log, and in which form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is written later, until the container ends.
    pub follow: bool,
    /// The run before the current one.
    pub previous: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Only lines written at or after this.
    pub since: Option<Timestamp>,
    /// Each line begins with its time (RFC 3339) and a space.
    pub timestamps: bool,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
}
