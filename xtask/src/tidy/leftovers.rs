//! What must not be in any file: marks of unfinished work, and paths of one person's machine.

use anyhow::Result;

use super::Finding;
use super::repository::{Repository, TextFile};

/// What is sought, and why it must not be there. All are written in two pieces, so that this file does not have them. Where one
/// begins or ends like a word, a word must begin or end there.
const REFUSED: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "finish it, or write down elsewhere what is to be done"),
    (concat!("XX", "X"), "finish it, or write down elsewhere what is to be done"),
    (concat!("todo", "!("), "finish it"),
    (concat!("unimplemented", "!("), "finish it"),
    (concat!("#[", "allow("), "use #[expect(…, reason = \"…\")]"),
    (concat!("/wor", "k/"), "a path of one machine"),
    (concat!("../sha", "red"), "a path outside the repository"),
];

pub fn check(repository: &Repository) -> Result<Vec<Finding>> {
    Ok(repository.files.iter().flat_map(leftovers).collect())
}

fn leftovers(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for (refused, why) in REFUSED.iter().filter(|(refused, _)| contains(line, refused)) {
            findings.push(Finding::new(format!("{}:{}", file.path, number + 1), format!("has {refused:?}: {why}")));
        }
    }
    findings
}

fn contains(line: &str, refused: &str) -> bool {
    let in_word = |sign: Option<char>| sign.is_some_and(|sign| sign.is_alphanumeric() || sign == '_');
    let begins = |sign: Option<char>| in_word(sign) || sign == Some('/');
    let (begins_like_a_word, ends_like_a_word) = (begins(refused.chars().next()), in_word(refused.chars().next_back()));
    line.match_indices(refused).any(|(at, found)| {
        let (before, after) = (line.get(..at).unwrap_or_default(), line.get(at + found.len()..).unwrap_or_default());
        !(begins_like_a_word && in_word(before.chars().next_back()) || ends_like_a_word && in_word(after.chars().next()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_are_found_and_parts_of_words_are_not() {
        let (mark, path, call) = (concat!("FIX", "ME"), concat!("/wor", "k/"), concat!("todo", "!("));
        for (line, refused, found) in [
            (format!("// {mark}: later"), mark, true),
            (mark.to_owned(), mark, true),
            (format!("let {mark}S = 1;"), mark, false),
            (format!("cd {path}main"), path, true),
            (format!("dir.join(\"a{path}b\")"), path, false),
            (format!("{call})"), call, true),
            ("fine".to_owned(), mark, false),
        ] {
            assert_eq!(contains(&line, refused), found, "{line}");
        }
    }
}
