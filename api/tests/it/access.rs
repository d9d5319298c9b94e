//! Who may do what.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::server::{Answer, Server, ask};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const AUTHZ: &str = "/apis/authorization.k8s.io/v1";
const AUTHN: &str = "/apis/authentication.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server whose default roles are gathered, as its controller would, and whose users `view`, `edit` and `admin` have the
/// role of their name in the namespace `default`, and `everywhere` views all namespaces.
async fn start() -> Server {
    let server = Server::start().await;
    for _ in 0..3 {
        let roles = server.get(&format!("{RBAC}/clusterroles")).await.expect(200).body["items"].as_array().unwrap().clone();
        for role in &roles {
            if let Some(rules) = logic::rbac::aggregated(role, roles.iter()) {
                let uri = format!("{RBAC}/clusterroles/{}", role["metadata"]["name"].as_str().unwrap());
                server.merge(&uri, json!({"rules": rules})).await.expect(200);
            }
        }
    }
    for role in ["view", "edit", "admin"] {
        bind(&server, "namespaces/default/rolebindings", "ClusterRole", role, role).await.expect(201);
    }
    bind(&server, "clusterrolebindings", "ClusterRole", "view", "everywhere").await.expect(201);
    server.post(MAPS, json!({"metadata": {"name": "a"}})).await.expect(201);
    server
}

async fn bind(server: &Server, place: &str, kind: &str, role: &str, user: &str) -> Answer {
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": if place.contains('/') { "RoleBinding" } else { "ClusterRoleBinding" },
        "metadata": {"name": format!("{role}-{user}")}, "subjects": [{"kind": "User", "name": user}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}});
    server.post(&format!("{RBAC}/{place}"), binding).await
}

fn role(name: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": [resource], "verbs": verbs}]})
}

