//! Two writes that only one caller makes: a Pod's binding to a node, and the end of a Namespace.

use axum::response::Response;
use http::StatusCode;
use logic::patch::reading::{self, Reading};
use model::{Problem, ProblemKind};
use serde_json::{Value, json};

use super::read::respond;
use super::update::change;
use crate::admit::Part;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{addressed, admission, admit, answer, body};

/// `POST …/pods/NAME/binding`: the Pod goes to a node. Errors: 409 when it is bound or being deleted.
pub async fn bind(call: &Call) -> Result<Response> {
    let (kind, name) = (call.kind(), call.name()?);
    let binding = addressed::BINDING.read(call)?;
    addressed::check_namespace(&call.place, &binding)?;
    if binding["metadata"]["name"].as_str().is_some_and(|named| !named.is_empty() && named != name) {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    let kind_of_target = &binding["target"]["kind"];
    if kind_of_target.as_str().is_some_and(|kind| !kind.is_empty() && kind != "Node") {
        let detail = format!("{kind_of_target}: supported values: \"Node\", \"<empty>\"");
        let problem = Problem::new(ProblemKind::NotSupported, "target.kind", detail);
        return Err(Status::invalid("", "Binding", name, &[problem]));
    }
    let version = addressed::version(&binding)?;
    let node = binding["target"]["name"].as_str().filter(|node| !node.is_empty());
    let node = node.ok_or_else(|| Status::bad_request("target.name: expected the name of a node"))?.to_owned();
    let annotations = binding["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let dry_run = call.query.dry_run("CreateOptions")?;
    admission::ask(call, "CREATE", &Value::Null, &binding, dry_run).await?;
    change(call, version, Part::Binding, dry_run, |before| {
        addressed::check_uid(kind, before, &binding)?;
        if before["metadata"]["deletionTimestamp"].is_string() {
            return Err(Status::conflict_because(kind, name, "the pod is being deleted, cannot be assigned to a host"));
        }
        if let Some(bound) = before["spec"]["nodeName"].as_str().filter(|bound| !bound.is_empty()) {
            let why = format!("pod {name} is already assigned to node {bound:?}");
            return Err(Status::conflict_because(kind, name, &why));
        }
        let mut after = before.clone();
        after["spec"]["nodeName"] = json!(node);
        for (key, value) in &annotations {
            after["metadata"]["annotations"][key] = value.clone();
        }
        Ok(after)
    })
    .await?;
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(answer::value(call.accepted()?.format, StatusCode::CREATED, &status))
}

/// `PUT …/namespaces/NAME/finalize`: the Namespace's own finalizers are set; with none left it goes.
pub async fn finalize(call: &Call) -> Result<Response> {
    let accepted = call.accepted()?;
    let mut sent = body::object(call.kind(), &call.headers, &call.body)?;
    addressed::place(call.kind(), &call.place, &mut sent)?;
    addressed::check_name(call, &sent)?;
    let version = addressed::version(&sent)?;
    if let Some(why) = call.served.message.and_then(|message| reading::problem(Reading::Decoded, message, &sent)) {
        return Err(admit::undecodable(call.kind(), &why));
    }
    let finalizers = sent["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
    let entry = change(call, version, Part::Main, call.query.dry_run("UpdateOptions")?, |before| {
        addressed::check_uid(call.kind(), before, &sent)?;
        let mut after: Value = before.clone();
        after["spec"]["finalizers"] = json!(finalizers);
        Ok(after)
    })
    .await?;
    Ok(respond(call, accepted, StatusCode::OK, &entry))
}
