//! A shim as a program of its own, for the tests: `shim <pod directory>`, or `shim --terminal <file> <program> …`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let ended = match words.split_first() {
        Some((first, rest)) if first == "--terminal" => {
            runtime::process::terminal::run(rest).map(|never| match never {}).map_err(|error| error.to_string())
        }
        first => {
            let dir = first.map(|(dir, _)| PathBuf::from(dir)).unwrap_or_default();
            runtime::process::shim::run(&dir).map_err(|error| error.to_string())
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
