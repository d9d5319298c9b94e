//! What is wrong with an object of a defined kind.

use std::collections::HashMap;

use model::{Problem, ProblemKind, check_label};
use serde_json::{Map, Value};

use super::formats;
use super::structural::{Additional, List, Node, Structural};
use crate::rules::{self, Rules};
use crate::schema::{Type, type_name};

impl Structural {
    /// Problems of a new object, or of a changed one: what an update leaves as it was is not held against it.
    pub fn problems(&self, object: &Value, before: Option<&Value>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let visit = Visit { problems: &mut problems, quiet: false };
        visit.fields_of_object(&self.root, object, before);
        if problems.is_empty() {
            let mut rules = Rules::new(object);
            check_rules(&self.root, object, before, &mut String::new(), &mut rules);
            problems = rules.into_problems();
        }
        problems
    }
}

impl Structural {
    /// Problems of an object whose status was written: its values are held to the status' own schema, where paths in sentences begin,
    /// its rules to all of the object, since a rule at the root may be about both.
    pub fn status_problems(&self, object: &Value, before: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let (Some(node), Some(status)) = (self.root.properties.get("status"), object.get("status")) {
            Visit { problems: &mut problems, quiet: false }.node(node, status, before.get("status"), &mut "status".to_owned());
        }
        if problems.is_empty() {
            let mut rules = Rules::new(object);
            check_rules(&self.root, object, Some(before), &mut String::new(), &mut rules);
            return rules.into_problems();
        }
        let by_itself = |problem: Problem| {
            let inner = problem.field.strip_prefix("status.").unwrap_or_default();
            let detail = problem.detail.replace(&format!(": {} in body", problem.field), &format!(": {inner} in body"));
            Problem { detail, ..problem }
        };
        problems.into_iter().map(by_itself).collect()
    }
}

struct Visit<'a> {
    problems: &'a mut Vec<Problem>,
    quiet: bool,
}

