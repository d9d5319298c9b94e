//! What is about to be changed and not told of yet, so that a server that is killed in between leaves no change without a line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{log, with_field};
use crate::private;

const FILE: &str = "audit-intents.log";
/// The file is begun anew beyond this, in bytes: what is settled in it is of no use.
const BYTES_MAX: usize = 256 << 10;

/// The intents of this server, and what one before it left.
pub struct Intents {
    left: Vec<(u64, String)>,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    bytes: usize,
    last: u64,
    pending: BTreeMap<u64, String>,
}

impl Intents {
    /// Reads what was left. Errors: the file cannot be written.
    pub fn open(data: &Path) -> Result<Self> {
        let path = data.join(FILE);
        let mut left = BTreeMap::new();
        for line in log::tail(&path).lines() {
            match line.split_once(' ').map(|(word, rest)| (word.parse::<u64>(), rest)) {
                Some((Ok(number), "settled")) => drop(left.remove(&number)),
                Some((Ok(number), line)) => drop(left.insert(number, line.to_owned())),
                _ => {}
            }
        }
        let file = private::append(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let open = Open { file, bytes: 0, last: 0, pending: BTreeMap::new() };
        Ok(Self { left: left.into_iter().collect(), open: Mutex::new(open) })
    }

    /// The lines of what was intended and is told of nowhere in `told`: nobody knows whether it was done.
    pub fn left(&self, told: &str) -> Vec<String> {
        let same = |intent: &Value, line: &Value| {
            ["request", "user", "verb", "resource", "namespace"].iter().all(|field| intent[*field] == line[*field])
        };
        let told: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let is_told = |line: &str| {
            let Ok(intent) = serde_json::from_str::<Value>(line) else { return true };
            told.iter().any(|line| same(&intent, line))
        };
        let untold = self.left.iter().filter(|(_, line)| !is_told(line));
        untold.map(|(_, line)| with_field(line, "outcome", "\"unknown: the server ended meanwhile\"")).collect()
    }

    /// Forgets what was left.
    pub fn clear(&self) {
        self.renew(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Keeps an intent.
    pub fn begin(&self, line: String) -> u64 {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.last += 1;
        let number = open.last;
        self.write(&mut open, &format!("{number} {line}\n"));
        open.pending.insert(number, line);
        number
    }

    /// What was intended is told of.
    pub fn end(&self, number: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.pending.remove(&number);
        if open.bytes > BYTES_MAX {
            self.renew(&mut open);
        } else {
            self.write(&mut open, &format!("{number} settled\n"));
        }
    }

    /// Begins the file anew with what is pending.
    fn renew(&self, open: &mut Open) {
        if let Err(error) = open.file.set_len(0) {
            tracing::error!(%error, "what is about to be changed cannot be written down");
        }
        open.bytes = 0;
        let text: String = open.pending.iter().map(|(number, line)| format!("{number} {line}\n")).collect();
        self.write(open, &text);
    }

    fn write(&self, open: &mut Open, text: &str) {
        open.bytes += text.len();
        if let Err(error) = open.file.write_all(text.as_bytes()) {
            tracing::error!(%error, "what is about to be changed cannot be written down");
        }
    }
}
