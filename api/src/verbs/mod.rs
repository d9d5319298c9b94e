//! One file for each verb.

mod apply;
mod create;
mod delete;
mod evict;
mod finalize;
mod patch;
mod read;
mod scale;
mod update;
mod watch;

pub use create::create;
pub use delete::{delete, delete_collection};
pub use evict::evict;
pub use finalize::{bind, finalize};
#[cfg(feature = "fuzzing")]
pub use patch::Patch;
pub use patch::patch_types;
pub use read::{Selection, get, list};
pub use scale::{as_scale, scale};
pub use update::{patch, update};
pub use watch::watch;
