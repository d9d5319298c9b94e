//! The one form in which paths of routes and of requests are compared.
//!
//! RFC 3986, 6.2.2: percent encodings are in capitals, what need not be encoded is not, what must be is, and dot segments are
//! gone. So `/ü`, `/%c3%bc` and `/%C3%BC` are one path, and `/a/../b` is `/b`. Encoded reserved characters stay what they are:
//! `%2F` is no separator. What is sent to a copy is not this, but what the client sent.

use std::borrow::Cow;

/// The most bytes of a route's path, as in Kubernetes' Gateway API.
pub const PATH_BYTES_MAX: usize = 1024;

/// What no address has as it is, and patterns have. (`"` and `` ` `` come where a path was quoted twice.)
const PATTERN_MARKS: [char; 9] = ['{', '}', '[', ']', '<', '>', '^', '|', '"'];
const PATTERN: &str = "a path is a prefix, not a pattern: there are no {names}, <names> or regular expressions. Where a character of \
     { } [ ] < > ^ | \" is meant as itself, write its percent encoding, such as %7B";

/// The form of a path that begins with `/`; borrowed when it has it already.
pub fn normal(path: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(path)
        && is_normal(path)
    {
        return Cow::Borrowed(text);
    }
    Cow::Owned(without_dots(&encoded(path)))
}

/// What is wrong with the path of a route, because of which no request would match it as it is meant.
pub fn problem(path: &str) -> Option<&'static str> {
    const DOTS: &str = "clients take . and .. out of paths before they send them: write the path without them";
    if !path.starts_with('/') {
        return Some("expected a path that begins with /");
    }
    if path.len() > PATH_BYTES_MAX {
        return Some("a path is no longer than 1024 bytes");
    }
    if path.contains('*') {
        return Some("a path is a prefix, not a pattern: /a matches /a and /a/b. Where * is meant as a character, write %2A");
    }
    if path.contains(['?', '#']) {
        return Some("a query or a fragment is no part of the path that is compared");
    }
    if path.contains(|letter: char| letter.is_control() || letter.is_whitespace()) {
        return Some("white space and control characters must be percent-encoded, such as %20");
    }
    if path.contains('\\') {
        return Some("clients send / for \\");
    }
    if path.contains("//") {
        return Some("an empty segment (//) matches nothing that clients send");
    }
    if path.contains(PATTERN_MARKS) {
        return Some(PATTERN);
    }
    let bytes = path.as_bytes();
    let encodings = (0..bytes.len()).filter(|at| bytes[*at] == b'%').map(|at| encoded_byte(&bytes[at..]));
    for encoding in encodings {
        match encoding {
            None => return Some("% must be followed by two hexadecimal digits; where it is meant as a character, write %25"),
            Some(byte) if byte.is_ascii_control() => return Some("no path has a control character, also when it is encoded"),
            Some(_) => {}
        }
    }
    encoded(bytes).split('/').any(|segment| segment == "." || segment == "..").then_some(DOTS)
}

/// What the writer of a path probably took for a pattern, though it may stand in an address as it is.
pub fn doubt(path: &str) -> Option<String> {
    let is_name =
        |segment: &str| segment.strip_prefix(':').is_some_and(|name| name.starts_with(|letter: char| letter.is_ascii_alphabetic()));
    let is_pattern = |segment: &str| segment.starts_with('(') || segment.contains(".+") || segment.contains("(?");
    let odd = path.split('/').find(|segment| is_name(segment) || is_pattern(segment));
    let odd = odd.or_else(|| path.ends_with('$').then(|| path.rsplit('/').next()).flatten())?;
    Some(format!("{odd:?} is compared as it is written: a path is a prefix, not a pattern"))
}

/// One look that most paths pass.
fn is_normal(path: &[u8]) -> bool {
    let mut before = 0;
    for byte in path {
        if !stays(*byte) || (*byte == b'.' && before == b'/') {
            return false;
        }
        before = *byte;
    }
    true
}

