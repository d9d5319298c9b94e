//! Source files that no `mod` reaches, and modules that do not say what they are.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use super::Finding;
use super::repository::{Repository, TextFile};
use super::source::Source;

pub fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let reached = reached(repository);
    let mut findings = Vec::new();
    for file in repository.files.iter().filter(|file| file.path.ends_with(".rs")) {
        if !reached.contains(&file.path) {
            findings.push(Finding::new(&file.path, "no `mod` reaches it: name it in one, or delete it"));
        }
        if !file.is_test() && !opens_with_what_it_is(file) {
            findings.push(Finding::new(&file.path, "does not open with a `//!` line that says what it is"));
        }
    }
    Ok(findings)
}

fn opens_with_what_it_is(file: &TextFile) -> bool {
    file.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#![")).is_some_and(|line| line.starts_with("//!"))
}

/// The files that Cargo's targets reach.
fn reached(repository: &Repository) -> BTreeSet<String> {
    let targets = repository.metadata.ours().flat_map(|package| &package.targets);
    let mut next: Vec<(String, bool)> = targets.map(|target| (repository.metadata.relative(&target.src_path), true)).collect();
    // The fuzzer's targets are of a workspace of their own, where each file is one.
    let of_the_fuzzer = repository.files.iter().filter(|file| file.path.starts_with("fuzz/fuzz_targets/"));
    next.extend(of_the_fuzzer.map(|file| (file.path.clone(), true)));
    let mut reached = BTreeSet::new();
    while let Some((path, is_root)) = next.pop() {
        let Ok(text) = repository.text(&path) else { continue };
        if reached.insert(path.clone()) {
            next.extend(children(&path, is_root, text).into_iter().map(|child| (child, false)));
        }
    }
    reached
}

/// The files that the modules of one file may be in.
fn children(path: &str, is_root: bool, text: &str) -> Vec<String> {
    let path = Path::new(path);
    let folder = path.parent().unwrap_or(path);
    let is_entry = is_root || path.ends_with("mod.rs");
    let below = if is_entry { folder.to_path_buf() } else { path.with_extension("") };
    let mut files = Vec::new();
    for module in Source::new(text).modules() {
        match module.path {
            Some(named) => files.push(plain(&folder.join(named))),
            None => files.extend([plain(&below.join(&module.name).with_extension("rs")), plain(&below.join(&module.name).join("mod.rs"))]),
        }
    }
    files
}

/// A path without `..`.
fn plain(path: &Path) -> String {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_sought_where_the_compiler_seeks_them() {
        for (path, is_root, text, first) in [
            ("a/src/lib.rs", true, "mod b;", "a/src/b.rs"),
            ("a/src/b.rs", false, "mod c;", "a/src/b/c.rs"),
            ("a/src/b/mod.rs", false, "pub mod c;", "a/src/b/c.rs"),
            ("a/src/b.rs", false, "#[cfg(test)]\n#[path = \"b/../tests.rs\"]\nmod tests;", "a/src/tests.rs"),
            ("a/tests/it/main.rs", true, "mod c;", "a/tests/it/c.rs"),
        ] {
            assert_eq!(children(path, is_root, text).first().map(String::as_str), Some(first), "{path}");
        }
    }

    #[test]
    fn attributes_may_stand_before_what_a_file_is() {
        for (text, opens) in [("//! A.\n", true), ("#![no_std]\n\n//! A.\n", true), ("use a;\n//! A.\n", false), ("", false)] {
            assert_eq!(opens_with_what_it_is(&TextFile { path: "a.rs".into(), text: text.into() }), opens, "{text}");
        }
    }
}
