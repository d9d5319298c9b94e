//! Hosts have owners: what another namespace holds, and what holds all of them, is not to be had. Part of `make attack`.

use serde_json::{Value, json};

use crate::crud::service;
use crate::server::Server;

const GROUP: &str = "rbac.authorization.k8s.io";

fn routed(name: &str, host: &str, path: &str) -> Value {
    let mut made = service(name);
    made["spec"]["routes"] = json!([{"host": host, "path": path, "part": "web", "port": "http"}]);
    made
}

fn services(namespace: &str) -> String {
    format!("/apis/conductor.dev/v1/namespaces/{namespace}/services")
}

/// Two namespaces, each with somebody who may write Services in it.
async fn two() -> (Server, Server, Server) {
    let server = Server::start().await;
    let rules = json!([{"apiGroups": ["conductor.dev"], "resources": ["services"], "verbs": ["*"]}]);
    server.post(&format!("/apis/{GROUP}/v1/clusterroles"), json!({"metadata": {"name": "writer"}, "rules": rules})).await.expect(201);
    for name in ["a", "b"] {
        server.post("/api/v1/namespaces", json!({"metadata": {"name": name}})).await.expect(201);
        allow(&server, name, "writer").await;
    }
    allow(&server, "default", "writer").await;
    let (a, b) = (server.as_user("a"), server.as_user("b"));
    (server, a, b)
}

async fn allow(server: &Server, namespace: &str, role: &str) {
    let binding = json!({"metadata": {"name": role}, "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": GROUP, "kind": "User", "name": namespace}]});
    server.post(&format!("/apis/{GROUP}/v1/namespaces/{namespace}/rolebindings"), binding).await.expect(201);
}

#[tokio::test]
async fn a_path_of_a_host_that_another_namespace_holds_is_not_to_be_had() {
    let (_, a, b) = two().await;
    b.post(&services("b"), routed("shop", "shop.test", "/")).await.expect(201);
    for host in ["shop.test", "SHOP.test", "shop.test."] {
        let refused = a.post(&services("a"), routed("thief", host, "/login")).await;
        assert_eq!(refused.code, 422, "{refused:?}");
    }
    let refused = a.post(&services("a"), routed("thief", "shop.test", "/login")).await.refused(422, "Invalid");
    assert!(refused.contains("host \"shop.test\" is held by namespace b"), "{refused}");
    a.post(&services("a"), routed("own", "own.test", "/")).await.expect(201);
    let moved = json!({"spec": {"routes": [{"host": "shop.test", "path": "/x", "part": "web", "port": "http"}]}});
    a.merge(&format!("{}/own", services("a")), moved).await.refused(422, "Invalid");
    b.post(&services("b"), routed("more", "shop.test", "/more")).await.expect(201);
}

#[tokio::test]
async fn every_host_at_once_needs_a_verb_of_its_own() {
    let (server, a, _) = two().await;
    for host in ["", "*.test"] {
        let refused = a.post(&services("a"), routed("all", host, "/")).await.refused(422, "Invalid");
        assert!(refused.contains("needs the verb \"claim\" on hosts.conductor.dev"), "{refused}");
    }
    let rules = json!([{"apiGroups": ["conductor.dev"], "resources": ["hosts"], "resourceNames": ["*.test"], "verbs": ["claim"]}]);
    server.post(&format!("/apis/{GROUP}/v1/clusterroles"), json!({"metadata": {"name": "claimer"}, "rules": rules})).await.expect(201);
    allow(&server, "a", "claimer").await;
    a.post(&services("a"), routed("all", "*.test", "/")).await.expect(201);
    a.post(&services("a"), routed("any", "", "/")).await.refused(422, "Invalid");
    server.post(&services("default"), routed("any", "", "/")).await.expect(201);
}

#[tokio::test]
async fn a_host_below_a_wildcard_of_another_namespace_is_that_ones() {
    let (server, a, b) = two().await;
    server.post(&services("b"), routed("all", "*.shop.test", "/")).await.expect(201);
    let refused = a.post(&services("a"), routed("thief", "api.shop.test", "/")).await.refused(422, "Invalid");
    assert!(refused.contains("is held by namespace b as \"*.shop.test\""), "{refused}");
    b.post(&services("b"), routed("api", "api.shop.test", "/")).await.expect(201);
}

#[tokio::test]
async fn a_host_is_free_again_when_its_last_route_is_given_up() {
    let (_, a, b) = two().await;
    b.post(&services("b"), routed("one", "shop.test", "/")).await.expect(201);
    b.post(&services("b"), routed("two", "shop.test", "/two")).await.expect(201);
    b.delete(&format!("{}/one", services("b"))).await.expect(200);
    a.post(&services("a"), routed("new", "shop.test", "/")).await.refused(422, "Invalid");
    b.delete(&format!("{}/two", services("b"))).await.expect(200);
    a.post(&services("a"), routed("new", "shop.test", "/")).await.expect(201);
    b.post(&services("b"), routed("back", "shop.test", "/back")).await.refused(422, "Invalid");
}
