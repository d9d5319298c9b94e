//! Clients that other people wrote, unmodified, against the real binary. Each test prints a table of what was tried.

mod kubectl;
mod script;

use std::path::{Path, PathBuf};

/// A program of another's, where `make test` put it; `None`, said aloud, where nobody did.
pub fn tool(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin").join(name);
    let tools = std::env::var_os("CONDUCTOR_TEST_TOOLS").map(|dir| Path::new(&dir).join("bin").join(name));
    let found = tools.unwrap_or(beside);
    if !found.exists() {
        println!("NOT RUN: there is no {}; `make test` installs it", found.display());
        return None;
    }
    Some(found)
}
