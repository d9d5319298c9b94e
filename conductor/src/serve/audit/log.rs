//! One record: a file that is appended to, and those that were set aside.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};

use super::{Bounds, chain, with_field};
use crate::private;

/// As much of the end of a file is read as holds a few hundred lines.
const TAIL_BYTES: u64 = 1 << 20;

/// A record.
pub struct Log {
    path: PathBuf,
    bounds: Bounds,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    bytes: u64,
    /// The hash of the last line, where lines are chained.
    last: String,
}

impl Log {
    /// Goes on with a record. A line that was cut off by a crash is ended. Errors: it cannot be written.
    pub fn open(path: PathBuf, bounds: Bounds) -> Result<Self> {
        let mut open = begin(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let before = match open.bytes {
            0 => tail(&aside(&path, 1)),
            _ => tail(&path),
        };
        if open.bytes > 0 && !before.ends_with('\n') {
            open.file.write_all(b"\n").with_context(|| format!("cannot write {}", path.display()))?;
            open.bytes += 1;
        }
        open.last = before.lines().last().map(chain::hash).unwrap_or_default();
        Ok(Self { path, bounds, open: Mutex::new(open) })
    }

    /// Keeps a line.
    pub fn keep(&self, mut line: String) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bounds.chained {
            line = with_field(&line, "previous", &format!("\"{}\"", open.last));
        }
        if let Err(error) = self.write(&mut open, &line) {
            tracing::error!(%error, line, "the audit log cannot be written");
        } else if self.bounds.chained {
            open.last = chain::hash(&line);
        }
    }

    fn write(&self, open: &mut Open, line: &str) -> io::Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX).saturating_add(1);
        if open.bytes > 0 && open.bytes.saturating_add(length) > self.bounds.bytes {
            let last = std::mem::take(&mut open.last);
            *open = Open { last, ..self.rotate()? };
        }
        open.file.write_all(format!("{line}\n").as_bytes())?;
        open.bytes += length;
        Ok(())
    }

    /// Sets the log aside: `audit.log` becomes `audit.log.1`, that `audit.log.2`, and the oldest goes.
    fn rotate(&self) -> io::Result<Open> {
        for number in (1..self.bounds.files).rev() {
            if aside(&self.path, number).exists() {
                std::fs::rename(aside(&self.path, number), aside(&self.path, number + 1))?;
            }
        }
        if self.bounds.files == 0 {
            std::fs::remove_file(&self.path)?;
        } else {
            std::fs::rename(&self.path, aside(&self.path, 1))?;
        }
        begin(&self.path)
    }
}

fn begin(path: &Path) -> io::Result<Open> {
    let file = private::append(path)?;
    let bytes = file.metadata()?.len();
    Ok(Open { file, bytes, last: String::new() })
}

/// The name under which a log is set aside.
pub fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The end of a file; nothing of one that is not there.
pub fn tail(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let from = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
