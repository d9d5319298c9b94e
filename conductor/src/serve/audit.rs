//! `audit.log` in the data directory: who changed what, a JSON object a line, in files of bounded size.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use api::AuditLog;

use crate::private;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Size in bytes at which the log is set aside.
    pub bytes: u64,
    /// How many that were set aside are kept.
    pub files: u32,
}

/// The log.
pub struct AuditFile {
    path: PathBuf,
    bounds: Bounds,
    open: Mutex<(File, u64)>,
}

impl AuditFile {
    /// Goes on with the log of a data directory. Errors: it cannot be written.
    pub fn open(data: &Path, bounds: Bounds) -> Result<Self> {
        let path = data.join("audit.log");
        let open = open(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, bounds, open: Mutex::new(open) })
    }

    fn aside(&self, number: u32) -> PathBuf {
        self.path.with_extension(format!("log.{number}"))
    }

    /// Sets the log aside: `audit.log` becomes `audit.log.1`, that `audit.log.2`, and the oldest goes.
    fn rotate(&self) -> io::Result<(File, u64)> {
        for number in (1..self.bounds.files).rev() {
            if self.aside(number).exists() {
                std::fs::rename(self.aside(number), self.aside(number + 1))?;
            }
        }
        if self.bounds.files == 0 {
            std::fs::remove_file(&self.path)?;
        } else {
            std::fs::rename(&self.path, self.aside(1))?;
        }
        open(&self.path)
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = private::append(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

impl AuditLog for AuditFile {
    fn keep(&self, mut line: String) {
        line.push('\n');
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut write = || -> io::Result<()> {
            if open.1 > 0 && open.1.saturating_add(length) > self.bounds.bytes {
                *open = self.rotate()?;
            }
            open.0.write_all(line.as_bytes())?;
            open.1 += length;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::error!(%error, line = line.trim_end(), "the audit log cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn logs_are_set_aside_by_size_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        let bounds = Bounds { bytes: 20, files: 2 };
        for number in 0..7 {
            AuditFile::open(dir.path(), bounds).unwrap().keep(format!("{{\"n\":{number}}}"));
        }
        assert_eq!(read("audit.log"), "{\"n\":6}\n");
        assert_eq!((read("audit.log.1").as_str(), read("audit.log.2").as_str()), ("{\"n\":4}\n{\"n\":5}\n", "{\"n\":2}\n{\"n\":3}\n"));
        assert_eq!(read("audit.log.3"), "");
        let mode = std::fs::metadata(dir.path().join("audit.log")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
