//! From what was sent to what may be stored: metadata, types, defaults, validation.

use jiff::Timestamp;
use logic::patch::tidy::tidy;
use logic::schema::Findings;
use model::{Kind, Problem, ProblemKind, check_label, check_subdomain};
use serde_json::{Value, json};

use crate::checks;
use crate::path::Place;
use crate::query::FieldValidation;
use crate::registry::Served;
use crate::status::{Result, Status};

/// Checks that an object is of the kind and in the namespace that the path names, and puts both in. Errors: 400.
pub fn place(kind: &Kind, place: &Place, object: &mut Value) -> Result<()> {
    let (api_version, name) = (kind.api_version(), &kind.kind);
    for (field, expected) in [("apiVersion", api_version.as_str()), ("kind", name.as_str())] {
        let found = object[field].as_str().unwrap_or_default();
        if found.is_empty() && !kind.group.is_empty() {
            let title = if field == "kind" { "Kind" } else { "apiVersion" };
            return Err(Status::bad_request(format!("Object '{title}' is missing in the body: expected {field}: {expected}")));
        }
        let (sent_version, sent_kind) = (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
        if found != expected && sent_version == api_version && kind.keeps_unknown {
            let why = format!("converting ({}.{sent_kind}) to (core.{name}): unknown conversion", kind.version);
            return Err(Status::bad_request(format!("{sent_kind} in version {sent_version:?} cannot be handled as a {name}: {why}")));
        }
        if !found.is_empty() && found != expected {
            return Err(Status::bad_request(format!(
                "{}{} in version {:?} cannot be handled as a {name}: expected apiVersion {api_version} and kind {name}",
                object["kind"].as_str().unwrap_or_default(),
                "",
                object["apiVersion"].as_str().unwrap_or_default(),
            )));
        }
    }
    if !object["metadata"].is_object() && !object["metadata"].is_null() {
        return Err(undecodable(kind, &Problem::new(ProblemKind::TypeInvalid, "metadata", "must be an object")));
    }
    match (&place.namespace, object["metadata"]["namespace"].as_str().filter(|found| !found.is_empty())) {
        (Some(expected), Some(found)) if expected != found => {
            Err(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"))
        }
        (Some(expected), _) => {
            object["metadata"]["namespace"] = json!(expected);
            Ok(())
        }
        (None, Some(_)) if kind.defined && !kind.is_namespaced() => {
            object["metadata"]["namespace"] = Value::Null;
            drop_nulls(&mut object["metadata"]);
            Ok(())
        }
        (None, Some(_)) if !kind.is_namespaced() => Err(Status::bad_request("namespace may not be set on a cluster-scoped object")),
        (None, _) => Ok(()),
    }
}

/// Checks types and unknown fields. Returns warnings for fields that are dropped.
/// Errors: 400 for core kinds and 422 for ours, naming each field.
pub fn shape(served: &Served, object: &mut Value, mode: FieldValidation) -> Result<Vec<String>> {
    shape_of(served, object, mode, &[])
}

/// As `shape`, for an object whose text had these fields twice.
pub fn shape_of(served: &Served, object: &mut Value, mode: FieldValidation, twice: &[String]) -> Result<Vec<String>> {
    let kind = &served.kind;
    let Findings { problems, unknown } = served.schema.check(object);
    if !kind.keeps_unknown && !kind.defined {
        let all: Vec<Problem> = problems.into_iter().chain(unknown).collect();
        return if all.is_empty() { Ok(Vec::new()) } else { Err(invalid(kind, object, &all)) };
    }
    // What is required of core kinds is for their own validation to say.
    let wrong: Vec<&Problem> = problems.iter().filter(|problem| problem.kind == ProblemKind::TypeInvalid).collect();
    if let Some(first) = wrong.first() {
        return Err(undecodable(kind, first));
    }
    let mut fields: Vec<String> = unknown.into_iter().map(|problem| problem.field).collect();
    served.schema.prune(object);
    fields.extend(served.custom.as_ref().map(|custom| custom.structural.prune(object)).unwrap_or_default());
    let twice = twice.iter().map(|field| format!("duplicate field {field:?}"));
    let texts: Vec<String> = twice.chain(fields.iter().map(|field| format!("unknown field {field:?}"))).collect();
    let told = told(served, object);
    match mode {
        FieldValidation::Strict if !texts.is_empty() => Err(Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
            kind.kind,
            kind.version,
            kind.kind,
            texts.join(", ")
        ))),
        FieldValidation::Warn => Ok([texts, told].concat()),
        FieldValidation::Strict | FieldValidation::Ignore => Ok(told),
    }
}

