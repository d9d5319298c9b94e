//! What a running program reads: a named pipe in the pod's directory, so that whoever attaches writes to the program itself and waits
//! for it alone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::process::records;

/// The pipe, held open for writing, so that the program waits for more also while nobody is attached. Its name goes with it: who
/// comes later finds nothing to write to.
#[derive(Debug)]
pub(super) struct Input {
    path: PathBuf,
    _writer: File,
}

impl Input {
    /// Makes the pipe of a new run; also a reader, to be held until the program has one of its own.
    pub fn open(dir: &Path, container: &str) -> io::Result<(Self, File)> {
        let path = records::input_file(dir, container);
        // One that a dead shim left; what writes to it does not reach this run.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // Opened without waiting, for there is no writer yet. The program opens one that waits.
        let reader = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path)?;
        let writer = OpenOptions::new().write(true).open(&path)?;
        Ok((Self { path, _writer: writer }, reader))
    }

    /// Where the program opens it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
