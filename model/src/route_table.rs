//! A RouteTable: a Service's live routes, and what the routers say of them.

use std::net::SocketAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::{begin_status, object_schema};
use crate::service::RouteTimeouts;
use crate::service::place_problems;
use crate::{Column, Duration, Kind, Problem, problem};

/// Where requests go. One write of this is the moment a Revision goes live.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "conductor.dev",
    version = "v1",
    kind = "RouteTable",
    namespaced,
    status = "RouteTableStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[kube(crates(
    kube_core = "::kube_core",
    k8s_openapi = "::k8s_openapi",
    schemars = "::schemars",
    serde = "::serde",
    serde_json = "::serde_json"
))]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "dev.conductor.v1.RouteTableSpec")]
pub struct RouteTableSpec {
    /// The Revision that these routes reach.
    pub revision: String,
    /// The routes.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["host", "path"]))]
    pub routes: Vec<LiveRoute>,
    /// How long requests to copies that this table no longer names may take to finish.
    #[serde(default)]
    pub drain: Duration,
    /// How long requests are counted after the Revision changed.
    #[serde(default)]
    pub watch: Duration,
}

/// A route with the copies that answer it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "dev.conductor.v1.LiveRoute")]
pub struct LiveRoute {
    /// The host name; empty for any.
    #[serde(default)]
    pub host: String,
    /// The path prefix.
    pub path: String,
    /// The part that answers.
    pub part: String,
    /// Its ready copies.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["pod", "address"]))]
    pub endpoints: Vec<Endpoint>,
    /// What its copies speak there.
    #[serde(default, skip_serializing_if = "Speaks::is_http")]
    pub speaks: Speaks,
    /// How long requests may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RouteTimeouts>,
}

/// What copies speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "dev.conductor.v1.Speaks")]
pub enum Speaks {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "http")]
    Http,
    /// HTTP/2 without TLS.
    #[serde(rename = "h2c")]
    H2c,
}

impl Speaks {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_http(&self) -> bool {
        *self == Self::Http
    }
}

/// One copy that answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "dev.conductor.v1.Endpoint")]
pub struct Endpoint {
    /// The Pod's name.
    pub pod: String,
    /// IP address and port.
    pub address: String,
}

/// What the routers say. Each row of `routers` is written by the agent of its node, all else by the Service controller.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "dev.conductor.v1.RouteTableStatus")]
pub struct RouteTableStatus {
    /// The generation of the spec that the conditions speak of.
    pub observed_generation: i64,
    /// Ready when every router has this table in force, Reconciling until then, Stalled when one does not take it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::kind::conditions_schema")]
    pub conditions: Vec<Condition>,
    /// One row a node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["node"]))]
    pub routers: Vec<RouterRow>,
}

/// What the router of one node says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "dev.conductor.v1.RouterRow")]
pub struct RouterRow {
    /// The node.
    pub node: String,
    /// The newest generation of the table that is in force there.
    pub generation: i64,
    /// The newest generation whose removed copies have no request in flight there.
    pub drained_generation: i64,
    /// The Revision that the counts below speak of; empty while they are not complete.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub counted_revision: String,
    /// Requests from the switch to that Revision until the end of the watch; absent where the router cannot count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<i64>,
    /// Of these, failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<i64>,
    /// The longest wait for a first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_stall: Option<Duration>,
    /// The 99th percentile of that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<Duration>,
    /// Why the router does not take the newest table; empty when it does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        short_names: vec!["routes".into()],
        status: true,
        generation: true,
        columns: vec![
            Column::name(),
            Column::path("Revision", "string", ".spec.revision", "The Revision that it reaches"),
            Column::path("Generation", "integer", ".metadata.generation", "Its generation"),
            Column::computed("Routes", "string", routes_cell, "Host, path and number of copies"),
            Column::age(),
        ],
        validate,
        complete: |object| begin_status(object, "the RouteTable is new"),
        ..Kind::new("conductor.dev", "v1", "RouteTable", "routetables", |generator| {
            object_schema::<RouteTableSpec, RouteTableStatus>(generator, "RouteTable", "A Service's live routes.")
        })
    }
}

/// A router takes a table as a whole or not at all, so what it would refuse does not get that far.
fn validate(object: &Value) -> Vec<Problem> {
    let spec: RouteTableSpec = match problem::read(&object["spec"], "spec") {
        Ok(spec) => spec,
        Err(problem) => return vec![problem],
    };
    let mut found = Vec::new();
    for (at, route) in spec.routes.iter().enumerate() {
        let field = format!("spec.routes[{at}]");
        place_problems(&route.host, &route.path, &field, &mut found);
        for (at, endpoint) in route.endpoints.iter().enumerate() {
            if endpoint.address.parse::<SocketAddr>().is_err() {
                let detail = format!("{:?}: expected an IP address and a port, such as 127.0.0.1:8080", endpoint.address);
                found.push(Problem::invalid(format!("{field}.endpoints[{at}].address"), detail));
            }
        }
    }
    found
}

fn routes_cell(object: &Value, _: jiff::Timestamp) -> Value {
    let routes = object["spec"]["routes"].as_array();
    let texts = routes.into_iter().flatten().map(|route| {
        let copies = route["endpoints"].as_array().map_or(0, Vec::len);
        let host = route["host"].as_str().filter(|host| !host.is_empty()).unwrap_or("*");
        format!("{host}{} ({copies})", route["path"].as_str().unwrap_or("/"))
    });
    json!(texts.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_router_would_refuse_is_refused_with_its_field() {
        let table = |host: &str, path: &str, address: &str| {
            let routes = json!([{"host": "", "path": "/", "part": "web"},
                {"host": host, "path": path, "part": "web", "endpoints": [{"pod": "a", "address": address}]}]);
            validate(&json!({"spec": {"revision": "a-1", "routes": routes}})).into_iter().map(|problem| problem.field).collect::<Vec<_>>()
        };
        assert!(table("a.test", "/a", "127.0.0.1:80").is_empty());
        assert_eq!(table("a.test:80", "/a", "127.0.0.1:80"), ["spec.routes[1].host"]);
        assert_eq!(table("a.test", "/a?b", "127.0.0.1:80"), ["spec.routes[1].path"]);
        assert_eq!(table("a.test", "/a", "localhost:80"), ["spec.routes[1].endpoints[0].address"]);
        assert_eq!(table("a.test", "/a", "127.0.0.1:66000"), ["spec.routes[1].endpoints[0].address"]);
    }
}
