//! Two writes that only one caller makes: a Pod's binding to a node, and the end of a Namespace.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::read::respond;
use super::update::change;
use crate::admit::Part;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{admission, admit, answer, body};

/// `POST …/pods/NAME/binding`: the Pod goes to a node. Errors: 409 when it is bound or being deleted.
pub async fn bind(call: &Call) -> Result<Response> {
    let (kind, name) = (call.kind(), call.name()?);
    let binding = body::object(kind, &call.headers, &call.body)?;
    let node = binding["target"]["name"].as_str().filter(|node| !node.is_empty());
    let node = node.ok_or_else(|| Status::bad_request("target.name: expected the name of a node"))?.to_owned();
    let annotations = binding["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let dry_run = call.query.dry_run("CreateOptions")?;
    admission::ask(call, "CREATE", &Value::Null, &binding, dry_run).await?;
    change(call, None, Part::Binding, dry_run, |before| {
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
    admit::place(call.kind(), &call.place, &mut sent)?;
    let finalizers = sent["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
    let entry = change(call, None, Part::Main, call.query.dry_run("UpdateOptions")?, |before| {
        let mut after: Value = before.clone();
        after["spec"]["finalizers"] = json!(finalizers);
        Ok(after)
    })
    .await?;
    Ok(respond(call, accepted, StatusCode::OK, &entry))
}
