//! From what was sent to what may be stored: metadata, types, defaults, validation.

use jiff::Timestamp;
use logic::patch::reading::{self, Reading};
use logic::patch::tidy::{tidy, without_always_there};
use logic::schema::Findings;
use model::{Kind, Problem, ProblemKind, check_label, check_subdomain, drop_nulls};
use serde_json::{Value, json};

use crate::body::Twice;
use crate::query::FieldValidation;
use crate::registry::Served;
use crate::status::{Result, Status};
use crate::{addressed, checks};

/// Checks types and unknown fields. Returns warnings for fields that are dropped.
/// Errors: 400 for core kinds and 422 for ours, naming each field.
pub fn shape(served: &Served, object: &mut Value, mode: FieldValidation) -> Result<Vec<String>> {
    shape_of(served, object, mode, &Twice::default())
}

/// As `shape`, for an object whose text had these fields twice.
pub fn shape_of(served: &Served, object: &mut Value, mode: FieldValidation, twice: &Twice) -> Result<Vec<String>> {
    let kind = &served.kind;
    if let Some(why) = served.message.and_then(|message| reading::problem(Reading::Decoded, message, object)) {
        return Err(undecodable(kind, &why));
    }
    let Findings { problems, unknown } = served.schema.check(object);
    if !kind.keeps_unknown && !kind.defined {
        let all: Vec<Problem> = problems.into_iter().chain(unknown).collect();
        if !all.is_empty() {
            return Err(invalid(kind, object, &all));
        }
        let told = told(served, object);
        return match (mode, twice.refusals().as_slice()) {
            (FieldValidation::Strict, [_, ..]) => {
                Err(undecodable(kind, &format!("strict decoding error: {}", twice.refusals().join(", "))))
            }
            (FieldValidation::Warn, _) => Ok([twice.warnings(), told].concat()),
            _ => Ok(told),
        };
    }
    // What is required of core kinds is for their own validation to say.
    let wrong: Vec<&Problem> = problems.iter().filter(|problem| problem.kind == ProblemKind::TypeInvalid).collect();
    if let Some(first) = wrong.first() {
        return Err(undecodable(kind, &format!("{}: {}", first.field, first.detail)));
    }
    let mut fields: Vec<String> = unknown.into_iter().map(|problem| problem.field).collect();
    served.schema.prune(object);
    fields.extend(served.custom.as_ref().map(|custom| custom.structural.prune(object)).unwrap_or_default());
    let unknown: Vec<String> = fields.iter().map(|field| format!("unknown field {field:?}")).collect();
    let refusals = [twice.refusals(), unknown.clone()].concat();
    let told = told(served, object);
    match mode {
        FieldValidation::Strict if !refusals.is_empty() => {
            Err(undecodable(kind, &format!("strict decoding error: {}", refusals.join(", "))))
        }
        FieldValidation::Warn => Ok([twice.warnings(), unknown, told].concat()),
        FieldValidation::Strict | FieldValidation::Ignore => Ok(told),
    }
}

/// What whoever writes an object is told, whatever becomes of unknown fields.
fn told(served: &Served, object: &Value) -> Vec<String> {
    if served.custom.is_none() {
        return (served.kind.warnings)(object);
    }
    logic::metadata::finalizer_warnings(&object["metadata"])
}

/// 400: what was sent cannot be read as an object of the kind.
pub fn undecodable(kind: &Kind, why: &str) -> Status {
    let (name, version) = (&kind.kind, &kind.version);
    Status::bad_request(format!("{name} in version {version:?} cannot be handled as a {name}: {why}"))
}

/// Metadata that the server alone writes, beside what it gives a new object.
const NOT_SENT: [&str; 5] = ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "managedFields"];

