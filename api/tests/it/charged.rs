//! Who pays for what is asked: nobody pays for another.

use std::time::Duration;

use api::Limits;
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A server whose users `greedy` and `other` may do everything with ConfigMaps.
async fn start(limits: Limits) -> Server {
    let server = Server::with_limits(limits).await;
    let role = json!({"metadata": {"name": "maps"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]});
    server.post(&format!("{ROLES}/clusterroles"), role).await.expect(201);
    let subjects: Vec<Value> = ["greedy", "other"].iter().map(|name| json!({"kind": "User", "name": name})).collect();
    let binding = json!({"metadata": {"name": "maps"}, "subjects": subjects,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "maps"}});
    server.post(&format!("{ROLES}/clusterrolebindings"), binding).await.expect(201);
    server
}

async fn body(server: &Server, uri: &str) -> Body {
    let response = server.router.clone().oneshot(Request::get(uri).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// The next piece, where it comes soon.
async fn piece(body: &mut Body) -> Option<Bytes> {
    let frame = tokio::time::timeout(Duration::from_millis(300), body.frame()).await.ok()??;
    frame.unwrap().into_data().ok()
}

#[tokio::test]
async fn requests_whose_bodies_never_come_keep_nobody_out() {
    let server = start(Limits { in_flight_max: 20, in_flight_each_max: 20, ..Limits::default() }).await;
    let greedy = server.as_user("greedy");
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
            let request = Request::post(MAPS).header("content-type", "application/json").body(never).unwrap();
            tokio::spawn(greedy.router.clone().oneshot(request))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let other = server.as_user("other");
    for number in 0..20 {
        other.post(MAPS, json!({"metadata": {"name": format!("m{number}")}})).await.expect(201);
    }
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_a_user_does_not_read_is_charged_to_that_user_and_ends_with_the_reading() {
    let server = start(Limits { bytes_each_max: 1 << 20, ..Limits::default() }).await;
    for number in 0..4 {
        let map = json!({"metadata": {"name": format!("m{number}")}, "data": {"a": "x".repeat(100_000)}});
        server.post(MAPS, map).await.expect(201);
    }
    let (greedy, other) = (server.as_user("greedy"), server.as_user("other"));
    let mut held = Vec::new();
    let mut watches = Vec::new();
    for _ in 0..30 {
        let mut watch = body(&greedy, &format!("{MAPS}?watch=true")).await;
        held.extend(piece(&mut watch).await);
        watches.push(watch);
    }
    let bytes: usize = held.iter().map(Bytes::len).sum();
    assert!((500_000..=1 << 20).contains(&bytes), "{bytes} bytes wait for one user");
    let mut watch = body(&other, &format!("{MAPS}?watch=true")).await;
    for _ in 0..4 {
        assert!(piece(&mut watch).await.unwrap().len() > 100_000, "another user reads on");
    }
    let next = &mut watches[held.len()];
    assert!(piece(next).await.is_none());
    held.clear();
    assert!(piece(next).await.is_some(), "what was read is given back");
}

#[tokio::test]
async fn a_watch_begins_with_all_objects_however_many_and_goes_on_without_a_gap() {
    let server = start(Limits::default()).await;
    for number in 0..300 {
        server.post(MAPS, json!({"metadata": {"name": format!("m{number:03}")}})).await.expect(201);
    }
    let other = server.as_user("other");
    let mut watch =
        body(&other, &format!("{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")).await;
    let mut text = piece(&mut watch).await.unwrap().to_vec();
    // Written while the beginning is being sent.
    server.post(MAPS, json!({"metadata": {"name": "later"}})).await.expect(201);
    server.delete(&format!("{MAPS}/m299")).await.expect(200);
    while let Some(more) = piece(&mut watch).await {
        text.extend_from_slice(&more);
    }
    let events: Vec<Value> =
        text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["object"]["metadata"]["name"].as_str().unwrap_or("-")).collect();
    let expected: Vec<String> = (0..300).map(|number| format!("m{number:03}")).collect();
    assert_eq!(names[..300], expected.iter().map(String::as_str).collect::<Vec<_>>());
    let ends: Vec<&str> = events[300..].iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!((ends, &names[300..]), (vec!["BOOKMARK", "ADDED", "DELETED"], &["-", "later", "m299"][..]));
}

#[tokio::test]
async fn one_principal_has_so_many_watches_and_an_administrator_any_number() {
    let server = start(Limits { streams_each_max: 3, ..Limits::default() }).await;
    let greedy = server.as_user("greedy");
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(body(&greedy, &format!("{MAPS}?watch=true")).await);
    }
    greedy.get(&format!("{MAPS}?watch=true")).await.refused(429, "TooManyRequests");
    open.pop();
    open.push(body(&greedy, &format!("{MAPS}?watch=true")).await);
    for _ in 0..10 {
        open.push(body(&server, &format!("{MAPS}?watch=true")).await);
    }
}
