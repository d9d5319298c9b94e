//! Controllers and an agent over a real API and store, with a runtime and a router that only pretend.
#![expect(clippy::unwrap_used, reason = "tests")]

mod failures;
mod flows;
mod garbage;
mod images;
mod simulation;
mod usage;
mod volumes;
mod world;
