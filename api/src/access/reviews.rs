//! Answers questions about who somebody is and what they may do: the kinds of `model::review`.

use axum::response::Response;
use http::StatusCode;
use logic::rbac::{Deed, Rule, everything};
use model::Problem;
use model::review::AUTHORIZATION;
use serde_json::{Value, json};

use super::User;
use super::authenticate::of_token;
use super::authorize::decide;
use crate::query::FieldValidation;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{addressed, admit, answer, body};

/// Answers a review: the object that was sent, with its status. Errors: 400, 422.
pub async fn answer(call: &Call) -> Result<Response> {
    let (kind, accepted) = (call.kind(), call.accepted()?);
    call.query.dry_run("CreateOptions")?;
    let mut review = body::object(kind, &call.headers, &call.body)?;
    addressed::place(kind, &call.place, &mut review)?;
    admit::shape(&call.served, &mut review, FieldValidation::Ignore)?;
    review["status"] = match kind.kind.as_str() {
        "SelfSubjectReview" => {
            review["metadata"]["creationTimestamp"] = json!(admit::timestamp(call.server.clock.now()));
            json!({"userInfo": call.user.to_value()})
        }
        "TokenReview" => token(call, &review["spec"]).await?,
        "SelfSubjectRulesReview" => rules(call, &review["spec"]).await?,
        "SelfSubjectAccessReview" => access(call, &call.user, &review["spec"]).await?,
        _ => {
            let user = asked(call.place.namespace.as_deref(), &review["spec"])?;
            access(call, &user, &review["spec"]).await?
        }
    };
    let mut ordered = json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": {}});
    for field in ["metadata", "spec", "status"] {
        if review[field].is_object() {
            ordered[field] = review[field].clone();
        }
    }
    model::drop_nulls(&mut ordered["metadata"]);
    Ok(answer::value(accepted.format, StatusCode::CREATED, &ordered))
}

/// Whom a review of somebody else is about.
fn asked(namespace: Option<&str>, spec: &Value) -> Result<User> {
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let extra = spec["extra"].as_object().into_iter().flatten().map(|(key, values)| (key.clone(), texts(values))).collect();
    let user = User { name: text("user"), uid: text("uid"), groups: texts(&spec["groups"]), extra };
    let mut found = attribute_problems(spec);
    if user.name.is_empty() && user.groups.is_empty() {
        found.push(Problem::invalid("spec.user", "\"\": at least one of user or group must be specified"));
    }
    if let Some(namespace) = namespace {
        let asked = spec["resourceAttributes"]["namespace"].as_str().unwrap_or_default();
        if spec["resourceAttributes"].is_object() && asked != namespace {
            found.push(Problem::invalid("spec.resourceAttributes.namespace", format!("{asked:?}: must match metadata.namespace")));
        }
        if spec["nonResourceAttributes"].is_object() {
            let detail = format!("{}: disallowed on this kind of request", path_attributes(spec));
            found.push(Problem::invalid("spec.nonResourceAttributes", detail));
        }
    }
    if found.is_empty() { Ok(user) } else { Err(invalid(&found)) }
}

/// Problems of what a review asks about: exactly one thing.
fn attribute_problems(spec: &Value) -> Vec<Problem> {
    let problem = match (spec["resourceAttributes"].is_object(), spec["nonResourceAttributes"].is_object()) {
        (true, true) => {
            let detail = format!("{}: cannot be specified in combination with resourceAttributes", path_attributes(spec));
            Problem::invalid("spec.nonResourceAttributes", detail)
        }
        (false, false) => {
            let detail = "null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
            Problem::invalid("spec.resourceAttributes", detail)
        }
        _ => return Vec::new(),
    };
    vec![problem]
}

/// What is asked about a path, as Kubernetes shows it.
fn path_attributes(spec: &Value) -> Value {
    let text = |field: &str| spec["nonResourceAttributes"][field].as_str().unwrap_or_default();
    json!({"Path": text("path"), "Verb": text("verb")})
}

async fn access(call: &Call, user: &User, spec: &Value) -> Result<Value> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let decision = match (resource.is_object(), path.is_object()) {
        (true, false) => {
            let (verb, group, name) = (text(resource, "verb"), text(resource, "group"), text(resource, "name"));
            let (mut plural, namespace) = (text(resource, "resource"), text(resource, "namespace"));
            let subresource = text(resource, "subresource");
            if !subresource.is_empty() {
                plural = format!("{plural}/{subresource}");
            }
            let deed = Deed::Resource { verb: &verb, group: &group, resource: &plural, namespace: &namespace, name: &name };
            decide(&call.server, user, deed).await?
        }
        (false, true) => decide(&call.server, user, Deed::Path { verb: &text(path, "verb"), path: &text(path, "path") }).await?,
        _ => return Err(invalid(&attribute_problems(spec))),
    };
    let mut status = json!({"allowed": decision.allowed.is_some()});
    let missing = decision.missing.iter().map(|role| format!("RBAC: {role}")).collect::<Vec<_>>().join(", ");
    let reason = decision.allowed.unwrap_or(missing);
    if !reason.is_empty() {
        status["reason"] = json!(reason);
    }
    Ok(status)
}

async fn rules(call: &Call, spec: &Value) -> Result<Value> {
    let Some(namespace) = spec["namespace"].as_str().filter(|namespace| !namespace.is_empty()) else {
        return Err(Status::bad_request("no namespace on request"));
    };
    let mut rules = call.server.policies.current(call.server.store.as_ref()).await?.rules_of(call.user.asker(), namespace);
    if call.user.is_master() {
        rules.extend(everything().into_iter().filter(|rule| !rules.contains(rule)).collect::<Vec<_>>());
    }
    let (resources, paths): (Vec<Rule>, Vec<Rule>) = rules.into_iter().partition(|rule| rule.paths.is_empty());
    let values = |rules: Vec<Rule>| rules.iter().map(Rule::to_value).collect::<Vec<_>>();
    Ok(json!({"resourceRules": values(resources), "nonResourceRules": values(paths), "incomplete": false}))
}

async fn token(call: &Call, spec: &Value) -> Result<Value> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences: Vec<String> =
        spec["audiences"].as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect();
    Ok(match of_token(&call.server, token, &audiences).await? {
        Some((user, audiences)) => json!({"authenticated": true, "user": user.to_value(), "audiences": audiences}),
        None => json!({"user": {}, "error": "invalid bearer token"}),
    })
}

/// 422; of reviews, Kubernetes names no kind.
fn invalid(problems: &[Problem]) -> Status {
    Status::invalid(AUTHORIZATION, "", "", problems)
}
