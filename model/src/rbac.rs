//! Roles and their bindings: Kubernetes' own objects of who may do what.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde_json::{Value, json};

use crate::{Column, Kind, Problem, ProblemKind, Scope};

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// The kind Role, for [`crate::KINDS`].
pub fn role() -> Kind {
    Kind {
        keeps_unknown: true,
        columns: role_columns(),
        validate: |object| rule_problems(object, true),
        ..Kind::new(GROUP, "v1", "Role", "roles", |generator| generator.subschema_for::<Role>())
    }
}

/// The kind ClusterRole, for [`crate::KINDS`].
pub fn cluster_role() -> Kind {
    Kind {
        scope: Scope::Cluster,
        keeps_unknown: true,
        columns: role_columns(),
        validate: |object| rule_problems(object, false),
        ..Kind::new(GROUP, "v1", "ClusterRole", "clusterroles", |generator| generator.subschema_for::<ClusterRole>())
    }
}

/// The kind RoleBinding, for [`crate::KINDS`].
pub fn role_binding() -> Kind {
    Kind {
        keeps_unknown: true,
        columns: binding_columns("roleBinding"),
        default: default_binding,
        validate: |object| binding_problems(object, &["Role", "ClusterRole"]),
        validate_change: same_role,
        ..Kind::new(GROUP, "v1", "RoleBinding", "rolebindings", |generator| generator.subschema_for::<RoleBinding>())
    }
}

/// The kind ClusterRoleBinding, for [`crate::KINDS`].
pub fn cluster_role_binding() -> Kind {
    Kind {
        scope: Scope::Cluster,
        keeps_unknown: true,
        columns: binding_columns("clusterRoleBinding"),
        default: default_binding,
        validate: |object| binding_problems(object, &["ClusterRole"]),
        validate_change: same_role,
        ..Kind::new(GROUP, "v1", "ClusterRoleBinding", "clusterrolebindings", |generator| generator.subschema_for::<ClusterRoleBinding>())
    }
}

fn role_columns() -> Vec<Column> {
    let created = |object: &Value, _| object["metadata"]["creationTimestamp"].clone();
    vec![Column::name(), Column::computed("Created At", "date", created, "When the object was made, as the server's clock had it")]
}

fn binding_columns(of: &str) -> Vec<Column> {
    let role = |object: &Value, _| {
        let text = |field: &str| object["roleRef"][field].as_str().unwrap_or_default();
        json!(format!("{}/{}", text("kind"), text("name")))
    };
    let subjects = |title: &str, cell| Column::computed(title, "string", cell, &format!("{title} in the {of}")).wide();
    vec![
        Column::name(),
        Column::computed("Role", "string", role, "The role whose rules the subjects are given"),
        Column::age(),
        subjects("Users", |object, _| subjects_of(object, "User")),
        subjects("Groups", |object, _| subjects_of(object, "Group")),
        subjects("ServiceAccounts", |object, _| subjects_of(object, "ServiceAccount")),
    ]
}

