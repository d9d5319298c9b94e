//! Which names a definition gets: those that no other kind of its group has already.

use serde_json::{Value, json};

use super::check::{has_condition, version_list};

/// What a definition's status is to be: who it conflicts with, whether it is in force.
///
/// `others` are the names that have been accepted for other kinds of the same group; `served` those of built-in ones.
pub fn accept(definition: &Value, others: &[Value], now: &str) -> Value {
    let (names, mut status) = (&definition["spec"]["names"], definition["status"].clone());
    let mut accepted = if status["acceptedNames"].is_object() { status["acceptedNames"].clone() } else { json!({}) };
    let mut conflict = None;
    for field in ["plural", "singular", "shortNames", "kind", "listKind"] {
        match taken(&names[field], field, others) {
            // The last that is found is told.
            Some(name) => conflict = Some((field, name)),
            None => accepted[field] = names[field].clone(),
        }
    }
    accepted["categories"] = names["categories"].clone();
    if let Some(fields) = accepted.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        fields.entry("plural").or_insert_with(|| json!(""));
        fields.entry("kind").or_insert_with(|| json!(""));
    }
    status["acceptedNames"] = accepted;
    let was_established = has_condition(definition, "Established");
    match &conflict {
        None => set(&mut status, now, "NamesAccepted", true, "NoConflicts", "no conflicts found"),
        Some((field, name)) => {
            let reason = match *field {
                "plural" => "PluralConflict",
                "singular" => "SingularConflict",
                "shortNames" => "ShortNamesConflict",
                "kind" => "KindConflict",
                _ => "ListKindConflict",
            };
            set(&mut status, now, "NamesAccepted", false, reason, &format!("{name:?} is already in use"));
        }
    }
    match (conflict.is_none(), was_established) {
        (_, true) => {}
        (true, false) => set(&mut status, now, "Established", true, "InitialNamesAccepted", "the initial names have been accepted"),
        (false, false) => set(&mut status, now, "Established", false, "NotAccepted", "not all names are accepted"),
    }
    status["storedVersions"] = stored_versions(definition);
    status
}

/// The versions that objects may be stored in: those of before, and the one that is the storage version.
pub fn stored_versions(definition: &Value) -> Value {
    let mut versions = definition["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    let storage = version_list(&definition["spec"]).iter().find(|version| version["storage"] == true);
    if let Some(name) = storage.map(|version| version["name"].clone()).filter(|name| !versions.contains(name)) {
        versions.push(name);
    }
    Value::Array(versions)
}

/// The status of a definition whose objects are about to go.
pub fn terminating(status: &Value, now: &str) -> Value {
    let mut status = status.clone();
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set(&mut status, now, "Terminating", true, "InstanceDeletionPending", message);
    status
}

/// The first name of a field that another kind has.
fn taken(wanted: &Value, field: &str, others: &[Value]) -> Option<String> {
    let wanted: Vec<&str> = match wanted {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let resources = ["plural", "singular"];
    let is_taken = |name: &str| {
        others.iter().any(|other| match field {
            "kind" | "listKind" => other["kind"] == name || other["listKind"] == name,
            _ => {
                resources.iter().any(|field| other[*field] == name)
                    || other["shortNames"].as_array().is_some_and(|names| names.iter().any(|short| short == name))
            }
        })
    };
    wanted.into_iter().find(|name| is_taken(name)).map(str::to_owned)
}

fn set(status: &mut Value, now: &str, type_: &str, holds: bool, reason: &str, message: &str) {
    let word = if holds { "True" } else { "False" };
    let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter_mut().find(|condition| condition["type"] == type_);
    let time = found.as_ref().filter(|condition| condition["status"] == word).map(|condition| condition["lastTransitionTime"].clone());
    let time = time.unwrap_or_else(|| json!(now));
    let condition = json!({"type": type_, "status": word, "lastTransitionTime": time, "reason": reason, "message": message});
    match found {
        Some(found) => *found = condition,
        None => conditions.push(condition),
    }
    status["conditions"] = Value::Array(conditions);
}
