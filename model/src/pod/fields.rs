//! Which fields of a pod do something, field by field and runtime by runtime.
//!
//! The rows are the one place where this is said. Admission refuses and warns by them, agents publish what their runtimes can do
//! on the Node by them, placement reads that, and `docs/pods.md` is made from them. A field of Kubernetes' that has no row fails
//! a test, so that none is taken and ignored because it was forgotten.

mod container_rows;
#[cfg(test)]
mod page;
mod pod_rows;
mod volume_rows;

use std::collections::BTreeSet;

use serde_json::Value;

use super::contradictions::contradictions;
use crate::{Problem, ProblemKind};

/// What a runtime makes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does what Kubernetes says.
    Honoured,
    /// It is taken, and whoever writes it is told that it does nothing here.
    Warned(&'static str),
    /// It is refused, with the reason.
    Refused(&'static str),
    /// It says more about another field of the same object, and goes with that.
    With(&'static str),
}

/// Which values of a field ask for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// All but `false` and what is empty.
    Filled,
    /// All, also an empty object: that it is there says something.
    Present,
    /// All but these, which are what happens anyway.
    Unless(&'static [&'static str]),
}

/// One field of one type, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The type, as Kubernetes names it: `Container`. Lower-case names are maps whose keys are rows.
    pub of: &'static str,
    /// The field; `*` stands for every other key of a map.
    pub field: &'static str,
    /// For the runtime `docker`, and for `podman`.
    pub docker: Verdict,
    /// For the runtime `process`.
    pub process: Verdict,
    /// The type of its value where that has rows of its own.
    into: Option<&'static str>,
    asks: Asks,
}

const fn row(of: &'static str, field: &'static str, docker: Verdict, process: Verdict) -> Row {
    Row { of, field, docker, process, into: None, asks: Asks::Filled }
}

/// A field that every runtime treats alike.
const fn all(of: &'static str, field: &'static str, verdict: Verdict) -> Row {
    row(of, field, verdict, verdict)
}

/// A field that holds others, which have rows of their own.
const fn holds(of: &'static str, field: &'static str, into: &'static str) -> Row {
    Row { into: Some(into), ..row(of, field, Verdict::Honoured, Verdict::Honoured) }
}

impl Row {
    const fn unless(self, harmless: &'static [&'static str]) -> Self {
        Self { asks: Asks::Unless(harmless), ..self }
    }

    const fn into(self, into: &'static str) -> Self {
        Self { into: Some(into), ..self }
    }

    const fn present(self) -> Self {
        Self { asks: Asks::Present, ..self }
    }

    /// How it is called in lists of capabilities: `Container.tty`.
    fn key(&self) -> String {
        format!("{}.{}", self.of, self.field)
    }

    fn asks(&self, value: &Value) -> bool {
        match (self.asks, value) {
            (_, Value::Null) => false,
            (Asks::Unless(harmless), Value::String(text)) => !text.is_empty() && !harmless.contains(&text.as_str()),
            (Asks::Unless(harmless), other) => !harmless.contains(&other.to_string().as_str()),
            (Asks::Present, _) => true,
            (Asks::Filled, Value::Bool(value)) => *value,
            (Asks::Filled, Value::String(text)) => !text.is_empty(),
            (Asks::Filled, Value::Array(items)) => !items.is_empty(),
            (Asks::Filled, Value::Object(fields)) => !fields.is_empty(),
            (Asks::Filled, Value::Number(_)) => true,
        }
    }
}

/// Every row, a type's together.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    pod_rows::ROWS.iter().chain(container_rows::ROWS).chain(volume_rows::ROWS)
}

fn find(of: &str, field: &str) -> Option<&'static Row> {
    rows().find(|row| row.of == of && row.field == field).or_else(|| rows().find(|row| row.of == of && row.field == "*"))
}

/// What `runtimeClassName` may say.
pub const CLASSES: [&str; 3] = ["docker", "podman", "process"];

/// The runtimes whose verdicts the rows have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Images, run by an engine.
    Docker,
    /// Programs of the machine.
    Process,
}

impl Class {
    /// The runtime that a pod goes to; `None` for one of a name that is not ours, which only its node knows.
    pub fn of(spec: &Value) -> Option<Self> {
        match spec["runtimeClassName"].as_str() {
            Some("docker" | "podman") => Some(Self::Docker),
            Some("process") => Some(Self::Process),
            Some(_) => None,
            None if is_of_images(spec) => Some(Self::Docker),
            None => Some(Self::Process),
        }
    }

    fn verdict(self, row: &Row) -> Verdict {
        match self {
            Self::Docker => row.docker,
            Self::Process => row.process,
        }
    }

    /// Its name, as pods name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Process => "process",
        }
    }
}

/// Whether every container of a pod has an image.
fn is_of_images(spec: &Value) -> bool {
    let mut containers = ["initContainers", "containers"].iter().flat_map(|list| spec[list].as_array().into_iter().flatten());
    containers.all(|container| container["image"].as_str().is_some_and(|image| !image.is_empty()))
}

