//! What follows: pure functions from what is wanted, what is so and the time to what to change.
//!
//! Nothing here waits, reads a clock, opens a file or a socket; `clippy.toml` refuses it. The callers are `api` (schema,
//! selectors, patches, metadata, rights) and `control` (rollout, placement, pods, routing, credentials).

pub mod admission;
pub mod batch;
pub mod credentials;
pub mod definition;
pub mod duplicates;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod json;
pub mod metadata;
pub mod nearest;
pub mod patch;
pub mod pattern;
pub mod placement;
pub mod pod;
pub mod pod_security;
pub mod quantity;
pub mod rbac;
pub mod rollout;
pub mod routing;
pub mod rules;
pub mod schema;
pub mod selector;
pub mod usage;
pub mod yaml;
