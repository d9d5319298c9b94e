//! Functions over lists, maps and texts that Kubernetes adds to CEL, and what macros are made of.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use cel::extractors::This;
use cel::objects::{Key, Map, OptionalValue};
use cel::{Context, ExecutionError, Value};

use super::macros::{MAP, MATCHES, MERGED, PAIRS, SORTED_BY};
use crate::pattern::{self, Pattern};

type Result<T> = std::result::Result<T, ExecutionError>;
type List = Arc<Vec<Value>>;
type Text = Arc<String>;

/// Adds them to a context.
pub(super) fn add(context: &mut Context<'_, '_>) {
    let added = [
        context.add_function("isSorted", is_sorted),
        context.add_function("sum", sum),
        context.add_function("min", |This(list): This<List>| extreme("min", &list, Ordering::Less)),
        context.add_function("max", |This(list): This<List>| extreme("max", &list, Ordering::Greater)),
        context.add_function("@indexOf", |This(of): This<Value>, item: Value| position("indexOf", &of, &item, false)),
        context.add_function("@lastIndexOf", |This(of): This<Value>, item: Value| position("lastIndexOf", &of, &item, true)),
        context.add_function("first", |This(list): This<List>| optional(list.first().cloned())),
        context.add_function("last", |This(list): This<List>| optional(list.last().cloned())),
        context.add_function("sets.contains", |list: List, inner: List| inner.iter().all(|item| list.contains(item))),
        context.add_function("sets.intersects", |list: List, other: List| other.iter().any(|item| list.contains(item))),
        context.add_function("sets.equivalent", |one: List, other: List| {
            other.iter().all(|item| one.contains(item)) && one.iter().all(|item| other.contains(item))
        }),
        context.add_function(MATCHES, |text: Text, wanted: Text| Ok::<_, ExecutionError>(compiled("matches", &wanted)?.is_match(&text))),
        context.add_function("find", |This(text): This<Text>, wanted: Text| {
            Ok::<_, ExecutionError>(Value::from(compiled("find", &wanted)?.matches(&text).next().unwrap_or_default()))
        }),
        context.add_function("findAll", find_all),
        context.add_function(PAIRS, pairs),
        context.add_function(MAP, map),
        context.add_function(MERGED, merged),
        context.add_function(SORTED_BY, sorted_by),
    ];
    debug_assert!(added.iter().all(|result| result.is_ok()), "no function is there twice");
}

fn refuse(function: &str, message: impl Into<String>) -> ExecutionError {
    ExecutionError::FunctionError { function: function.into(), message: message.into() }
}

/// Where an item is in a list, or a text in a text, counted in characters; -1 where it is not.
fn position(function: &str, of: &Value, item: &Value, is_last: bool) -> Result<i64> {
    let found = match (of, item) {
        (Value::List(list), _) if is_last => list.iter().rposition(|other| other == item),
        (Value::List(list), _) => list.iter().position(|other| other == item),
        (Value::String(text), Value::String(part)) => {
            let at = if is_last { text.rfind(part.as_str()) } else { text.find(part.as_str()) };
            at.map(|at| text.get(..at).unwrap_or_default().chars().count())
        }
        _ => return Err(refuse(function, "expected a list, or two texts")),
    };
    Ok(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))
}

/// A value as CEL's optional values are.
pub(super) fn optional(value: Option<Value>) -> Value {
    Value::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}

fn is_sorted(This(list): This<List>) -> bool {
    list.windows(2).all(|pair| match pair {
        [one, other] => one.partial_cmp(other).is_some_and(Ordering::is_le),
        _ => true,
    })
}

fn sum(This(list): This<List>) -> Result<Value> {
    let too_large = || refuse("sum", "the sum is too large");
    let mut items = list.iter();
    let Some(first) = items.next() else { return Ok(Value::Int(0)) };
    items.try_fold(first.clone(), |total, item| match (total, item) {
        (Value::Int(total), Value::Int(item)) => total.checked_add(*item).map(Value::Int).ok_or_else(too_large),
        (Value::UInt(total), Value::UInt(item)) => total.checked_add(*item).map(Value::UInt).ok_or_else(too_large),
        (Value::Duration(total), Value::Duration(item)) => total.checked_add(item).map(Value::Duration).ok_or_else(too_large),
        (Value::Float(total), Value::Float(item)) => Ok(Value::Float(total + item)),
        _ => Err(refuse("sum", "expected numbers of one type")),
    })
}

