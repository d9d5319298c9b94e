//! One stream of a running program, on its way to the log.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::process::clock::now;
use crate::process::log_lines::{Recorder, Stream};
use crate::process::shim::client::is_passing;
use crate::process::shim::log_file::LogFile;

/// How often a stream is read before the others have their turn.
const READS_A_TURN: usize = 4;
/// How often a stream is read when its program has ended; more than a pipe can hold.
const READS_AT_END: usize = 128;

/// A pipe that a program writes to.
#[derive(Debug)]
pub(super) struct Output {
    pipe: File,
    recorder: Recorder,
    is_open: bool,
}

impl Output {
    pub fn new(pipe: OwnedFd, stream: Stream) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe: File::from(pipe), recorder: Recorder::new(stream), is_open: true })
    }

    /// Whether more may come.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes a turn's worth to the log.
    pub fn carry(&mut self, log: &mut LogFile, buffer: &mut [u8]) {
        self.read(READS_A_TURN, log, buffer);
    }

    /// Takes all that is there to the log, also a line without an end: no more will come.
    pub fn finish(&mut self, log: &mut LogFile, buffer: &mut [u8]) {
        self.read(READS_AT_END, log, buffer);
        self.is_open = false;
        self.flush(log);
    }

    /// Whether a line was begun.
    pub fn is_begun(&self) -> bool {
        self.recorder.is_begun()
    }

    /// Takes a line that was begun to the log.
    pub fn flush(&mut self, log: &mut LogFile) {
        let mut records = Vec::new();
        self.recorder.finish(now(), &mut records);
        append(log, &records);
    }

    fn read(&mut self, times: usize, log: &mut LogFile, buffer: &mut [u8]) {
        let mut records = Vec::new();
        for _ in 0..times {
            match self.pipe.read(buffer) {
                Ok(0) => self.is_open = false,
                Ok(length) => {
                    self.recorder.take(buffer.get(..length).unwrap_or_default(), now(), &mut records);
                    append(log, &records);
                    records.clear();
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => self.is_open &= is_passing(&error),
            }
            break;
        }
    }
}

/// A record that cannot be written, for a full disk say, is dropped: the program must not wait for room.
fn append(log: &mut LogFile, records: &[u8]) {
    if !records.is_empty() {
        let _ = log.write(records);
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