/// What the writer of a new object means by what it sent: with what is filled in, without what the server adds of its own.
pub fn meant(served: &Served, object: &Value) -> Value {
    let mut meant = object.clone();
    take_out(&mut meant["metadata"], &NOT_SENT);
    without_status(served, &mut meant);
    fill_in(served, &mut meant);
    tidy_object(served, &mut meant);
    if let Some(message) = served.message {
        without_always_there(message, &mut meant);
    }
    meant
}

fn take_out(metadata: &mut Value, fields: &[&str]) {
    if let Some(there) = metadata.as_object_mut() {
        there.retain(|name, value| !value.is_null() && !fields.contains(&name.as_str()));
    }
}

/// Takes out the status, where that is a resource of its own.
fn without_status(served: &Served, object: &mut Value) {
    if let Some(fields) = object.as_object_mut().filter(|_| served.kind.status) {
        fields.shift_remove("status");
    }
}

/// Prepares a new object: name, identity, defaults. Errors: 422, and 500 for a resourceVersion, as Kubernetes answers it.
pub fn new_object(served: &Served, object: &mut Value, now: Timestamp, uid: &str, suffix: &str) -> Result<()> {
    let kind = &served.kind;
    if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty() && version != "0") {
        return Err(Status::unexplained("resourceVersion should not be set on objects to be created"));
    }
    let metadata = &mut object["metadata"];
    let prefix = metadata["generateName"].as_str().unwrap_or_default().to_owned();
    if metadata["name"].as_str().is_none_or(str::is_empty) && !prefix.is_empty() {
        metadata["name"] = json!(format!("{}{suffix}", prefix.chars().take(58).collect::<String>()));
    }
    metadata["uid"] = json!(uid);
    metadata["creationTimestamp"] = json!(timestamp(now));
    if kind.generation {
        metadata["generation"] = json!(1);
    }
    take_out(metadata, &NOT_SENT);
    without_status(served, object);
    finish(served, None, object, Part::Main)
}

/// What of an object a change may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but its status, where that is a resource of its own.
    Main,
    /// Its status.
    Status,
    /// The node that a Pod goes to: no change of the spec that people would make.
    Binding,
}

/// Prepares a changed object: what the server owns is put back, the generation counts. Errors: 409, 422.
pub fn changed_object(served: &Served, before: &Value, object: &mut Value, part: Part) -> Result<()> {
    let kind = &served.kind;
    addressed::check_uid(kind, before, object)?;
    if part == Part::Status {
        let (status, sent) = (object["status"].take(), object["metadata"].take());
        *object = before.clone();
        object["status"] = status;
        if served.message.is_some() {
            // Of Kubernetes' own kinds, what people note on an object may come with its status.
            for field in ["labels", "annotations", "finalizers"] {
                object["metadata"][field] = sent[field].clone();
            }
        } else if sent["annotations"][model::labels::CAUSE].is_string() {
            object["metadata"]["annotations"][model::labels::CAUSE] = sent["annotations"][model::labels::CAUSE].clone();
        }
        drop_nulls(&mut object["metadata"]);
        drop_nulls(object);
        return finish(served, Some(before), object, part);
    }
    let old = &before["metadata"];
    if let Some(fields) = object.as_object_mut().filter(|_| kind.status) {
        match before.get("status") {
            Some(status) => fields.insert("status".into(), status.clone()),
            None => fields.shift_remove("status"),
        };
    }
    let owned = ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "generateName", "selfLink"];
    for field in owned {
        object["metadata"][field] = old[field].clone();
    }
    object["metadata"]["managedFields"] = Value::Null;
    drop_nulls(&mut object["metadata"]);
    new_finalizers(before, object).map_or(Ok(()), |problem| Err(invalid(kind, object, &[problem.clone(), problem])))?;
    finish(served, Some(before), object, part)?;
    if kind.generation && part == Part::Main && !same_spec(kind, before, object) {
        object["metadata"]["generation"] = json!(old["generation"].as_i64().unwrap_or(0) + 1);
    }
    Ok(())
}