/// Whether a byte is itself in a path: unreserved, a delimiter, or what parts segments.
fn stays(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn encoded(path: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(path.len() + 16);
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        let decoded = encoded_byte(&path[at..]);
        at += if decoded.is_some() { 3 } else { 1 };
        let (byte, is_itself) = match decoded {
            // A star can only be written encoded in a route.
            Some(byte) => (byte, is_unreserved(byte) || byte == b'*'),
            None => (*byte, stays(*byte)),
        };
        if is_itself {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The byte of a percent encoding at the beginning.
fn encoded_byte(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// RFC 3986, 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let is_last = at + 1 == segments.len();
        match *segment {
            ".." | "." => {
                if *segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    if path.starts_with('/') { format!("/{}", kept.join("/")) } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_paths_have_one_form() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b.c/d-~_!$&'()*+,;=:@", "/a/b.c/d-~_!$&'()*+,;=:@"),
            ("/ü", "/%C3%BC"),
            ("/%c3%bc", "/%C3%BC"),
            ("/%41%7e%2a", "/A~*"),
            ("/a%2fb", "/a%2Fb"),
            ("/a\"<>^`{|}\\ [", "/a%22%3C%3E%5E%60%7B%7C%7D%5C%20%5B"),
            ("/%", "/%25"),
            ("/%zz%4", "/%25zz%254"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/../../b", "/b"),
            ("/a/./b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/.a/..b/...", "/.a/..b/..."),
            ("//a//b", "//a//b"),
            ("*", "*"),
        ] {
            assert_eq!(normal(path.as_bytes()), expected, "{path}");
            assert_eq!(normal(normal(path.as_bytes()).as_bytes()), expected, "{path} once more");
        }
        assert_eq!(normal(b"/caf\xe9"), "/caf%E9");
        assert!(matches!(normal(b"/plain/path"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_no_request_would_match_is_told() {
        for path in
            ["/", "/a", "/a/", "/ü", "/%41", "/%c3%bc", "/a%2Fb", "/%2A", "/a.b/.well-known", "/..a", "/%7Bx%7D", "/$count", "/a:b", "/:a"]
        {
            assert_eq!(problem(path), None, "{path}");
        }
        for (path, expected) in [
            ("", "begins with /"),
            ("a", "begins with /"),
            ("/a*", "not a pattern"),
            ("/a?b", "query"),
            ("/a#b", "query"),
            ("/a b", "white space"),
            ("/a\u{a0}", "white space"),
            ("/a\n", "white space"),
            ("/a\\b", "clients send /"),
            ("/a//b", "empty segment"),
            ("//", "empty segment"),
            ("/%", "hexadecimal"),
            ("/%4", "hexadecimal"),
            ("/%g1", "hexadecimal"),
            ("/a/../b", "take . and .."),
            ("/a/.", "take . and .."),
            ("/..", "take . and .."),
            ("/%2e%2E/a", "take . and .."),
            ("/a/{id}", "not a pattern"),
            ("/^a$", "not a pattern"),
            ("/a/[0-9]+", "not a pattern"),
            ("/(a|b)", "not a pattern"),
            ("/<int:id>", "not a pattern"),
            ("/\"a\"", "not a pattern"),
            ("/%00", "control character"),
            ("/a%0d%0aHost:x", "control character"),
            ("/a%7F", "control character"),
        ] {
            assert!(problem(path).is_some_and(|found| found.contains(expected)), "{path}: {:?}", problem(path));
        }
        assert!(problem(&format!("/{}", "a".repeat(1024))).is_some());
    }

    #[test]
    fn what_is_probably_a_pattern_is_doubted() {
        for (path, expected) in [
            ("/users/:id", Some(":id")),
            ("/users/:id/cart", Some(":id")),
            ("/a$", Some("a$")),
            ("/(a)", Some("(a)")),
            ("/a/.+", Some(".+")),
            ("/a/x(?:y)", Some("x(?:y)")),
            ("/", None),
            ("/$metadata", None),
            ("/v1/x:verb", None),
            ("/a+b", None),
            ("/f(x)", None),
            ("/12:30", None),
            ("/:80", None),
        ] {
            let found = doubt(path);
            assert_eq!(found.is_some(), expected.is_some(), "{path}: {found:?}");
            assert!(found.unwrap_or_default().contains(&format!("{:?}", expected.unwrap_or_default())) || expected.is_none(), "{path}");
        }
    }
}
