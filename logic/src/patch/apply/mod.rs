//! Who owns which field of an object, and how somebody who owns some applies a new version of theirs.
//!
//! Each writer has an entry in `metadata.managedFields`. An update takes what it changes from whoever had it; an apply may not,
//! unless forced: it states all that its writer wants, and what the writer had and no longer states goes, unless another has
//! it too. What belongs to nobody (identity, times, versions) is in no set; status is owned apart from the rest.

mod changes;
mod check;
mod fields;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use super::shape::{Place, Shape};
pub use changes::Changes;
pub use check::check;
pub use fields::FieldSet;

/// Metadata that belongs to nobody.
const NOBODYS: [&str; 8] = ["name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"];
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// How a writer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// States what it wants.
    Apply,
    /// Changes what is there.
    Update,
}

/// A writer: two entries with the same words are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// The name it gave itself, or its program's.
    pub manager: String,
    /// How it writes.
    pub operation: Operation,
    /// The version of the object that it wrote.
    pub api_version: String,
    /// The subresource that it wrote through; empty for the object itself.
    pub subresource: String,
}

/// What one writer owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub writer: Writer,
    /// When it last changed the object, in RFC 3339.
    pub time: Option<String>,
    /// What.
    pub fields: FieldSet,
}

/// Which part of an object a request writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Everything,
    /// All but its status.
    ButStatus,
    /// Its status alone.
    Status,
}

/// A field that somebody else owns, and who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The owner.
    pub writer: Writer,
    /// The field's path.
    pub path: String,
}

/// A write, and who makes it.
#[derive(Debug, Clone)]
pub struct Write {
    /// Which part of the object it writes.
    pub part: Part,
    /// Who writes.
    pub writer: Writer,
    /// When, in RFC 3339.
    pub time: Option<String>,
    /// What even an empty object of the kind has, and so belongs to nobody; null for nothing.
    pub blank: Value,
}

/// What an apply comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The object, without its managedFields.
    pub object: Value,
    /// Who owns what from here on.
    pub entries: Vec<Entry>,
}

/// The entries of an object's `managedFields`; `None` when one of them cannot be read.
pub fn entries(managed: &Value) -> Option<Vec<Entry>> {
    managed.as_array().map_or(Some(Vec::new()), |list| list.iter().map(entry).collect())
}

