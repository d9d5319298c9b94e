//! What RE2 takes, what it matches, and what it refuses.

use super::{compile, translate};

#[track_caller]
fn check(pattern: &str, matches: &[&str], others: &[&str]) {
    let compiled = compile(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
    for text in matches {
        assert!(compiled.is_match(text), "{pattern} ({:?}) is to match {text:?}", translate(pattern));
    }
    for text in others {
        assert!(!compiled.is_match(text), "{pattern} ({:?}) is not to match {text:?}", translate(pattern));
    }
}

#[test]
fn what_perl_calls_by_a_letter_is_ascii() {
    check(r"^\d+$", &["019"], &["", "\u{661}\u{662}", "\u{ff11}"]);
    check(r"^\D$", &["a", "\u{661}", "\n"], &["5"]);
    check(r"^\w+$", &["aZ_9"], &["\u{e9}", "\u{203f}"]);
    check(r"^\W$", &["\u{e9}", "-"], &["_", "k"]);
    check(r"^\s$", &[" ", "\t", "\n", "\r", "\u{c}"], &["\u{b}", "\u{2003}", "\u{85}", "\u{a0}"]);
    check(r"^\S$", &["\u{b}", "\u{2003}", "x"], &[" "]);
    check(r"\bfoo\b", &["foo", "a foo.", "\u{e9}foo\u{e9}"], &["afoo", "foo_"]);
    check(r"^\Boo", &[], &["oo"]);
    check(r"f\Boo", &["foo"], &["f oo"]);
    check(r"\B", &["", "\u{e9}"], &["a"]);
    check(r"^[\d\s]+$", &["1 2"], &["\u{661}"]);
    check(r"^[^\d]$", &["a", "\u{661}"], &["1"]);
    check(r"^[\W]$", &["\u{e9}"], &["e"]);
    check(r"^[^\W]$", &["e"], &["\u{e9}", "-"]);
    check(r"^[\D5]$", &["5", "a"], &["4"]);
    check(r"(?i)^\w$", &["k", "\u{212a}", "\u{17f}"], &["\u{e9}"]);
}

#[test]
fn marks_that_the_crate_takes_for_more_are_text() {
    check(r"^[^[]+$", &["abc", "]"], &["a[b"]);
    check(r"^[[a]$", &["[", "a"], &["]"]);
    check(r"^[]a]$", &["]", "a"], &["b"]);
    check(r"^[^]a]$", &["b"], &["]", "a"]);
    check(r"^{a}$", &["{a}"], &["a"]);
    check(r"^a{,2}$", &["a{,2}"], &["a", "aa"]);
    check(r"^a{1$", &["a{1"], &["a"]);
    check(r"^a{01}$", &["a{01}"], &["a"]);
    check(r"^a{1,2,3}$", &["a{1,2,3}"], &["a"]);
    check(r"^x{$", &["x{"], &["x"]);
    check(r"^}]$", &["}]"], &[]);
    check(r"^[a&&b]+$", &["a&b"], &["c"]);
    check(r"^[a-z&&[^b]]$", &["b]", "&]", "[]", "^]"], &["b", "a", "c"]);
    check(r"^[~~a]+$", &["~a~"], &["-"]);
    check(r"^[+--b]+$", &["+,-b"], &["a", "."]);
    check(r"^[a-]+$", &["a-"], &["b"]);
    check(r"^[-a]+$", &["a-"], &["b"]);
    check(r"^[a\-z]+$", &["a-z"], &["b"]);
    check(r"^[\x{30}-\071]$", &["0", "9"], &["a"]);
    check(r"^a b#c$", &["a b#c"], &["abc"]);
    check(r"^\<a\>\-\_\@\/\%$", &["<a>-_@/%"], &["a"]);
    check(r"^\.\*\[\]\(\)\{\}\^\$\|\?\+\\$", &[r".*[](){}^$|?+\"], &[]);
    check("^[\u{e9}\u{fc}-\u{ff}]$", &["\u{e9}", "\u{fd}"], &["e"]);
}

#[test]
fn quotes_octal_and_other_ways_to_write_a_character() {
    check(r"^\Qa.b\E$", &["a.b"], &["axb"]);
    check(r"^\Qa.b", &["a.b", "a.bc"], &["axb"]);
    check(r"^\Q[^\E+$", &["[^", "[^^"], &["[^[^"]);
    check(r"^\Q\E$", &[""], &["a"]);
    check(r"^\123$", &["S"], &["123"]);
    check(r"^\0$", &["\0"], &["0"]);
    check(r"^\08$", &["\08"], &[]);
    check(r"^\012$", &["\n"], &[]);
    check(r"^[\101-\103]$", &["A", "C"], &["D"]);
    check(r"^\x41\x{1F600}$", &["A\u{1f600}"], &[]);
    check(r"^\a\f\t\n\r\v$", &["\u{7}\u{c}\t\n\r\u{b}"], &[]);
    check(r"^\x{D800}$", &[], &["\u{fffd}", ""]);
    check(r"^[\x{D7FF}-\x{E000}]$", &["\u{d7ff}", "\u{e000}"], &["a"]);
}

#[test]
fn classes_by_name() {
    check(r"^[[:alpha:]]+$", &["aZ"], &["1", "\u{e9}"]);
    check(r"^[[:^alpha:]]+$", &["1\u{e9}"], &["a"]);
    check(r"^[[:word:]-]+$", &["a_1-"], &["."]);
    check(r"^[[:space:]]$", &["\u{b}"], &["\u{a0}"]);
    check(r"^[^[:punct:]]$", &["a"], &["!", "_", "~"]);
    check(r"^\pN$", &["5", "\u{661}"], &["a"]);
    check(r"^\PN$", &["a"], &["5"]);
    check(r"^\p{Greek}+$", &["\u{3b1}"], &["a"]);
    check(r"^\p{^Greek}$", &["a"], &["\u{3b1}"]);
    check(r"^\P{^Greek}$", &["\u{3b1}"], &["a"]);
    check(r"^[\p{Lu}\d]+$", &["A1", "\u{c9}"], &["a"]);
    check(r"^\p{Old_Italic}$", &["\u{10300}"], &["a"]);
    check(r"^\p{Any}$", &["a", "\n"], &[""]);
    check(r"^\pC$", &["\u{7}"], &["a", "\u{378}"]);
    check(r"^\p{Cs}$", &[], &["a"]);
    check(r"(?i)^\p{Lu}$", &["A", "a"], &["1"]);
}

#[test]
fn flags_groups_and_repetitions() {
    check(r"(?i)^abc$", &["aBC"], &["abd"]);
    check(r"^(?i:a)b$", &["Ab"], &["AB"]);
    check(r"^(?i:a(?-i:b))$", &["Ab"], &["AB"]);
    check(r"(?s)^.$", &["\n"], &[]);
    check(r"^.$", &["a"], &["\n"]);
    check(r"(?m)^b$", &["a\nb\nc"], &["ab"]);
    check(r"a$", &["a"], &["a\n"]);
    check(r"(?)^a$", &["a"], &[]);
    check(r"(?ii-ss)^a.$", &["Ab"], &["A\n"]);
    check(r"^(?P<n>a)(?<m>b)(?P<1>c)$", &["abc"], &[]);
    check(r"^()|(?:)$", &[""], &[]);
    check(r"^(a|b|)+$", &["abba", ""], &["c"]);
    check(r"^^*$+$", &[""], &["a"]);
    check(r"^(\b)*a$", &["a"], &[]);
    check(r"^a{2}$", &["aa"], &["a", "aaa"]);
    check(r"^a{2,}$", &["aaa"], &["a"]);
    check(r"^(ab){1,2}?$", &["ab", "abab"], &["ababab"]);
    check(r"^a{1000}$", &[&"a".repeat(1000)], &["a"]);
    check(r"^a{0}b$", &["b"], &["ab"]);
    check(r"\Aa\z", &["a"], &["a\n", "ba"]);
    let lazy = compile("(?U)a+").unwrap();
    assert_eq!(lazy.matches("aaa").next().unwrap(), "a");
    assert_eq!(compile("(?U)a+?").unwrap().matches("aaa").next().unwrap(), "aaa");
    assert_eq!(compile("a+?").unwrap().matches("aaa").next().unwrap(), "a");
    assert_eq!(compile("a*|b").unwrap().matches("b").next().unwrap(), "", "the first alternative that matches is taken");
}

#[test]
fn what_is_no_pattern_is_refused() {
    for (pattern, why) in [
        ("a**", "invalid nested repetition operator"),
        ("a*+", "invalid nested repetition operator"),
        ("a++", "invalid nested repetition operator"),
        ("a??*", "invalid nested repetition operator"),
        ("a{2}{3}", "invalid nested repetition operator"),
        ("a{2}*", "invalid nested repetition operator"),
        ("*a", "missing argument to repetition operator"),
        ("(*a)", "missing argument to repetition operator"),
        ("a|*", "missing argument to repetition operator"),
        ("(?i)*", "missing argument to repetition operator"),
        ("{1}", "missing argument to repetition operator"),
        ("a{1001}", "invalid repeat count"),
        ("a{1,1001}", "invalid repeat count"),
        ("a{2,1}", "invalid repeat count"),
        ("a{99999999999}", "invalid repeat count"),
        ("(a{100}){11}", "invalid repeat count"),
        ("((a{10}){10}b){11}", "invalid repeat count"),
        ("(a", "missing closing )"),
        ("a)", "unexpected )"),
        ("[a", "missing closing ]"),
        ("[]", "missing closing ]"),
        ("[^]", "missing closing ]"),
        ("[z-a]", "invalid character class range"),
        ("[a--b]", "invalid character class range"),
        ("[[:nope:]]", "invalid character class range"),
        (r"[a-\d]", "invalid escape sequence"),
        (r"[\b]", "invalid escape sequence"),
        (r"[\Qa\E]", "invalid escape sequence"),
        (r"\1", "invalid escape sequence"),
        (r"(a)\1", "invalid escape sequence"),
        (r"\8", "invalid escape sequence"),
        (r"\C", "invalid escape sequence"),
        (r"\Z", "invalid escape sequence"),
        (r"\h", "invalid escape sequence"),
        (r"\R", "invalid escape sequence"),
        (r"\X", "invalid escape sequence"),
        (r"\u0041", "invalid escape sequence"),
        ("\\\u{e9}", "invalid escape sequence"),
        (r"\x4", "invalid escape sequence"),
        (r"\x{}", "invalid escape sequence"),
        (r"\x{110000}", "invalid escape sequence"),
        ("a\\", "trailing backslash"),
        (r"\p{Alphabetic}", "invalid character class range"),
        (r"\p{greek}", "invalid character class range"),
        (r"\p{Script=Greek}", "invalid character class range"),
        (r"\pX", "invalid character class range"),
        (r"\p", "invalid character class range"),
        ("(?=a)", "invalid or unsupported Perl syntax"),
        ("(?!a)", "invalid or unsupported Perl syntax"),
        ("(?<=a)", "invalid named capture"),
        ("(?<!a)", "invalid named capture"),
        ("(?>a)", "invalid or unsupported Perl syntax"),
        ("(?x)a", "invalid or unsupported Perl syntax"),
        ("(?u:a)", "invalid or unsupported Perl syntax"),
        ("(?i-)a", "invalid or unsupported Perl syntax"),
        ("(?i--s)a", "invalid or unsupported Perl syntax"),
        ("(?", "invalid or unsupported Perl syntax"),
        ("(?P<n>a)(?P<n>b)", "duplicate capture group name"),
        ("(?P<a-b>a)", "invalid named capture"),
        ("(?P<>a)", "invalid named capture"),
        ("(?P=n)", "invalid or unsupported Perl syntax"),
    ] {
        let found = translate(pattern).expect_err(pattern);
        assert!(found.starts_with("error parsing regexp: ") && found.contains(why), "{pattern}: {found}");
    }
    assert!(compile(&"(".repeat(100_000)).is_err() && compile(&"[".repeat(100_000)).is_err());
    assert!(compile(r"(\pL{30}){30}").is_ok() || compile(r"(\pL{30}){30}").unwrap_err().contains("size"));
}

#[test]
fn whatever_is_translated_can_be_compiled_unless_it_is_too_large() {
    let pieces = [
        "a",
        "\\d",
        "[^",
        "]",
        "{",
        "}",
        "(",
        ")",
        "(?i)",
        "*",
        "?",
        "|",
        "&&",
        "--",
        "\\Q",
        "\\E",
        "^",
        "$",
        "\\pL",
        "{2}",
        "-",
        "[:alpha:]",
        "\\b",
    ];
    let mut state = 7_u64;
    for _ in 0..3_000 {
        let mut pattern = String::new();
        for _ in 0..6 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            pattern.push_str(pieces[usize::try_from(state >> 33).unwrap() % pieces.len()]);
        }
        if let Ok(translated) = translate(&pattern) {
            assert!(regex::Regex::new(&translated).is_ok(), "{pattern}: {translated}");
        }
    }
}
