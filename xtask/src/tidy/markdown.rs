//! Markdown, read just well enough for our own pages: sections, tables and `names in backticks`.

use anyhow::{Context, Result};

/// What follows the heading `## title`, up to the next one of its kind. Errors: there is no such heading.
pub fn section<'a>(text: &'a str, title: &str) -> Result<&'a str> {
    let heading = format!("\n## {title}\n");
    let start = text.find(&heading).with_context(|| format!("there is no heading \"## {title}\""))? + heading.len();
    let rest = text.get(start..).unwrap_or_default();
    Ok(rest.find("\n## ").and_then(|end| rest.get(..end)).unwrap_or(rest))
}

/// The parts under each `### title`: the title and what follows it.
pub fn parts(section: &str) -> Vec<(&str, &str)> {
    let bodies = section.split("\n### ").skip(1);
    bodies.map(|body| body.split_once('\n').unwrap_or((body, ""))).collect()
}

/// The rows of a section's table, heading and rule left out.
pub fn rows(section: &str) -> Vec<Vec<&str>> {
    let lines = section.lines().map(str::trim).filter(|line| line.starts_with('|'));
    lines.skip(2).map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands in backticks.
pub fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# T\n\n## One\n\n| a | b |\n|---|---|\n| `x` | `y`, `z` |\n\n## Two\n\n### `p`: first\n- q\n\n### r\n- s\n";

    #[test]
    fn sections_tables_and_parts_are_found() {
        let one = section(PAGE, "One").unwrap();
        assert_eq!(rows(one), [["`x`", "`y`, `z`"]]);
        assert_eq!(quoted("`y`, `z`"), ["y", "z"]);
        assert_eq!(parts(section(PAGE, "Two").unwrap()), [("`p`: first", "- q\n"), ("r", "- s\n")]);
        assert!(section(PAGE, "Three").is_err());
    }
}
