//! A shim as a program of its own, for the tests: `shim <pod directory>`, or `shim --terminal <file> <program> …`.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::process::program::run(&std::env::args_os().skip(1).collect::<Vec<OsString>>())
}
