//! The way to what runs on a node: its logs.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::object;
use crate::serve::Call;
use crate::status::{Result, Status};

/// Finds the agent of a node. In one process the agent's own router; across machines one that forwards.
pub trait NodeConnector: Send + Sync + 'static {
    /// The agent's service, or `None` when the node is unknown or away.
    fn connect(&self, node: &str) -> Option<Router>;
}

const LOG_PARAMETERS: [&str; 7] = ["follow", "previous", "tailLines", "sinceSeconds", "sinceTime", "timestamps", "limitBytes"];

/// `GET …/pods/NAME/log`: what a container wrote.
pub async fn log(call: &Call) -> Result<Response> {
    let (kind, name) = (&call.served.kind, call.name()?);
    let entry = call.server.store.get(&call.key(name), None).await?.ok_or_else(|| Status::not_found(kind, name))?;
    let pod = object::decode(&entry);
    let container = container_of(&pod, call.query.get("container"))?;
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
        return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
    };
    let Some(agent) = call.server.nodes.connect(node) else {
        return Err(Status::unavailable(format!("the agent of node {node} cannot be reached")));
    };
    let mut uri = format!("/pods/{}/log?container={container}", pod["metadata"]["uid"].as_str().unwrap_or_default());
    for (parameter, value) in call.query.pairs() {
        if LOG_PARAMETERS.contains(&parameter.as_str()) && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-:.+".contains(&byte))
        {
            uri.push_str(&format!("&{parameter}={}", value.replace('+', "%2B")));
        }
    }
    let request = Request::get(uri).body(Body::empty()).map_err(|error| Status::internal(error.to_string()))?;
    match agent.oneshot(request).await {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
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
