//! What commands print: results on standard output, everything else on standard error.

use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::failure::{Exit, Failure, Result};

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people
    Table,
    /// The same with more columns
    Wide,
    /// The objects, as JSON
    Json,
    /// The objects, as YAML
    Yaml,
    /// kind/name, one a line
    Name,
}

/// How a result is wanted.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Form of the result
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    pub output: Format,
}

impl Output {
    /// Whether people read it, rather than programs.
    pub fn is_for_people(&self) -> bool {
        matches!(self.output, Format::Table | Format::Wide)
    }

    /// Whether more columns are wanted.
    pub fn is_wide(&self) -> bool {
        self.output == Format::Wide
    }

    /// Prints objects in the form wanted; `table` makes the one for people. Errors: standard output cannot be written.
    pub fn objects(&self, items: &[Value], table: impl FnOnce() -> String) -> Result<()> {
        match self.output {
            Format::Table | Format::Wide => print(&table()),
            Format::Name => print(&items.iter().map(|item| format!("{}\n", kind_and_name(item))).collect::<String>()),
            Format::Json | Format::Yaml => self.value(&json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})),
        }
    }

    /// Prints one value as YAML where that is wanted, as JSON otherwise. Errors: standard output cannot be written.
    pub fn value(&self, value: &Value) -> Result<()> {
        match self.output {
            Format::Yaml => print(&logic::yaml::write(value)),
            _ => print(&format!("{value:#}\n")),
        }
    }
}

/// `service/shop`.
pub fn kind_and_name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["metadata"]["name"]))
}

/// Writes a result, at once. Errors: the reader is gone, which is the end but no failure; or the output cannot be written.
pub fn print(text: &str) -> Result<()> {
    print_with("", text)
}

/// As `print`, after something of ours that a terminal obeys.
pub fn print_with(order: &str, text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let text = if out.is_terminal() { harmless(text) } else { Cow::Borrowed(text) };
    out.write_all(order.as_bytes()).and_then(|()| out.write_all(text.as_bytes())).and_then(|()| out.flush()).map_err(|error| {
        match error.kind() {
            ErrorKind::BrokenPipe => Failure::new(Exit::ReaderGone, ""),
            _ => Failure::failed(format!("cannot write to standard output: {error}")),
        }
    })
}

/// Writes what has been done. That its reader is gone does not stop what is still to do.
/// Errors: the output cannot be written for another reason.
pub fn done(text: &str) -> Result<()> {
    print(text).or_else(|failure| if failure.exit() == Exit::ReaderGone { Ok(()) } else { Err(failure) })
}

/// Tells people something on the way. Where nobody listens nothing is lost.
pub fn note(text: &str) {
    let mut out = io::stderr().lock();
    let text = if out.is_terminal() { harmless(text) } else { Cow::Borrowed(text) };
    let _ = writeln!(out, "{text}");
}

/// Text that a terminal shows and does not obey: what programs wrote, or others named, may hold orders to it. Control characters are
/// shown as `cat -v` does, and those that turn the direction of text by their numbers.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_order) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            _ if !is_order(letter) => shown.push(letter),
            '\0'..='\x1f' => shown.extend(['^', char::from(letter as u8 + b'@')]),
            '\x7f' => shown.push_str("^?"),
            _ => shown.extend(letter.escape_unicode()),
        }
    }
    Cow::Owned(shown)
}

fn is_order(letter: char) -> bool {
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (letter.is_control() && letter != '\n' && letter != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_by_kind_and_name() {
        assert_eq!(kind_and_name(&json!({"kind": "Service", "metadata": {"name": "shop"}})), "service/shop");
        assert_eq!(kind_and_name(&json!({})), "/");
    }

    #[test]
    fn a_terminal_is_given_no_orders() {
        for (text, shown) in [
            ("two\tcolumns\nand ünïcode 🦀\n", "two\tcolumns\nand ünïcode 🦀\n"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "^[[2J^[]0;title^G"),
            ("over\rwritten\u{8}", "over^Mwritten^H"),
            ("\u{0}\u{7f}\u{9b}31m", "^@^?\\u{9b}31m"),
            ("a\u{202e}b\u{2066}c\u{200f}", "a\\u{202e}b\\u{2066}c\\u{200f}"),
        ] {
            assert_eq!(harmless(text), shown);
        }
    }
}