/// Each route of a kind with each method, and which of the users may: a letter each for nobody, view, edit, admin and
/// everywhere, or a dash.
const TABLE: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/namespaces/default/configmaps", "-veaw"),
    ("GET", "/api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=1", "-veaw"),
    ("GET", "/api/v1/watch/namespaces/default/configmaps?timeoutSeconds=1", "-veaw"),
    ("GET", "/api/v1/namespaces/default/configmaps/a", "-veaw"),
    ("HEAD", "/api/v1/namespaces/default/configmaps/a", "-veaw"),
    ("POST", "/api/v1/namespaces/default/configmaps", "--ea-"),
    ("PUT", "/api/v1/namespaces/default/configmaps/a", "--ea-"),
    ("PATCH", "/api/v1/namespaces/default/configmaps/a", "--ea-"),
    ("DELETE", "/api/v1/namespaces/default/configmaps/none", "--ea-"),
    ("DELETE", "/api/v1/namespaces/default/configmaps?labelSelector=none", "--ea-"),
    ("GET", "/api/v1/configmaps", "----w"),
    ("GET", "/api/v1/namespaces/kube-system/configmaps", "----w"),
    ("POST", "/api/v1/namespaces/kube-system/configmaps", "-----"),
    ("GET", "/api/v1/namespaces/default/secrets", "--ea-"),
    ("GET", "/api/v1/namespaces/default/secrets/a", "--ea-"),
    ("POST", "/api/v1/namespaces/default/secrets", "--ea-"),
    ("GET", "/api/v1/namespaces", "----w"),
    ("GET", "/api/v1/namespaces/default", "-veaw"),
    ("POST", "/api/v1/namespaces", "-----"),
    ("DELETE", "/api/v1/namespaces/default", "-----"),
    ("PUT", "/api/v1/namespaces/default/finalize", "-----"),
    ("GET", "/api/v1/nodes", "-----"),
    ("PATCH", "/api/v1/nodes/a/status", "-----"),
    ("GET", "/api/v1/namespaces/default/pods/p", "-veaw"),
    ("GET", "/api/v1/namespaces/default/pods/p/log", "-veaw"),
    ("GET", "/api/v1/namespaces/default/pods/p/status", "-veaw"),
    ("PATCH", "/api/v1/namespaces/default/pods/p/status", "-----"),
    ("POST", "/api/v1/namespaces/default/pods/p/binding", "-----"),
    ("POST", "/api/v1/namespaces/default/pods/p/eviction", "--ea-"),
    ("POST", "/api/v1/namespaces/default/pods/p/exec?command=x", "--ea-"),
    ("GET", "/api/v1/namespaces/default/pods/p/exec?command=x", "--ea-"),
    ("GET", "/api/v1/namespaces/default/pods/p/attach", "--ea-"),
    ("GET", "/api/v1/namespaces/default/pods/p/portforward", "--ea-"),
    ("GET", "/apis/conductor.dev/v1/namespaces/default/services", "-veaw"),
    ("POST", "/apis/conductor.dev/v1/namespaces/default/services", "--ea-"),
    ("GET", "/apis/conductor.dev/v1/namespaces/default/services/s/scale", "-veaw"),
    ("PATCH", "/apis/conductor.dev/v1/namespaces/default/services/s/scale", "--ea-"),
    ("PATCH", "/apis/conductor.dev/v1/namespaces/default/services/s/status", "-----"),
    ("PATCH", "/apis/conductor.dev/v1/namespaces/default/routetables/s", "-----"),
    ("POST", "/api/v1/namespaces/default/serviceaccounts/a/token", "---a-"),
    ("GET", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", "---a-"),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", "---a-"),
    ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "-----"),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "-----"),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "nveaw"),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "nveaw"),
    ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "nveaw"),
    ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "-----"),
    ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "-----"),
    ("POST", "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews", "---a-"),
    ("GET", "/apis/none.example.dev/v1/things", "-----"),
    ("GET", "/api/v1/namespaces/default/gadgets", "-----"),
    ("OPTIONS", "/api/v1/namespaces/default/configmaps", "-----"),
    ("GET", "/api", "nveaw"),
    ("GET", "/apis/conductor.dev/v1", "nveaw"),
    ("GET", "/openapi/v3", "nveaw"),
    ("GET", "/version", "nveaw"),
    ("GET", "/healthz", "nveaw"),
    ("POST", "/version", "-----"),
    ("GET", "/metrics", "-----"),
];

