//! A program that somebody talks to while it runs.

use bytes::Bytes;
use tokio::sync::mpsc;

/// How many pieces wait in each direction before whoever sends must wait.
pub(crate) const PIECES_MAX: usize = 16;

/// What is run, and how it is talked to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether it is told anything; without it, it reads the end at once.
    pub stdin: bool,
    /// Whether it has a terminal. Then its standard error is part of its output.
    pub tty: bool,
}

/// What a program is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// More for its standard input.
    Bytes(Bytes),
    /// No more comes.
    End,
    /// Its terminal has another size.
    Resize {
        /// Characters in a line.
        columns: u16,
        /// Lines.
        rows: u16,
    },
}

/// What comes of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// It wrote to its standard output.
    Out(Bytes),
    /// It wrote to its standard error.
    Err(Bytes),
    /// It ended, with this code; 128 + the signal when a signal ended it. Nothing comes after.
    Ended(i32),
}

/// A program that runs, until it ends or this is dropped, which ends it with all that it started; or a container's own program,
/// which runs on.
#[derive(Debug)]
pub struct Session {
    /// What it is told.
    pub input: mpsc::Sender<Input>,
    /// What it says.
    pub output: mpsc::Receiver<Output>,
}

impl Session {
    /// A session, and the other ends of it.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Input>, mpsc::Sender<Output>) {
        let (input, told) = mpsc::channel(PIECES_MAX);
        let (says, output) = mpsc::channel(PIECES_MAX);
        (Self { input, output }, told, says)
    }
}
