//! What nodes and Pods use, asked of the agents of the nodes: the kinds of `model::usage`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures::future::join_all;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use model::Kind;
use model::usage::{Measured, of_node, of_pod};
use serde_json::{Value, json};
use store::ListOptions;
use tower::ServiceExt as _;

use crate::answer::{self, Accepted, View};
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::table::{Include, table};
use crate::verbs::Selection;
use crate::{Server, object};

/// How long an agent may take to measure.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one node or Pod uses. Errors: 404, also for what does not run; 406; 503 when its node does not answer.
pub async fn get(call: &Call) -> Result<Response> {
    let (accepted, name, kept) = (call.accepted()?, call.name()?, kept(call.kind()));
    let missing = || Status::not_found(call.kind(), name);
    let entry = call.server.store.get(&object::key(&kept, call.place.namespace.as_deref(), name), None).await?.ok_or_else(missing)?;
    let about = object::decode(&entry);
    let node = node_of(call.kind(), &about).ok_or_else(missing)?;
    let measured = measure(&call.server, node).await?;
    let told = tell(call.kind(), &about, &measured).ok_or_else(missing)?;
    let value = match accepted.view {
        View::Whole => told,
        View::Metadata => answer::metadata_only(accepted.meta, &told),
        View::Table => in_table(call, accepted, &[told]),
    };
    Ok(answer::value(accepted.format, StatusCode::OK, &value))
}

/// What nodes or Pods use; those that do not run, or whose node does not answer, are left out. Errors: 400, 406.
pub async fn list(call: &Call) -> Result<Response> {
    let (accepted, kind) = (call.accepted()?, call.kind());
    let selection = Selection::parse(kind, &call.query, None)?;
    let prefix = object::prefix(&kept(kind), call.place.namespace.as_deref());
    let page = call.server.store.list(ListOptions { prefix, ..ListOptions::default() }).await?;
    let mut chosen: Vec<Value> = page.entries.iter().map(object::decode).collect();
    chosen.retain(|about| selection.matches(about));
    let nodes: BTreeSet<&str> = chosen.iter().filter_map(|about| node_of(kind, about)).collect();
    let measured = join_all(nodes.into_iter().map(async |node| Some((node, measure(&call.server, node).await.ok()?)))).await;
    let measured: HashMap<&str, Measured> = measured.into_iter().flatten().collect();
    let told: Vec<Value> = chosen.iter().filter_map(|about| tell(kind, about, measured.get(node_of(kind, about)?)?)).collect();
    let value = match accepted.view {
        View::Whole => json!({"kind": kind.list_kind, "apiVersion": kind.api_version(), "metadata": {}, "items": untyped(told)}),
        View::Table => in_table(call, accepted, &told),
        View::Metadata => {
            let items: Vec<Value> = told.iter().map(|object| answer::metadata_only(accepted.meta, object)).collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": accepted.meta, "metadata": {}, "items": items})
        }
    };
    Ok(answer::value(accepted.format, StatusCode::OK, &value))
}

/// The kind of what is measured.
fn kept(kind: &Kind) -> Kind {
    if kind.is_namespaced() { model::pod::kind() } else { model::node::kind() }
}

/// The node that measures a node or a Pod; `None` for a Pod that has none.
fn node_of<'a>(kind: &Kind, about: &'a Value) -> Option<&'a str> {
    let node = if kind.is_namespaced() { &about["spec"]["nodeName"] } else { &about["metadata"]["name"] };
    node.as_str().filter(|node| !node.is_empty())
}

fn tell(kind: &Kind, about: &Value, measured: &Measured) -> Option<Value> {
    if kind.is_namespaced() { of_pod(about, measured) } else { of_node(about, measured) }
}

/// Has a node measure. Errors: 503.
async fn measure(server: &Server, node: &str) -> Result<Measured> {
    let cannot = |why: &str| Status::unavailable(format!("the agent of node {node} {why}"));
    let agent = server.nodes.connect(node).ok_or_else(|| cannot("cannot be reached"))?;
    let request = Request::get("/usage").body(Body::empty()).map_err(|error| Status::internal(error.to_string()))?;
    let asked = async { agent.oneshot(request).await.unwrap_or_else(|never| match never {}).into_body().collect().await };
    let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, asked).await else { return Err(cannot("did not answer in time")) };
    serde_json::from_slice(&answer.to_bytes()).map_err(|error| cannot(&format!("said what cannot be read: {error}")))
}

fn in_table(call: &Call, accepted: Accepted, told: &[Value]) -> Value {
    // What was asked for otherwise was refused when the call was accepted.
    let include = Include::parse(call.query.get("includeObject")).unwrap_or_default();
    table(accepted.meta, call.kind(), told, &json!({}), include, true, call.server.clock.now())
}

/// The items of a list, which say their kind once.
fn untyped(mut items: Vec<Value>) -> Vec<Value> {
    for fields in items.iter_mut().filter_map(Value::as_object_mut) {
        fields.retain(|name, _| name != "apiVersion" && name != "kind");
    }
    items
}
