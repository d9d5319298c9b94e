//! Everything the checks read: the text files of this repository and what Cargo says of its crates.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::metadata::Metadata;
use super::source::Source;

/// Folders (and files) that hold nothing of ours, or inputs that are meant to be wrong.
const SKIPPED: &[&str] = &["target", "dist", ".git", "seeds", "corpus", "artifacts"];

/// The repository as it is on disk.
#[derive(Debug)]
pub struct Repository {
    /// Its text files, ascending by path.
    pub files: Vec<TextFile>,
    /// What Cargo says.
    pub metadata: Metadata,
}

/// One file of text.
#[derive(Debug)]
pub struct TextFile {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
}

impl TextFile {
    /// Whether it is only for tests, benchmarks or examples of a crate.
    pub fn is_test(&self) -> bool {
        let folders: Vec<&str> = self.path.split('/').collect();
        let in_folder = |name: &str| folders.iter().skip(1).any(|folder| *folder == name);
        ["tests", "benches", "examples"].into_iter().any(in_folder) || self.path.ends_with("/tests.rs")
    }
}

impl Repository {
    /// Reads all of it. Errors: Cargo or the file system, in their words.
    pub fn read() -> Result<Self> {
        let root = crate::root();
        let mut paths = Vec::new();
        walk(&root, &mut paths)?;
        paths.sort();
        let files = paths.iter().filter_map(|path| text_file(&root, path)).collect();
        Ok(Self { files, metadata: Metadata::read(&root)? })
    }

    /// The text of one file. Errors: it is not there.
    pub fn text(&self, path: &str) -> Result<&str> {
        let file = self.files.iter().find(|file| file.path == path);
        file.map(|file| file.text.as_str()).with_context(|| format!("{path} is missing"))
    }

    /// Whether a file, or a folder with files in it, has this path.
    pub fn has(&self, path: &str) -> bool {
        self.files.iter().any(|file| file.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// The Rust files, tests included.
    pub fn rust(&self) -> impl Iterator<Item = (&TextFile, Source<'_>)> {
        self.files.iter().filter(|file| file.path.ends_with(".rs")).map(|file| (file, Source::new(&file.text)))
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        // In a second work tree of one repository, `.git` is a file.
        if SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// A file, unless it is no text or went away meanwhile.
fn text_file(root: &Path, path: &Path) -> Option<TextFile> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(TextFile { path: path.strip_prefix(root).ok()?.to_str()?.to_owned(), text })
}
