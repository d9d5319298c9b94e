//! Classes of characters: what stands in brackets.

use std::fmt::Write as _;

use super::{Reader, Result2};

const POSIX: [(&str, &str); 14] = [
    ("alnum", "0-9A-Za-z"),
    ("alpha", "A-Za-z"),
    ("ascii", r"\x{0}-\x{7F}"),
    ("blank", r"\t\x{20}"),
    ("cntrl", r"\x{0}-\x{1F}\x{7F}"),
    ("digit", "0-9"),
    ("graph", r"\x{21}-\x{7E}"),
    ("lower", "a-z"),
    ("print", r"\x{20}-\x{7E}"),
    ("punct", r"\x{21}-\x{2F}\x{3A}-\x{40}\x{5B}-\x{60}\x{7B}-\x{7E}"),
    ("space", r"\t\n\x{B}\f\r\x{20}"),
    ("upper", "A-Z"),
    ("word", r"0-9A-Za-z\x{5F}"),
    ("xdigit", "0-9A-Fa-f"),
];

impl Reader<'_> {
    /// A class, from its bracket to the one that closes it.
    pub(super) fn class(&mut self, out: &mut String) -> Result2<()> {
        let before = self.rest;
        self.next();
        out.push_str(if self.take("^") { "[^" } else { "[" });
        let mut is_first = true;
        loop {
            if self.rest.is_empty() {
                return Err(self.refusal("missing closing ]", before));
            }
            if !is_first && self.take("]") {
                break;
            }
            is_first = false;
            if self.posix(out)? {
                continue;
            }
            if let Some(set) = self.set()? {
                out.push_str(&set);
                continue;
            }
            self.range(before, out)?;
        }
        out.push(']');
        Ok(())
    }

    /// A set such as `[:alpha:]`; whether there was one.
    fn posix(&mut self, out: &mut String) -> Result2<bool> {
        let Some((name, rest)) = self.rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else { return Ok(false) };
        let read = &self.rest[..self.rest.len() - rest.len()];
        let (name, is_negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let Some((_, set)) = POSIX.into_iter().find(|(known, _)| *known == name) else {
            return Err(self.refusal("invalid character class range", read));
        };
        let _ = if is_negated { write!(out, "[^{set}]") } else { write!(out, "{set}") };
        self.rest = rest;
        Ok(true)
    }

    /// One character, or those from one to another.
    fn range(&mut self, class: &str, out: &mut String) -> Result2<()> {
        let before = self.rest;
        let first = self.member(class)?;
        let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1;
        let last = if is_range {
            self.next();
            self.member(class)?
        } else {
            first
        };
        if last < first {
            let read = &before[..before.len() - self.rest.len()];
            return Err(self.refusal("invalid character class range", read));
        }
        // No text has surrogates: a range leaves them out, at whichever end.
        let first = if (0xD800..0xE000).contains(&first) { 0xE000 } else { first };
        let last = if (0xD800..0xE000).contains(&last) { 0xD7FF } else { last };
        if first <= last {
            let _ = write!(out, "\\x{{{first:X}}}-\\x{{{last:X}}}");
        } else {
            out.push_str(r"[^\x{0}-\x{10FFFF}]");
        }
        Ok(())
    }

    fn member(&mut self, class: &str) -> Result2<u32> {
        if self.rest.starts_with('\\') {
            return self.escaped();
        }
        self.next().map(u32::from).ok_or_else(|| self.refusal("missing closing ]", class))
    }
}
