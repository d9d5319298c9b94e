//! What was begun to be changed is changed, served and told of, whatever becomes of whoever asked.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{AuditLog, Record, User};
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::server::Server;

/// A log in memory.
#[derive(Default)]
struct Kept {
    lines: Mutex<Vec<(Record, Value)>>,
    open: Mutex<BTreeSet<u64>>,
    last: AtomicU64,
}

impl AuditLog for Kept {
    fn keep(&self, record: Record, _: &str, line: String) {
        self.lines.lock().unwrap().push((record, serde_json::from_str(&line).unwrap()));
    }

    fn intend(&self, line: String) -> u64 {
        assert!(serde_json::from_str::<Value>(&line).unwrap()["code"].is_null());
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        self.open.lock().unwrap().insert(number);
        number
    }

    fn settled(&self, intent: u64) {
        assert!(self.open.lock().unwrap().remove(&intent));
    }

    fn reads(&self) -> bool {
        true
    }
}

impl Kept {
    fn of(&self, record: Record) -> Vec<Value> {
        self.lines.lock().unwrap().iter().filter(|(kept, _)| *kept == record).map(|(_, line)| line.clone()).collect()
    }
}

async fn audited() -> (Server, Arc<Kept>) {
    let (server, kept) = (Server::start().await, Arc::new(Kept::default()));
    server.api.audit_to(Arc::clone(&kept) as Arc<dyn AuditLog>);
    (server, kept)
}

fn definition(number: usize) -> Value {
    json!({"metadata": {"name": format!("things{number}.t.test")}, "spec": {"group": "t.test", "scope": "Namespaced",
        "names": {"plural": format!("things{number}"), "kind": format!("Thing{number}")},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutation_outlives_its_client() {
    let (server, kept) = audited().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for number in 0..1_000_usize {
        let (uri, body) = match number % 50 {
            0 => (DEFINITIONS, definition(number)),
            _ => (maps, json!({"metadata": {"generateName": "m-"}})),
        };
        let request = Request::post(uri).header("content-type", "application/json").body(Body::from(body.to_string())).unwrap();
        // Cut off after 0 to 1,000 microseconds, or as soon as it was looked at once.
        let patience = Duration::from_micros(u64::try_from(number * 7_919 % 1_000).unwrap());
        let _ = tokio::time::timeout(patience, server.router.clone().oneshot(request)).await;
    }
    server.api.settled().await;
    let stored = server.get(maps).await.body["items"].as_array().unwrap().len();
    let made = server.get(DEFINITIONS).await.body["items"].as_array().unwrap().clone();
    let told = kept.of(Record::Change);
    assert!(stored > 0 && !made.is_empty());
    assert_eq!(told.len(), stored + made.len());
    let names: BTreeSet<&str> = told.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), told.len(), "each is told of by the name it got");
    assert!(kept.open.lock().unwrap().is_empty(), "nothing is left open");
    for definition in made {
        let plural = definition["spec"]["names"]["plural"].as_str().unwrap();
        server.get(&format!("/apis/t.test/v1/namespaces/default/{plural}")).await.expect(200);
    }
}

#[tokio::test]
async fn a_deed_that_changes_nothing_is_no_change_and_a_read_of_a_secret_a_read() {
    let (server, kept) = audited().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    server.post(&format!("{maps}?dryRun=All"), r#"{"metadata": {"name": "a"}}"#).await.expect(201);
    server.delete(&format!("{maps}/none")).await.expect(404);
    server.as_user("jane").post(maps, r#"{"metadata": {"name": "a"}}"#).await.expect(403);
    assert_eq!((kept.of(Record::Change).len(), kept.of(Record::Refusal).len()), (0, 3));
    assert_eq!(kept.last.load(Ordering::Relaxed), 0, "and nothing was intended");
    server.get("/api/v1/namespaces/default/secrets").await.expect(200);
    assert_eq!(kept.of(Record::Read)[0]["verb"], "list");
    let ours = server.api.router_for(User::master("system:conductor:agent"));
    let request =
        Request::post(maps).header("content-type", "application/json").body(Body::from(r#"{"metadata": {"name": "b"}}"#)).unwrap();
    assert_eq!(ours.oneshot(request).await.unwrap().status(), 201);
    assert_eq!((kept.of(Record::Change).len(), kept.last.load(Ordering::Relaxed)), (0, 0), "its cause is in the object");
}

#[tokio::test]
async fn a_line_is_bounded() {
    let (server, kept) = audited().await;
    let long = "x".repeat(20_000);
    server.post(&format!("/api/v1/namespaces/default/{long}"), "{}").await.expect(404);
    server.delete(&format!("/api/v1/namespaces/{long}/configmaps/{long}")).await;
    assert!(kept.of(Record::Refusal).iter().all(|line| line.to_string().len() < 4_000));
    assert_eq!(kept.of(Record::Refusal).len(), 2);
}
