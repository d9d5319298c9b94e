//! Fields that a JSON text has twice: the last of them counts, but whoever wrote it is told.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The paths of the fields that occur more than once in an object, in the order of the text. None when it is no JSON.
pub fn duplicates(json: &str) -> Vec<String> {
    let mut found = Vec::new();
    let place = Place { path: String::new(), found: &mut found };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match deserializer.deserialize_any(place).and_then(|()| deserializer.end()) {
        Ok(()) => found,
        Err(_) => Vec::new(),
    }
}

struct Place<'a> {
    path: String,
    found: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            if !seen.insert(name) && !self.found.contains(&path) {
                self.found.push(path.clone());
            }
            map.next_value_seed(Place { path, found: &mut *self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0_usize;
        while list.next_element_seed(Place { path: format!("{}[{index}]", self.path), found: &mut *self.found })?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(IgnoredAny).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_that_is_there_twice_is_named_once() {
        for (json, expected) in [
            (r#"{"a": 1, "b": {"c": 1}}"#, &[][..]),
            (r#"{"a": 1, "a": 2, "a": 3}"#, &["a"]),
            (r#"{"a": {"b": 1, "c": [{"d": 1}, {"d": 1, "d": 2}], "b": null}}"#, &["a.c[1].d", "a.b"]),
            (r#"{"a": 1, "a": "#, &[]),
            (r#"{"a": 1, "a": 2} {}"#, &[]),
            ("text", &[]),
        ] {
            assert_eq!(duplicates(json), expected, "{json}");
        }
    }
}
