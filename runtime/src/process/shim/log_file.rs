//! The file a run's records go to, and its rotation.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::process::records;

/// How large a log grows before it is rotated, in bytes.
pub(super) const ROTATED_AT_BYTES: u64 = 10 * 1024 * 1024;

/// The log of one run: at most two files, the older of them full.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    path: PathBuf,
    rotated: PathBuf,
    size_bytes: u64,
    rotated_at_bytes: u64,
}

impl LogFile {
    /// Makes the log of run `number` and deletes those of all runs but it and the one before.
    pub fn create(dir: &Path, container: &str, number: u32, rotated_at_bytes: u64) -> io::Result<Self> {
        if let Some(old) = number.checked_sub(2) {
            let _ = fs::remove_file(records::log_file(dir, container, old));
            let _ = fs::remove_file(records::rotated_log_file(dir, container, old));
        }
        let path = records::log_file(dir, container, number);
        let rotated = records::rotated_log_file(dir, container, number);
        Ok(Self { file: File::create(&path)?, path, rotated, size_bytes: 0, rotated_at_bytes })
    }

    /// Appends whole records.
    pub fn write(&mut self, records: &[u8]) -> io::Result<()> {
        let length = records.len() as u64;
        if self.size_bytes > 0 && self.size_bytes + length > self.rotated_at_bytes {
            fs::rename(&self.path, &self.rotated)?;
            self.file = File::create(&self.path)?;
            self.size_bytes = 0;
        }
        self.size_bytes += length;
        self.file.write_all(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_set_aside_once_and_no_record_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::create(dir.path(), "web", 1, 10).unwrap();
        for record in ["1234\n", "5678\n", "9\n", "abcdefghijkl\n", "m\n"] {
            log.write(record.as_bytes()).unwrap();
        }
        let read = |path| fs::read_to_string(path).unwrap();
        assert_eq!(read(records::rotated_log_file(dir.path(), "web", 1)), "abcdefghijkl\n");
        assert_eq!(read(records::log_file(dir.path(), "web", 1)), "m\n");
    }

    #[test]
    fn the_logs_of_this_run_and_the_one_before_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for number in 1..=4 {
            LogFile::create(dir.path(), "web", number, 10).unwrap().write(b"x\n").unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["web.3.log", "web.4.log"]);
    }
}
