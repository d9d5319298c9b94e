//! What is wrong with an object somebody sent.

use std::fmt;

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field as a path: `spec.parts[0].name`.
    pub field: String,
    /// What sort of mistake it is.
    pub kind: ProblemKind,
    /// What was expected, in a sentence without the field's name.
    pub detail: String,
}

/// Reads a value as a type. Errors: what is wrong with it, with its whole path, which begins with `field`.
pub(crate) fn read<T: serde::de::DeserializeOwned>(value: &serde_json::Value, field: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { field.to_owned() } else { format!("{field}.{path}") };
        let said = error.inner().to_string();
        match said.strip_prefix(BELOW).and_then(|rest| rest.split_once(BELOW)) {
            Some((below, why)) => Problem::invalid(format!("{field}.{below}"), why),
            None => Problem::invalid(field, said),
        }
    })
}

/// Stands around the path in an error of [`read_below`]; texts of people do not begin with it.
const BELOW: char = '\u{1f}';

/// Reads a value as a type where that is part of reading another. Errors: as [`read`] understands them, with the path below.
pub(crate) fn read_below<T: serde::de::DeserializeOwned, E: serde::de::Error>(value: serde_json::Value) -> Result<T, E> {
    serde_path_to_error::deserialize(value).map_err(|error| match error.path().to_string() {
        path if path == "." => E::custom(error.inner()),
        path => E::custom(format!("{BELOW}{path}{BELOW}{}", error.inner())),
    })
}

/// The sort of a mistake, in the words Kubernetes' clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// A value that cannot be.
    Invalid,
    /// A field that must be there is not.
    Required,
    /// A value that must be unique occurs twice.
    Duplicate,
    /// A value that is none of those supported.
    NotSupported,
    /// A field that may not be set, or not be changed.
    Forbidden,
    /// A reference to something that is not there.
    NotFound,
    /// A value too long.
    TooLong,
    /// A list with too many items.
    TooMany,
    /// A value of the wrong type.
    TypeInvalid,
    /// A field that the kind does not have.
    Unknown,
}

impl ProblemKind {
    /// The reason of a Status cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Unknown => "FieldValueInvalid",
        }
    }

    /// The words before the detail in a Status message.
    pub fn words(self) -> &'static str {
        match self {
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Unknown => "Unknown field",
        }
    }
}

impl Problem {
    /// A problem of any sort.
    pub fn new(kind: ProblemKind, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), kind, detail: detail.into() }
    }

    /// A value that cannot be.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Invalid, field, detail)
    }

    /// A missing field.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Required, field, detail)
    }

    /// A value that occurs twice.
    pub fn duplicate(field: impl Into<String>, value: &str) -> Self {
        Self::new(ProblemKind::Duplicate, field, format!("{value:?}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.field.is_empty(), self.detail.is_empty()) {
            (true, _) => f.write_str(&self.detail),
            (false, true) => write!(f, "{}: {}", self.field, self.kind.words()),
            (false, false) => write!(f, "{}: {}: {}", self.field, self.kind.words(), self.detail),
        }
    }
}
