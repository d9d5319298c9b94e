//! The map in ARCHITECTURE.md, against the files: everything it names exists, and every crate and module at the top of a
//! crate has its line.

use anyhow::Result;

use super::Finding;
use super::markdown::{parts, quoted, section};
use super::repository::Repository;

const PAGE: &str = "ARCHITECTURE.md";
/// What every crate has and no map needs to name.
const OBVIOUS: &[&str] = &["lib", "main", "tests"];

pub fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let map = section(repository.text(PAGE)?, "The map")?;
    let mut findings = Vec::new();
    let mut drawn = Vec::new();
    for (title, body) in parts(map) {
        let Some(folder) = quoted(title).into_iter().next() else { continue };
        drawn.push(folder);
        let named = named(body);
        let missing = named.iter().filter(|name| !exists(repository, folder, name));
        findings.extend(missing.map(|name| Finding::new(PAGE, format!("the map names {name} in {folder}, which is not there"))));
        let unnamed = modules(repository, folder).into_iter().filter(|module| !named.contains(&module.as_str()));
        findings.extend(unnamed.map(|module| Finding::new(PAGE, format!("the map of {folder} lacks `{module}`"))));
    }
    for package in repository.metadata.ours() {
        let folder = repository.metadata.folder(package);
        if !drawn.contains(&folder.as_str()) {
            findings.push(Finding::new(PAGE, format!("the map lacks the crate {folder}")));
        }
    }
    Ok(findings)
}

/// What a crate's lines name: the backticked words before the first colon of each.
fn named(body: &str) -> Vec<&str> {
    let lines = body.lines().filter_map(|line| line.strip_prefix("- "));
    lines.flat_map(|line| quoted(line.split_once(": ").map_or(line, |(names, _)| names))).collect()
}

fn exists(repository: &Repository, folder: &str, name: &str) -> bool {
    [format!("{folder}/src/{name}.rs"), format!("{folder}/src/{name}"), format!("{folder}/{name}")].iter().any(|path| repository.has(path))
}

/// The modules at the top of a crate.
fn modules(repository: &Repository, folder: &str) -> Vec<String> {
    let prefix = format!("{folder}/src/");
    let paths = repository.files.iter().filter_map(|file| file.path.strip_prefix(&prefix)).filter(|path| path.ends_with(".rs"));
    let mut names: Vec<String> = paths.map(|path| path.split('/').next().unwrap_or(path).trim_end_matches(".rs").to_owned()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| !OBVIOUS.contains(&name.as_str()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_before_the_colon_is_named() {
        assert_eq!(named("- `a`, `b/c`: see `d`\nprose with `e`\n- `f`\n"), ["a", "b/c", "f"]);
    }
}
