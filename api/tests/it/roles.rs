//! Who may run code, and where: each default role against each way of running code. Part of `make attack`.

use serde_json::{Value, json};

use crate::server::Server;

/// Every way of running code, or of becoming somebody who may: verb, group, resource with subresource.
const WAYS: [(&str, &str, &str); 30] = [
    ("create", "", "pods"),
    ("update", "", "pods"),
    ("patch", "", "pods"),
    ("create", "", "pods/exec"),
    ("get", "", "pods/exec"),
    ("create", "", "pods/attach"),
    ("create", "", "pods/portforward"),
    ("update", "", "pods/ephemeralcontainers"),
    ("create", "", "pods/binding"),
    ("create", "batch", "jobs"),
    ("create", "batch", "cronjobs"),
    ("create", "conductor.dev", "services"),
    ("update", "conductor.dev", "services/scale"),
    ("create", "conductor.dev", "revisions"),
    ("create", "conductor.dev", "routetables"),
    ("create", "", "secrets"),
    ("create", "", "serviceaccounts/token"),
    ("impersonate", "", "serviceaccounts"),
    ("impersonate", "", "users"),
    ("impersonate", "", "groups"),
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
    ("bind", "rbac.authorization.k8s.io", "clusterroles"),
    ("escalate", "rbac.authorization.k8s.io", "roles"),
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
    ("create", "", "namespaces"),
    ("patch", "", "namespaces"),
    ("create", "", "nodes"),
    ("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("create", "admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("create", "apiextensions.k8s.io", "customresourcedefinitions"),
];
/// What `edit` may in its own namespace, where programs are held to that.
const EDIT: [&str; 11] = [
    "create pods",
    "update pods",
    "patch pods",
    "create pods/exec",
    "get pods/exec",
    "create pods/attach",
    "create pods/portforward",
    "create jobs",
    "create cronjobs",
    "create services",
    "update services/scale",
];
/// What it may besides that runs nothing by itself.
const EDIT_MORE: [&str; 1] = ["create secrets"];

async fn allowed(server: &Server, namespace: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (verb, group, resource) in WAYS {
        let (plural, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let asked = json!({"verb": verb, "group": group, "resource": plural, "subresource": sub, "namespace": namespace});
        let review = json!({"spec": {"resourceAttributes": asked}});
        let answer = server.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review).await.expect(201).body;
        if answer["status"]["allowed"] == Value::Bool(true) {
            found.push(format!("{verb} {resource}"));
        }
    }
    found
}

#[tokio::test]
async fn no_default_role_below_the_administrators_runs_code_beyond_its_namespace() {
    let server = Server::start().await;
    server.post("/api/v1/namespaces", json!({"metadata": {"name": "shop"}})).await.expect(201);
    for (role, expected) in [
        ("view", vec![]),
        ("edit", [&EDIT[..], &EDIT_MORE[..]].concat()),
        (
            "admin",
            [&EDIT[..], &EDIT_MORE[..], &["create rolebindings", "create serviceaccounts/token", "impersonate serviceaccounts"]].concat(),
        ),
    ] {
        let group = "rbac.authorization.k8s.io";
        let binding = json!({"metadata": {"name": role}, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, "kind": "User", "name": role}]});
        // What roles are made of is gathered by a controller, which is not here.
        let found = server.get(&format!("/apis/{group}/v1/clusterroles/{role}")).await.expect(200).body;
        assert!(found["aggregationRule"].is_object(), "{found}");
        fill(&server, role).await;
        server.post(&format!("/apis/{group}/v1/namespaces/shop/rolebindings"), binding).await.expect(201);
        let user = server.as_user(role);
        assert_eq!(
            sorted(allowed(&user, "shop").await),
            sorted(expected.iter().map(ToString::to_string).collect()),
            "{role} in its namespace"
        );
        for other in ["default", "kube-system", ""] {
            assert_eq!(allowed(&user, other).await, Vec::<String>::new(), "{role} of shop in {other:?}");
        }
        let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
        user.merge("/api/v1/namespaces/shop", label).await.refused(403, "Forbidden");
    }
}

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}

/// Gives a role what its parts have, as the controller would.
async fn fill(server: &Server, role: &str) {
    let parts: &[&str] = match role {
        "view" => &["view"],
        "edit" => &["view", "edit"],
        _ => &["view", "edit", "admin"],
    };
    let mut rules = Vec::new();
    for part in parts {
        let uri = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:aggregate-to-{part}");
        rules.extend(server.get(&uri).await.expect(200).body["rules"].as_array().cloned().unwrap_or_default());
    }
    server.merge(&format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}"), json!({"rules": rules})).await.expect(200);
}
