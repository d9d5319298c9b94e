//! What Kubernetes adds to the functions of CEL: over lists, patterns, addresses and quantities.

use std::sync::Arc;

use cel::extractors::This;
use cel::{Context, ExecutionError, Value};
use regex::Regex;

use super::objects::ESCAPE_KEY;

type Result<T> = std::result::Result<T, ExecutionError>;
type List = Arc<Vec<Value>>;
type Text = Arc<String>;

/// Their names, and those of CEL's own functions.
pub(super) const NAMES: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "type",
    "dyn",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "lowerAscii",
    "upperAscii",
    "replace",
    "split",
    "substring",
    "trim",
    "join",
    "reverse",
    "format",
    "quote",
    "distinct",
    "slice",
    "sort",
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
    "hasValue",
    "value",
    "or",
    "orValue",
    "optMap",
    "optFlatMap",
    "of",
    "none",
    "ofNonZeroValue",
    "isSorted",
    "sum",
    "min",
    "max",
    "find",
    "findAll",
    "isIP",
    "isURL",
    "isQuantity",
    "abs",
    "first",
    "last",
    "strings.quote",
    "flatten",
    "duration",
    "timestamp",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    ESCAPE_KEY,
];

/// Adds them to a context.
pub(super) fn add(context: &mut Context<'_, '_>) {
    let added = [
        context.add_function("isSorted", is_sorted),
        context.add_function("sum", sum),
        context.add_function("find", find),
        context.add_function("findAll", find_all),
        context.add_function("isIP", |text: Text| text.parse::<std::net::IpAddr>().is_ok()),
        context.add_function("isURL", |text: Text| is_url(&text)),
        context.add_function("isQuantity", |text: Text| is_quantity(&text)),
        context.add_function(ESCAPE_KEY, |text: Text| text.replace('~', "~0").replace('/', "~1")),
        context.add_function("min", |This(list): This<List>| extreme("min", &list, std::cmp::Ordering::Less)),
        context.add_function("max", |This(list): This<List>| extreme("max", &list, std::cmp::Ordering::Greater)),
    ];
    debug_assert!(added.iter().all(|result| result.is_ok()), "no function is there twice");
    super::library::add(context);
    super::authorizer::add(context);
}

fn refuse(function: &str, message: impl Into<String>) -> ExecutionError {
    ExecutionError::FunctionError { function: function.into(), message: message.into() }
}

fn is_sorted(This(list): This<List>) -> bool {
    list.windows(2).all(|pair| match pair {
        [one, other] => one.partial_cmp(other).is_some_and(std::cmp::Ordering::is_le),
        _ => true,
    })
}

fn sum(This(list): This<List>) -> Result<Value> {
    let mut items = list.iter();
    let Some(first) = items.next() else { return Ok(Value::Int(0)) };
    items.try_fold(first.clone(), |total, item| match (total, item) {
        (Value::Int(total), Value::Int(item)) => {
            total.checked_add(*item).map(Value::Int).ok_or_else(|| refuse("sum", "the sum is too large"))
        }
        (Value::UInt(total), Value::UInt(item)) => {
            total.checked_add(*item).map(Value::UInt).ok_or_else(|| refuse("sum", "the sum is too large"))
        }
        (Value::Float(total), Value::Float(item)) => Ok(Value::Float(total + item)),
        _ => Err(refuse("sum", "expected numbers of one type")),
    })
}

fn extreme(name: &str, list: &List, wanted: std::cmp::Ordering) -> Result<Value> {
    let mut items = list.iter();
    let first = items.next().ok_or_else(|| refuse(name, "expected a list that is not empty"))?;
    let chosen = items.fold(first, |best, item| if item.partial_cmp(best) == Some(wanted) { item } else { best });
    Ok(chosen.clone())
}

fn pattern(function: &str, text: &str) -> Result<Regex> {
    Regex::new(text).map_err(|error| refuse(function, error.to_string()))
}

fn find(This(text): This<Text>, wanted: Text) -> Result<Value> {
    Ok(Value::from(pattern("find", &wanted)?.find(&text).map(|found| found.as_str()).unwrap_or_default()))
}

fn find_all(This(text): This<Text>, wanted: Text) -> Result<Value> {
    let found: Vec<Value> = pattern("findAll", &wanted)?.find_iter(&text).map(|found| Value::from(found.as_str())).collect();
    Ok(Value::from(found))
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
