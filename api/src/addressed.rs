//! Whether what was sent is what the path names: by kind, name, namespace, uid and version. Every verb and every subresource
//! asks here, so that nothing is changed or deleted by a body that was meant for something else.

use logic::patch::core_types;
use logic::patch::reading::{self, Reading, json_type};
use model::Kind;
use serde_json::{Value, json};

use crate::path::Place;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{body, query};

/// The places in Kubernetes' code that know the types of objects, and of options.
const OBJECT_SCHEME: &str = "pkg/api/legacyscheme/scheme.go:30";
const OPTIONS_SCHEME: &str = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27";

fn not_registered(kind: &str, api_version: &str, scheme: &str) -> String {
    format!("no kind {kind:?} is registered for version {api_version:?} in scheme {scheme:?}")
}

/// What a body must be that is no object of the path's kind.
pub struct Meant {
    kind: &'static str,
    /// The apiVersions in which it is read; what names none is taken to be in the first.
    api_versions: &'static [&'static str],
    /// Its type in the table of Kubernetes' types.
    message: &'static str,
    /// The group to which errors say that it belongs.
    group: &'static str,
}

/// The options of a deletion, also in the version of the kind that is deleted.
const DELETE_OPTIONS: Meant =
    Meant { kind: "DeleteOptions", api_versions: &["v1", "meta.k8s.io/v1"], message: "meta.DeleteOptions", group: "core" };
/// What `/scale` takes.
pub const SCALE: Meant = Meant { kind: "Scale", api_versions: &["autoscaling/v1"], message: "autoscaling.Scale", group: "autoscaling" };
/// What `/eviction` takes.
pub const EVICTION: Meant =
    Meant { kind: "Eviction", api_versions: &["policy/v1", "policy/v1beta1"], message: "policy.Eviction", group: "policy" };
/// What `/binding` takes.
pub const BINDING: Meant = Meant { kind: "Binding", api_versions: &["v1"], message: "core.Binding", group: "core" };
/// What `/token` takes.
pub const TOKEN_REQUEST: Meant = Meant {
    kind: "TokenRequest",
    api_versions: &["authentication.k8s.io/v1"],
    message: "authentication.TokenRequest",
    group: "authentication",
};

impl Meant {
    /// The body of a call; one that is empty has no fields. Errors: 400 for what cannot be read or is something else, 415.
    pub fn read(&self, call: &Call) -> Result<Value> {
        let sent = body::typed(self.kind, &call.headers, &call.body)?;
        self.check(&sent, None)?;
        Ok(sent)
    }

    /// Errors: 400 for another kind, and for a value of a wrong type.
    pub fn check(&self, sent: &Value, also: Option<&str>) -> Result<()> {
        let text = |field: &str| sent[field].as_str().unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let is_version = api_version.is_empty() || self.api_versions.contains(&api_version) || also == Some(api_version);
        let is_kind = kind.is_empty() || kind == self.kind;
        if !(is_version && is_kind) {
            let first = self.api_versions.first().copied().unwrap_or_default();
            return Err(of_other_kind(or(api_version, first), or(kind, self.kind), self.kind, self.group));
        }
        let Some(why) = reading::problem(Reading::Decoded, self.message, sent) else { return Ok(()) };
        let version = self.api_versions.first().and_then(|first| first.rsplit('/').next()).unwrap_or_default();
        Err(Status::bad_request(format!("{0} in version {version:?} cannot be handled as a {0}: {why}", self.kind)))
    }
}

/// The options of a deletion; null when the body is empty. Errors: 400 for what cannot be read or is something else, 415.
pub fn delete_options(call: &Call) -> Result<Value> {
    let sent = body::options(&call.headers, &call.body)?;
    let text = |field: &str| sent[field].as_str().unwrap_or_default();
    let kind = or(text("kind"), DELETE_OPTIONS.kind);
    if kind != DELETE_OPTIONS.kind {
        let version = or(text("apiVersion"), "meta.k8s.io/v1");
        return Err(Status::bad_request(not_registered(kind, version, OPTIONS_SCHEME)));
    }
    DELETE_OPTIONS.check(&sent, Some(&call.kind().api_version()))?;
    Ok(sent)
}

/// The Scale that replaces one. Errors: as for `read`; of a defined kind, what is sent is not named.
pub fn scale(call: &Call) -> Result<Value> {
    let sent = body::typed(SCALE.kind, &call.headers, &call.body)?;
    let text = |field: &str| sent[field].as_str().unwrap_or_default();
    let is_scale = or(text("kind"), SCALE.kind) == SCALE.kind && SCALE.api_versions.contains(&or(text("apiVersion"), "autoscaling/v1"));
    if call.kind().defined && !is_scale {
        let scheme = "k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go:781";
        return Err(Status::bad_request(format!("no kind is registered for the type v1.Scale in scheme {scheme:?}")));
    }
    SCALE.check(&sent, None)?;
    Ok(sent)
}

fn or<'a>(sent: &'a str, own: &'a str) -> &'a str {
    if sent.is_empty() { own } else { sent }
}

