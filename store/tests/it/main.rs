//! The suite that every store passes, and what the file adds to it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod conformance;
mod crash;
mod files;
mod journal;
mod model;
mod sealed;
mod sessions;
mod support;
mod without;
