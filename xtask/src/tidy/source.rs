//! Rust source, read just well enough to find functions, types and modules: words, punctuation and braces, with comments and
//! strings passed over.

mod blank;

use std::ops::RangeInclusive;

/// One file of Rust.
#[derive(Debug)]
pub struct Source<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    /// The lines of modules that are only for tests.
    test_lines: Vec<RangeInclusive<usize>>,
}

#[derive(Debug, Clone)]
struct Token {
    word: String,
    /// From 1.
    line: usize,
    /// Where it begins in the text, in bytes.
    offset: usize,
}

/// Something with a name and lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    /// The first line, from 1.
    pub line: usize,
    /// How many lines it has.
    pub length: usize,
}

/// A `mod name;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub name: String,
    /// What `#[path = "…"]` says, if anything does.
    pub path: Option<String>,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str) -> Self {
        let tokens = tokens(&blank::blank(text));
        let test_lines = test_lines(&tokens);
        Self { text, tokens, test_lines }
    }

    /// How many lines the file has, without its modules for tests.
    pub fn lines(&self) -> usize {
        let tests: usize = self.test_lines.iter().map(|lines| lines.clone().count()).sum();
        self.text.lines().count().saturating_sub(tests)
    }

    /// The functions that have a body, without those for tests.
    pub fn functions(&self) -> Vec<Item> {
        let starts = self.tokens.iter().enumerate().filter(|(_, token)| token.word == "fn" && !self.is_test(token.line));
        starts.filter_map(|(at, _)| self.function(at)).collect()
    }

    fn function(&self, at: usize) -> Option<Item> {
        let name = self.tokens.get(at + 1).filter(|token| is_name(&token.word))?;
        let start = self.tokens.get(at)?.line;
        let mut depth = 0_usize;
        for (index, token) in self.tokens.iter().enumerate().skip(at + 2) {
            match token.word.as_str() {
                "(" | "[" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                ";" if depth == 0 => return None,
                "{" if depth == 0 => {
                    let end = closing(&self.tokens, index)?;
                    return Some(Item { name: name.word.clone(), line: start, length: end.line + 1 - start });
                }
                _ => {}
            }
        }
        None
    }

    /// The types and traits that are named here, without those for tests, and without other people's associated types.
    pub fn types(&self) -> Vec<Item> {
        let mut depth = 0_usize;
        let mut found = Vec::new();
        for pair in self.tokens.windows(2) {
            let [keyword, name] = pair else { continue };
            let named = match keyword.word.as_str() {
                "{" => {
                    depth += 1;
                    false
                }
                "}" => {
                    depth = depth.saturating_sub(1);
                    false
                }
                "struct" | "enum" | "trait" => true,
                "type" => depth == 0,
                _ => false,
            };
            if named && is_name(&name.word) && !self.is_test(name.line) {
                found.push(Item { name: name.word.clone(), line: name.line, length: 1 });
            }
        }
        found
    }

    /// The modules that live in files of their own.
    pub fn modules(&self) -> Vec<Declared> {
        let mut path = None;
        let mut found = Vec::new();
        for window in self.tokens.windows(3) {
            let words: Vec<&str> = window.iter().map(|token| token.word.as_str()).collect();
            match (words.as_slice(), window) {
                (["[", "path", "="], [_, token, _]) => path = self.quoted_after(token.offset),
                (["mod", name, end], _) if is_name(name) => {
                    let path = path.take();
                    if *end == ";" {
                        found.push(Declared { name: (*name).to_owned(), path });
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The lines, from 1, on which these words and signs follow each other, without those for tests.
    pub fn lines_with(&self, words: &[&str]) -> Vec<usize> {
        let matches = |window: &&[Token]| window.iter().map(|token| token.word.as_str()).eq(words.iter().copied());
        let found = self.tokens.windows(words.len()).filter(matches);
        found.filter_map(|window| window.first()).map(|token| token.line).filter(|line| !self.is_test(*line)).collect()
    }

    fn quoted_after(&self, offset: usize) -> Option<String> {
        self.text.get(offset..)?.split('"').nth(1).map(str::to_owned)
    }

    fn is_test(&self, line: usize) -> bool {
        self.test_lines.iter().any(|lines| lines.contains(&line))
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Words as wholes, everything else sign by sign.
fn tokens(blanked: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut line = 1;
    let mut end_of_word = None;
    for (offset, sign) in blanked.char_indices() {
        let in_word = sign.is_alphanumeric() || sign == '_';
        match found.last_mut() {
            Some(last) if in_word && end_of_word == Some(offset) => last.word.push(sign),
            _ if sign.is_whitespace() => {}
            _ => found.push(Token { word: sign.to_string(), line, offset }),
        }
        end_of_word = in_word.then(|| offset + sign.len_utf8());
        line += usize::from(sign == '\n');
    }
    found
}

/// The brace that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> Option<&Token> {
    let mut depth = 0_usize;
    tokens.iter().skip(open).find(|token| {
        match token.word.as_str() {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })
}

/// The lines of every `#[cfg(test)] mod name { … }`.
fn test_lines(tokens: &[Token]) -> Vec<RangeInclusive<usize>> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut found = Vec::new();
    for (at, window) in tokens.windows(marker.len() + 3).enumerate() {
        let words: Vec<&str> = window.iter().map(|token| token.word.as_str()).collect();
        let [start, ..] = window else { continue };
        if words.starts_with(&marker)
            && let Some(["mod", _, "{"]) = words.get(marker.len()..)
            && let Some(end) = closing(tokens, at + marker.len() + 2)
        {
            found.push(start.line..=end.line);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r##"//! A file.
#[path = "far/away.rs"]
mod away;
pub(crate) mod near;
mod inline { pub struct Inner; }

/// Not a fn fake() { }.
pub struct Outer<'a>(&'a str);

type Short = u8;

impl Iterator for Outer<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let brace = '{';
        let text = "fn hidden() { \" }";
        let raw = r#"{ " {"#;
        None
    }
}

trait Speaks {
    fn says(&self, pointer: fn(u8) -> [u8; { 2 }]);
}

#[cfg(test)]
mod tests {
    fn long() {
        Timestamp::now();
    }
    struct Made;
}
"##;

    #[test]
    fn functions_are_found_with_their_lines() {
        let found = Source::new(TEXT).functions();
        assert_eq!(found, [Item { name: "next".into(), line: 15, length: 6 }]);
    }

    #[test]
    fn types_are_found_and_associated_ones_are_not() {
        let names: Vec<_> = Source::new(TEXT).types().into_iter().map(|item| item.name).collect();
        assert_eq!(names, ["Inner", "Outer", "Short", "Speaks"]);
    }

    #[test]
    fn modules_in_files_are_found_with_their_paths() {
        let found = Source::new(TEXT).modules();
        let away = Declared { name: "away".into(), path: Some("far/away.rs".into()) };
        assert_eq!(found, [away, Declared { name: "near".into(), path: None }]);
    }

    #[test]
    fn tests_count_neither_as_lines_nor_as_uses() {
        let source = Source::new(TEXT);
        assert_eq!(source.lines(), TEXT.lines().count() - 7);
        assert_eq!(source.lines_with(&["Timestamp", ":", ":", "now"]), Vec::<usize>::new());
        assert_eq!(Source::new("fn a() {\n Timestamp::now() }").lines_with(&["Timestamp", ":", ":", "now"]), [2]);
    }
}
