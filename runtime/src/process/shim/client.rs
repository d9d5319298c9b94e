//! A connection to the shim: lines in, lines out, never waiting for either.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::process::protocol::{Call, LINE_BYTES_MAX, Message};

/// The longest call, in bytes.
const CALL_BYTES_MAX: usize = 16 * 1024;

/// One who is connected.
#[derive(Debug)]
pub(super) struct Client {
    /// Never given to another.
    pub id: u64,
    stream: UnixStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    is_broken: bool,
}

impl Client {
    pub fn new(id: u64, stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { id, stream, incoming: Vec::new(), outgoing: Vec::new(), is_broken: false })
    }

    /// Whether it is gone or has talked nonsense.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether something waits to be sent.
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Reads what has come; the calls that are complete.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Vec<Call> {
        match self.stream.read(buffer) {
            Ok(0) => self.is_broken = true,
            Ok(length) => self.incoming.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if is_passing(&error) => {}
            Err(_) => self.is_broken = true,
        }
        let mut calls = Vec::new();
        while let Some(end) = self.incoming.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.incoming.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(call) => calls.push(call),
                Err(_) => self.is_broken = true,
            }
        }
        self.is_broken |= self.incoming.len() > CALL_BYTES_MAX;
        calls
    }

    /// Puts a message behind those that wait to be sent.
    pub fn say(&mut self, message: &Message) {
        match serde_json::to_writer(&mut self.outgoing, message) {
            Ok(()) => self.outgoing.push(b'\n'),
            Err(_) => self.is_broken = true,
        }
    }

    /// Sends as much as goes without waiting.
    pub fn send(&mut self) {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.is_broken = true;
                    break;
                }
            }
        }
        self.is_broken |= self.outgoing.len() > LINE_BYTES_MAX;
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Whether to try again later.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
