//! What Kubernetes adds to the functions of CEL: whether texts are addresses or quantities, and all that is found in the modules beside.

use std::sync::Arc;

use cel::Context;

use super::objects::ESCAPE_KEY;

type Text = Arc<String>;

/// Adds them to a context.
pub(super) fn add(context: &mut Context<'_, '_>) {
    let added = [
        context.add_function("isIP", |text: Text| text.parse::<std::net::IpAddr>().is_ok()),
        context.add_function("isURL", |text: Text| is_url(&text)),
        context.add_function("isQuantity", |text: Text| is_quantity(&text)),
        context.add_function(ESCAPE_KEY, |text: Text| text.replace('~', "~0").replace('/', "~1")),
    ];
    debug_assert!(added.iter().all(|result| result.is_ok()), "no function is there twice");
    super::collections::add(context);
    super::named_formats::add(context);
    super::library::add(context);
    super::authorizer::add(context);
}

pub(super) fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && !rest.is_empty()
    });
    (scheme || text.starts_with('/')) && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// A number with a decimal or binary suffix: `100m`, `1.5Gi`, `2e3`.
fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let suffixes = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|digits| digits.parse::<i32>().is_ok());
    number.parse::<f64>().is_ok() && (suffixes.contains(&suffix) || exponent)
}
