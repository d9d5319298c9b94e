//! Where the time comes from.

use jiff::Timestamp;

/// Something that knows the time. Code that needs the time takes one of these, so that tests can bend it.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}
