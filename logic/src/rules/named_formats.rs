//! Formats of texts by name: `format.dns1123Label().validate(self.name)`.

use std::sync::Arc;

use cel::extractors::This;
use cel::objects::Opaque;
use cel::{Context, ExecutionError, Value};

use super::collections::optional;

type Text = Arc<String>;

/// Says what is wrong with a text; nothing when it fits.
type Check = fn(&str) -> Vec<String>;

/// The formats there are, with the functions that name them.
const FORMATS: [(&str, &str, Check); 13] = [
    ("dns1123Label", "format.dns1123Label", model::check_label),
    ("dns1123Subdomain", "format.dns1123Subdomain", model::check_subdomain),
    ("dns1035Label", "format.dns1035Label", dns_1035_label),
    ("qualifiedName", "format.qualifiedName", qualified_name),
    ("dns1123LabelPrefix", "format.dns1123LabelPrefix", |text| model::check_label(&as_prefix(text))),
    ("dns1123SubdomainPrefix", "format.dns1123SubdomainPrefix", |text| model::check_subdomain(&as_prefix(text))),
    ("dns1035LabelPrefix", "format.dns1035LabelPrefix", |text| dns_1035_label(&as_prefix(text))),
    ("labelValue", "format.labelValue", label_value),
    ("uri", "format.uri", |text| wrong(super::functions::is_url(text), "invalid URI for request")),
    ("uuid", "format.uuid", |text| wrong(crate::definition::fits("uuid", text), "does not match the UUID format")),
    ("byte", "format.byte", |text| wrong(crate::definition::fits("byte", text), "invalid base64")),
    ("date", "format.date", |text| wrong(crate::definition::fits("date", text), "invalid date")),
    ("datetime", "format.datetime", |text| wrong(crate::definition::fits("datetime", text), "invalid datetime")),
];

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Format {
    name: &'static str,
}

impl Opaque for Format {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.NamedFormat"
    }
}

/// Adds the functions to a context.
pub(super) fn add(context: &mut Context<'_, '_>) {
    for (name, function, _) in FORMATS.into_iter() {
        let added = context.add_function(function, move || Value::Opaque(Arc::new(Format { name })));
        debug_assert!(added.is_ok(), "no format is there twice");
    }
    let added = [
        context.add_function("format.named", |wanted: Text| {
            let found = FORMATS.iter().find(|(name, ..)| *name == wanted.as_str());
            optional(found.map(|(name, ..)| Value::Opaque(Arc::new(Format { name }))))
        }),
        context.add_function("validate", validate),
    ];
    debug_assert!(added.iter().all(|result| result.is_ok()), "no function is there twice");
}

/// What is wrong with a text, as an optional list.
fn validate(This(format): This<Value>, text: Text) -> Result<Value, ExecutionError> {
    let found = if let Value::Opaque(opaque) = &format { opaque.downcast_ref::<Format>() } else { None };
    let found = found.and_then(|format| FORMATS.iter().find(|(name, ..)| *name == format.name));
    let Some((_, _, check)) = found else {
        return Err(ExecutionError::FunctionError { function: "validate".into(), message: "expected a format".into() });
    };
    let wrong = check(&text);
    Ok(optional((!wrong.is_empty()).then(|| Value::from(wrong.iter().map(|text| Value::from(text.as_str())).collect::<Vec<_>>()))))
}

fn wrong(fits: bool, why: &str) -> Vec<String> {
    if fits { Vec::new() } else { vec![why.to_owned()] }
}

/// A prefix may end with a dash, as something comes after it.
fn as_prefix(text: &str) -> String {
    text.strip_suffix('-').filter(|rest| !rest.is_empty()).map_or_else(|| text.to_owned(), |rest| format!("{rest}a"))
}

fn dns_1035_label(text: &str) -> Vec<String> {
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
    let mut found = model::check_label(text);
    if found.is_empty() && !begins {
        found.push("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character".into());
    }
    found
}

fn qualified_name(text: &str) -> Vec<String> {
    crate::metadata::qualified_name_problem(text).into_iter().collect()
}

fn label_value(text: &str) -> Vec<String> {
    crate::metadata::label_value_problem(text).into_iter().collect()
}
