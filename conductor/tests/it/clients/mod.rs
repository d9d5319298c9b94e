//! Clients that other people wrote, unmodified, against the real binary. Each test prints a table of what was tried.

mod kube_rs;
mod kubectl;
mod python;
mod script;

use std::path::{Path, PathBuf};

/// A program of another's, where `make test` put it; `None`, said aloud, where nobody did.
pub fn tool(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let found = std::env::var_os("CONDUCTOR_TEST_TOOLS").map_or_else(beside, PathBuf::from).join("bin").join(name);
    if !found.exists() {
        crate::without::without("clients", &format!("{} is missing", found.display()));
        return None;
    }
    Some(found)
}