/// 400: an object of one kind stands where one of another is wanted.
fn of_other_kind(api_version: &str, kind: &str, wanted: &str, wanted_group: &str) -> Status {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let why = if core_types::message_of(group, kind).is_some() && version == "v1" {
        format!("converting (v1.{kind}) to ({wanted_group}.{wanted}): unknown conversion")
    } else {
        not_registered(kind, api_version, OBJECT_SCHEME)
    };
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {wanted}: {why}"))
}

/// Checks that an object says it is of the path's kind; one of Kubernetes' own may leave that out. Errors: 400, 422.
pub fn check_kind(kind: &Kind, object: &Value) -> Result<()> {
    let (own_version, name) = (kind.api_version(), kind.kind.as_str());
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (sent_version, sent_kind) = (text("apiVersion"), text("kind"));
    if core_types::message_of(&kind.group, name).is_none() || kind.defined {
        if sent_version != own_version {
            let why = format!("the API version in the data ({sent_version}) does not match the expected API version ({own_version})");
            return Err(Status::bad_request(why));
        }
        if sent_kind != name {
            let problem = model::Problem::invalid("kind", format!("{sent_kind:?}: must be {name}"));
            let named = object["metadata"]["name"].as_str().unwrap_or_default();
            return Err(Status::invalid(kind.kept_group(), sent_kind, named, &[problem]));
        }
        return Ok(());
    }
    let (sent_version, sent_kind) = (or(sent_version, &own_version), or(sent_kind, name));
    if sent_version == own_version && sent_kind == name {
        return Ok(());
    }
    let group = kind.group.split('.').next().unwrap_or_default();
    Err(of_other_kind(sent_version, sent_kind, name, or(group, "core")))
}

/// Checks that the metadata of an object is some. Errors: 400.
pub fn check_metadata(kind: &Kind, object: &Value) -> Result<()> {
    if object["metadata"].is_object() || object["metadata"].is_null() {
        return Ok(());
    }
    let why = format!("{} into Go struct field {}.metadata of type v1.ObjectMeta", json_type(&object["metadata"]), kind.kind);
    Err(crate::admit::undecodable(kind, &format!("json: cannot unmarshal {why}")))
}

/// Checks that an object is in the namespace of the path. Errors: 400.
pub fn check_namespace(place: &Place, object: &Value) -> Result<()> {
    let found = object["metadata"]["namespace"].as_str().filter(|found| !found.is_empty());
    match (&place.namespace, found) {
        (Some(expected), Some(found)) if expected != found => {
            Err(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"))
        }
        _ => Ok(()),
    }
}

/// Checks that an object has the name of the path. Errors: 400.
pub fn check_name(call: &Call, object: &Value) -> Result<()> {
    let (asked, found) = (call.name()?, object["metadata"]["name"].as_str().unwrap_or_default());
    if found.is_empty() {
        let why = format!("the name of the object ({asked} based on URL) was undeterminable: name must be provided");
        return Err(Status::bad_request(why));
    }
    if found == asked {
        return Ok(());
    }
    Err(Status::bad_request(format!("the name of the object ({found}) does not match the name on the URL ({asked})")))
}

/// Checks that an object is the one that is there, where it says which. Errors: 409.
pub fn check_uid(kind: &Kind, there: &Value, sent: &Value) -> Result<()> {
    let (old, asked) = (&there["metadata"], &sent["metadata"]["uid"]);
    if asked.as_str().is_some_and(|uid| !uid.is_empty() && old["uid"] != uid) {
        return Err(other_uid(kind, old, asked));
    }
    Ok(())
}

/// 409: what is to be replaced is another object of the same name.
fn other_uid(kind: &Kind, metadata: &Value, asked: &Value) -> Status {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_ours = core_types::message_of(&kind.group, &kind.kind).is_some() && !kind.defined;
    let group = if is_ours { String::new() } else { format!("{}/", kind.group) };
    let namespace = metadata["namespace"].as_str().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let key = format!("/registry/{group}{}/{namespace}{}", kind.plural, text(&metadata["name"]));
    let why = format!("Precondition failed: UID in precondition: {}, UID in object meta: {}", text(asked), text(&metadata["uid"]));
    let why = format!("StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: {why}");
    Status::conflict_because(kind, &text(&metadata["name"]), &why)
}

/// The version that an object asks for; none for any. Errors: 500 for one that is no number, as Kubernetes answers it.
pub fn version(object: &Value) -> Result<Option<u64>> {
    match object["metadata"]["resourceVersion"].as_str() {
        None | Some("" | "0") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| Status::unexplained(query::not_a_number("ParseUint", text))),
    }
}

/// Puts the namespace of the path into an object. Errors: 400 for one that is of another kind or in another namespace.
pub fn place(kind: &Kind, place: &Place, object: &mut Value) -> Result<()> {
    check_kind(kind, object)?;
    check_metadata(kind, object)?;
    check_namespace(place, object)?;
    let is_named = object["metadata"]["namespace"].as_str().is_some_and(|found| !found.is_empty());
    match &place.namespace {
        Some(expected) => object["metadata"]["namespace"] = json!(expected),
        None if is_named && kind.defined && !kind.is_namespaced() => {
            object["metadata"]["namespace"] = Value::Null;
            model::drop_nulls(&mut object["metadata"]);
        }
        None if is_named && !kind.is_namespaced() => {
            return Err(Status::bad_request("namespace may not be set on a cluster-scoped object"));
        }
        None => {}
    }
    Ok(())
}