impl Visit<'_> {
    fn fields_of_object(mut self, root: &Node, object: &Value, before: Option<&Value>) {
        self.node(root, object, before, &mut String::new());
    }

    fn say(&mut self, kind: ProblemKind, path: &str, detail: String) {
        self.problems.push(Problem::new(kind, path, detail));
    }

    fn node(&mut self, node: &Node, value: &Value, before: Option<&Value>, path: &mut String) {
        if before == Some(value) && !path.is_empty() && !self.quiet {
            return;
        }
        if value.is_null() && node.nullable {
            return;
        }
        if let Some(expected) = wrong_type(node, value) {
            let found = type_name(value);
            self.say(ProblemKind::TypeInvalid, path, format!("{found:?}: {path} in body must be of type {expected}: {found:?}"));
            return;
        }
        self.bounds(node, value, path);
        self.choices(node, value, path);
        if node.embedded {
            self.embedded(value, path);
        }
        match value {
            Value::Object(fields) => self.fields(node, fields, before, path),
            Value::Array(items) => self.items(node, items, before, path),
            _ => {}
        }
    }

    fn bounds(&mut self, node: &Node, value: &Value, path: &str) {
        let bounds = &node.bounds;
        if let Some(allowed) = bounds.allowed.as_ref().filter(|allowed| !allowed.contains(value)) {
            let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
            self.say(ProblemKind::NotSupported, path, format!("{value}: supported values: {}", allowed.join(", ")));
        }
        match value {
            Value::String(text) => self.text(node, text, path),
            Value::Number(_) => self.number(node, value, path),
            Value::Array(items) => self.count(items.len(), bounds.items, "items", path),
            Value::Object(fields) => self.count(fields.len(), bounds.properties, "properties", path),
            _ => {}
        }
    }

    fn text(&mut self, node: &Node, text: &str, path: &str) {
        let bounds = &node.bounds;
        let length = text.chars().count() as u64;
        if let Some(most) = bounds.length.1.filter(|most| length > *most) {
            self.say(ProblemKind::TooLong, path, format!("may not be more than {most} bytes"));
        }
        if let Some(least) = bounds.length.0.filter(|least| length < *least) {
            self.say(ProblemKind::Invalid, path, format!("{text:?}: {path} in body should be at least {least} chars long"));
        }
        if let Some(pattern) = bounds.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            self.say(ProblemKind::Invalid, path, format!("{text:?}: {path} in body should match '{pattern}'"));
        }
        if let Some(format) = bounds.format.as_deref().filter(|format| !formats::fits(format, text)) {
            self.say(ProblemKind::TypeInvalid, path, format!("{text:?}: {path} in body must be of type {format}: {text:?}"));
        }
    }

    fn number(&mut self, node: &Node, value: &Value, path: &str) {
        let (bounds, number) = (&node.bounds, value.as_f64().unwrap_or_default());
        if let Some((bound, exclusive)) = bounds.minimum.filter(|(bound, exclusive)| number < *bound || (*exclusive && number <= *bound)) {
            let words = if exclusive { "greater than" } else { "greater than or equal to" };
            self.say(ProblemKind::Invalid, path, format!("{value}: {path} in body should be {words} {bound}"));
        }
        if let Some((bound, exclusive)) = bounds.maximum.filter(|(bound, exclusive)| number > *bound || (*exclusive && number >= *bound)) {
            let words = if exclusive { "less than" } else { "less than or equal to" };
            self.say(ProblemKind::Invalid, path, format!("{value}: {path} in body should be {words} {bound}"));
        }
        // A whole number is measured by the whole part of the factor, as Kubernetes does.
        let factor = bounds.multiple_of.map(|factor| if value.is_f64() { factor } else { factor.trunc() });
        if let Some(factor) = factor.filter(|factor| *factor <= 0.0) {
            let rule = format!("factor MultipleOf declared for {path} must be positive: {factor}");
            self.say(ProblemKind::Invalid, path, format!("{factor}: {rule}"));
        } else if let Some(factor) = factor.filter(|factor| !is_multiple(number, *factor)) {
            self.say(ProblemKind::Invalid, path, format!("{value}: {path} in body should be a multiple of {factor}"));
        }
        let most = f64::from(i32::MAX);
        if bounds.format.as_deref() == Some("int32") && (number > most || number < f64::from(i32::MIN)) {
            // Kubernetes finds this beside the schema and names no field.
            self.say(ProblemKind::Invalid, "<nil>", format!("\"\": Checked value must be of type integer with format int32 in {path}"));
        }
    }

    fn count(&mut self, found: usize, (least, most): (Option<u64>, Option<u64>), of: &str, path: &str) {
        if let Some(most) = most.filter(|most| found as u64 > *most) {
            self.say(ProblemKind::TooMany, path, format!("{found}: must have at most {most} items"));
        }
        if let Some(least) = least.filter(|least| (found as u64) < *least) {
            self.say(ProblemKind::Invalid, path, format!("{found}: {path} in body should have at least {least} {of}"));
        }
    }

    /// Conditions on a value that add nothing to its shape.
    fn choices(&mut self, node: &Node, value: &Value, path: &mut String) {
        for inner in &node.all_of {
            self.node(inner, value, None, path);
        }
        let shown = path.clone();
        let mut fitting = |nodes: &[Node]| nodes.iter().filter(|inner| fits(inner, value, path)).count();
        let (any, one) = (fitting(&node.any_of), fitting(&node.one_of));
        let not = node.not.as_deref().is_some_and(|inner| fits(inner, value, path));
        if !node.any_of.is_empty() && any == 0 {
            self.say(ProblemKind::Invalid, &shown, format!("\"\": {shown:?} must validate at least one schema (anyOf)"));
        }
        if !node.one_of.is_empty() && one != 1 {
            let found = if one == 0 { "Found none valid".to_owned() } else { format!("Found {one} valid alternatives") };
            self.say(ProblemKind::Invalid, &shown, format!("\"\": {shown:?} must validate one and only one schema (oneOf). {found}"));
        }
        if not {
            self.say(ProblemKind::Invalid, &shown, format!("\"\": {shown:?} must not validate the schema (not)"));
        }
    }

    fn embedded(&mut self, value: &Value, path: &str) {
        for field in ["apiVersion", "kind"] {
            if value[field].as_str().is_none_or(str::is_empty) {
                self.say(ProblemKind::Required, &format!("{path}.{field}"), String::new());
            }
        }
        if let Some(name) = value["metadata"]["name"].as_str()
            && let Some(first) = model::check_subdomain(name).into_iter().next().filter(|_| !check_label(name).is_empty())
        {
            self.say(ProblemKind::Invalid, &format!("{path}.metadata.name"), format!("{name:?}: {first}"));
        }
    }

    fn fields(&mut self, node: &Node, fields: &Map<String, Value>, before: Option<&Value>, path: &mut String) {
        for name in node.required.iter().filter(|name| !fields.contains_key(*name)) {
            let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.say(ProblemKind::Required, &at, String::new());
        }
        for (name, value) in fields {
            let Some(of) = node.field(name) else { continue };
            let length = path.len();
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
            self.node(of, value, before.and_then(|before| before.get(name)), path);
            path.truncate(length);
        }
    }

    fn items(&mut self, node: &Node, items: &[Value], before: Option<&Value>, path: &mut String) {
        for (index, item) in items.iter().enumerate() {
            let length = path.len();
            path.push_str(&format!("[{index}]"));
            if let Some(of) = node.items.as_deref() {
                self.node(of, item, earlier(node, item, index, before), path);
            }
            if let Some(shown) = repeated(node, items, index) {
                self.say(ProblemKind::Duplicate, path, shown);
            }
            path.truncate(length);
        }
    }
}

