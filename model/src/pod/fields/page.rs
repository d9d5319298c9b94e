//! The page about these rows that people read.

use super::{Asks, Class, Row, Verdict, rows};

impl Row {
    /// What becomes of the field, for a cell of the table.
    fn cell(&self, class: Class) -> String {
        match class.verdict(self) {
            Verdict::Honoured => "yes".into(),
            Verdict::Warned(why) => format!("warned of: {why}"),
            Verdict::Refused(why) => format!("**refused**: {why}"),
            Verdict::With(field) => format!("as `{field}`"),
        }
    }

    fn name(&self) -> String {
        let Asks::Unless(harmless) = self.asks else { return format!("`{}`", self.field) };
        let harmless: Vec<String> = harmless.iter().map(|value| format!("`{value}`")).collect();
        format!("`{}`, other than {}", self.field, harmless.join(", "))
    }
}

/// How many fields a runtime honours, warns of and refuses.
pub(super) fn counts(class: Class) -> [usize; 3] {
    let count = |is: fn(Verdict) -> bool| rows().filter(|row| is(class.verdict(row))).count();
    [
        count(|verdict| verdict == Verdict::Honoured),
        count(|verdict| matches!(verdict, Verdict::Warned(_))),
        count(|verdict| matches!(verdict, Verdict::Refused(_))),
    ]
}

/// The tables, one a type.
pub(super) fn tables() -> String {
    let mut text = String::new();
    let mut last = "";
    for row in rows() {
        if row.of != last {
            text.push_str(&format!("\n### {}\n\n| field | docker, podman | process |\n|---|---|---|\n", row.of));
            last = row.of;
        }
        text.push_str(&format!("| {} | {} | {} |\n", row.name(), row.cell(Class::Docker), row.cell(Class::Process)));
    }
    text
}

/// The sentence about how much there is of each.
pub(super) fn summary() -> String {
    let of = |class: Class| {
        let [honoured, warned, refused] = counts(class);
        format!("`{}` honours {honoured} fields, warns of {warned} and refuses {refused}", class.name())
    };
    format!("{}; {}.\n", of(Class::Docker), of(Class::Process))
}
