//! What is wrong with a policy, a binding or a webhook, but for its expressions, in Kubernetes' words.

use serde_json::Value;

use crate::{Problem, ProblemKind, check_subdomain};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// The operations whose objects a policy may change.
const MUTATED: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
const CONDITIONS_MAX: usize = 64;
const TIMEOUT_SECONDS_MAX: i64 = 30;

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

fn one_of(value: &Value, field: &str, supported: &[&str], found: &mut Vec<Problem>) {
    if let Some(text) = value.as_str().filter(|text| !supported.contains(text)) {
        let detail = format!("{text:?}: supported values: {}", quoted(supported));
        found.push(Problem::new(ProblemKind::NotSupported, field, detail));
    }
}

/// Problems of a ValidatingAdmissionPolicy.
pub(super) fn policy(object: &Value) -> Vec<Problem> {
    let spec = &object["spec"];
    let mut found = shared_problems(spec, &OPERATIONS);
    if items(&spec["validations"]).is_empty() && items(&spec["auditAnnotations"]).is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        found.push(Problem::required("spec.validations", detail));
        found.push(Problem::required("spec.auditAnnotations", detail));
    }
    variable_problems(spec, &mut found);
    for (at, validation) in items(&spec["validations"]).iter().enumerate() {
        validation_problems(validation, &format!("spec.validations[{at}]"), &mut found);
    }
    for (at, annotation) in items(&spec["auditAnnotations"]).iter().enumerate() {
        let field = format!("spec.auditAnnotations[{at}]");
        needs_expression(annotation, "valueExpression", &field, &mut found);
        if text(annotation, "key").is_empty() {
            found.push(Problem::required(format!("{field}.key"), "key is not specified"));
        }
    }
    found
}

/// Problems of a MutatingAdmissionPolicy.
pub(super) fn mutating_policy(object: &Value) -> Vec<Problem> {
    let spec = &object["spec"];
    let mut found = shared_problems(spec, &MUTATED);
    variable_problems(spec, &mut found);
    if items(&spec["mutations"]).is_empty() {
        found.push(Problem::required("spec.mutations", "mutations must contain at least one item"));
    }
    for (at, mutation) in items(&spec["mutations"]).iter().enumerate() {
        mutation_problems(mutation, &format!("spec.mutations[{at}]"), &mut found);
    }
    match text(spec, "reinvocationPolicy") {
        "" => found.push(Problem::required("spec.reinvocationPolicy", "")),
        _ => one_of(&spec["reinvocationPolicy"], "spec.reinvocationPolicy", &["IfNeeded", "Never"], &mut found),
    }
    found
}

