//! What was measured, beside a peer and beside the bar it is held to.

use std::fmt;

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    what: String,
    result: Result<Measured, String>,
    bars: Vec<Bar>,
}

#[derive(Debug, Clone)]
struct Measured {
    value: f64,
    unit: String,
    peer: Option<(String, f64)>,
}

/// What a line is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// Ours is this or more.
    AtLeast(f64),
    /// Ours is this or less.
    AtMost(f64),
    /// Ours by the peer's is this or more.
    RatioAtLeast(f64),
    /// Ours by the peer's is this or less.
    RatioAtMost(f64),
}

impl Row {
    /// A line without a peer.
    pub fn new(what: impl Into<String>, value: f64, unit: impl Into<String>) -> Self {
        Self { what: what.into(), result: Ok(Measured { value, unit: unit.into(), peer: None }), bars: Vec::new() }
    }

    /// A line for what could not be measured here, and why.
    pub fn not_run(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { what: what.into(), result: Err(why.to_string()), bars: Vec::new() }
    }

    /// The same with a peer's value, in the same unit.
    pub fn beside(mut self, peer: &str, value: f64) -> Self {
        if let Ok(measured) = &mut self.result {
            measured.peer = Some((peer.to_owned(), value));
        }
        self
    }

    /// The same, held to this too.
    pub fn held_to(mut self, bar: Bar) -> Self {
        self.bars.push(bar);
        self
    }

    /// Whether it holds; `None` where there is no bar, or nothing was measured.
    pub fn holds(&self) -> Option<bool> {
        let measured = self.result.as_ref().ok()?;
        (!self.bars.is_empty()).then(|| self.bars.iter().all(|bar| bar.holds(measured)))
    }

    fn cells(&self) -> [String; 6] {
        let measured = match &self.result {
            Ok(measured) => measured,
            Err(why) => return [self.what.clone(), format!("NOT RUN: {why}"), String::new(), String::new(), String::new(), String::new()],
        };
        let unit = &measured.unit;
        let bars: Vec<String> = self.bars.iter().map(|bar| bar.text(unit)).collect();
        [
            self.what.clone(),
            format!("{} {unit}", amount(measured.value)),
            measured.peer.as_ref().map(|(peer, value)| format!("{peer}: {} {unit}", amount(*value))).unwrap_or_default(),
            measured.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            bars.join(", "),
            self.holds().map(|holds| if holds { "yes" } else { "**no**" }.to_owned()).unwrap_or_default(),
        ]
        .map(|cell| cell.trim().to_owned())
    }
}

impl Measured {
    fn ratio(&self) -> Option<f64> {
        self.peer.as_ref().filter(|(_, peer)| *peer > 0.0).map(|(_, peer)| self.value / peer)
    }
}

impl Bar {
    fn holds(self, measured: &Measured) -> bool {
        match self {
            Self::AtLeast(limit) => measured.value >= limit,
            Self::AtMost(limit) => measured.value <= limit,
            Self::RatioAtLeast(limit) => measured.ratio().is_some_and(|ratio| ratio >= limit),
            Self::RatioAtMost(limit) => measured.ratio().is_some_and(|ratio| ratio <= limit),
        }
    }

    fn text(self, unit: &str) -> String {
        let unit = if unit.starts_with("of ") { "" } else { unit };
        let text = match self {
            Self::AtLeast(limit) => format!("≥ {} {unit}", amount(limit)),
            Self::AtMost(0.0) => "0".to_owned(),
            Self::AtMost(limit) => format!("≤ {} {unit}", amount(limit)),
            Self::RatioAtLeast(limit) => format!("ratio ≥ {limit}"),
            Self::RatioAtMost(limit) => format!("ratio ≤ {limit}"),
        };
        text.trim().to_owned()
    }
}

/// The lines as a table of Markdown, its columns in line so that it is read as well on a terminal.
pub fn text(rows: &[Row]) -> String {
    let heading = ["what", "ours", "peer", "ours/peer", "bar", "holds"].map(str::to_owned);
    let lines: Vec<[String; 6]> = std::iter::once(heading).chain(rows.iter().map(Row::cells)).collect();
    let measured = || lines.iter().filter(|cells| !cells[1].starts_with("NOT RUN"));
    let width = |at: usize| measured().map(|cells| cells[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |cells: &[String; 6]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("| {cell:width$} "));
        format!("{}|\n", padded.collect::<String>())
    };
    let rule = format!("{}|\n", widths.map(|width| format!("|{}", "-".repeat(width + 2))).concat());
    let mut all: Vec<String> = lines.iter().map(line).collect();
    all.insert(1, rule);
    all.concat()
}

/// A number with as many digits as say something.
fn amount(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_when_every_bar_does() {
        let row = |value, peer| Row::new("a", value, "/s").beside("b", peer);
        for (row, expected) in [
            (Row::new("a", 1.0, "/s"), None),
            (Row::new("a", 4.9, "/s").held_to(Bar::AtLeast(5.0)), Some(false)),
            (Row::new("a", 5.0, "/s").held_to(Bar::AtLeast(5.0)).held_to(Bar::AtMost(5.0)), Some(true)),
            (Row::new("a", 1.0, "of 9").held_to(Bar::AtMost(0.0)), Some(false)),
            (row(8.0, 10.0).held_to(Bar::RatioAtLeast(0.8)), Some(true)),
            (row(7.9, 10.0).held_to(Bar::RatioAtLeast(0.8)), Some(false)),
            (row(7.9, 10.0).held_to(Bar::RatioAtMost(0.8)).held_to(Bar::AtLeast(8.0)), Some(false)),
            (row(7.9, 0.0).held_to(Bar::RatioAtMost(0.8)), Some(false)),
            (Row::not_run("a", "no").held_to(Bar::AtMost(1.0)), None),
        ] {
            assert_eq!(row.holds(), expected, "{row:?}");
        }
    }

    #[test]
    fn columns_are_in_line_and_what_was_not_run_says_why() {
        let rows = [
            Row::new("speed", 1234.0, "/s").beside("other", 1000.0).held_to(Bar::RatioAtLeast(2.0)),
            Row::new("failed requests", 0.0, "of 7").held_to(Bar::AtMost(0.0)),
            Row::not_run("images", "no engine"),
        ];
        let expected = [
            "| what            | ours    | peer           | ours/peer | bar       | holds  |",
            "|-----------------|---------|----------------|-----------|-----------|--------|",
            "| speed           | 1234 /s | other: 1000 /s | 1.23      | ratio ≥ 2 | **no** |",
            "| failed requests | 0 of 7  |                |           | 0         | yes    |",
            "| images          | NOT RUN: no engine |                |           |           |        |",
        ];
        assert_eq!(text(&rows).lines().collect::<Vec<_>>(), expected);
    }
}
