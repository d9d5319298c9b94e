//! The functions that there are in expressions, with what each is called on and takes: CEL's own and Kubernetes'.
//!
//! `overloads.txt` has a line for each overload: `m` and the type it is called on, or `g` for one that stands alone; its name;
//! the types of its arguments; at last that of its value. `dyn` is any type.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A type, as far as it can be known before an expression runs.
pub(super) type Type = &'static str;

/// What is not known before an expression runs.
pub(super) const DYN: Type = "dyn";

static OVERLOADS: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut all: HashMap<_, Vec<Overload>> = HashMap::new();
    for line in include_str!("overloads.txt").lines() {
        let words: Vec<&'static str> = line.split(' ').collect();
        let (on, words) = match words.as_slice() {
            ["g", rest @ ..] => (None, rest),
            ["m", on, rest @ ..] => (Some(*on), rest),
            _ => continue,
        };
        if let [name, arguments @ .., value] = words {
            all.entry(*name).or_default().push(Overload { on, arguments: arguments.to_vec(), value });
        }
    }
    all
});

/// One way to call a function.
#[derive(Debug)]
struct Overload {
    on: Option<Type>,
    arguments: Vec<Type>,
    value: Type,
}

impl Overload {
    fn takes(&self, on: Option<Type>, arguments: &[Type]) -> bool {
        let is_on = match (self.on, on) {
            (None, None) => true,
            (Some(wanted), Some(found)) => fits(wanted, found),
            _ => false,
        };
        is_on && self.arguments.len() == arguments.len() && self.arguments.iter().zip(arguments).all(|(wanted, found)| fits(wanted, found))
    }
}

fn fits(wanted: Type, found: Type) -> bool {
    wanted == DYN || found == DYN || wanted == found
}

/// Whether a function of this name stands alone: `sets.contains`.
pub(super) fn stands_alone(name: &str) -> bool {
    OVERLOADS.get(name).is_some_and(|overloads| overloads.iter().any(|overload| overload.on.is_none()))
}

/// The type of what a call gives. Errors: there is no such function, or not of these arguments.
pub(super) fn value_of(name: &str, on: Option<Type>, arguments: &[Type]) -> Result<Type, String> {
    let Some(overloads) = OVERLOADS.get(name) else {
        return Err(format!("undeclared reference to '{name}' (a function that there is not here)"));
    };
    let mut values = overloads.iter().filter(|overload| overload.takes(on, arguments)).map(|overload| overload.value);
    let Some(first) = values.next() else {
        let applied = match on {
            Some(on) => format!("{on}.({})", arguments.join(", ")),
            None => format!("({})", arguments.join(", ")),
        };
        let name = name.trim_start_matches('@');
        return Err(format!("found no matching overload for '{name}' applied to '{applied}'"));
    };
    Ok(if values.all(|value| value == first) { first } else { DYN })
}

/// Every overload, as it stands in the table.
#[cfg(test)]
pub(super) fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("overloads.txt").lines()
}
