//! What the program of a shim does with its words. It is the whole of `conductor-shim`, and `conductor shim`.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use crate::process::{confined, shim, terminal};

/// Looks after the pod whose directory is the first word; after `--terminal`, becomes a program with a terminal
/// instead; after `--confined`, one that has no more rights than its namespace. A failure is
/// told on standard error, whoever may have closed it.
pub fn run(words: &[OsString]) -> ExitCode {
    match words {
        [first, words @ ..] if first == "--terminal" => match terminal::run(words) {
            Ok(never) => match never {},
            Err(error) => fail(&error, 127),
        },
        [first, words @ ..] if first == confined::WORD => match confined::run(words) {
            Ok(never) => match never {},
            Err(error) => fail(&error, 127),
        },
        [pod_dir] => match shim::run(Path::new(pod_dir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
        _ => fail(&"expected the directory of a pod, or --terminal, a terminal and a program", 2),
    }
}

/// Closes what whoever started this program had open beside the standard streams and `handed` descriptors after them, which were
/// meant for it. For the beginning, before anything is opened.
pub fn close_inherited(handed: u16) -> io::Result<()> {
    confined::close_others(confined::FIRST_OTHER + i32::from(handed), None)
}

fn fail(why: &dyn Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "conductor: {why}");
    ExitCode::from(code)
}
