//! Regular expressions as Kubernetes means them: those of RE2, as Go reads them, in a form that the crate `regex` reads alike.
//!
//! The two languages look the same and differ in what people write every day: in RE2 `\d`, `\w`, `\s` and `\b` are ASCII's, `{a}`
//! and `[^[]` are plain text, `\Q…\E` quotes and `\123` is octal; in the crate's, `&&`, `--` and `~~` combine classes. So every
//! pattern is read here, by RE2's rules, and written out again in what both agree upon.

mod class;
mod escape;

use std::collections::HashSet;
use std::fmt::{self, Write as _};

use regex::{Regex, RegexBuilder};

/// How often something may be repeated, also by repetitions within each other.
const REPEATS_MAX: u32 = 1_000;
/// How deep groups may be nested.
const DEPTH_MAX: u32 = 200;
/// How large a compiled pattern may be, in bytes.
const COMPILED_BYTES_MAX: usize = 10 << 20;

/// A pattern that texts can be held against.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Whether it matches anywhere in a text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// What it matches in a text, one after the other.
    pub fn matches<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        self.regex.find_iter(text).map(|found| found.as_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

/// Compiles a pattern. Errors: why it is none, in Go's words where there are such.
pub fn compile(pattern: &str) -> Result<Pattern, String> {
    let translated = translate(pattern)?;
    let built = RegexBuilder::new(&translated).size_limit(COMPILED_BYTES_MAX).nest_limit(4 * DEPTH_MAX).build();
    built.map(|regex| Pattern { source: pattern.to_owned(), regex }).map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("error parsing regexp: {last}: `{pattern}`")
    })
}

/// A pattern of RE2 as the crate `regex` reads it. Errors: why it is none.
pub fn translate(pattern: &str) -> Result<String, String> {
    let mut reader = Reader { rest: pattern, whole: pattern, names: HashSet::new() };
    let (translated, _) = reader.alternatives(0)?;
    if !reader.rest.is_empty() {
        return Err(reader.refusal("unexpected )", pattern));
    }
    Ok(translated)
}

/// What is left to be read of a pattern.
struct Reader<'a> {
    rest: &'a str,
    whole: &'a str,
    names: HashSet<&'a str>,
}

type Result2<T> = Result<T, String>;

impl<'a> Reader<'a> {
    fn refusal(&self, what: &str, at: &str) -> String {
        format!("error parsing regexp: {what}: `{at}`")
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Everything up to the end of a group, and how often the innermost of it may be repeated.
    fn alternatives(&mut self, depth: u32) -> Result2<(String, u32)> {
        if depth > DEPTH_MAX {
            return Err(self.refusal("expression nests too deeply", self.whole));
        }
        let (mut out, mut repeats) = (String::new(), 1);
        // What a repetition that comes now would repeat: where it begins, and how often it repeats something already.
        let mut last: Option<(usize, u32)> = None;
        while let Some(first) = self.rest.chars().next() {
            let start = out.len();
            match first {
                ')' => break,
                '|' => {
                    self.next();
                    out.push('|');
                    last = None;
                    continue;
                }
                '*' | '+' | '?' | '{' => {
                    let before = self.rest;
                    if let Some(count) = self.repetition(&mut out, last)? {
                        repeats = repeats.max(count);
                        last = None;
                        self.no_repetition(before)?;
                        continue;
                    }
                    self.next();
                    out.push_str("\\{");
                    last = Some((start, 1));
                    continue;
                }
                '(' => {
                    let Some(inner) = self.group(&mut out, depth)? else {
                        last = None;
                        continue;
                    };
                    repeats = repeats.max(inner);
                    last = Some((start, inner));
                    continue;
                }
                '[' => self.class(&mut out)?,
                '\\' => {
                    if self.quoted(&mut out, &mut last) {
                        continue;
                    }
                    self.escape(&mut out)?;
                }
                '^' | '$' | '.' => {
                    self.next();
                    out.push(first);
                }
                other => {
                    self.next();
                    literal(&mut out, other);
                }
            }
            last = Some((start, 1));
        }
        Ok((out, repeats))
    }

    /// A repetition of what is last; none for a brace that is plain text.
    fn repetition(&mut self, out: &mut String, last: Option<(usize, u32)>) -> Result2<Option<u32>> {
        let before = self.rest;
        let (text, count) = match self.next() {
            Some('{') => {
                let Some((text, count)) = self.counts(before)? else {
                    self.rest = before;
                    return Ok(None);
                };
                (text, count)
            }
            Some(operator) => (operator.to_string(), 1),
            None => return Ok(None),
        };
        let lazy = self.take("?");
        let read = &before[..before.len() - self.rest.len()];
        let Some((start, inner)) = last else { return Err(self.refusal("missing argument to repetition operator", read)) };
        let count = count.max(1).saturating_mul(inner);
        if count > REPEATS_MAX {
            return Err(self.refusal("invalid repeat count", read));
        }
        // An assertion or a flag of its own may be repeated too, so it is put into a group.
        let repeated = out.split_off(start);
        let _ = write!(out, "(?:{repeated}){text}");
        if lazy {
            out.push('?');
        }
        Ok(Some(count))
    }

    /// The rest of `{n}`, `{n,}` or `{n,m}`, and the largest number in it; none for anything else.
    fn counts(&mut self, before: &str) -> Result2<Option<(String, u32)>> {
        let Some(least) = self.number() else { return Ok(None) };
        let most = if self.take(",") { if self.rest.starts_with('}') { None } else { Some(self.number()) } } else { Some(Some(least)) };
        if most == Some(None) || !self.take("}") {
            return Ok(None);
        }
        let most = most.flatten();
        let read = &before[..before.len() - self.rest.len()];
        if least > REPEATS_MAX || most.is_some_and(|most| most > REPEATS_MAX || most < least) {
            return Err(self.refusal("invalid repeat count", read));
        }
        let text = match most {
            None => format!("{{{least},}}"),
            Some(most) if most == least => format!("{{{least}}}"),
            Some(most) => format!("{{{least},{most}}}"),
        };
        Ok(Some((text, most.unwrap_or(least))))
    }

    /// Digits without a leading zero; a number too large for any use is one that is too large here.
    fn number(&mut self) -> Option<u32> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        if digits.is_empty() || digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        self.rest = rest;
        Some(digits.parse().unwrap_or(u32::MAX))
    }