fn entry(value: &Value) -> Option<Entry> {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let operation = match value["operation"].as_str()? {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    if value["fieldsType"] != "FieldsV1" {
        return None;
    }
    let writer = Writer { manager: text("manager"), operation, api_version: text("apiVersion"), subresource: text("subresource") };
    let time = value["time"].as_str().map(str::to_owned);
    Some(Entry { writer, time, fields: FieldSet::from_value(&value["fieldsV1"])? })
}

/// Entries as `managedFields`; null when there are none.
pub fn to_value(entries: &[Entry]) -> Value {
    let mut sorted: Vec<&Entry> = entries.iter().filter(|entry| !entry.fields.is_empty()).collect();
    sorted.sort_by(|a, b| (a.writer.operation, &a.time, &a.writer.manager).cmp(&(b.writer.operation, &b.time, &b.writer.manager)));
    if sorted.is_empty() { Value::Null } else { sorted.into_iter().map(entry_value).collect() }
}

fn entry_value(entry: &Entry) -> Value {
    let Writer { manager, operation, api_version, subresource } = &entry.writer;
    let operation = if *operation == Operation::Apply { "Apply" } else { "Update" };
    let mut value = json!({"manager": manager, "operation": operation, "apiVersion": api_version});
    if let Some(time) = &entry.time {
        value["time"] = json!(time);
    }
    value["fieldsType"] = json!("FieldsV1");
    value["fieldsV1"] = entry.fields.to_value();
    if !subresource.is_empty() {
        value["subresource"] = json!(subresource);
    }
    value
}

/// Who owns what of a new object: its creator, all of it.
pub fn created(shape: &Shape, object: &Value, write: &Write) -> Vec<Entry> {
    let fields = whole(shape.root(), object, write.part, &write.blank);
    vec![Entry { writer: write.writer.clone(), time: write.time.clone(), fields }]
}

/// Who owns what after an update: the writer has what it changed, nobody has what it removed.
pub fn updated(shape: &Shape, before: &Value, after: &Value, entries: Vec<Entry>, write: &Write) -> Vec<Entry> {
    let changes = Changes::between(shape.root(), &owned(before, write.part), &owned(after, write.part));
    let taken = changes.added.union(&changes.modified);
    let mut left = without(entries, &taken.union(&changes.removed));
    if !taken.is_empty() {
        match left.iter_mut().find(|entry| entry.writer == write.writer) {
            Some(entry) => {
                entry.fields = entry.fields.union(&taken);
                entry.time = write.time.clone();
            }
            None => left.push(Entry { writer: write.writer.clone(), time: write.time.clone(), fields: taken }),
        }
    }
    left
}

/// Applies what the writer wants to a live object, which is null when there is none. Errors: every field of another owner that
/// would change, unless `force` takes it.
pub fn apply(
    shape: &Shape,
    live: &Value,
    wanted: &Value,
    entries: Vec<Entry>,
    write: &Write,
    force: bool,
) -> Result<Applied, Vec<Conflict>> {
    let root = shape.root();
    let (was, wanted) = (owned(live, write.part), owned(wanted, write.part));
    let mut entries = if entries.is_empty() && !live.is_null() { before_first(root, live, write) } else { entries };
    let at = entries.iter().position(|entry| entry.writer == write.writer);
    let last = at.map(|at| entries.remove(at));
    let mut mine = FieldSet::applied(root, &wanted);
    if let Some(metadata) = mine.children.get_mut("f:metadata") {
        metadata.own = false;
    }
    mine.children.retain(|_, child| !child.is_empty());
    let merged = changes::merge(root, &was, &wanted);
    let mut result = match &last {
        // What is stated stays, be it an object that pruning emptied.
        Some(last) => changes::merge(root, &prune(root, &merged, &last.fields, &mine, &entries), &wanted),
        None => merged,
    };
    if result["metadata"].is_null() {
        result["metadata"] = json!({});
    }
    let changes = Changes::between(root, &was, &result);
    let taken = changes.added.union(&changes.modified);
    let conflicts = conflicts(&entries, &taken);
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    let is_same = taken.is_empty() && changes.removed.is_empty();
    let time = if is_same { last.and_then(|last| last.time) } else { write.time.clone() };
    let mut entries = without(entries, &taken.union(&changes.removed));
    entries.push(Entry { writer: write.writer.clone(), time, fields: mine });
    entries.retain(|entry| !entry.fields.is_empty());
    Ok(Applied { object: put_back(live, result, write.part), entries })
}

/// Lays what is wanted over an object, whoever owns what. Errors: fields that there are not, and what would replace more than it
/// names, in Kubernetes' words.
pub fn lay_over(shape: &Shape, object: &Value, wanted: &Value) -> Result<Value, String> {
    if let Some(problem) = check(shape.root(), wanted) {
        return Err(format!("failed to convert patch object to typed object: {problem}"));
    }
    let whole = check::in_one_piece(shape.root(), wanted);
    if !whole.is_empty() {
        return Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}", whole.join(", ")));
    }
    Ok(changes::merge(shape.root(), object, wanted))
}

fn before_first(root: Place<'_>, live: &Value, write: &Write) -> Vec<Entry> {
    let fields = whole(root, live, Part::Everything, &write.blank);
    let time = live["metadata"]["creationTimestamp"].as_str().map(str::to_owned);
    let manager = BEFORE_FIRST_APPLY.to_owned();
    let writer = Writer { manager, operation: Operation::Update, subresource: String::new(), ..write.writer.clone() };
    vec![Entry { writer, time, fields }]
}

