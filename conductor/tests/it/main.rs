//! The real binary, with real programs, as its users meet it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod command_line;
mod docker;
mod kubectl;
mod load;
mod refusals;
mod rollouts;
mod server;
