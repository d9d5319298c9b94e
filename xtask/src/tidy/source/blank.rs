//! Source without its comments and without what is in its strings: spaces stand there instead, line for line.

/// Blanks comments, and the insides of strings and characters. What is left has the same length in bytes.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = hidden(bytes, at);
        let shown = if length == 0 { char_length(bytes, at) } else { 0 };
        out.push_str(text.get(at..at + shown).unwrap_or_default());
        for byte in bytes.iter().skip(at).take(length) {
            out.push(if *byte == b'\n' { '\n' } else { ' ' });
        }
        at += shown + length;
    }
    out
}

/// How many bytes from `at` on are one comment, string or character; 0 where there is none.
fn hidden(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let in_word = at > 0 && bytes.get(at - 1).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => string(rest),
        [b'\'', ..] => character(rest),
        [b'b' | b'c', b'r', ..] if !in_word => raw_string(rest, 2),
        [b'r', ..] if !in_word => raw_string(rest, 1),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(pair) = rest.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth = depth.saturating_sub(1),
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        at += match byte {
            b'\\' => 2,
            b'"' => return at + 1,
            _ => 1,
        };
    }
    rest.len()
}

/// A character; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let end = rest.iter().skip(3).position(|byte| *byte == b'\'');
        return end.map_or(0, |end| end + 4);
    }
    let end = 1 + char_length(rest, 1);
    if rest.get(end) == Some(&b'\'') { end + 1 } else { 0 }
}

/// A raw string whose `r` ends at `prefix`; 0 where none begins.
fn raw_string(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest.iter().skip(prefix).take_while(|byte| **byte == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return 0;
    }
    let mut end = vec![b'"'];
    end.resize(hashes + 1, b'#');
    let body = prefix + hashes + 1;
    let found = rest.get(body..).and_then(|rest| rest.windows(end.len()).position(|window| window == end));
    found.map_or(rest.len(), |found| body + found + end.len())
}

/// How many bytes the character at `at` has.
fn char_length(bytes: &[u8], at: usize) -> usize {
    let following = bytes.iter().skip(at + 1).take_while(|byte| (**byte & 0xC0) == 0x80).count();
    following + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_stays() {
        for (text, left) in [
            ("a // {\nb", "a     \nb"),
            ("a /* { /* } */ \n */ b", "a              \n    b"),
            (r#"x("{\"}", 1)"#, "x(      , 1)"),
            (r##"x(r#"{"}"#, br"\")"##, "x(        ,      )"),
            ("'{' 'ä' '\\'' '\\u{7d}'", "                      "),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("\"two\nlines\" är", "    \n       är"),
            ("for r in var", "for r in var"),
        ] {
            assert_eq!(blank(text), left, "{text}");
            assert_eq!(blank(text).len(), text.len(), "{text}");
        }
    }
}
