//! The words that GLOSSARY.md rules out, against the names of types and modules.

use std::path::Path;

use anyhow::Result;

use super::Finding;
use super::markdown::{quoted, section};
use super::repository::Repository;

/// Names that may have a word that is ruled out: path, name and why.
const EXEMPT: &[(&str, &str, &str)] = &[];

pub fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let ruled_out = quoted(section(repository.text("GLOSSARY.md")?, "Words not used")?);
    let mut findings = Vec::new();
    for (file, source) in repository.rust() {
        let types = source.types().into_iter().map(|item| (format!("{}:{}", file.path, item.line), item.name));
        let module = (file.path.clone(), module_name(&file.path));
        for (place, name) in types.chain([module]) {
            let exempt = EXEMPT.iter().any(|(path, exempt, _)| *path == file.path && *exempt == name);
            if let Some(word) = word_in(&name, &ruled_out).filter(|_| !exempt) {
                findings.push(Finding::new(place, format!("{name} has the word {word:?}, which GLOSSARY.md rules out")));
            }
        }
    }
    Ok(findings)
}

/// The name of the module in a file: that of its folder where the file is only the folder's entry.
fn module_name(path: &str) -> String {
    let path = Path::new(path);
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match stem(path).as_str() {
        "mod" => path.parent().map(stem).unwrap_or_default(),
        name => name.to_owned(),
    }
}

/// The first word of a name that is ruled out, in the singular or with an s.
fn word_in<'a>(name: &str, ruled_out: &[&'a str]) -> Option<&'a str> {
    let words = words(name);
    ruled_out.iter().copied().find(|out| words.iter().any(|word| word == out || word.strip_suffix('s') == Some(out)))
}

/// `HTTPRoute_table` is http, route, table.
fn words(name: &str) -> Vec<String> {
    let signs: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, sign) in signs.iter().enumerate() {
        let after_small = at > 0 && signs.get(at - 1).is_some_and(|before| before.is_lowercase() || before.is_numeric());
        let before_small = at > 0 && signs.get(at + 1).is_some_and(|after| after.is_lowercase());
        if *sign == '_' || *sign == '-' || (sign.is_uppercase() && (after_small || before_small)) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| sign.is_alphanumeric()) {
            word.extend(sign.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_into_words() {
        for (name, parts) in [("RouteTable", "route table"), ("HTTPRoute_table", "http route table"), ("ghosts", "ghosts"), ("A", "a")] {
            assert_eq!(words(name).join(" "), parts);
        }
    }

    #[test]
    fn whole_words_are_ruled_out_and_parts_of_words_are_not() {
        let ruled_out = ["host", "info", "util"];
        for (name, found) in [
            ("HostTable", Some("host")),
            ("known_hosts", Some("host")),
            ("utils", Some("util")),
            ("Ghost", None),
            ("Information", None),
            ("SystemInfo", Some("info")),
        ] {
            assert_eq!(word_in(name, &ruled_out), found, "{name}");
        }
        assert_eq!(module_name("a/src/pod/mod.rs"), "pod");
        assert_eq!(module_name("a/src/pod.rs"), "pod");
    }
}