fn subjects_of(object: &Value, kind: &str) -> Value {
    let of_kind = object["subjects"].as_array().into_iter().flatten().filter(|subject| subject["kind"] == kind);
    let names = of_kind.map(|subject| {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["namespace"].as_str().filter(|namespace| !namespace.is_empty()) {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    });
    json!(names.collect::<Vec<_>>().join(", "))
}

fn default_binding(object: &mut Value) {
    if object["roleRef"].is_object() && is_empty(&object["roleRef"]["apiGroup"]) {
        object["roleRef"]["apiGroup"] = json!(GROUP);
    }
    for subject in object["subjects"].as_array_mut().into_iter().flatten() {
        let is_named = ["User", "Group"].contains(&subject["kind"].as_str().unwrap_or_default());
        if is_named && is_empty(&subject["apiGroup"]) {
            subject["apiGroup"] = json!(GROUP);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_str().is_none_or(str::is_empty)
}

fn rule_problems(object: &Value, is_namespaced: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    let has = |rule: &Value, field: &str| rule[field].as_array().is_some_and(|list| !list.is_empty());
    if object["aggregationRule"].is_object() && !has(&object["aggregationRule"], "clusterRoleSelectors") {
        let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        found.push(Problem::required("aggregationRule.clusterRoleSelectors", why));
    }
    for (at, rule) in object["rules"].as_array().into_iter().flatten().enumerate() {
        let field = |name: &str| format!("rules[{at}].{name}");
        if !has(rule, "verbs") {
            found.push(Problem::required(field("verbs"), "verbs must contain at least one value"));
        }
        if has(rule, "nonResourceURLs") {
            let paths = &rule["nonResourceURLs"];
            if is_namespaced {
                let why = format!("{paths}: namespaced rules cannot apply to non-resource URLs");
                found.push(Problem::invalid(field("nonResourceURLs"), why));
            }
            if ["apiGroups", "resources", "resourceNames"].iter().any(|name| has(rule, name)) {
                let why = format!("{paths}: rules cannot apply to both regular resources and non-resource URLs");
                found.push(Problem::invalid(field("nonResourceURLs"), why));
            }
            continue;
        }
        for (name, what) in [("apiGroups", "api group"), ("resources", "resource")] {
            if !has(rule, name) {
                found.push(Problem::required(field(name), format!("resource rules must supply at least one {what}")));
            }
        }
    }
    found
}

fn binding_problems(object: &Value, role_kinds: &[&str]) -> Vec<Problem> {
    let mut found = Vec::new();
    let role = &object["roleRef"];
    if role["apiGroup"] != GROUP {
        found.push(not_supported("roleRef.apiGroup", &role["apiGroup"], &[GROUP]));
    }
    if !role_kinds.contains(&role["kind"].as_str().unwrap_or_default()) {
        found.push(not_supported("roleRef.kind", &role["kind"], role_kinds));
    }
    if is_empty(&role["name"]) {
        found.push(Problem::required("roleRef.name", ""));
    }
    for (at, subject) in object["subjects"].as_array().into_iter().flatten().enumerate() {
        let field = |name: &str| format!("subjects[{at}].{name}");
        if is_empty(&subject["name"]) {
            found.push(Problem::required(field("name"), ""));
        }
        let group = subject["apiGroup"].as_str().unwrap_or_default();
        match subject["kind"].as_str().unwrap_or_default() {
            "ServiceAccount" => {
                let name = subject["name"].as_str().unwrap_or_default();
                let texts = if name.is_empty() { Vec::new() } else { crate::check_subdomain(name) };
                found.extend(texts.into_iter().map(|text| Problem::invalid(field("name"), format!("{name:?}: {text}"))));
                if !group.is_empty() {
                    found.push(not_supported(&field("apiGroup"), &subject["apiGroup"], &[""]));
                }
                if is_empty(&subject["namespace"]) {
                    found.push(Problem::required(field("namespace"), ""));
                }
            }
            "User" | "Group" if group != GROUP => found.push(not_supported(&field("apiGroup"), &subject["apiGroup"], &[GROUP])),
            "User" | "Group" => {}
            _ => found.push(not_supported(&field("kind"), &subject["kind"], &["ServiceAccount", "User", "Group"])),
        }
    }
    found
}

fn not_supported(field: &str, value: &Value, supported: &[&str]) -> Problem {
    let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
    let detail = format!("{:?}: supported values: {}", value.as_str().unwrap_or_default(), supported.join(", "));
    Problem::new(ProblemKind::NotSupported, field, detail)
}

/// What a binding gives is decided when it is made; who is given it may change.
fn same_role(before: &Value, after: &Value) -> Vec<Problem> {
    let (old, new) = (&before["roleRef"], &after["roleRef"]);
    if old == new {
        return Vec::new();
    }
    let shown = json!({"APIGroup": new["apiGroup"], "Kind": new["kind"], "Name": new["name"]});
    vec![Problem::invalid("roleRef", format!("{shown}: cannot change roleRef"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(problems: &[Problem], expected: &[&str]) {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_rule_is_about_resources_or_about_paths() {
        let rules = |rule: Value, is_namespaced| rule_problems(&json!({"rules": [rule]}), is_namespaced);
        check(&rules(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}), true), &[]);
        check(&rules(json!({"nonResourceURLs": ["/x"], "verbs": ["get"]}), false), &[]);
        check(
            &rules(json!({"nonResourceURLs": ["/x"], "verbs": ["get"]}), true),
            &["rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs"],
        );
        check(
            &rules(json!({"verbs": []}), true),
            &[
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ],
        );
    }

    #[test]
    fn a_binding_names_a_role_and_whom_it_is_for() {
        let mut object = json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
            {"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]});
        default_binding(&mut object);
        check(&binding_problems(&object, &["Role", "ClusterRole"]), &[]);
        check(
            &binding_problems(&object, &["ClusterRole"]),
            &["roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""],
        );
        object["subjects"] = json!([{"kind": "ServiceAccount", "name": "s"}, {"kind": "Robot", "name": "x"}]);
        check(
            &binding_problems(&object, &["Role"]),
            &[
                "subjects[0].namespace: Required value",
                "subjects[1].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
            ],
        );
        let mut other = object.clone();
        other["roleRef"]["name"] = json!("other");
        assert_eq!(same_role(&object, &other).len(), 1);
        assert!(same_role(&object, &object).is_empty());
    }
}