/// Takes out of a merged object what its writer had and no longer states, and nobody else has.
fn prune(root: Place<'_>, merged: &Value, last: &FieldSet, mine: &FieldSet, others: &[Entry]) -> Value {
    let nothing = || Value::Object(Map::new());
    let pruned = changes::remove(root, merged, &last.with_named(root)).unwrap_or_else(nothing);
    let managed = others.iter().fold(mine.clone(), |all, entry| all.union(&entry.fields)).with_named(root);
    let everything = FieldSet::applied(root, merged).with_named(root);
    let kept = FieldSet::applied(root, &pruned).with_named(root).union(&managed);
    let owned = changes::remove(root, merged, &everything.difference(&kept)).unwrap_or_else(nothing);
    let kept = FieldSet::applied(root, &owned).with_named(root);
    let gone = everything.difference(&kept).intersection(&last.with_named(root));
    changes::remove(root, merged, &gone).unwrap_or_else(nothing)
}

fn conflicts(entries: &[Entry], taken: &FieldSet) -> Vec<Conflict> {
    let of = |entry: &Entry| -> Vec<Conflict> {
        let paths = entry.fields.intersection(taken).paths();
        paths.into_iter().map(|path| Conflict { writer: entry.writer.clone(), path }).collect()
    };
    entries.iter().flat_map(of).collect()
}

fn without(mut entries: Vec<Entry>, gone: &FieldSet) -> Vec<Entry> {
    for entry in &mut entries {
        entry.fields = entry.fields.difference(gone);
    }
    entries.retain(|entry| !entry.fields.is_empty());
    entries
}

/// All that may be owned of an object that was not there.
fn whole(root: Place<'_>, object: &Value, part: Part, blank: &Value) -> FieldSet {
    let changes = Changes::between(root, &owned(blank, part), &owned(object, part));
    changes.added.union(&changes.modified)
}

/// The part of an object that may be owned, with `metadata` there at all times.
fn owned(object: &Value, part: Part) -> Value {
    let mut owned = Map::new();
    owned.insert("metadata".into(), Value::Object(Map::new()));
    for (name, value) in object.as_object().into_iter().flatten().filter(|(name, _)| part.has(name)) {
        match value {
            Value::Object(fields) if name == "metadata" => {
                let fields = fields.iter().filter(|(name, value)| may_be_owned(name) && !value.is_null());
                owned.insert(name.clone(), fields.map(|(name, value)| (name.clone(), value.clone())).collect());
            }
            _ => drop(owned.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(owned)
}

fn may_be_owned(metadata: &str) -> bool {
    !NOBODYS.contains(&metadata)
}

impl Part {
    /// Whether a field of the object's root belongs to the part.
    fn has(self, name: &str) -> bool {
        match name {
            "apiVersion" | "kind" => false,
            "status" => self != Self::ButStatus,
            _ => self != Self::Status,
        }
    }
}

/// A live object with its ownable part exchanged.
fn put_back(live: &Value, part_of: Value, part: Part) -> Value {
    let mut object = Map::new();
    let live = live.as_object().cloned().unwrap_or_default();
    for (name, value) in live.iter().filter(|(name, _)| !part.has(name) || *name == "metadata") {
        object.insert(name.clone(), value.clone());
    }
    let Value::Object(fields) = part_of else { return Value::Object(object) };
    for (name, value) in fields {
        if name != "metadata" {
            object.insert(name, value);
        } else if part != Part::Status {
            let mut metadata: Map<String, Value> = live.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
            metadata.retain(|name, _| !may_be_owned(name) && name != "managedFields");
            metadata.extend(value.as_object().cloned().unwrap_or_default());
            object.insert(name, Value::Object(metadata));
        }
    }
    Value::Object(object)
}