    /// Errors: one repetition follows another.
    fn no_repetition(&mut self, before: &str) -> Result2<()> {
        let rest = self.rest;
        let follows = match rest.chars().next() {
            Some('*' | '+' | '?') => true,
            Some('{') => {
                self.next();
                let is_one = self.counts(rest)?.is_some();
                self.rest = rest;
                is_one
            }
            _ => false,
        };
        if !follows {
            return Ok(());
        }
        let read = &before[..before.len() - rest.len() + 1];
        Err(self.refusal("invalid nested repetition operator", read))
    }

    /// A group; none where it only sets flags for what follows.
    fn group(&mut self, out: &mut String, depth: u32) -> Result2<Option<u32>> {
        let before = self.rest;
        self.next();
        if self.rest.starts_with("?P<") || self.rest.starts_with("?<") {
            self.name(before)?;
            out.push('(');
        } else if self.take("?") {
            let (flags, is_group) = self.flags(before)?;
            if !is_group {
                if !flags.is_empty() {
                    let _ = write!(out, "(?{flags})");
                }
                return Ok(None);
            }
            let _ = write!(out, "(?{flags}:");
        } else {
            out.push('(');
        }
        let (inner, repeats) = self.alternatives(depth + 1)?;
        if !self.take(")") {
            return Err(self.refusal("missing closing )", self.whole));
        }
        out.push_str(&inner);
        out.push(')');
        Ok(Some(repeats))
    }

    /// The name of a group, which nothing here asks for: groups are written without.
    fn name(&mut self, before: &'a str) -> Result2<()> {
        let _ = self.take("?P<") || self.take("?<");
        let Some((name, rest)) = self.rest.split_once('>') else {
            return Err(self.refusal("invalid named capture", before));
        };
        let read = &before[..before.len() - rest.len()];
        if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
            return Err(self.refusal("invalid named capture", read));
        }
        if !self.names.insert(name) {
            return Err(self.refusal("duplicate capture group name", name));
        }
        self.rest = rest;
        Ok(())
    }

    /// Flags, and whether a group with them begins.
    fn flags(&mut self, before: &str) -> Result2<(String, bool)> {
        let (mut flags, mut negated, mut said) = (String::new(), false, true);
        loop {
            match self.next() {
                Some(flag @ ('i' | 'm' | 's' | 'U')) => {
                    flags.push(flag);
                    said = true;
                }
                Some('-') if !negated => {
                    (negated, said) = (true, false);
                    flags.push('-');
                }
                Some(end @ (':' | ')')) if said => return Ok((without_twice(&flags), end == ':')),
                _ => {
                    let read = &before[..before.len() - self.rest.len()];
                    return Err(self.refusal("invalid or unsupported Perl syntax", read));
                }
            }
        }
    }

    /// Text between `\Q` and `\E`; whether there was some such.
    fn quoted(&mut self, out: &mut String, last: &mut Option<(usize, u32)>) -> bool {
        let Some(rest) = self.rest.strip_prefix("\\Q") else { return false };
        let (text, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
        self.rest = rest;
        for c in text.chars() {
            *last = Some((out.len(), 1));
            literal(out, c);
        }
        true
    }
}

/// Flags, each once on either side: the crate refuses what it is told twice.
fn without_twice(flags: &str) -> String {
    let (on, off) = flags.split_once('-').unwrap_or((flags, ""));
    let once = |flags: &str| {
        let mut seen = String::new();
        flags.chars().for_each(|flag| {
            if !seen.contains(flag) {
                seen.push(flag)
            }
        });
        seen
    };
    let (off, on) = (once(off), once(on));
    let on: String = on.chars().filter(|flag| !off.contains(*flag)).collect();
    if off.is_empty() { on } else { format!("{on}-{off}") }
}

/// One character as itself.
fn literal(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        out.push(c);
    } else {
        let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
    }
}

#[cfg(test)]
mod tests;
