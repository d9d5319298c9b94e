//! The real binary, with real programs, as its users meet it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod admission;
mod backup;
mod batch;
mod clients;
mod command_line;
mod crashes;
mod cron;
mod docker;
mod docker_registry;
mod doctor;
mod exit_codes;
mod hooks;

mod kubectl;
mod kubectl_streams;
mod load;
mod metrics;
mod places;
mod readme;
mod reference;
mod refusals;
mod rollouts;
mod server;
mod settings;
mod soak;
mod systemd;
mod usage;
mod volumes;
#[path = "../../../store/tests/it/without.rs"]
mod without;
