//! Every runtime against one suite, and `process` against what only it promises.
#![expect(clippy::unwrap_used, reason = "tests")]

mod conformance;
#[cfg(feature = "docker")]
mod docker;
#[cfg(feature = "docker")]
mod docker_confinement;
#[cfg(feature = "docker")]
mod docker_registry;
#[cfg(feature = "docker")]
mod engine;
mod fake;
mod subject;

#[cfg(feature = "process")]
mod proc;
#[cfg(feature = "process")]
mod process;
#[cfg(feature = "process")]
mod process_confined;
#[cfg(feature = "process")]
mod process_deaths;
#[cfg(feature = "process")]
mod process_probes;
#[cfg(feature = "process")]
mod process_sessions;
#[cfg(all(feature = "process", feature = "docker"))]
mod volumes;
#[cfg(feature = "docker")]
#[path = "../../../store/tests/it/without.rs"]
mod without;
