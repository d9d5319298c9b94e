//! The control API over a store in memory, called without a socket.
#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod addressed;
mod admission;
mod batch;
mod charged;
mod conversion;
mod crud;
mod definitions;
mod forms;
mod media;
mod outlives;
mod ownership;
mod patches;
mod placed;
mod pod_security;
mod roles;
mod server;
mod typed_fields;
