//! The order of keys in YAML that is written: letters by the alphabet and before them what is none, digits as the numbers they make.

use std::cmp::Ordering;

use serde_json::Value;

/// A value with the fields of every object in order.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by(|(one, _), (other, _)| natural(one, other));
            fields.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

fn natural(one: &str, other: &str) -> Ordering {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let Some(at) = one.iter().zip(&other).position(|(left, right)| left != right) else {
        return one.len().cmp(&other.len());
    };
    let (Some(left), Some(right)) = (one.get(at..), other.get(at..)) else { return Ordering::Equal };
    let (Some(&first), Some(&second)) = (left.first(), right.first()) else { return Ordering::Equal };
    let follows_digits = at.checked_sub(1).and_then(|before| one.get(before)).is_some_and(char::is_ascii_digit);
    match (first.is_alphabetic(), second.is_alphabetic()) {
        (true, true) => first.cmp(&second),
        // A number that ends here is less than one that goes on; elsewhere letters come last.
        (is_letter, false) | (false, is_letter) if is_letter => {
            let letter_last = if first.is_alphabetic() { Ordering::Greater } else { Ordering::Less };
            if follows_digits { letter_last.reverse() } else { letter_last }
        }
        _ => {
            let digits = |text: &[char]| text.iter().take_while(|c| c.is_ascii_digit()).collect::<String>();
            let (left, right) = (digits(left), digits(right));
            let value = |digits: &str| digits.parse::<u64>().unwrap_or(if digits.is_empty() { 0 } else { u64::MAX });
            value(&left).cmp(&value(&right)).then(left.len().cmp(&right.len())).then(first.cmp(&second))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_in_their_order() {
        let expected = [".", "_", "1", "2", "10", "A", "a", "a.b", "a1b", "a2", "a10", "ab", "b"];
        let mut found = expected;
        found.reverse();
        found.sort_by(|one, other| natural(one, other));
        assert_eq!(found, expected);
    }
}