fn fits(node: &Node, value: &Value, path: &mut String) -> bool {
    let mut problems = Vec::new();
    Visit { problems: &mut problems, quiet: true }.node(node, value, None, path);
    problems.is_empty()
}

fn wrong_type(node: &Node, value: &Value) -> Option<&'static str> {
    if node.int_or_string {
        return (!is_a(Type::Integer, value) && !value.is_string()).then_some("integer,string");
    }
    node.type_.filter(|type_| !is_a(*type_, value)).map(Type::name)
}

/// A float without a fraction is an integer too, as in JSON Schema.
fn is_a(type_: Type, value: &Value) -> bool {
    type_.fits(value) || type_ == Type::Integer && value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn is_multiple(number: f64, factor: f64) -> bool {
    let times = number / factor;
    (times - times.round()).abs() < 1e-9
}

/// What an item was before: the one of the same keys in a map list, the same value in a set.
fn earlier<'a>(node: &Node, item: &Value, index: usize, before: Option<&'a Value>) -> Option<&'a Value> {
    let before = before?.as_array()?;
    match &node.list {
        List::Map(keys) => before.iter().find(|other| keys.iter().all(|key| other.get(key) == item.get(key))),
        List::Set => before.iter().find(|other| *other == item),
        List::Atomic => before.get(index).filter(|other| *other == item),
    }
}

fn repeated(node: &Node, items: &[Value], index: usize) -> Option<String> {
    let (item, others) = (items.get(index)?, items.get(..index)?);
    match &node.list {
        List::Atomic => None,
        List::Set => others.contains(item).then(|| item.to_string()),
        List::Map(keys) => {
            let key = |item: &Value| keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect::<Map<_, _>>();
            let own = key(item);
            others.iter().any(|other| key(other) == own).then(|| Value::Object(own).to_string())
        }
    }
}

/// A value as rules see it: what the schema calls a number is one, even when it was written without a point.
fn convert(node: &Node, value: &Value) -> rules::CelValue {
    match value {
        Value::Number(number) if node.type_ == Some(Type::Number) => rules::CelValue::Float(number.as_f64().unwrap_or_default()),
        Value::Number(number) if node.type_ == Some(Type::Integer) && number.is_f64() => {
            rules::to_cel(&number.as_f64().map_or(Value::Null, |number| Value::from(number as i64)))
        }
        Value::String(text) if matches!(node.bounds.format.as_deref(), Some("date-time" | "date")) => rules::time(text),
        Value::String(text) if node.bounds.format.as_deref() == Some("duration") => {
            formats::nanoseconds(text).map_or_else(|| rules::to_cel(value), rules::duration)
        }
        Value::Array(items) => match node.items.as_deref() {
            Some(of) => rules::CelValue::from(items.iter().map(|item| convert(of, item)).collect::<Vec<_>>()),
            None => rules::to_cel(value),
        },
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                (name.clone(), node.field(name).map_or_else(|| rules::to_cel(value), |of| convert(of, value)))
            };
            rules::CelValue::from(fields.iter().map(field).collect::<HashMap<_, _>>())
        }
        other => rules::to_cel(other),
    }
}

fn check_rules(node: &Node, value: &Value, before: Option<&Value>, path: &mut String, rules: &mut Rules) {
    if value.is_null() {
        return;
    }
    rules::check(&node.rules, value, before, path, rules, |value| convert(node, value));
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let Some(of) = node.field(name) else { continue };
                let length = path.len();
                if matches!(node.additional, Additional::Of(_)) && !node.properties.contains_key(name) {
                    path.push_str(&format!("[{name}]"));
                } else {
                    path.push_str(if path.is_empty() { "" } else { "." });
                    path.push_str(name);
                }
                check_rules(of, value, before.and_then(|before| before.get(name)), path, rules);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            let Some(of) = node.items.as_deref() else { return };
            for (index, item) in items.iter().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{index}]"));
                check_rules(of, item, earlier(node, item, index, before), path, rules);
                path.truncate(length);
            }
        }
        _ => {}
    }
}
