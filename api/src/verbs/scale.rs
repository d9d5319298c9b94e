//! `…/scale`: how many copies, whatever else the object says.

use axum::response::Response;
use http::{Method, StatusCode};
use logic::definition::scale::ScalePaths;
use model::{Copies, Problem, Scale};
use serde_json::{Value, json};

use super::patch::{APPLY, Patch};
use super::update::change;
use crate::admit::Part;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{addressed, answer, body};

/// Reads, replaces or patches a scale. Errors: 404, 409, 422 for an object that has no single scale.
pub async fn scale(call: &Call, method: &Method) -> Result<Response> {
    let accepted = call.accepted()?;
    let (kind, name) = (call.kind(), call.name()?);
    let scale = Scaling::of(call)?;
    let entry = call.server.store.get(&call.key(name), None).await?.ok_or_else(|| Status::not_found(kind, name))?;
    let current = shown(call, &scale, &call.served.read(&call.shown(entry).await?))?;
    if method == Method::GET {
        return Ok(answer::value(accepted.format, StatusCode::OK, &current));
    }
    let is_apply = body::media_type(&call.headers) == APPLY;
    let dry_run = if method == Method::PUT {
        call.query.check_manager("UpdateOptions")?;
        call.query.dry_run("UpdateOptions")?
    } else {
        call.query.check_patch(is_apply)?;
        call.query.dry_run("PatchOptions")?
    };
    let sent = wanted(call, method, &current)?;
    let version = addressed::version(&sent).map(|version| version.filter(|_| method == Method::PUT || says_version(&sent, &current)))?;
    let replicas = replicas(&scale, name, &sent["spec"]["replicas"])?;
    let entry = change(call, version, Part::Main, dry_run, |before| {
        addressed::check_uid(kind, before, &sent)?;
        let mut after = before.clone();
        scale.write(&mut after, replicas)?;
        Ok(after)
    })
    .await?;
    Ok(answer::value(accepted.format, StatusCode::OK, &shown(call, &scale, &call.served.read(&entry))?))
}

/// The number that is asked for. That of a defined kind is held to what its objects are. Errors: 422 for one below 0.
fn replicas(scale: &Scaling<'_>, name: &str, asked: &Value) -> Result<i64> {
    let number = asked.as_i64().unwrap_or(0);
    if number >= 0 || matches!(scale, Scaling::Defined(_)) {
        return Ok(number);
    }
    let problem = Problem::invalid("spec.replicas", format!("{asked}: must be greater than or equal to 0"));
    Err(Status::invalid("autoscaling", "Scale", name, &[problem]))
}

/// What `/scale` shows of an object, null for none. Errors: 422 for an object that has no single scale.
pub fn as_scale(call: &Call, object: &Value) -> Result<Value> {
    if object.is_object() { shown(call, &Scaling::of(call)?, object) } else { Ok(Value::Null) }
}

/// How the scale of a kind is read and written.
enum Scaling<'a> {
    BuiltIn(Scale),
    Defined(&'a ScalePaths),
}

impl<'a> Scaling<'a> {
    fn of(call: &'a Call) -> Result<Self> {
        let defined = call.served.custom.as_ref().and_then(|custom| custom.scale.as_ref()).map(Self::Defined);
        defined.or_else(|| call.kind().scale.map(Self::BuiltIn)).ok_or_else(Status::no_such_resource)
    }

    fn read(&self, object: &Value) -> Result<Copies> {
        match self {
            Self::BuiltIn(scale) => (scale.read)(object).map_err(|refused| Status::unprocessable(refused.to_string())),
            Self::Defined(paths) => paths.read(object).map_err(Status::internal),
        }
    }

    fn write(&self, object: &mut Value, replicas: i64) -> Result<()> {
        match self {
            Self::BuiltIn(scale) => (scale.write)(object, replicas).map_err(|refused| Status::unprocessable(refused.to_string())),
            Self::Defined(paths) => {
                paths.write(object, replicas);
                Ok(())
            }
        }
    }
}

/// The Scale that a request asks for. Errors: 400 for what is none, or is another's; 415, and 422 for a patch that makes one.
fn wanted(call: &Call, method: &Method, current: &Value) -> Result<Value> {
    if method == Method::PUT {
        let sent = addressed::scale(call)?;
        check(call, &sent)?;
        return Ok(sent);
    }
    if body::media_type(&call.headers) == APPLY && call.kind().defined {
        let sent = body::applied(&call.body, false)?;
        let (namespace, name) = (sent["metadata"]["namespace"].as_str().unwrap_or_default(), call.name()?);
        let of = format!("{namespace}/{name}; autoscaling/v1, Kind=Scale");
        let why = "request to convert CR to an invalid group/version: autoscaling/v1";
        return Err(Status::unexplained(format!("failed to convert new object ({of}) to proper version: {why}")));
    }
    let mut sent = current.clone();
    Patch::read(call.kind(), &call.headers, &call.body)?.apply(&call.served.shape, &mut sent)?;
    addressed::SCALE.check(&sent, None).map_err(|refused| Status::patch_unreadable(&sent.to_string(), &refused.message))?;
    check(call, &sent)?;
    Ok(sent)
}

/// Errors: 400 for the Scale of another.
fn check(call: &Call, sent: &Value) -> Result<()> {
    addressed::check_name(call, sent)?;
    addressed::check_namespace(&call.place, sent)
}

/// Whether a patch asked for another version than the one it was made upon.
fn says_version(sent: &Value, current: &Value) -> bool {
    sent["metadata"]["resourceVersion"] != current["metadata"]["resourceVersion"]
}

fn shown(call: &Call, scale: &Scaling<'_>, object: &Value) -> Result<Value> {
    let (wanted, actual, selector) = scale.read(object)?;
    let from = &object["metadata"];
    let mut metadata = json!({"name": call.name()?});
    for field in ["namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata[field] = from[field].clone();
    }
    Ok(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": wanted}, "status": {"replicas": actual, "selector": selector},
    }))
}
