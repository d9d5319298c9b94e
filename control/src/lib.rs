//! What is done: controllers that bring objects about, and the agent of a node that runs Pods and carries routes.
//!
//! Each reads what there is, asks `logic` what follows, does it, and reports. They hold a [`client::Client`] and nothing
//! else of the world: whether the API is in this process or far away, they cannot tell. The agent also holds the traits of
//! `runtime` and `router`; which implementations those are, nothing here can tell either.

pub mod agent;
pub mod controllers;
mod events;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod status;

pub use agent::{Agent, NodeFacts};
pub use events::Events;
