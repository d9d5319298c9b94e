//! What runs between us and a program with a terminal: it leads a session, takes the terminal for its own, and becomes the program.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// Becomes the program: `words` are the terminal's file, the program and its arguments. Returns only with an error.
pub fn run(words: &[OsString]) -> io::Result<Infallible> {
    let [terminal, program, args @ ..] = words else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a terminal and a program"));
    };
    setsid()?;
    // The first terminal that the leader of a session opens is the session's.
    let file = OpenOptions::new().read(true).write(true).open(terminal)?;
    dup2_stdin(&file)?;
    dup2_stdout(&file)?;
    dup2_stderr(&file)?;
    drop(file);
    let error = Command::new(program).args(args).exec();
    Err(io::Error::new(error.kind(), format!("cannot start {}: {error}", program.to_string_lossy())))
}
