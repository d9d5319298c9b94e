//! What follows a backslash.

use std::fmt::Write as _;

use super::{Reader, Result2};

const CATEGORIES: [&str; 37] = [
    "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Pe",
    "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs", "Any",
];

impl Reader<'_> {
    /// What a backslash begins, outside of classes.
    pub(super) fn escape(&mut self, out: &mut String) -> Result2<()> {
        if let Some(set) = self.set()? {
            let _ = write!(out, "[{set}]");
            return Ok(());
        }
        let assertions = [("\\A", r"\A"), ("\\z", r"\z"), ("\\b", r"(?-u:\b)"), ("\\B", r"(?-u:\B)")];
        if let Some((_, same)) = assertions.into_iter().find(|(text, _)| self.take(text)) {
            out.push_str(same);
            return Ok(());
        }
        character(out, self.escaped()?);
        Ok(())
    }

    /// A set of characters such as `\d` or `\pN`, as the inside of a class; none for anything else.
    pub(super) fn set(&mut self) -> Result2<Option<String>> {
        let ascii = [
            ("\\d", r"0-9"),
            ("\\D", r"\x{0}-\x{2F}\x{3A}-\x{10FFFF}"),
            ("\\s", r"\t\n\f\r\x{20}"),
            ("\\S", r"[^\t\n\f\r\x{20}]"),
            ("\\w", r"0-9A-Za-z\x{5F}"),
            ("\\W", r"[^0-9A-Za-z\x{5F}]"),
        ];
        if let Some((_, set)) = ascii.into_iter().find(|(text, _)| self.take(text)) {
            return Ok(Some(set.to_owned()));
        }
        let before = self.rest;
        let is_negated = if self.take("\\p") {
            false
        } else if self.take("\\P") {
            true
        } else {
            return Ok(None);
        };
        let name = if self.take("{") {
            let Some((name, rest)) = self.rest.split_once('}') else {
                return Err(self.refusal("invalid character class range", before));
            };
            self.rest = rest;
            name
        } else {
            let start = self.rest;
            self.next();
            &start[..start.len() - self.rest.len()]
        };
        let (name, is_negated) = name.strip_prefix('^').map_or((name, is_negated), |name| (name, !is_negated));
        let read = &before[..before.len() - self.rest.len()];
        let set = named(name).ok_or_else(|| self.refusal("invalid character class range", read))?;
        Ok(Some(if is_negated { format!("[^{set}]") } else { set }))
    }

    /// One character, escaped. Errors: what is no escape sequence.
    pub(super) fn escaped(&mut self) -> Result2<u32> {
        let before = self.rest;
        self.next();
        let found = match self.next() {
            None => return Err(self.refusal("trailing backslash at end of expression", "")),
            Some('a') => Some(7),
            Some('f') => Some(12),
            Some('n') => Some(10),
            Some('r') => Some(13),
            Some('t') => Some(9),
            Some('v') => Some(11),
            Some('x') => self.hexadecimal(),
            Some(digit @ '0'..='7') => self.octal(digit),
            Some(mark) if mark.is_ascii() && !mark.is_ascii_alphanumeric() => Some(u32::from(mark)),
            Some(_) => None,
        };
        let read = &before[..before.len() - self.rest.len()];
        found.ok_or_else(|| self.refusal("invalid escape sequence", read))
    }

    /// `\1` to `\7` alone would refer to a group, which there is not in RE2.
    fn octal(&mut self, first: char) -> Option<u32> {
        let is_octal = |c: char| c.is_digit(8);
        if first != '0' && !self.rest.starts_with(is_octal) {
            return None;
        }
        let mut found = first.to_digit(8)?;
        for _ in 0..2 {
            let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else { break };
            self.next();
            found = found * 8 + digit;
        }
        Some(found)
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let digits = if self.take("{") {
            let (digits, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            digits
        } else {
            let (digits, rest) = self.rest.split_at_checked(2)?;
            self.rest = rest;
            digits
        };
        let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|found| is_number && *found <= u32::from(char::MAX))
    }
}

/// A category or a script of Unicode, by the name that Go has for it.
fn named(name: &str) -> Option<String> {
    match name {
        "Any" => return Some(r"\x{0}-\x{10FFFF}".into()),
        // Those that are not assigned are in no category, and no text has surrogates.
        "C" => return Some(r"\p{Cc}\p{Cf}\p{Co}".into()),
        "Cs" => return Some(r"[^\x{0}-\x{10FFFF}]".into()),
        _ => {}
    }
    if CATEGORIES.contains(&name) {
        return Some(format!(r"\p{{{name}}}"));
    }
    let is_script = name.len() > 2 && name.starts_with(|c: char| c.is_ascii_uppercase());
    let is_word = name.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    (is_script && is_word && regex::Regex::new(&format!(r"\p{{Script={name}}}")).is_ok()).then(|| format!(r"\p{{Script={name}}}"))
}

/// One character; none there is for a surrogate, which no text has.
fn character(out: &mut String, c: u32) {
    if char::from_u32(c).is_some() {
        let _ = write!(out, "\\x{{{c:X}}}");
    } else {
        out.push_str(r"[^\x{0}-\x{10FFFF}]");
    }
}
