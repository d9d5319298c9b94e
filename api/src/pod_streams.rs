//! The way to what runs on a node: its logs, programs run in it, its ports.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use http::header::{CONNECTION, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::serve::Call;
use crate::status::{Result, Status};
use crate::withdrawn::Grant;
use crate::{access, admission, object};

/// Finds the agent of a node. In one process the agent's own router; across machines one that forwards.
pub trait NodeConnector: Send + Sync + 'static {
    /// The agent's service, or `None` when the node is unknown or away.
    fn connect(&self, node: &str) -> Option<Router>;
}

/// What a client that asks for SPDY would speak in its streams.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const LOG_PARAMETERS: [&str; 7] = ["follow", "previous", "tailLines", "sinceSeconds", "sinceTime", "timestamps", "limitBytes"];
const CONNECT_PARAMETERS: [&str; 6] = ["command", "stdin", "stdout", "stderr", "tty", "ports"];

/// `GET …/pods/NAME/log`: what a container wrote.
pub async fn log(call: &Call) -> Result<Response> {
    let pod = pod(call).await?;
    let mut query = format!("container={}", container_of(&pod, call.query.get("container"))?);
    for (parameter, value) in call.query.pairs() {
        if LOG_PARAMETERS.contains(&parameter.as_str()) {
            query.push_str(&format!("&{parameter}={}", escaped(value)));
        }
    }
    ask(call, &pod, "log", &query, Request::new(Body::empty())).await
}

/// `…/pods/NAME/exec`, `/attach` and `/portforward`: a WebSocket, or SPDY, to a Pod, which its node's agent answers. Who opens one with GET
/// must be allowed to `create` as well, since it changes things. Errors: 400 for a request that stays with HTTP.
pub async fn connect(call: &Call, subresource: &str) -> Result<Response> {
    access::authorize(&call.server, &call.user, "create", &call.place, &call.query).await?;
    let pod = pod(call).await?;
    let mut query = String::new();
    if subresource != "portforward" {
        query = format!("container={}", container_of(&pod, call.query.get("container"))?);
    }
    for (parameter, value) in call.query.pairs() {
        if CONNECT_PARAMETERS.contains(&parameter.as_str()) {
            query.push_str(&format!("&{parameter}={}", escaped(value)));
        }
    }
    admission::ask(call, "CONNECT", &Value::Null, &options(call, subresource), false).await?;
    let upgrades = |to: &str| call.headers.get(UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(to.as_bytes()));
    if !upgrades("websocket") && !upgrades("SPDY/3.1") {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let mut request = Request::new(Body::empty());
    *request.extensions_mut() = call.extensions.clone();
    let place = call.principal.as_deref().map(|principal| principal.stream()).transpose()?;
    request.extensions_mut().insert(Grant::of(call, "create").lease(place));
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION] {
        if let Some(value) = call.headers.get(&name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    for name in [SEC_WEBSOCKET_PROTOCOL, STREAM_PROTOCOL] {
        for value in call.headers.get_all(&name) {
            request.headers_mut().append(&name, value.clone());
        }
    }
    ask(call, &pod, subresource, &query, request).await
}

/// What a connection is asked for with, as an object.
fn options(call: &Call, subresource: &str) -> Value {
    let kind = match subresource {
        "exec" => "PodExecOptions",
        "attach" => "PodAttachOptions",
        _ => "PodPortForwardOptions",
    };
    let all =
        |name: &str| call.query.pairs().iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>();
    let mut options = json!({"kind": kind, "apiVersion": "v1"});
    for name in ["stdin", "stdout", "stderr", "tty"].into_iter().filter(|name| call.query.is_true(name)) {
        options[name] = json!(true);
    }
    if let Some(container) = call.query.get("container") {
        options["container"] = json!(container);
    }
    match subresource {
        "exec" => options["command"] = json!(all("command")),
        "portforward" => options["ports"] = all("ports").iter().filter_map(|port| port.parse::<i64>().ok()).collect(),
        _ => {}
    }
    options
}

async fn pod(call: &Call) -> Result<Value> {
    let (kind, name) = (&call.served.kind, call.name()?);
    let entry = call.server.store.get(&call.key(name), None).await?.ok_or_else(|| Status::not_found(kind, name))?;
    Ok(object::decode(&entry))
}

/// Asks the agent of a Pod's node.
async fn ask(call: &Call, pod: &Value, what: &str, query: &str, mut request: Request<Body>) -> Result<Response> {
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", call.name()?)));
    };
    let Some(agent) = call.server.nodes.connect(node) else {
        return Err(Status::unavailable(format!("the agent of node {node} cannot be reached")));
    };
    let uri = format!("/pods/{}/{what}?{query}", pod["metadata"]["uid"].as_str().unwrap_or_default());
    *request.uri_mut() = uri.parse().map_err(|error: http::uri::InvalidUri| Status::bad_request(error.to_string()))?;
    match agent.oneshot(request).await {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

/// A value as part of a query.
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn container_of(pod: &Value, asked: Option<&str>) -> Result<String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let names =
        |list: &str| pod["spec"][list].as_array().into_iter().flatten().filter_map(|container| container["name"].as_str()).collect();
    let containers: Vec<&str> = names("containers");
    let init: Vec<&str> = names("initContainers");
    match (asked, containers.as_slice()) {
        (Some(asked), _) if containers.contains(&asked) || init.contains(&asked) => Ok(asked.to_owned()),
        (Some(asked), _) => Err(Status::bad_request(format!("container {asked} is not valid for pod {name}"))),
        (None, [only]) => Ok((*only).to_owned()),
        (None, several) => {
            let choice = several.join(" ");
            Err(Status::bad_request(format!("a container name must be specified for pod {name}, choose one of: [{choice}]")))
        }
    }
}