/// Fills in what was left out.
pub fn fill_in(served: &Served, object: &mut Value) {
    if !object.is_object() {
        return;
    }
    served.schema.fill_defaults(object);
    (served.kind.default)(object);
    checks::fill_in(&served.kind, object);
    if let Some(custom) = &served.custom {
        custom.structural.fill_defaults(object);
    }
}

/// Fills in and checks an object. Errors: 422.
fn finish(served: &Served, before: Option<&Value>, object: &mut Value, part: Part) -> Result<()> {
    let kind = &served.kind;
    fill_in(served, object);
    (kind.complete)(object);
    tidy_object(served, object);
    let mut problems = name_problems(kind, &object["metadata"]);
    let foreign = kind.defined || model::custom_resource_definition::is_definition(kind);
    problems.extend(logic::metadata::problems(&object["metadata"], !foreign));
    if before.is_none() {
        problems.extend((kind.validate_new)(object));
    }
    problems.extend((kind.validate)(object));
    problems.extend(checks::problems(kind, object, before.is_none()));
    if let Some(before) = before.filter(|_| part == Part::Main) {
        problems.extend((kind.validate_change)(before, object));
        problems.extend(checks::change_problems(kind, before, object));
    }
    if let Some(custom) = &served.custom {
        problems.extend(custom.scale.iter().flat_map(|scale| scale.problems(object)));
        problems.extend(match before.filter(|_| part == Part::Status) {
            Some(before) => custom.structural.status_problems(object, before),
            None => custom.structural.problems(object, before),
        });
    }
    if problems.is_empty() { Ok(()) } else { Err(invalid(kind, object, &problems)) }
}

/// Takes out what an object's JSON does not carry.
pub fn tidy_object(served: &Served, object: &mut Value) {
    match served.message {
        Some(message) => tidy(message, object),
        None => tidy("meta.ObjectMeta", &mut object["metadata"]),
    }
}

fn name_problems(kind: &Kind, metadata: &Value) -> Vec<Problem> {
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        return vec![Problem::required("metadata.name", "name or generateName is required")];
    }
    if kind.group == model::rbac::GROUP {
        return model::check_path_segment(name)
            .into_iter()
            .map(|text| Problem::invalid("metadata.name", format!("{name:?}: {text}")))
            .collect();
    }
    let is_label = !kind.group.is_empty() && kind.kind == "Service" || kind.kind == "Namespace";
    let texts = if is_label { check_label(name) } else { check_subdomain(name) };
    texts.into_iter().map(|text| Problem::invalid("metadata.name", format!("{name:?}: {text}"))).collect()
}

fn new_finalizers(before: &Value, object: &Value) -> Option<Problem> {
    let old = before["metadata"]["finalizers"].as_array().map_or(&[][..], Vec::as_slice);
    let finalizers = object["metadata"]["finalizers"].as_array()?;
    let added: Vec<String> = finalizers.iter().filter(|finalizer| !old.contains(finalizer)).map(ToString::to_string).collect();
    if added.is_empty() || !before["metadata"]["deletionTimestamp"].is_string() {
        return None;
    }
    let rule = "no new finalizers can be added if the object is being deleted, found new finalizers";
    let detail = format!("{rule} []string{{{}}}", added.join(", "));
    Some(Problem::new(ProblemKind::Forbidden, "metadata.finalizers", detail))
}

fn same_spec(kind: &Kind, before: &Value, after: &Value) -> bool {
    let rest = |object: &Value| {
        let fields = object.as_object().into_iter().flatten();
        fields
            .filter(|(name, _)| *name != "metadata" && (*name != "status" || !kind.status))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
    };
    rest(before) == rest(after)
}

/// 422 for an object.
pub fn invalid(kind: &Kind, object: &Value, problems: &[Problem]) -> Status {
    Status::invalid(kind.kept_group(), &kind.kind, object["metadata"]["name"].as_str().unwrap_or_default(), problems)
}

/// A time as objects carry it: RFC 3339, whole seconds, UTC.
pub fn timestamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