/// What whoever writes an object is told, whatever becomes of unknown fields.
fn told(served: &Served, object: &Value) -> Vec<String> {
    let Some(custom) = &served.custom else { return Vec::new() };
    let mut told = logic::metadata::finalizer_warnings(&object["metadata"]);
    told.extend(custom.warning.clone());
    told
}

fn undecodable(kind: &Kind, problem: &Problem) -> Status {
    let (name, version) = (&kind.kind, &kind.version);
    Status::bad_request(format!("{name} in version {version:?} cannot be handled as a {name}: {}: {}", problem.field, problem.detail))
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
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "managedFields"] {
        metadata[field] = Value::Null;
    }
    if kind.generation {
        metadata["generation"] = json!(1);
    }
    drop_nulls(metadata);
    if kind.status
        && let Some(fields) = object.as_object_mut()
    {
        fields.shift_remove("status");
    }
    finish(served, None, object, false)
}

/// Prepares a changed object: what the server owns is put back, the generation counts. Errors: 409, 422.
pub fn changed_object(served: &Served, before: &Value, object: &mut Value, only_status: bool) -> Result<()> {
    let kind = &served.kind;
    if only_status {
        let (status, cause) = (object["status"].take(), object["metadata"]["annotations"][model::labels::CAUSE].take());
        *object = before.clone();
        object["status"] = status;
        if cause.is_string() {
            object["metadata"]["annotations"][model::labels::CAUSE] = cause;
        }
        drop_nulls(object);
        return finish(served, Some(before), object, true);
    }
    let (old, name) = (&before["metadata"], before["metadata"]["name"].as_str().unwrap_or_default());
    if object["metadata"]["uid"].as_str().is_some_and(|uid| !uid.is_empty() && old["uid"] != uid) {
        let (asked, found) = (&object["metadata"]["uid"], &old["uid"]);
        let why = format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {found}");
        return Err(Status::conflict_because(kind, name, &why.replace('"', "")));
    }
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
    finish(served, Some(before), object, false)?;
    if kind.generation && !same_spec(kind, before, object) {
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

fn finish(served: &Served, before: Option<&Value>, object: &mut Value, only_status: bool) -> Result<()> {
    let kind = &served.kind;
    fill_in(served, object);
    match served.message {
        Some(message) => tidy(message, object),
        None => tidy("meta.ObjectMeta", &mut object["metadata"]),
    }
    let mut problems = name_problems(kind, &object["metadata"]);
    let foreign = kind.defined || model::custom_resource_definition::is_definition(kind);
    problems.extend(logic::metadata::problems(&object["metadata"], !foreign));
    if before.is_none() {
        problems.extend((kind.validate_new)(object));
    }
    problems.extend((kind.validate)(object));
    problems.extend(checks::problems(kind, object));
    if let Some(before) = before.filter(|_| !only_status) {
        problems.extend((kind.validate_change)(before, object));
        problems.extend(checks::change_problems(kind, before, object));
    }
    if let Some(custom) = &served.custom {
        problems.extend(custom.scale.iter().flat_map(|scale| scale.problems(object)));
        problems.extend(custom.structural.problems(object, before));
    }
    if problems.is_empty() { Ok(()) } else { Err(invalid(kind, object, &problems)) }
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

/// Takes away the nulls that indexing leaves and that people send for "not set".
pub fn drop_nulls(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}
