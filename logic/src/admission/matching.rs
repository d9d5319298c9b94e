//! Whom a request concerns: rules about resources, and selectors of namespaces and objects.

use serde_json::Value;

use super::{Request, Resource};
use crate::selector::LabelSelector;

/// The kinds that decide about requests are not decided about: nobody could take back a policy that refuses everything.
const EXEMPT: [&str; 6] = [
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
];

/// Whether nobody is asked about a request.
pub fn is_exempt(request: &Request) -> bool {
    let group = request.resource.group.as_str();
    ["authentication.k8s.io", "authorization.k8s.io"].contains(&group) && request.resource.plural.ends_with("reviews")
        || group == model::admission::GROUP && EXEMPT.contains(&request.resource.plural.as_str())
}

/// The resource under which `matching` concerns a request. `rules` names the list of its rules; a list that is absent concerns
/// everything where `open` says so.
pub fn matched(matching: &Value, rules: &str, open: bool, request: &Request) -> Option<Resource> {
    if !selects(&matching["namespaceSelector"], |selector| in_namespace(selector, request))
        || !selects(&matching["objectSelector"], |selector| {
            [&request.object, &request.old_object].into_iter().any(|object| object.is_object() && selector.matches(object))
        })
    {
        return None;
    }
    let equivalent = matching["matchPolicy"] != "Exact";
    if by_rules(&matching["excludeResourceRules"], equivalent, request).is_some() {
        return None;
    }
    match matching[rules].as_array() {
        None if open => Some(request.resource.clone()),
        Some(list) if open && list.is_empty() => Some(request.resource.clone()),
        _ => by_rules(&matching[rules], equivalent, request),
    }
}

fn selects(selector: &Value, matches: impl FnOnce(&LabelSelector) -> bool) -> bool {
    if !selector.is_object() {
        return true;
    }
    LabelSelector::from_object(selector).is_some_and(|selector| selector.is_empty() || matches(&selector))
}

/// A namespace is in itself; what is beside namespaces is in every selection of them.
fn in_namespace(selector: &LabelSelector, request: &Request) -> bool {
    if request.resource.plural == "namespaces" && request.resource.group.is_empty() {
        let object = if request.object.is_object() { &request.object } else { &request.old_object };
        return selector.matches(object);
    }
    request.namespace.is_empty() || selector.matches(&request.namespace_object)
}

fn by_rules(rules: &Value, equivalent: bool, request: &Request) -> Option<Resource> {
    let rules = rules.as_array().map_or(&[][..], Vec::as_slice);
    let candidates = std::iter::once(&request.resource).chain(request.equivalents.iter().filter(|_| equivalent));
    candidates.into_iter().find(|resource| rules.iter().any(|rule| holds(rule, resource, request))).cloned()
}

fn holds(rule: &Value, resource: &Resource, request: &Request) -> bool {
    let list = |name: &str| rule[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    let has = |name: &str, wanted: &str| list(name).iter().any(|found| *found == "*" || *found == wanted);
    let names = list("resourceNames");
    let is_namespaced = !request.namespace.is_empty() && resource.plural != "namespaces";
    let in_scope = match rule["scope"].as_str() {
        Some("Namespaced") => is_namespaced,
        Some("Cluster") => !is_namespaced,
        _ => true,
    };
    in_scope
        && has("operations", request.operation)
        && has("apiGroups", &resource.group)
        && has("apiVersions", &resource.version)
        && (names.is_empty() || names.contains(&request.name.as_str()))
        && list("resources").into_iter().any(|pattern| {
            let (plural, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
            ["*", resource.plural.as_str()].contains(&plural) && ["*", request.subresource.as_str()].contains(&subresource)
        })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// Somebody creates the ConfigMap `a` in the namespace `n`.
    pub fn request() -> Request {
        Request {
            operation: "CREATE",
            resource: Resource { version: "v1".into(), plural: "configmaps".into(), kind: "ConfigMap".into(), ..Resource::default() },
            subresource: String::new(),
            equivalents: Vec::new(),
            name: "a".into(),
            namespace: "n".into(),
            namespace_object: json!({"metadata": {"name": "n", "labels": {"team": "x"}}}),
            object: json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"app": "y"}}, "data": {"k": "v"}}),
            old_object: Value::Null,
            options: json!({}),
            dry_run: false,
            user: json!({"username": "jane"}),
            authorizer: crate::rules::Authorizer::default(),
        }
    }

    #[test]
    fn rules_and_selectors_say_whom_a_request_concerns() {
        let rule = |resources: Value| json!({"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["v1"], "resources": resources});
        let with = |field: &str, value: Value| {
            let mut matching = json!({"resourceRules": [rule(json!(["configmaps"]))]});
            matching[field] = value;
            matching
        };
        for (matching, expected) in [
            (json!({"resourceRules": [rule(json!(["*"]))]}), true),
            (json!({"resourceRules": [rule(json!(["*/*"]))]}), true),
            (json!({"resourceRules": [rule(json!(["configmaps/status"]))]}), false),
            (json!({"resourceRules": []}), false),
            (with("namespaceSelector", json!({"matchLabels": {"team": "x"}})), true),
            (with("namespaceSelector", json!({"matchLabels": {"team": "z"}})), false),
            (with("objectSelector", json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]})), true),
            (with("objectSelector", json!({"matchLabels": {"app": "z"}})), false),
            (with("excludeResourceRules", json!([rule(json!(["configmaps"]))])), false),
        ] {
            assert_eq!(matched(&matching, "resourceRules", false, &request()).is_some(), expected, "{matching}");
        }
        assert!(matched(&json!({}), "resourceRules", true, &request()).is_some());
    }

    #[test]
    fn another_version_is_matched_unless_it_must_be_exact() {
        let mut request = request();
        request.equivalents = vec![Resource { version: "v2".into(), ..request.resource.clone() }];
        let mut matching =
            json!({"resourceRules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v2"], "resources": ["configmaps"]}]});
        assert_eq!(matched(&matching, "resourceRules", false, &request).map(|found| found.version), Some("v2".into()));
        matching["matchPolicy"] = json!("Exact");
        assert_eq!(matched(&matching, "resourceRules", false, &request), None);
    }
}