#[tokio::test]
async fn every_route_is_open_to_those_it_should_be() {
    let server = start().await;
    let mut wrong = Vec::new();
    for (method, uri, expected) in TABLE {
        for (at, user) in ["nobody", "view", "edit", "admin", "everywhere"].into_iter().enumerate() {
            // No body can be read as an object, so that what is let through changes nothing.
            let answer = server.as_user(user).send(method, uri, "application/json", "{nope").await;
            let may = expected.as_bytes()[at] != b'-';
            if (answer.code != 403) != may {
                wrong.push(format!("{user} {method} {uri}: {} {}", answer.code, answer.text));
            }
        }
        let stranger = Request::builder().method(*method).uri(*uri).body(Body::empty()).unwrap();
        let open = ["/version", "/healthz"].contains(uri) && *method == "GET";
        let code = ask(&server.stranger, stranger).await.code;
        if (code != 403) != open {
            wrong.push(format!("anonymous {method} {uri}: {code}"));
        }
        let code = server.send(method, uri, "application/json", "{nope").await.code;
        if code == 403 || code == 401 {
            wrong.push(format!("the administrator {method} {uri}: {code}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn rights_hold_from_the_answer_on_and_end_with_the_binding() {
    let server = start().await;
    let jane = server.as_user("jane");
    let why = jane.get(MAPS).await.refused(403, "Forbidden");
    assert_eq!(
        why,
        "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    bind(&server, "namespaces/default/rolebindings", "Role", "reader", "jane").await.expect(201);
    let why = jane.get(MAPS).await.refused(403, "Forbidden");
    assert!(why.ends_with("in the namespace \"default\": RBAC: role.rbac.authorization.k8s.io \"reader\" not found"), "{why}");
    server.post(&format!("{RBAC}/namespaces/default/roles"), role("reader", "configmaps", &["list"])).await.expect(201);
    jane.get(MAPS).await.expect(200);
    jane.get(&format!("{MAPS}/a")).await.refused(403, "Forbidden");
    server.delete(&format!("{RBAC}/namespaces/default/rolebindings/reader-jane")).await.expect(200);
    jane.get(MAPS).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn nobody_gives_away_what_they_do_not_have() {
    let server = start().await;
    let admin = server.as_user("admin");
    let roles = format!("{RBAC}/namespaces/default/roles");
    admin.post(&roles, role("within", "configmaps", &["get"])).await.expect(201);
    let why = admin.post(&roles, role("beyond", "nodes", &["get", "list"])).await.refused(403, "Forbidden");
    assert!(why.ends_with("not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}"), "{why}");
    let uri = format!("{roles}/within");
    admin.merge(&uri, json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
    admin.merge(&uri, role("within", "nodes", &["get"])).await.refused(403, "Forbidden");
    let apply = "application/apply-patch+yaml";
    let applied =
        admin.send("PATCH", &format!("{roles}/applied?fieldManager=x"), apply, role("applied", "nodes", &["get"]).to_string()).await;
    applied.refused(403, "Forbidden");
    bind(&admin, "namespaces/default/rolebindings", "Role", "within", "jane").await.expect(201);
    bind(&admin, "namespaces/default/rolebindings", "ClusterRole", "cluster-admin", "admin").await.refused(403, "Forbidden");
    bind(&admin, "namespaces/default/rolebindings", "Role", "gone", "jane").await.refused(404, "NotFound");
    bind(&server, "namespaces/default/rolebindings", "Role", "gone", "jane").await.expect(201);
    let gone = format!("{RBAC}/namespaces/default/rolebindings/gone-jane");
    admin.merge(&gone, json!({"subjects": [{"kind": "User", "name": "eve"}]})).await.refused(404, "NotFound");
    server
        .post(
            &roles,
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "binder"}, "rules": [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "clusterroles"], "verbs": ["bind", "escalate"]}]}),
        )
        .await
        .expect(201);
    bind(&server, "namespaces/default/rolebindings", "Role", "binder", "admin").await.expect(201);
    bind(&admin, "namespaces/default/rolebindings", "ClusterRole", "cluster-admin", "admin").await.expect(201);
}

#[tokio::test]
async fn a_service_account_has_tokens_that_end_with_it() {
    let server = start().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.post(accounts, json!({"metadata": {"name": "bot"}})).await.expect(201);
    let token = async |body: Value| server.post(&format!("{accounts}/bot/token"), body).await;
    let made = token(json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})).await.expect(201).body;
    assert_eq!(made["status"]["expirationTimestamp"], "2026-01-02T04:04:05Z");
    let text = made["status"]["token"].as_str().unwrap().to_owned();
    let why = server.with_token(&text, MAPS).await.refused(403, "Forbidden");
    assert!(why.contains("User \"system:serviceaccount:default:bot\" cannot list"), "{why}");
    server.with_token(&format!("{text}x"), MAPS).await.refused(401, "Unauthorized");
    let review = server
        .post(
            &format!("{AUTHN}/tokenreviews"),
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": text}}),
        )
        .await
        .expect(201)
        .body;
    assert_eq!(review["status"]["user"]["username"], "system:serviceaccount:default:bot");
    let elsewhere = token(json!({"spec": {"audiences": ["vault"]}})).await.expect(201).body["status"]["token"].as_str().unwrap().to_owned();
    server.with_token(&elsewhere, MAPS).await.refused(401, "Unauthorized");
    token(json!({"spec": {"expirationSeconds": 60}})).await.refused(422, "Invalid");
    token(json!({"spec": {"boundObjectRef": {"kind": "Secret", "name": "none"}}})).await.refused(404, "NotFound");
    server.post("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "s"}})).await.expect(201);
    let bound = token(json!({"spec": {"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "s"}}})).await.expect(201).body;
    let bound = bound["status"]["token"].as_str().unwrap().to_owned();
    server.with_token(&bound, "/api").await.expect(200);
    server.delete("/api/v1/namespaces/default/secrets/s").await.expect(200);
    server.with_token(&bound, "/api").await.refused(401, "Unauthorized");
    server.with_token(&text, "/api").await.expect(200);
    server.delete(&format!("{accounts}/bot")).await.expect(200);
    server.post(accounts, json!({"metadata": {"name": "bot"}})).await.expect(201);
    server.with_token(&text, "/api").await.refused(401, "Unauthorized");
}

#[tokio::test]
async fn a_stored_token_is_made_by_those_who_may_be_its_bearer() {
    let server = start().await;
    server.post("/api/v1/namespaces", json!({"metadata": {"name": "kube-system"}})).await.expect(201);
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let secret = |id: &str, user: &str| {
        let hash: String = Sha256::digest(format!("{id}.secret")).iter().map(|byte| format!("{byte:02x}")).collect();
        json!({"metadata": {"name": format!("conductor-token-{id}")}, "type": "conductor.dev/token",
            "data": {"hash": STANDARD.encode(hash), "user": STANDARD.encode(user)}})
    };
    server.post(secrets, secret("one", "view")).await.expect(201);
    server.with_token("one.secret", MAPS).await.expect(200);
    server.with_token("one.other", MAPS).await.refused(401, "Unauthorized");
    server.with_token("two.secret", MAPS).await.refused(401, "Unauthorized");
    bind(&server, "namespaces/kube-system/rolebindings", "ClusterRole", "edit", "eve").await.expect(201);
    let eve = server.as_user("eve");
    eve.post(secrets, json!({"metadata": {"name": "plain"}})).await.expect(201);
    let why = eve.post(secrets, secret("two", "admin")).await.refused(403, "Forbidden");
    assert!(why.contains("User \"eve\" cannot impersonate resource \"users\""), "{why}");
    eve.merge(&format!("{secrets}/conductor-token-one"), json!({"data": {"user": STANDARD.encode("admin")}}))
        .await
        .refused(403, "Forbidden");
}

#[tokio::test]
async fn no_token_lasts_longer_than_tokens_may() {
    let server = start().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.post(accounts, json!({"metadata": {"name": "bot"}})).await.expect(201);
    let asked = server.post(&format!("{accounts}/bot/token"), json!({"spec": {"expirationSeconds": 1_i64 << 32}})).await.expect(201);
    assert_eq!(asked.body["status"]["expirationTimestamp"], "2027-01-02T03:04:05Z", "shortened to a year, as Kubernetes does");
    assert_eq!(asked.body["spec"]["expirationSeconds"], 365 * 24 * 3_600);
    let warned = asked.warnings.join(" ");
    assert!(warned.contains("spec.expirationSeconds") && warned.contains("token-days"), "{warned}");

    server.post("/api/v1/namespaces", json!({"metadata": {"name": "kube-system"}})).await.expect(201);
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let secret = |name: &str, expires: Option<&str>| {
        let mut data = json!({"hash": STANDARD.encode("x"), "user": STANDARD.encode("jane")});
        if let Some(expires) = expires {
            data["expires"] = json!(STANDARD.encode(expires));
        }
        json!({"metadata": {"name": name}, "type": "conductor.dev/token", "data": data})
    };
    let made = server.post(secrets, secret("a", None)).await.expect(201);
    assert_eq!(made.body["data"]["expires"], STANDARD.encode("2027-01-02T03:04:05Z"));
    server.post(secrets, secret("b", Some("2027-01-02T03:04:05Z"))).await.expect(201);
    let why = server.post(secrets, secret("c", Some("2027-01-02T03:04:06Z"))).await.refused(422, "Invalid");
    assert!(why.contains("data.expires") && why.contains("365 days"), "{why}");
}

#[tokio::test]
async fn reviews_answer_what_requests_would_meet() {
    let server = start().await;
    let view = server.as_user("view");
    let spec = |verb: &str| json!({"resourceAttributes": {"namespace": "default", "verb": verb, "resource": "pods"}});
    let review = async |server: &Server, path: &str, kind: &str, spec: Value| {
        let group = path.trim_start_matches("/apis/").split('/').next().unwrap().to_owned();
        server.post(path, json!({"apiVersion": format!("{group}/v1"), "kind": kind, "spec": spec})).await
    };
    let own = format!("{AUTHZ}/selfsubjectaccessreviews");
    let allowed = review(&view, &own, "SelfSubjectAccessReview", spec("list")).await.expect(201).body;
    let reason = "RBAC: allowed by RoleBinding \"view-view/default\" of ClusterRole \"view\" to User \"view\"";
    assert_eq!(allowed["status"], json!({"allowed": true, "reason": reason}));
    let denied = review(&view, &own, "SelfSubjectAccessReview", spec("delete")).await.expect(201).body;
    assert_eq!(denied["status"], json!({"allowed": false}));
    review(&view, &own, "SelfSubjectAccessReview", json!({})).await.refused(422, "Invalid");
    let others = format!("{AUTHZ}/subjectaccessreviews");
    let mut asked = spec("delete");
    review(&server, &others, "SubjectAccessReview", asked.clone()).await.refused(422, "Invalid");
    asked["user"] = json!("edit");
    assert_eq!(review(&server, &others, "SubjectAccessReview", asked.clone()).await.expect(201).body["status"]["allowed"], true);
    let local = format!("{AUTHZ}/namespaces/default/localsubjectaccessreviews");
    let by_admin = server.as_user("admin");
    assert_eq!(review(&by_admin, &local, "LocalSubjectAccessReview", asked.clone()).await.expect(201).body["status"]["allowed"], true);
    asked["resourceAttributes"]["namespace"] = json!("other");
    review(&by_admin, &local, "LocalSubjectAccessReview", asked).await.refused(422, "Invalid");
    let rules = review(&view, &format!("{AUTHZ}/selfsubjectrulesreviews"), "SelfSubjectRulesReview", json!({"namespace": "default"})).await;
    assert!(rules.expect(201).text.contains("routetables"));
    let me = review(&view, &format!("{AUTHN}/selfsubjectreviews"), "SelfSubjectReview", json!({})).await.expect(201).body;
    assert_eq!(me["status"]["userInfo"], json!({"username": "view", "groups": ["system:authenticated"]}));
    server.get(&own).await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn a_list_of_one_name_is_a_right_to_that_name() {
    let server = start().await;
    let mut one = role("one", "configmaps", &["list", "watch"]);
    one["rules"][0]["resourceNames"] = json!(["a"]);
    server.post(&format!("{RBAC}/namespaces/default/roles"), one).await.expect(201);
    bind(&server, "namespaces/default/rolebindings", "Role", "one", "jane").await.expect(201);
    let jane = server.as_user("jane");
    jane.get(&format!("{MAPS}?fieldSelector=metadata.name%3Da")).await.expect(200);
    jane.get(&format!("{MAPS}?fieldSelector=metadata.name%3Db")).await.refused(403, "Forbidden");
    jane.get(MAPS).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn who_asks_too_much_is_told_to_wait_and_administrators_are_not() {
    let server = Server::with_limits(api::Limits { requests_per_second: 1, burst: 2, ..api::Limits::default() }).await;
    let jane = server.as_user("jane");
    for _ in 0..2 {
        jane.get("/version").await.expect(200);
    }
    let refused = jane.get("/version").await.expect(429);
    assert_eq!((&refused.body["reason"], &refused.body["details"]["retryAfterSeconds"]), (&json!("TooManyRequests"), &json!(1)));
    server.as_user("other").get("/version").await.expect(200);
    for _ in 0..10 {
        server.get(MAPS).await.expect(200);
    }
}
