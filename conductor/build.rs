//! How our programs are linked.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::process::Command;

use flate2::read::GzDecoder;

/// The names of the functions that a server runs, one a line; `make order` makes it.
const ORDER: &str = "order.gz";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={ORDER}");
    // Addresses are settled once, here, rather than by each process in memory of its own.
    println!("cargo:rustc-link-arg-bins=-no-pie");
    println!("cargo:rustc-env=CONDUCTOR_COMMIT={}", commit());
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // The linker that Rust has on this system knows how; others may not.
    let can_order = is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if can_order && is("PROFILE", "release") {
        let mut names = String::new();
        GzDecoder::new(File::open(ORDER)?).read_to_string(&mut names)?;
        let out = env::var("OUT_DIR").map_err(io::Error::other)?;
        let file = Path::new(&out).join("order");
        fs::write(&file, names)?;
        // What was renamed since is left where it falls.
        println!("cargo:rustc-link-arg-bin=conductor=-Wl,--symbol-ordering-file={},--no-warn-symbol-ordering", file.display());
    }
    Ok(())
}

/// The commit that is built, short; empty where that is not known, and in builds for tests, which would be linked anew at each commit.
fn commit() -> String {
    println!("cargo:rerun-if-env-changed=CONDUCTOR_COMMIT");
    if let Ok(told) = env::var("CONDUCTOR_COMMIT") {
        return told;
    }
    if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        return String::new();
    }
    let git = |words: &[&str]| {
        let told = Command::new("git").args(words).output().ok().filter(|told| told.status.success())?;
        String::from_utf8(told.stdout).ok().map(|text| text.trim().to_owned())
    };
    if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|file| Path::new(file).exists()) {
        println!("cargo:rerun-if-changed={head}");
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default()
}
