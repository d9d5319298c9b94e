//! `conductor ps`: Services and their copies.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use client::Objects;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use model::{Clock as _, Kind, Revision, Service, labels};
use serde_json::Value;

use super::cells::cell;
use super::failure::{Failure, Result};
use super::grid::grid;
use super::output::{self, Output};
use super::reach::Reach;
use super::server::{Server, values};
use crate::clock::WallClock;

/// How often what is watched is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Has a terminal begin at its top again, with nothing on it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What `ps` can be told.
#[derive(Debug, Args)]
pub struct Ps {
    /// Services to show [default: all, and Pods of none]
    #[arg(value_parser = super::named::service)]
    services: Vec<String>,
    /// Show Services without their copies
    #[arg(long = "services")]
    only_services: bool,
    /// Of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Show them again whenever something changes, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// Everything there is to show, as JSON.
#[derive(Debug, Default)]
struct Scene {
    services: Vec<Value>,
    revisions: Vec<Value>,
    pods: Vec<Value>,
}

/// Which columns there are.
#[derive(Debug, Clone, Copy, Default)]
struct Columns {
    namespace: bool,
    wide: bool,
}

/// Shows Services, and below each its copies.
pub async fn ps(args: Ps) -> Result<()> {
    let server = args.reach.connect().await?;
    for name in &args.services {
        server.service(name).await?;
    }
    if args.watch { watch(&server, &args).await } else { show(&server, &args).await }
}

/// Shows what there is whenever it has changed. On a terminal the newest takes the place of what was there.
async fn watch(server: &Server, args: &Ps) -> Result<()> {
    if !args.output.is_for_people() {
        return Err(Failure::usage("--watch shows tables: for programs, `kubectl get services,pods --watch -o json`"));
    }
    let (mut last, is_terminal) = (String::new(), std::io::stdout().is_terminal());
    loop {
        let mut scene = observe(server, args).await?;
        scene.narrow(&args.services);
        // Ages alone are no change.
        let seen = format!("{:?}{:?}{:?}", scene.services, scene.revisions, scene.pods);
        if seen != last {
            let table = drawn(&scene, args);
            let begin = if is_terminal { CLEAR } else { "" };
            output::print_with(begin, &table)?;
            last = seen;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn drawn(scene: &Scene, args: &Ps) -> String {
    let columns = Columns { namespace: args.all_namespaces, wide: args.output.is_wide() };
    let now = WallClock.now();
    if args.only_services { services_table(scene, columns, now) } else { table(scene, columns, now) }
}

async fn show(server: &Server, args: &Ps) -> Result<()> {
    let mut scene = observe(server, args).await?;
    scene.narrow(&args.services);
    let objects: Vec<Value> = scene.services.iter().chain(&scene.pods).cloned().collect();
    if objects.is_empty() && args.output.is_for_people() {
        let place = if args.all_namespaces { "anywhere".to_owned() } else { format!("in namespace {}", server.namespace) };
        output::note(&format!("nothing runs {place}"));
        return Ok(());
    }
    args.output.objects(&objects, || drawn(&scene, args))
}

async fn observe(server: &Server, args: &Ps) -> Result<Scene> {
    let all = args.all_namespaces;
    let services = if all { Objects::all(&server.client) } else { server.objects::<Service>() };
    let services = services.list("").await?;
    if args.only_services {
        return Ok(Scene { services: values(&services)?, ..Scene::default() });
    }
    let revisions = if all { Objects::all(&server.client) } else { server.objects::<Revision>() };
    let pods = if all { Objects::all(&server.client) } else { server.objects::<Pod>() };
    let (revisions, pods) = (revisions.list("").await?, pods.list("").await?);
    Ok(Scene { services: values(&services)?, revisions: values(&revisions)?, pods: values(&pods)? })
}

impl Scene {
    /// Keeps these Services and what is theirs; everything where none is named.
    fn narrow(&mut self, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let is_named = |name: &Value| name.as_str().is_some_and(|name| names.iter().any(|other| other == name));
        self.services.retain(|service| is_named(&service["metadata"]["name"]));
        self.pods.retain(|pod| is_named(&pod["metadata"]["labels"][labels::SERVICE]));
    }

    fn copies(&self, service: &Value) -> impl Iterator<Item = &Value> {
        let (name, namespace) = (&service["metadata"]["name"], &service["metadata"]["namespace"]);
        self.pods
            .iter()
            .filter(move |pod| pod["metadata"]["labels"][labels::SERVICE] == *name && pod["metadata"]["namespace"] == *namespace)
    }

    /// Pods of no Service.
    fn others(&self) -> impl Iterator<Item = &Value> {
        self.pods.iter().filter(|pod| !self.services.iter().any(|service| self.copies(service).any(|copy| copy == *pod)))
    }

    /// The newest Revision that this copy is one of.
    fn revision_of(&self, pod: &Value) -> String {
        let own = &pod["metadata"]["labels"];
        let is_of = |revision: &&Value| {
            let mut parts = revision["spec"]["parts"].as_array().into_iter().flatten();
            revision["spec"]["service"] == own[labels::SERVICE]
                && revision["metadata"]["namespace"] == pod["metadata"]["namespace"]
                && parts.any(|part| part["name"] == own[labels::PART] && part["hash"] == own[labels::PART_HASH])
        };
        let newest = self.revisions.iter().filter(is_of).max_by_key(|revision| revision["spec"]["number"].as_i64());
        newest.map(|revision| text(&revision["metadata"]["name"])).unwrap_or_default()
    }
}

fn services_table(scene: &Scene, columns: Columns, now: Timestamp) -> String {
    let kind = model::service::kind();
    let row = |service: &Value| {
        let cells = ["Name", "Revision", "Ready", "State", "Routes", "Age"].map(|column| cell(&kind, column, service, now));
        columns.row(service, cells.to_vec())
    };
    grid(&columns.header(&["NAME", "REVISION", "READY", "STATE", "ROUTES", "AGE"]), &scene.services.iter().map(row).collect::<Vec<_>>())
}

fn table(scene: &Scene, columns: Columns, now: Timestamp) -> String {
    let mut header = columns.header(&["NAME", "REVISION", "READY", "STATE", "RESTARTS", "ENDPOINT"]);
    header.extend(columns.wide.then_some(["PART", "NODE"]).into_iter().flatten());
    header.push("AGE");
    let (service_kind, pod_kind) = (model::service::kind(), model::pod::kind());
    let mut rows = Vec::new();
    for service in &scene.services {
        rows.push(service_row(scene, &service_kind, service, columns, now));
        for pod in scene.copies(service) {
            rows.push(pod_row(scene, &pod_kind, pod, "  ", columns, now));
        }
    }
    rows.extend(scene.others().map(|pod| pod_row(scene, &pod_kind, pod, "", columns, now)));
    grid(&header, &rows)
}

fn service_row(scene: &Scene, kind: &Kind, service: &Value, columns: Columns, now: Timestamp) -> Vec<String> {
    let shown = |column| cell(kind, column, service, now);
    let pods = model::pod::kind();
    let restarts: u64 = scene.copies(service).filter_map(|pod| cell(&pods, "Restarts", pod, now).parse::<u64>().ok()).sum();
    let mut cells = vec![shown("Name"), shown("Revision"), shown("Ready"), shown("State"), restarts.to_string(), shown("Routes")];
    cells.extend(columns.wide.then(|| [String::new(), String::new()]).into_iter().flatten());
    cells.push(shown("Age"));
    columns.row(service, cells)
}

fn pod_row(scene: &Scene, kind: &Kind, pod: &Value, indent: &str, columns: Columns, now: Timestamp) -> Vec<String> {
    let shown = |column| cell(kind, column, pod, now);
    let name = format!("{indent}{}", shown("Name"));
    let mut cells = vec![name, scene.revision_of(pod), shown("Ready"), shown("Status"), shown("Restarts"), endpoint(pod)];
    cells.extend(columns.wide.then(|| [text(&pod["metadata"]["labels"][labels::PART]), shown("Node")]).into_iter().flatten());
    cells.push(shown("Age"));
    columns.row(pod, cells)
}

/// Where the ports of a copy are reached.
fn endpoint(pod: &Value) -> String {
    let written = text(&pod["metadata"]["annotations"][labels::ENDPOINTS]);
    let endpoints: BTreeMap<String, String> = serde_json::from_str(&written).unwrap_or_default();
    endpoints.into_values().collect::<Vec<_>>().join(",")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Columns {
    fn header<'a>(self, names: &[&'a str]) -> Vec<&'a str> {
        self.namespace.then_some("NAMESPACE").into_iter().chain(names.iter().copied()).collect()
    }

    fn row(self, object: &Value, cells: Vec<String>) -> Vec<String> {
        self.namespace.then(|| text(&object["metadata"]["namespace"])).into_iter().chain(cells).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(name: &str, labels: &Value) -> Value {
        let annotations = json!({labels::ENDPOINTS: "{\"http\":\"127.0.0.1:20001\"}"});
        json!({"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels, "annotations": annotations})
    }

    fn pod(name: &str, labels: &Value, restarts: i64) -> Value {
        let status =
            json!({"phase": "Running", "containerStatuses": [{"ready": true, "restartCount": restarts, "state": {"running": {}}}]});
        json!({"metadata": metadata(name, labels), "spec": {"nodeName": "n1", "containers": [{"name": "a"}]}, "status": status})
    }

    fn scene() -> Scene {
        let own = |hash: &str| json!({labels::SERVICE: "hello", labels::PART: "web", labels::PART_HASH: hash});
        let spec = json!({"parts": [{"name": "web", "replicas": 2}], "routes": [{"host": "hello.test", "path": "/"}]});
        let conditions = json!([{"type": "Ready", "status": "True"}]);
        let revision = |number: i64, hash: &str| {
            let spec = json!({"service": "hello", "number": number, "parts": [{"name": "web", "hash": hash}]});
            json!({"metadata": metadata(&format!("hello-{number}"), &json!({})), "spec": spec})
        };
        Scene {
            services: vec![json!({
                "metadata": metadata("hello", &json!({})), "spec": spec,
                "status": {"activeRevision": "hello-2", "readyReplicas": 2, "conditions": conditions},
            })],
            revisions: vec![revision(1, "a"), revision(2, "b"), revision(3, "b")],
            pods: vec![pod("alone", &json!({}), 0), pod("hello-web-1-0", &own("a"), 1), pod("hello-web-2-0", &own("b"), 2)],
        }
    }

    fn now() -> Timestamp {
        "2026-01-01T00:01:00Z".parse().unwrap()
    }

    #[test]
    fn copies_are_shown_below_their_service() {
        let expected = "\
NAME             REVISION  READY  STATE    RESTARTS  ENDPOINT         AGE
hello            hello-2   2/2    Ready    3         hello.test/      60s
  hello-web-1-0  hello-1   1/1    Running  1         127.0.0.1:20001  60s
  hello-web-2-0  hello-3   1/1    Running  2         127.0.0.1:20001  60s
alone            <none>    1/1    Running  0         127.0.0.1:20001  60s
";
        assert_eq!(table(&scene(), Columns::default(), now()), expected);
        assert!(expected.lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn wide_tables_and_those_of_all_namespaces_have_more_columns() {
        let shown = table(&scene(), Columns { namespace: true, wide: true }, now());
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>().join(" "),
            "NAMESPACE NAME REVISION READY STATE RESTARTS ENDPOINT PART NODE AGE"
        );
        assert!(
            lines[2].starts_with("default    hello-web-1-0".replace("    h", "      h").as_str())
                && lines[2].ends_with("web     n1      60s"),
            "{shown}"
        );
    }

    #[test]
    fn services_alone_show_their_routes() {
        let expected = "NAME   REVISION  READY  STATE  ROUTES       AGE\nhello  hello-2   2/2    Ready  hello.test/  60s\n";
        assert_eq!(services_table(&scene(), Columns::default(), now()), expected);
    }

    #[test]
    fn named_services_are_shown_alone() {
        let mut narrowed = scene();
        narrowed.narrow(&["hello".into()]);
        assert_eq!((narrowed.services.len(), narrowed.pods.len()), (1, 2));
        narrowed.narrow(&["other".into()]);
        assert_eq!((narrowed.services.len(), narrowed.pods.len()), (0, 0));
    }
}
