//! Policies, where a binding puts them in force.

use logic::admission::{Finding, Policy, Request, matching};
use logic::selector::LabelSelector;
use serde_json::{Value, json};
use store::ListOptions;

use super::Asked;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{conversion, object};

const FAILURE_NOTE: &str = "validation.policy.admission.k8s.io/validation_failure";

/// Holds every policy that is in force for a request against it. Errors: the first failure that a binding says to refuse for.
pub async fn validate(call: &Call, asked: &Asked, request: &Request) -> Result<()> {
    let mut refused = None;
    for (name, binding) in &asked.bindings {
        let spec = &binding["spec"];
        let Some(policy) = spec["policyName"].as_str().and_then(|policy| asked.policies.get(policy)) else { continue };
        if matching::matched(&spec["matchResources"], "resourceRules", true, request).is_none() {
            continue;
        }
        let Some(matched) = matching::matched(&policy.constraints, "resourceRules", false, request) else { continue };
        let seen = conversion::seen(call, request, &matched).await?;
        let findings = match parameters(call, policy, spec, request).await? {
            Parameters::None => vec![policy.evaluate(&seen, &matched, None)],
            Parameters::Some(all) => all.iter().map(|params| policy.evaluate(&seen, &matched, Some(params))).collect(),
            Parameters::Missing(why) => vec![policy.failed(&why)],
        };
        for finding in findings {
            refused = refused.or(act(call, policy, name, spec, finding));
        }
    }
    let Some((reason, message)) = refused else { return Ok(()) };
    Err(Status::denied(call.kind(), &request.name, &reason, &message))
}

/// Does what a binding says is to be done about failures; the first to refuse for, with its reason.
fn act(call: &Call, policy: &Policy, binding: &str, spec: &Value, finding: Finding) -> Option<(String, String)> {
    let does = |action: &str| spec["validationActions"].as_array().into_iter().flatten().any(|found| found == action);
    let by = format!("ValidatingAdmissionPolicy '{}' with binding '{binding}'", policy.name);
    let mut refused = None;
    call.tell(|told| {
        told.notes.extend(finding.annotations);
        for (message, reason) in finding.failures {
            if does("Warn") {
                told.warnings.push(format!("Validation failed for {by}: {message}"));
            }
            if does("Audit") {
                let note = json!([{"message": message, "policy": policy.name, "binding": binding, "validationActions": spec["validationActions"]}]);
                told.notes.push((FAILURE_NOTE.to_owned(), note.to_string()));
            }
            if does("Deny") {
                refused = refused.take().or_else(|| Some((reason, format!("{by} denied request: {message}"))));
            }
        }
    });
    refused
}

pub enum Parameters {
    /// The policy has none, or its binding does not say which.
    None,
    /// The policy is to be held against the request with each of these.
    Some(Vec<Value>),
    /// They are not there, and that is a failure.
    Missing(String),
}

/// What a policy is evaluated with, as a binding has it. Errors: those of the store.
pub async fn parameters(call: &Call, policy: &Policy, binding: &Value, request: &Request) -> Result<Parameters> {
    let (kind, reference) = (&policy.param_kind, &binding["paramRef"]);
    if !kind.is_object() || !reference.is_object() {
        return Ok(Parameters::None);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, name) = (text(&kind["apiVersion"]), text(&kind["kind"]));
    let registry = call.server.kinds().await?;
    let found = registry.all().iter().find(|served| served.kind.kind == name && served.kind.api_version() == api_version);
    let Some(served) = found else {
        return Ok(Parameters::Missing(format!("failed to find resource referenced by paramKind: '{api_version}, Kind={name}'")));
    };
    let namespace = reference["namespace"].as_str().unwrap_or(&request.namespace);
    let namespace = Some(namespace).filter(|_| served.kind.is_namespaced());
    let store = &call.server.store;
    let found = match reference["name"].as_str() {
        Some(name) => store.get(&object::key(&served.kind, namespace, name), None).await?.into_iter().collect(),
        None => {
            let prefix = object::prefix(&served.kind, namespace);
            store.list(ListOptions { prefix, ..ListOptions::default() }).await?.entries
        }
    };
    let found = conversion::shown(&call.server, served, found).await?;
    let selector = LabelSelector::from_object(&reference["selector"]);
    let is_meant = |object: &Value| reference["name"].is_string() || selector.as_ref().is_some_and(|selector| selector.matches(object));
    let all: Vec<Value> = found.iter().map(|entry| served.read(entry)).filter(is_meant).collect();
    if all.is_empty() && reference["parameterNotFoundAction"] != "Allow" {
        return Ok(Parameters::Missing("no params found for policy binding with `Deny` parameterNotFoundAction".into()));
    }
    Ok(Parameters::Some(all))
}
