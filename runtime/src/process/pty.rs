//! A pseudo-terminal, read and written without blocking.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use tokio::net::unix::pipe::{Receiver, Sender};

/// Our end of a terminal.
pub(super) struct Pty {
    /// What is written to the terminal. Tokio's pipes wait for any file that can be polled.
    pub(super) reader: Receiver,
    /// What is typed at it.
    pub(super) writer: Sender,
    pub(super) size: Size,
    /// The name by which the program's end is opened.
    pub(super) path: String,
}

/// What sets a terminal's size, and keeps it open until its program has begun.
pub(super) struct Size {
    master: OwnedFd,
    _slave: OwnedFd,
}

impl Pty {
    /// A new terminal. Errors: the system's.
    pub(super) fn open() -> io::Result<Self> {
        let pair = openpty(None, None)?;
        let flags = OFlag::from_bits_retain(fcntl(&pair.master, FcntlArg::F_GETFL)?);
        fcntl(&pair.master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let end = || pair.master.try_clone().map(File::from);
        let path = nix::unistd::ttyname(&pair.slave)?.to_string_lossy().into_owned();
        let (reader, writer) = (Receiver::from_file_unchecked(end()?)?, Sender::from_file_unchecked(end()?)?);
        Ok(Self { reader, writer, path, size: Size { master: pair.master, _slave: pair.slave } })
    }
}

impl Size {
    /// Sets the size; one that cannot be is passed over.
    pub(super) fn set(&self, columns: u16, rows: u16) {
        let size = rustix::termios::Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        if let Err(error) = rustix::termios::tcsetwinsize(&self.master, size) {
            tracing::debug!(%error, "a terminal was not resized");
        }
    }
}
