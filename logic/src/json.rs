//! JSON as Kubernetes' server has it: what it says of a text that is none, and how it writes text.

use std::borrow::Cow;

/// What is wrong with a text that is no JSON, in the words of the parser that Kubernetes is built with; `None` for JSON.
pub fn syntax_error(text: &[u8]) -> Option<String> {
    Scanner { text, at: 0, open: Vec::new() }.scan().err().map(|wrong| match wrong {
        Wrong::End => "unexpected end of JSON input".to_owned(),
        Wrong::Byte(byte, place) => format!("invalid character {} {place}", quoted(byte)),
    })
}

/// How many bytes JSON has to the end of the first object in it; all of them when it does not end.
pub fn object_length(json: &[u8]) -> usize {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in json.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' if !is_text => depth += 1,
            b'}' if !is_text => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    json.len()
}

/// JSON whose texts have `<`, `>`, `&` and the separators of lines escaped, so that it may stand in a web page.
pub fn escaped(json: Vec<u8>) -> Vec<u8> {
    // Most have none of these, which is soon found piece by piece.
    let may_begin = |byte: u8| matches!(byte, b'<' | b'>' | b'&' | 0xe2);
    if !json.chunks(64).any(|piece| piece.iter().fold(false, |found, byte| found | may_begin(*byte))) {
        return json;
    }
    let replacement = |at: usize, byte: u8| match (byte, json.get(at + 1..at + 3)) {
        (b'<', _) => Some((b"\\u003c", 1)),
        (b'>', _) => Some((b"\\u003e", 1)),
        (b'&', _) => Some((b"\\u0026", 1)),
        (0xe2, Some([0x80, 0xa8])) => Some((b"\\u2028", 3)),
        (0xe2, Some([0x80, 0xa9])) => Some((b"\\u2029", 3)),
        _ => None,
    };
    let Some(first) = json.iter().enumerate().position(|(at, byte)| replacement(at, *byte).is_some()) else { return json };
    let mut out = Vec::with_capacity(json.len() + 64);
    out.extend_from_slice(&json[..first]);
    let mut at = first;
    while let Some(byte) = json.get(at) {
        match replacement(at, *byte) {
            Some((text, length)) => {
                out.extend_from_slice(text);
                at += length;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

/// What stops a scan.
enum Wrong {
    End,
    Byte(u8, Cow<'static, str>),
}

/// What may come next.
#[derive(Clone, Copy)]
enum Next {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    AfterPair,
    AfterItem,
    Nothing,
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// The brackets around the place, `{` or `[`.
    open: Vec<u8>,
}

impl Scanner<'_> {
    fn scan(&mut self) -> Result<(), Wrong> {
        let mut next = Next::Value;
        loop {
            while self.text.get(self.at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
                self.at += 1;
            }
            if matches!(next, Next::Nothing) && self.at >= self.text.len() {
                return Ok(());
            }
            let byte = self.take()?;
            next = self.step(next, byte)?;
        }
    }

    fn take(&mut self) -> Result<u8, Wrong> {
        let byte = *self.text.get(self.at).ok_or(Wrong::End)?;
        self.at += 1;
        Ok(byte)
    }

    fn step(&mut self, next: Next, byte: u8) -> Result<Next, Wrong> {
        let place = match (next, byte) {
            (Next::ValueOrEnd, b']') | (Next::KeyOrEnd | Next::AfterPair, b'}') | (Next::AfterItem, b']') => {
                self.open.pop();
                return Ok(self.after_value());
            }
            (Next::Value | Next::ValueOrEnd, byte) => return self.value(byte),
            (Next::Key | Next::KeyOrEnd, b'"') => {
                self.string()?;
                return Ok(Next::Colon);
            }
            (Next::Colon, b':') | (Next::AfterItem, b',') => return Ok(Next::Value),
            (Next::AfterPair, b',') => return Ok(Next::Key),
            (Next::Key | Next::KeyOrEnd, _) => "looking for beginning of object key string",
            (Next::Colon, _) => "after object key",
            (Next::AfterPair, _) => "after object key:value pair",
            (Next::AfterItem, _) => "after array element",
            (Next::Nothing, _) => "after top-level value",
        };
        Err(Wrong::Byte(byte, place.into()))
    }

    fn after_value(&self) -> Next {
        match self.open.last() {
            None => Next::Nothing,
            Some(b'{') => Next::AfterPair,
            Some(_) => Next::AfterItem,
        }
    }

    fn value(&mut self, byte: u8) -> Result<Next, Wrong> {
        match byte {
            b'{' | b'[' => {
                self.open.push(byte);
                return Ok(if byte == b'{' { Next::KeyOrEnd } else { Next::ValueOrEnd });
            }
            b'"' => self.string()?,
            b'-' | b'0'..=b'9' => self.number(byte)?,
            b't' => self.literal("true")?,
            b'f' => self.literal("false")?,
            b'n' => self.literal("null")?,
            other => return Err(Wrong::Byte(other, "looking for beginning of value".into())),
        }
        Ok(self.after_value())
    }

    fn literal(&mut self, word: &str) -> Result<(), Wrong> {
        for expected in word.bytes().skip(1) {
            let byte = self.take()?;
            if byte != expected {
                return Err(Wrong::Byte(byte, format!("in literal {word} (expecting {})", quoted(expected)).into()));
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Wrong> {
        loop {
            match self.take()? {
                b'"' => return Ok(()),
                b'\\' => match self.take()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => self.four_digits()?,
                    other => return Err(Wrong::Byte(other, "in string escape code".into())),
                },
                byte @ ..0x20 => return Err(Wrong::Byte(byte, "in string literal".into())),
                _ => {}
            }
        }
    }

    fn four_digits(&mut self) -> Result<(), Wrong> {
        for _ in 0..4 {
            let byte = self.take()?;
            if !byte.is_ascii_hexdigit() {
                return Err(Wrong::Byte(byte, "in \\u hexadecimal character escape".into()));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Result<(), Wrong> {
        let leading = if first == b'-' { self.digit("in numeric literal")? } else { first };
        if leading != b'0' {
            self.digits();
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self, place: &'static str) -> Result<u8, Wrong> {
        let byte = self.take()?;
        if byte.is_ascii_digit() { Ok(byte) } else { Err(Wrong::Byte(byte, place.into())) }
    }

    fn digits(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }
}

fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".into(),
        b'"' => "'\"'".into(),
        b'\\' => "'\\\\'".into(),
        b'\n' => "'\\n'".into(),
        b'\r' => "'\\r'".into(),
        b'\t' => "'\\t'".into(),
        0x07 => "'\\a'".into(),
        0x08 => "'\\b'".into(),
        0x0b => "'\\v'".into(),
        0x0c => "'\\f'".into(),
        ..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        other => format!("'{}'", char::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_found_where_it_is() {
        for (text, expected) in [
            ("", "unexpected end of JSON input"),
            ("{\"a\": [1, {\"b\": \"\\u00e9\"}, -0.5e+3, null]} \n", ""),
            ("{this is not", "invalid character 't' looking for beginning of object key string"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{} {}", "invalid character '{' after top-level value"),
            ("not", "invalid character 'o' in literal null (expecting 'u')"),
            ("tru", "unexpected end of JSON input"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1e+", "unexpected end of JSON input"),
            ("1e+x", "invalid character 'x' in exponent of numeric literal"),
            ("01", "invalid character '1' after top-level value"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            ("\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"),
            ("'a'", "invalid character '\\'' looking for beginning of value"),
            ("\u{e9}", "invalid character '\u{c3}' looking for beginning of value"),
            ("{\"a\":", "unexpected end of JSON input"),
        ] {
            assert_eq!(syntax_error(text.as_bytes()).unwrap_or_default(), expected, "{text}");
        }
    }

    #[test]
    fn what_our_parser_refuses_is_refused_here_too() {
        for text in ["{", "[1,,2]", "nul", "\"\\u12\"", "{\"a\":1}}", "--1", "+1", ".5", "1.", "\u{1}", "[", "]"] {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err() && syntax_error(text.as_bytes()).is_some(), "{text}");
        }
        assert!(syntax_error("[".repeat(1_000_000).as_bytes()).is_some());
    }

    #[test]
    fn text_is_escaped_for_web_pages() {
        let escaped = |text: &str| String::from_utf8(escaped(text.as_bytes().to_vec())).unwrap();
        assert_eq!(escaped(r#"{"a":"<&>","b":"ü"}"#), r#"{"a":"\u003c\u0026\u003e","b":"ü"}"#);
        assert_eq!(escaped("\"\u{2028}\u{2029}\u{202a}\""), "\"\\u2028\\u2029\u{202a}\"");
        assert_eq!(escaped("{}"), "{}");
    }
}
