//! What may be tried with any bytes: each function reads them as one form of input, and panics only where we are wrong.
//!
//! The folder `fuzz` gives them to a fuzzer; [`mutations`] is the small form for tests.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::definition::{Structural, check};
use crate::rules::{self, Budget, CelValue, Known, Program, Variables};
use crate::selector::{FieldSelector, LabelSelector};
use crate::{duplicates, json as json_text, yaml};

/// YAML: what is written of what was read reads the same.
pub fn yaml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = yaml::duplicate(&text);
    for document in yaml::parse(&text).unwrap_or_default() {
        let written = yaml::write(&document);
        assert_eq!(yaml::parse(&written).as_deref(), Ok(&[document][..]), "{written}");
    }
}

/// JSON: what a parser takes has no syntax error, and says the same when it is escaped.
pub fn json(bytes: &[u8]) {
    let (error, parsed) = (json_text::syntax_error(bytes), serde_json::from_slice::<Value>(bytes));
    let twice = duplicates::duplicates(&String::from_utf8_lossy(bytes));
    assert!(parsed.is_ok() || twice.is_empty() || std::str::from_utf8(bytes).is_err(), "fields of what is no JSON: {twice:?}");
    if let Ok(value) = parsed {
        assert_eq!(error, None);
        let escaped = json_text::escaped(value.to_string().into_bytes());
        assert_eq!(serde_json::from_slice::<Value>(&escaped).ok(), Some(value));
    }
}

/// Selectors of labels and of fields, as a query and as an object have them.
pub fn selectors(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let object = sample();
    if let Ok(selector) = LabelSelector::parse(&text) {
        let _ = (selector.is_empty(), selector.matches(&object), selector.matches(&Value::Null));
    }
    if let Ok(selector) = FieldSelector::parse(&text) {
        let _ = (selector.fields().count(), selector.name(), selector.matches(&object), selector.matches(&Value::Null));
    }
    if let Some(selector) = serde_json::from_str(&text).ok().and_then(|value| LabelSelector::from_object(&value)) {
        let _ = selector.matches(&object);
    }
}

/// An expression in CEL: read, checked against a schema, evaluated over values of every type; also as one that may write out objects.
pub fn rules(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    rule(&source, Program::parse(&source));
    if ["Object", "JSONPatch", "jsonpatch"].into_iter().any(|word| source.contains(word)) {
        rule(&source, Program::parse_making(&source, false));
    }
}

fn rule(source: &str, program: Result<Program, String>) {
    let program = match program {
        Ok(program) => program,
        Err(why) => return assert_ne!(why, rules::BROKEN, "{source}"),
    };
    let object = sample();
    let none = CelValue::Opaque(Arc::new(cel::objects::OptionalValue::none()));
    let mut variables = Variables::from([("self", rules::to_cel(&object)), ("oldSelf", none), ("time", rules::time("2001-01-01"))]);
    // What can be made only by an expression.
    for (name, source) in [
        ("amount", "quantity('1')"),
        ("address", "ip('::1')"),
        ("length", "duration('1h')"),
        ("bytes", "b'a'"),
        ("huge", "18446744073709551615u"),
    ] {
        let made = Program::parse(source).and_then(|made| made.evaluate(&Variables::new(), &mut Budget::new([])));
        variables.insert(name, made.expect("these are values"));
    }
    // As whoever stores a rule is told.
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let mut known: Known<'_> = variables.keys().map(|name| ((*name).to_owned(), None)).collect();
    known.insert("closed".to_owned(), Some(&schema));
    if rules::type_problem(program.expression(), &known).is_some() {
        return;
    }
    let evaluated = program.evaluate(&variables, &mut Budget::new([&object]));
    let made = evaluated.and_then(|value| rules::to_json(&value));
    assert_ne!(made.err().as_deref(), Some(rules::BROKEN), "{source}");
}

/// A schema of a definition and an object, one JSON after the other.
pub fn definitions(bytes: &[u8]) {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let (Some(Ok(schema)), object) = (values.next(), values.next()) else { return };
    let (mut object, before) = (object.and_then(Result::ok).unwrap_or_default(), values.next().and_then(Result::ok));
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let names = json!({"plural": "things", "kind": "Thing"});
    let mut definition = json!({"metadata": {"name": "things.a.dev"},
        "spec": {"group": "a.dev", "scope": "Cluster", "names": names, "versions": [version]}});
    check::fill_in(&mut definition);
    let problems = check::problems(&definition);
    let structural = Structural::compile(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    if problems.is_empty() {
        structural.prune(&mut object);
        structural.fill_defaults(&mut object);
        let _ = structural.problems(&object, before.as_ref());
    }
}

fn sample() -> Value {
    json!({"metadata": {"name": "a", "labels": {"app": "a", "n": "3"}}, "spec": {"n": 3, "f": 1.5, "no": null, "yes": true},
        "names": ["a", "b", "a"], "numbers": [3, 1, 2], "text": "abc-12", "map": {"k": "v"}, "items": [{"name": "x", "n": 1}, {"name": "y"}]})
}

/// Inputs that are made from `seeds`, the same each time: parts of them left out, doubled, exchanged, put together.
pub fn mutations(seeds: &[Vec<u8>], count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    (0..count).map(move |_| {
        let mut input = chance.one(seeds).cloned().unwrap_or_default();
        for _ in 0..=chance.below(4) {
            let (from, other) = (chance.below(input.len() + 1), chance.one(seeds).cloned().unwrap_or_default());
            let to = from + chance.below((input.len() - from + 1).min(16));
            let begin = chance.below(other.len() + 1);
            let end = begin + chance.below((other.len() - begin + 1).min(32));
            let part = match chance.below(4) {
                0 => Vec::new(),
                1 => input[from..to].repeat(1 + chance.below(3)),
                2 => vec![u8::try_from(chance.below(256)).unwrap_or(0); 1 + chance.below(3)],
                _ => other[begin..end].to_vec(),
            };
            input.splice(from..to, part);
        }
        input
    })
}

/// Numbers that look random, from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = self.below(of.len());
        of.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, count: usize, target: fn(&[u8])) {
        let folder = format!("{}/../fuzz/seeds/{name}", env!("CARGO_MANIFEST_DIR"));
        #[expect(clippy::disallowed_methods, reason = "the seeds are files")]
        let seeds: Vec<Vec<u8>> = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(!seeds.is_empty());
        seeds.iter().for_each(|seed| target(seed));
        mutations(&seeds, count).for_each(|input| target(&input));
    }

    #[test]
    fn no_yaml_breaks_us() {
        check("yaml", 3_000, yaml);
    }

    #[test]
    fn no_json_breaks_us() {
        check("json", 20_000, json);
    }

    #[test]
    fn no_selector_breaks_us() {
        check("selectors", 20_000, selectors);
    }

    #[test]
    fn no_expression_breaks_us() {
        check("rules", 3_000, rules);
    }

    #[test]
    fn no_definition_breaks_us() {
        check("definitions", 2_000, definitions);
    }
}