fn extreme(name: &str, list: &List, wanted: Ordering) -> Result<Value> {
    let mut items = list.iter();
    let first = items.next().ok_or_else(|| refuse(name, "expected a list that is not empty"))?;
    let chosen = items.fold(first, |best, item| if item.partial_cmp(best) == Some(wanted) { item } else { best });
    Ok(chosen.clone())
}

fn compiled(function: &str, text: &str) -> Result<Pattern> {
    pattern::compile(text).map_err(|error| refuse(function, error))
}

fn find_all(This(text): This<Text>, cel::extractors::Arguments(given): cel::extractors::Arguments) -> Result<Value> {
    let (wanted, most) = match given.as_slice() {
        [Value::String(wanted)] => (wanted, None),
        // Less than none is as many as there are.
        [Value::String(wanted), Value::Int(most)] => (wanted, usize::try_from(*most).ok()),
        _ => return Err(refuse("findAll", "expected a pattern, and how many to find at most")),
    };
    let found = compiled("findAll", wanted)?;
    Ok(Value::from(found.matches(&text).take(most.unwrap_or(usize::MAX)).map(Value::from).collect::<Vec<_>>()))
}

fn pairs(of: Value) -> Result<Value> {
    let pair = |key: Value, value: &Value| Value::from(vec![key, value.clone()]);
    match &of {
        Value::List(items) => Ok(Value::from((0_i64..).zip(items.iter()).map(|(at, item)| pair(Value::Int(at), item)).collect::<Vec<_>>())),
        Value::Map(map) => Ok(Value::from(map.map.iter().map(|(key, value)| pair(value_of(key), value)).collect::<Vec<_>>())),
        _ => Err(refuse("a loop", "expected a list or a map")),
    }
}

fn value_of(key: &Key) -> Value {
    match key {
        Key::Int(number) => Value::Int(*number),
        Key::Uint(number) => Value::UInt(*number),
        Key::Bool(truth) => Value::Bool(*truth),
        Key::String(text) => Value::String(Arc::clone(text)),
    }
}

fn key_of(value: &Value) -> Option<Key> {
    match value {
        Value::Int(number) => Some(Key::Int(*number)),
        Value::UInt(number) => Some(Key::Uint(*number)),
        Value::Bool(truth) => Some(Key::Bool(*truth)),
        Value::String(text) => Some(Key::String(Arc::clone(text))),
        _ => None,
    }
}

fn map(list: List) -> Result<Value> {
    let pair = |pair: &Value| match pair {
        Value::List(pair) => match pair.as_slice() {
            [key, value] => key_of(key).map(|key| (key, value.clone())),
            _ => None,
        },
        _ => None,
    };
    let map: Option<HashMap<Key, Value>> = list.iter().map(pair).collect();
    map.map(of_map).ok_or_else(|| refuse("transformMap", "expected keys that a map may have"))
}

fn of_map(map: HashMap<Key, Value>) -> Value {
    Value::Map(Map { map: Arc::new(map) })
}

fn merged(list: List) -> Result<Value> {
    let mut whole = HashMap::new();
    for part in list.iter() {
        let Value::Map(part) = part else { return Err(refuse("transformMapEntry", "expected a map")) };
        for (key, value) in part.map.iter() {
            if whole.insert(key.clone(), value.clone()).is_some() {
                return Err(refuse("transformMapEntry", "insert failed: the key already exists"));
            }
        }
    }
    Ok(of_map(whole))
}

fn sorted_by(list: List, keys: List) -> Result<Value> {
    let mut both: Vec<(&Value, &Value)> = keys.iter().zip(list.iter()).collect();
    if both.iter().any(|(key, _)| key.partial_cmp(&both[0].0).is_none()) {
        return Err(refuse("sortBy", "expected keys of one type that can be compared"));
    }
    both.sort_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap_or(Ordering::Equal));
    Ok(Value::from(both.into_iter().map(|(_, item)| item.clone()).collect::<Vec<_>>()))
}