fn mutation_problems(mutation: &Value, field: &str, found: &mut Vec<Problem>) {
    let parts = [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")];
    let patch_type = text(mutation, "patchType");
    if patch_type.is_empty() {
        found.push(Problem::required(format!("{field}.patchType"), ""));
        return;
    }
    if !parts.iter().any(|(name, _)| *name == patch_type) {
        one_of(&mutation["patchType"], &format!("{field}.patchType"), &parts.map(|(name, _)| name), found);
        return;
    }
    for (name, part) in parts {
        let at = format!("{field}.{part}");
        match (name == patch_type, mutation[part].is_object()) {
            (true, true) if text(&mutation[part], "expression").trim().is_empty() => {
                found.push(Problem::required(format!("{at}.expression"), ""));
            }
            (true, false) => found.push(Problem::required(at, format!("must be specified when patchType is {patch_type}"))),
            (false, true) => {
                let detail = format!("\"{{{part}}}\": must not be specified when patchType is {patch_type}");
                found.push(Problem::invalid(at, detail));
            }
            _ => {}
        }
    }
}

/// Problems of what both kinds of policies have; these operations may be matched.
fn shared_problems(spec: &Value, operations: &[&str]) -> Vec<Problem> {
    let mut found = Vec::new();
    one_of(&spec["failurePolicy"], "spec.failurePolicy", &["Fail", "Ignore"], &mut found);
    if spec["paramKind"].is_object() {
        for field in ["apiVersion", "kind"].into_iter().filter(|field| text(&spec["paramKind"], field).is_empty()) {
            found.push(Problem::required(format!("spec.paramKind.{field}"), ""));
        }
    }
    if spec["matchConstraints"].is_object() {
        matching_problems(&spec["matchConstraints"], "spec.matchConstraints", true, operations, &mut found);
    } else {
        found.push(Problem::required("spec.matchConstraints", ""));
    }
    condition_problems(&spec["matchConditions"], "spec.matchConditions", &mut found);
    found
}

fn variable_problems(spec: &Value, found: &mut Vec<Problem>) {
    let mut names: Vec<&str> = Vec::new();
    for (at, variable) in items(&spec["variables"]).iter().enumerate() {
        let field = format!("spec.variables[{at}]");
        let name = text(variable, "name");
        match name {
            "" => found.push(Problem::required(format!("{field}.name"), "name is not specified")),
            _ if !is_identifier(name) => {
                found.push(Problem::invalid(format!("{field}.name"), format!("{name:?}: name is not a valid CEL identifier")));
            }
            _ if names.contains(&name) => found.push(Problem::duplicate(format!("{field}.name"), name)),
            _ => names.push(name),
        }
        needs_expression(variable, "expression", &field, found);
    }
}

fn validation_problems(validation: &Value, field: &str, found: &mut Vec<Problem>) {
    needs_expression(validation, "expression", field, found);
    let message = &validation["message"];
    if let Some(words) = message.as_str() {
        if words.trim().is_empty() && !words.is_empty() {
            found.push(Problem::invalid(format!("{field}.message"), format!("{words:?}: message must be non-empty if specified")));
        } else if words.contains('\n') {
            found.push(Problem::invalid(format!("{field}.message"), format!("{words:?}: message must not contain line breaks")));
        }
    }
    let expression = text(validation, "expression");
    if expression.contains('\n') && message.is_null() && validation["messageExpression"].is_null() {
        let detail = "message must be specified if expression contains line breaks";
        found.push(Problem::required(format!("{field}.message"), detail));
    }
    one_of(&validation["reason"], &format!("{field}.reason"), &["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"], found);
}

fn needs_expression(of: &Value, name: &str, field: &str, found: &mut Vec<Problem>) {
    if text(of, name).trim().is_empty() {
        found.push(Problem::required(format!("{field}.{name}"), format!("{name} is not specified")));
    }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn condition_problems(conditions: &Value, field: &str, found: &mut Vec<Problem>) {
    let conditions = items(conditions);
    if conditions.len() > CONDITIONS_MAX {
        found.push(Problem::new(ProblemKind::TooMany, field, format!("{}: must have at most {CONDITIONS_MAX} items", conditions.len())));
    }
    let mut names: Vec<&str> = Vec::new();
    for (at, condition) in conditions.iter().enumerate() {
        let field = format!("{field}[{at}]");
        let name = text(condition, "name");
        match name {
            "" => found.push(Problem::required(format!("{field}.name"), "")),
            _ if names.contains(&name) => found.push(Problem::duplicate(format!("{field}.name"), name)),
            _ => names.push(name),
        }
        if text(condition, "expression").trim().is_empty() {
            found.push(Problem::required(format!("{field}.expression"), ""));
        }
    }
}

fn matching_problems(matching: &Value, field: &str, needs_rules: bool, operations: &[&str], found: &mut Vec<Problem>) {
    one_of(&matching["matchPolicy"], &format!("{field}.matchPolicy"), &["Equivalent", "Exact"], found);
    if needs_rules && items(&matching["resourceRules"]).is_empty() {
        found.push(Problem::required(format!("{field}.resourceRules"), ""));
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (at, rule) in items(&matching[list]).iter().enumerate() {
            rule_problems(rule, &format!("{field}.{list}[{at}]"), operations, found);
        }
    }
}

fn rule_problems(rule: &Value, field: &str, operations: &[&str], found: &mut Vec<Problem>) {
    for (list, word) in
        [("operations", "operations"), ("apiGroups", "api groups"), ("apiVersions", "api versions"), ("resources", "resources")]
    {
        let values = items(&rule[list]);
        if values.is_empty() {
            found.push(Problem::required(format!("{field}.{list}"), ""));
        }
        if list != "resources" && values.len() > 1 && values.iter().any(|value| value == "*") {
            let detail = format!("{}: if '*' is present, must not specify other {word}", rule[list]);
            found.push(Problem::invalid(format!("{field}.{list}"), detail));
        }
        for (at, value) in values.iter().enumerate() {
            let field = format!("{field}.{list}[{at}]");
            match list {
                "operations" => one_of(value, &field, operations, found),
                "apiVersions" | "resources" if value == "" => found.push(Problem::required(field, "")),
                _ => {}
            }
        }
    }
    one_of(&rule["scope"], &format!("{field}.scope"), &["*", "Cluster", "Namespaced"], found);
}

/// Problems of a MutatingAdmissionPolicyBinding.
pub(super) fn mutating_binding(object: &Value) -> Vec<Problem> {
    shared_binding_problems(&object["spec"], &MUTATED)
}

fn shared_binding_problems(spec: &Value, operations: &[&str]) -> Vec<Problem> {
    let mut found = Vec::new();
    if text(spec, "policyName").is_empty() {
        found.push(Problem::required("spec.policyName", ""));
    }
    let (reference, field) = (&spec["paramRef"], "spec.paramRef");
    if reference.is_object() {
        match (!text(reference, "name").is_empty(), reference["selector"].is_object()) {
            (true, true) => {
                found.push(Problem::new(ProblemKind::Forbidden, format!("{field}.name"), "name and selector are mutually exclusive"))
            }
            (false, false) => found.push(Problem::required(field, "one of name or selector must be specified")),
            _ => {}
        }
        match text(reference, "parameterNotFoundAction") {
            "" => found.push(Problem::required(format!("{field}.parameterNotFoundAction"), "")),
            _ => one_of(&reference["parameterNotFoundAction"], &format!("{field}.parameterNotFoundAction"), &["Allow", "Deny"], &mut found),
        }
    }
    if spec["matchResources"].is_object() {
        matching_problems(&spec["matchResources"], "spec.matchResources", false, operations, &mut found);
    }
    found
}

/// Problems of a ValidatingAdmissionPolicyBinding.
pub(super) fn binding(object: &Value) -> Vec<Problem> {
    let spec = &object["spec"];
    let mut found = shared_binding_problems(spec, &OPERATIONS);
    let (actions, field) = (items(&spec["validationActions"]), "spec.validationActions");
    if actions.is_empty() {
        found.push(Problem::required(field, "at least one validation action is required"));
    }
    for (at, action) in actions.iter().enumerate() {
        one_of(action, &format!("{field}[{at}]"), &["Audit", "Deny", "Warn"], &mut found);
        if actions[..at].contains(action) {
            found.push(Problem::duplicate(format!("{field}[{at}]"), action.as_str().unwrap_or_default()));
        }
    }
    let has = |name: &str| actions.iter().any(|action| action == name);
    if has("Deny") && has("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        found.push(Problem::invalid(field, format!("{}: {why}", spec["validationActions"])));
    }
    found
}

/// Problems of a ValidatingWebhookConfiguration or MutatingWebhookConfiguration.
pub(super) fn webhooks(object: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (at, webhook) in items(&object["webhooks"]).iter().enumerate() {
        let field = format!("webhooks[{at}]");
        let name = text(webhook, "name");
        if names.contains(&name) {
            found.push(Problem::duplicate(format!("{field}.name"), name));
        }
        names.push(name);
        webhook_problems(webhook, &field, &mut found);
    }
    found
}

fn webhook_problems(webhook: &Value, field: &str, found: &mut Vec<Problem>) {
    let name = text(webhook, "name");
    match name {
        "" => found.push(Problem::required(format!("{field}.name"), "")),
        _ => {
            found
                .extend(check_subdomain(name).into_iter().map(|why| Problem::invalid(format!("{field}.name"), format!("{name:?}: {why}"))));
            if name.split('.').count() < 3 {
                let why = "should be a domain with at least three segments separated by dots";
                found.push(Problem::invalid(format!("{field}.name"), format!("{name:?}: {why}")));
            }
        }
    }
    for (at, rule) in items(&webhook["rules"]).iter().enumerate() {
        rule_problems(rule, &format!("{field}.rules[{at}]"), &OPERATIONS, found);
    }
    one_of(&webhook["failurePolicy"], &format!("{field}.failurePolicy"), &["Fail", "Ignore"], found);
    one_of(&webhook["matchPolicy"], &format!("{field}.matchPolicy"), &["Equivalent", "Exact"], found);
    one_of(&webhook["reinvocationPolicy"], &format!("{field}.reinvocationPolicy"), &["IfNeeded", "Never"], found);
    match webhook["sideEffects"].as_str() {
        None => found.push(Problem::required(format!("{field}.sideEffects"), "must specify one of None, NoneOnDryRun")),
        Some(_) => one_of(&webhook["sideEffects"], &format!("{field}.sideEffects"), &["None", "NoneOnDryRun"], found),
    }
    if let Some(seconds) = webhook["timeoutSeconds"].as_i64().filter(|seconds| !(1..=TIMEOUT_SECONDS_MAX).contains(seconds)) {
        let why = format!("the timeout value must be between 1 and {TIMEOUT_SECONDS_MAX} seconds");
        found.push(Problem::invalid(format!("{field}.timeoutSeconds"), format!("{seconds}: {why}")));
    }
    condition_problems(&webhook["matchConditions"], &format!("{field}.matchConditions"), found);
    let (versions, at) = (items(&webhook["admissionReviewVersions"]), format!("{field}.admissionReviewVersions"));
    if versions.is_empty() {
        found.push(Problem::required(at, "must specify one of v1"));
    } else if !versions.iter().any(|version| version == "v1") {
        found.push(Problem::invalid(at, format!("{}: must include at least one of v1", webhook["admissionReviewVersions"])));
    }
    client_problems(&webhook["clientConfig"], &format!("{field}.clientConfig"), found);
}

/// Problems of where a webhook is: `client` stands at `field`.
pub fn client_problems(client: &Value, field: &str, found: &mut Vec<Problem>) {
    let (url, service) = (client["url"].as_str(), &client["service"]);
    match (url, service.is_object()) {
        (Some(_), true) | (None, false) => found.push(Problem::required(field, "exactly one of url or service is required")),
        (Some(url), false) => found.extend(url_problem(url).map(|why| Problem::invalid(format!("{field}.url"), format!("{url:?}: {why}")))),
        (None, true) => {
            for name in ["name", "namespace"].into_iter().filter(|name| text(service, name).is_empty()) {
                found.push(Problem::required(format!("{field}.service.{name}"), format!("service {name} is required")));
            }
            if service["port"].as_i64().is_some_and(|port| !(1..=65_535).contains(&port)) {
                let why = "port is not valid: must be between 1 and 65535, inclusive";
                found.push(Problem::invalid(format!("{field}.service.port"), format!("{}: {why}", service["port"])));
            }
            let path = service["path"].as_str();
            if let Some(path) = path.filter(|path| !path.starts_with('/') || path.contains("//")) {
                found.push(Problem::invalid(
                    format!("{field}.service.path"),
                    format!("{path:?}: must start with a '/' and have no empty segment"),
                ));
            }
        }
    }
}

fn url_problem(url: &str) -> Option<String> {
    let Some(rest) = url.strip_prefix("https://") else {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        return Some(format!("'https' is the only allowed URL scheme; provided {scheme:?}; desired format: https://host[/path]"));
    };
    let host = rest.split('/').next().unwrap_or_default();
    [
        (host.is_empty(), "host must be specified; desired format: https://host[/path]"),
        (host.contains('@'), "user information is not permitted in the URL"),
        (rest.contains('#'), "fragments are not permitted in the URL"),
        (rest.contains('?'), "query parameters are not permitted in the URL"),
    ]
    .into_iter()
    .find_map(|(is_wrong, why)| is_wrong.then(|| why.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(found: Vec<Problem>) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_policy_says_when_and_what() {
        let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
        let whole = json!({"spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]}});
        assert_eq!(texts(policy(&whole)), [""; 0]);
        let fields: Vec<String> = policy(&json!({"spec": {}})).into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["spec.matchConstraints", "spec.validations", "spec.auditAnnotations"]);
        let mut odd = whole;
        odd["spec"]["matchConstraints"]["resourceRules"][0]["operations"] = json!(["*", "CREATE", "READ"]);
        odd["spec"]["validations"][0]["reason"] = json!("Odd");
        let found = texts(policy(&odd));
        assert!(found[0].contains("if '*' is present, must not specify other operations"), "{found:?}");
        assert!(found[1].contains("supported values: \"*\", \"CONNECT\""), "{found:?}");
        assert!(found[2].starts_with("spec.validations[0].reason: Unsupported value"), "{found:?}");
    }

    #[test]
    fn a_policy_that_changes_says_how() {
        let rule = json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
        let with = |mutation: Value| {
            let spec = json!({"matchConstraints": {"resourceRules": [rule]}, "reinvocationPolicy": "Never", "mutations": [mutation]});
            texts(mutating_policy(&json!({"spec": spec})))
        };
        assert_eq!(with(json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}})), [""; 0]);
        assert_eq!(with(json!({"jsonPatch": {"expression": "[]"}})), ["spec.mutations[0].patchType: Required value"]);
        assert!(with(json!({"patchType": "Merge"}))[0].contains("supported values: \"ApplyConfiguration\", \"JSONPatch\""));
        let other = with(json!({"patchType": "ApplyConfiguration", "jsonPatch": {"expression": "[]"}}));
        assert_eq!(
            other[0],
            "spec.mutations[0].applyConfiguration: Required value: must be specified when patchType is ApplyConfiguration"
        );
        assert!(other[1].starts_with("spec.mutations[0].jsonPatch: Invalid value: \"{jsonPatch}\": must not be"), "{other:?}");
        let empty = with(json!({"patchType": "JSONPatch", "jsonPatch": {"expression": " "}}));
        assert_eq!(empty, ["spec.mutations[0].jsonPatch.expression: Required value"]);
        let fields: Vec<String> = mutating_policy(&json!({"spec": {}})).into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["spec.matchConstraints", "spec.mutations", "spec.reinvocationPolicy"]);
        let mut gone = rule.clone();
        gone["operations"] = json!(["DELETE"]);
        let found = texts(mutating_binding(&json!({"spec": {"policyName": "p", "matchResources": {"resourceRules": [gone]}}})));
        assert!(found[0].contains("\"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\""), "{found:?}");
    }

    #[test]
    fn a_webhook_is_asked_over_https() {
        let hook = |client: Value| {
            let webhook =
                json!({"name": "a.example.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": client});
            texts(webhooks(&json!({"webhooks": [webhook]})))
        };
        assert_eq!(hook(json!({"url": "https://a.dev/x"})), [""; 0]);
        assert!(hook(json!({"url": "http://a.dev"}))[0].contains("'https' is the only allowed URL scheme"));
        assert_eq!(hook(json!({})), ["webhooks[0].clientConfig: Required value: exactly one of url or service is required"]);
        assert_eq!(hook(json!({"service": {"name": "a", "namespace": "b"}})), [""; 0]);
    }
}