/// What a runtime can do, as it is published on its Node: the fields that it does not refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capabilities {
    /// Whatever is asked.
    All,
    /// These fields, by the names of their rows.
    Fields(BTreeSet<String>),
}

impl Capabilities {
    /// What a runtime of ours can do.
    pub fn of(class: Class) -> Self {
        let able = rows().filter(|row| !matches!(class.verdict(row), Verdict::Refused(_)));
        Self::Fields(able.map(Row::key).collect())
    }

    /// Reads what [`Capabilities::to_annotation`] wrote.
    pub fn from_annotation(text: &str) -> Self {
        if text == "*" {
            return Self::All;
        }
        let types = text.split(';').filter_map(|of| of.split_once(':'));
        Self::Fields(types.flat_map(|(of, fields)| fields.split(',').map(move |field| format!("{of}.{field}"))).collect())
    }

    /// As an annotation has it: `*`, or types with their fields, `Container:args,command;EnvVar:name,value`.
    pub fn to_annotation(&self) -> String {
        let Self::Fields(fields) = self else { return "*".into() };
        let mut text = String::new();
        let mut last = "";
        for (of, field) in fields.iter().filter_map(|key| key.split_once('.')) {
            match of == last {
                true => text.push(','),
                false => text.push_str(&format!("{}{of}:", if last.is_empty() { "" } else { ";" })),
            }
            text.push_str(field);
            last = of;
        }
        text
    }

    /// The first field of a pod's spec that asks for what is not among these.
    pub fn lacking(&self, spec: &Value) -> Option<String> {
        let Self::Fields(able) = self else { return None };
        let mut lacking = None;
        asked(spec, "spec", &mut |row, path, _| {
            if !able.contains(&row.key()) && lacking.is_none() {
                lacking = Some(path.to_owned());
            }
        });
        lacking
    }
}

/// The fields of a spec that its runtime refuses, and those that contradict others; `field` is where the spec stands.
pub fn refusals(spec: &Value, field: &str) -> Vec<Problem> {
    let mut found = contradictions(spec, field);
    let Some(class) = Class::of(spec) else { return found };
    asked(spec, field, &mut |row, path, _| {
        if let Verdict::Refused(why) = class.verdict(row) {
            let detail = format!("the runtime {} cannot do this: {why}", class.name());
            found.push(Problem::new(ProblemKind::Forbidden, path, detail));
        }
    });
    found
}

/// The refusals of a spec that was changed: those that were there before are kept, as what they are about is.
pub fn refusals_of_change(before: &Value, after: &Value, field: &str) -> Vec<Problem> {
    let known = refusals(before, field);
    refusals(after, field).into_iter().filter(|problem| !known.contains(problem)).collect()
}

/// What the writer of a spec is warned of: fields that do nothing with its runtime.
pub fn warnings(spec: &Value, field: &str) -> Vec<String> {
    let Some(class) = Class::of(spec) else { return Vec::new() };
    let mut found = Vec::new();
    asked(spec, field, &mut |row, path, _| {
        if let Verdict::Warned(why) = class.verdict(row) {
            found.push(format!("{path}: has no effect with the runtime {}: {why}", class.name()));
        }
    });
    found
}

type Visit<'a> = &'a mut dyn FnMut(&'static Row, &str, &Value);

/// Visits every field of a spec that asks for something.
fn asked(spec: &Value, field: &str, visit: Visit<'_>) {
    let lists = ["initContainers", "containers", "ephemeralContainers"].iter();
    let containers = lists.flat_map(|list| spec[list].as_array().into_iter().flatten());
    let mounts = containers.flat_map(|container| container["volumeMounts"].as_array().into_iter().flatten());
    let mounted: BTreeSet<&str> = mounts.filter_map(|mount| mount["name"].as_str()).collect();
    walk("PodSpec", spec, field, &mounted, visit);
}

fn walk(of: &'static str, object: &Value, path: &str, mounted: &BTreeSet<&str>, visit: Visit<'_>) {
    // A volume that nobody mounts does nothing anywhere.
    if of == "Volume" && !object["name"].as_str().is_some_and(|name| mounted.contains(name)) {
        return;
    }
    for (name, value) in object.as_object().into_iter().flatten() {
        let Some(row) = find(of, name) else { continue };
        let is_key = row.of.starts_with(char::is_lowercase);
        let path = if is_key { format!("{path}[{name}]") } else { format!("{path}.{name}") };
        if row.asks(value) {
            visit(row, &path, value);
        }
        let Some(into) = row.into else { continue };
        match value {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    walk(into, item, &format!("{path}[{at}]"), mounted, visit);
                }
            }
            value => walk(into, value, &path, mounted, visit),
        }
    }
}

#[cfg(test)]
mod tests;
