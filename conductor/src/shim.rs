//! `conductor-shim`: the process above a pod's programs, as a program of its own. It does what `conductor shim` does, and because it
//! is small, and holds nothing else, each pod costs a fraction of the memory.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::process::program::run(&std::env::args_os().skip(1).collect::<Vec<OsString>>())
}
