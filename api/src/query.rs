//! The query of a request.

use model::{Problem, ProblemKind};

use crate::path::decoded_bytes;
use crate::status::{Result, Status};

/// The parameters of a request, by name; the first of a name counts.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

/// What is done with fields that a kind does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped or kept in silence.
    Ignore,
    /// The answer carries a warning for each.
    Warn,
    /// The request is refused.
    Strict,
}

impl Query {
    /// Takes a query apart. A pair is never left out: a deletion without its selector would be one of everything. What is no UTF-8
    /// becomes characters that no name or selector has.
    pub fn parse(text: &str) -> Self {
        let plain = |text: &str| String::from_utf8_lossy(&decoded_bytes(&text.replace('+', " "))).into_owned();
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (plain(name), plain(value))
        };
        Self(text.split('&').filter(|text| !text.is_empty()).map(pair).collect())
    }

    /// The value of a parameter, when it is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether a parameter says yes.
    pub fn is_true(&self, name: &str) -> bool {
        self.0.iter().any(|(key, value)| key == name && matches!(value.as_str(), "true" | "1" | "True" | "TRUE" | "t" | "T"))
    }

    /// Whether a parameter is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// A whole number. Errors: 400 in Kubernetes' words.
    pub fn number(&self, name: &str) -> Result<Option<i64>> {
        self.get(name).map(|text| text.parse().map_err(|_| Status::bad_request(not_a_number("ParseInt", text)))).transpose()
    }

    /// Whether nothing may be kept. Errors: 422 for a value other than `All`.
    pub fn dry_run(&self, options: &str) -> Result<bool> {
        let sent = self.0.iter().find(|(name, _)| name == "dryRun").map(|(_, value)| value.as_str());
        match sent {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                let detail = format!("[{other:?}]: supported values: \"All\"");
                Err(Status::invalid_options(options, &[Problem::new(ProblemKind::NotSupported, "dryRun", detail)]))
            }
        }
    }

    /// What to do with unknown fields. Errors: 422 for a mode that there is not.
    pub fn field_validation(&self, options: &str) -> Result<FieldValidation> {
        match self.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => {
                let detail = format!("{other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
                Err(Status::invalid_options(options, &[Problem::new(ProblemKind::NotSupported, "fieldValidation", detail)]))
            }
        }
    }

    /// Errors: 422 for a name of a writer that is too long or cannot be shown.
    pub fn check_manager(&self, options: &str) -> Result<()> {
        let found = self.manager_problems();
        if found.is_empty() { Ok(()) } else { Err(Status::invalid_options(options, &found)) }
    }

    /// What only a patch may be told: who applies, and whether by force. Errors: 422.
    pub fn check_patch(&self, is_apply: bool) -> Result<()> {
        let mut found = Vec::new();
        if is_apply && self.get("fieldManager").is_none() {
            found.push(Problem::required("fieldManager", "is required for apply patch"));
        }
        if !is_apply && self.has("force") {
            found.push(Problem::new(ProblemKind::Forbidden, "force", "may not be specified for non-apply patch"));
        }
        found.extend(self.manager_problems());
        if found.is_empty() { Ok(()) } else { Err(Status::invalid_options("PatchOptions", &found)) }
    }

    fn manager_problems(&self) -> Vec<Problem> {
        const BYTES_MAX: usize = 128;
        let name = self.get("fieldManager").unwrap_or_default();
        let mut found = Vec::new();
        if name.len() > BYTES_MAX {
            found.push(Problem::new(ProblemKind::TooLong, "fieldManager", format!("may not be more than {BYTES_MAX} bytes")));
        }
        if let Some((at, wrong)) = name.char_indices().find(|(_, c)| c.is_control() || (c.is_whitespace() && *c != ' ')) {
            let detail = format!("{name:?}: invalid character U+{:04X} (at position {at})", u32::from(wrong));
            found.push(Problem::invalid("fieldManager", detail));
        }
        found
    }

    /// The pairs, as they came.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// The words for a text that is no number.
pub fn not_a_number(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {text:?}: invalid syntax")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pair_is_left_out_whatever_its_bytes() {
        for (text, expected) in [
            ("labelSelector=a%3Db+c", "a=b c"),
            ("labelSelector=caf%E9", "caf\u{fffd}"),
            ("labelSelector=%zz%4", "%zz%4"),
            ("labelSelector={\"a\":[1]}|^`\\", "{\"a\":[1]}|^`\\"),
            ("labelSelector=ü", "ü"),
        ] {
            assert_eq!(Query::parse(text).get("labelSelector"), Some(expected), "{text}");
        }
        assert!(Query::parse("%FF=1").pairs().len() == 1);
    }
}
