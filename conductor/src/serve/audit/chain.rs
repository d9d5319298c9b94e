//! Each line names the hash of the one before it, so that a line that was altered, taken out or put in is found.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{CHANGES, log};

/// A record that holds together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Lines that are chained.
    pub lines: usize,
    /// The time of the first line there is: older ones were set aside and are gone.
    pub since: String,
    /// The hash of the last line.
    pub head: String,
}

/// The hash of a line.
pub fn hash(line: &str) -> String {
    Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the record of a data directory, oldest line first. `known` is the hash of a line that must be in it, as one that was written
/// down elsewhere. Errors: a line does not follow from the one before it, or the known one is not there; with the file and the line.
pub fn verify(data: &Path, known: Option<&str>) -> Result<Verified> {
    let path = data.join(CHANGES);
    let mut files: Vec<_> = (1..).map(|number| log::aside(&path, number)).take_while(|file| file.exists()).collect();
    files.reverse();
    files.push(path);
    let mut found = Verified { lines: 0, since: String::new(), head: String::new() };
    let mut is_known = known.is_none();
    for file in &files {
        let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        for (at, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            // A line that a crash cut off is no JSON; the next one names it all the same.
            let value: Value = serde_json::from_str(line).unwrap_or_default();
            match value["previous"].as_str() {
                Some(previous) if !found.head.is_empty() && previous != found.head => {
                    bail!(
                        "{}:{}: it does not follow from the line before it: one of them was altered, put in, or taken out between",
                        file.display(),
                        at + 1
                    )
                }
                None if found.lines > 0 && !value.is_null() => {
                    bail!(
                        "{}:{}: it does not name the line before it: it was put in, or the setting audit-chain was off",
                        file.display(),
                        at + 1
                    )
                }
                Some(_) => found.lines += 1,
                None => {}
            }
            if found.since.is_empty() {
                found.since = value["time"].as_str().unwrap_or_default().to_owned();
            }
            found.head = hash(line);
            is_known |= known == Some(found.head.as_str());
        }
    }
    if !is_known {
        bail!("no line has the hash {}: lines were cut off, or it is older than what is kept", known.unwrap_or_default());
    }
    Ok(found)
}
