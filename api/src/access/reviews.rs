//! Answers questions about who somebody is and what they may do: the kinds of `model::review`.

use axum::response::Response;
use http::StatusCode;
use logic::rbac::{Deed, Rule, everything};
use model::{Kind, Problem};
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
        "SelfSubjectReview" => json!({"userInfo": call.user.to_value()}),
        "TokenReview" => token(call, &review["spec"]).await?,
        "SelfSubjectRulesReview" => rules(call, &review["spec"]).await?,
        "SelfSubjectAccessReview" => access(call, &call.user, &review["spec"]).await?,
        _ => {
            let user = asked(kind, &call.place.namespace, &review["spec"])?;
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
fn asked(kind: &Kind, namespace: &Option<String>, spec: &Value) -> Result<User> {
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let extra = spec["extra"].as_object().into_iter().flatten().map(|(key, values)| (key.clone(), texts(values))).collect();
    let user = User { name: text("user"), uid: text("uid"), groups: texts(&spec["groups"]), extra };
    if user.name.is_empty() && user.groups.is_empty() {
        return Err(invalid(kind, Problem::invalid("spec.user", "\"\": at least one of user or group must be specified")));
    }
    if let Some(namespace) = namespace {
        let attributes = &spec["resourceAttributes"];
        if !attributes.is_object() || spec["nonResourceAttributes"].is_object() {
            return Err(invalid(kind, Problem::invalid("spec", "only resourceAttributes are taken in a namespace")));
        }
        if attributes["namespace"] != namespace.as_str() {
            return Err(invalid(
                kind,
                Problem::invalid("spec.resourceAttributes.namespace", format!("must match metadata.namespace, {namespace:?}")),
            ));
        }
    }
    Ok(user)
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
        (both, _) => {
            let why = if both { "cannot specify both" } else { "at least one of" };
            let problem = Problem::invalid(
                "spec.resourceAttributes",
                format!("{why}: exactly one of nonResourceAttributes or resourceAttributes must be specified"),
            );
            return Err(invalid(call.kind(), problem));
        }
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
        None => json!({"user": {}, "error": "the token is none of this server's, has expired, or is for another audience"}),
    })
}

fn invalid(kind: &Kind, problem: Problem) -> Status {
    Status::invalid(&kind.group, &kind.kind, "", &[problem])
}
