//! The routes of a Service: what they claim, and what is wrong with them.

use serde_json::Value;

use super::{Route, RouteTimeouts, ServiceSpec};
use crate::Problem;

/// The host and path of each route, with the field that claims them.
pub(super) fn claims(object: &Value) -> Vec<(String, String)> {
    let routes = object["spec"]["routes"].as_array().into_iter().flatten().enumerate();
    let route = |value: &Value| serde_json::from_value::<Route>(value.clone()).ok();
    routes.filter_map(|(at, value)| Some((format!("spec.routes[{at}]"), route(value)?.claim()))).collect()
}

/// Paths that are probably meant as patterns.
pub(super) fn warnings(object: &Value) -> impl Iterator<Item = String> {
    let routes = object["spec"]["routes"].as_array().into_iter().flatten().enumerate();
    routes.filter_map(|(at, route)| {
        let doubt = crate::route_path::doubt(route["path"].as_str().unwrap_or_default())?;
        Some(format!("spec.routes[{at}].path: {doubt}"))
    })
}

impl Route {
    /// The host and path as they are claimed: in the form in which they are compared, without a slash at the end.
    pub fn claim(&self) -> String {
        let normal = crate::route_path::normal(self.path.as_bytes());
        let path = normal.trim_end_matches('/');
        format!("{}{}", self.host.to_lowercase().trim_end_matches('.'), if path.is_empty() { "/" } else { path })
    }
}

/// Problems of a host and path that no request would have.
pub(crate) fn place_problems(host: &str, path: &str, field: &str, found: &mut Vec<Problem>) {
    let wrong = [("host", host, crate::route_name::problem(host)), ("path", path, crate::route_path::problem(path))];
    for (name, value, problem) in wrong {
        found.extend(problem.map(|problem| Problem::invalid(format!("{field}.{name}"), format!("{value:?}: {problem}"))));
    }
}

/// Problems of a route, which stands at `field`.
pub(super) fn problems(route: &Route, spec: &ServiceSpec, field: &str, found: &mut Vec<Problem>) {
    place_problems(&route.host, &route.path, field, found);
    if let Some(RouteTimeouts { request: Some(request), backend_request: Some(backend) }) = route.timeouts
        && backend > request
        && !request.get().is_zero()
    {
        let detail = format!("{backend}: must be no longer than request, which is {request}");
        found.push(Problem::invalid(format!("{field}.timeouts.backendRequest"), detail));
    }
    let Some(part) = spec.parts.iter().find(|part| part.name == route.part) else {
        let known: Vec<&str> = spec.parts.iter().map(|part| part.name.as_str()).collect();
        found.push(Problem::invalid(
            format!("{field}.part"),
            format!("{:?} is no part of this Service, which has {}", route.part, listed(&known)),
        ));
        return;
    };
    let containers = part.pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports: Vec<&str> =
        containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| port.name.as_deref()).collect();
    if !ports.contains(&route.port.as_str()) {
        let detail = format!("{:?} is no named port of part {}, which has {}", route.port, part.name, listed(&ports));
        found.push(Problem::invalid(format!("{field}.port"), detail));
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
