//! The routes of all Services, merged into what a router needs.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use kube_core::ResourceExt as _;
use model::route_table::Speaks;
use model::service::RouteTimeouts;
use model::{RouteTable, route_path};

/// One merged route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// `namespace/name` of the Service.
    pub service: String,
    /// Lower-case host; empty for any.
    pub host: String,
    /// Path prefix, in the form of [`model::route_path`].
    pub path: String,
    /// The copies that answer.
    pub endpoints: Vec<SocketAddr>,
    /// What they speak.
    pub speaks: Speaks,
    /// How long requests may take.
    pub timeouts: RouteTimeouts,
}

/// `namespace/name` of a table's Service.
pub fn service_of(table: &RouteTable) -> String {
    format!("{}/{}", table.namespace().unwrap_or_default(), table.name_any())
}

/// Merges tables. A host and path in several goes to the oldest table. Tables being deleted count no more.
pub fn merge(tables: &[RouteTable]) -> Vec<Merged> {
    let mut oldest_first: Vec<&RouteTable> = tables.iter().filter(|table| table.metadata.deletion_timestamp.is_none()).collect();
    oldest_first.sort_by_cached_key(|table| (table.creation_timestamp().map(|time| time.0), service_of(table)));
    let mut merged = BTreeMap::new();
    for table in oldest_first {
        for route in &table.spec.routes {
            let endpoints = route.endpoints.iter().filter_map(|endpoint| endpoint.address.parse().ok()).collect();
            let host = route.host.to_lowercase();
            // Tables from before are not refused for what no longer may be written; what cannot be a path is left out.
            if !route.path.starts_with('/') || route.path.contains(['?', '#']) {
                continue;
            }
            let (service, path) = (service_of(table), route_path::normal(route.path.as_bytes()).into_owned());
            let key = (host.clone(), path.trim_end_matches('/').to_owned());
            merged.entry(key).or_insert(Merged {
                service,
                host,
                path,
                endpoints,
                speaks: route.speaks,
                timeouts: route.timeouts.unwrap_or_default(),
            });
        }
    }
    merged.into_values().collect()
}

/// The addresses that one table names.
pub fn endpoints(table: &RouteTable) -> Vec<SocketAddr> {
    let endpoints = table.spec.routes.iter().flat_map(|route| &route.endpoints);
    let mut found: Vec<SocketAddr> = endpoints.filter_map(|endpoint| endpoint.address.parse().ok()).collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(name: &str, created: &str, host: &str, address: &str) -> RouteTable {
        serde_json::from_value(json!({"apiVersion": "conductor.dev/v1", "kind": "RouteTable",
            "metadata": {"name": name, "namespace": "d", "creationTimestamp": created},
            "spec": {"revision": "r", "routes": [{"host": host, "path": "/", "part": "p", "endpoints": [{"pod": "x", "address": address}]}]}}))
        .unwrap()
    }

    #[test]
    fn the_older_table_keeps_a_route_that_two_claim() {
        let young = table("a", "2026-01-02T00:00:00Z", "X.test", "127.0.0.1:1");
        let old = table("b", "2026-01-01T00:00:00Z", "x.test", "127.0.0.1:2");
        let other = table("c", "2026-01-03T00:00:00Z", "y.test", "nonsense");
        let merged = merge(&[young, old, other]);
        assert_eq!(merged.len(), 2);
        assert_eq!((merged[0].service.as_str(), merged[0].endpoints[0].port()), ("d/b", 2));
        assert!(merged[1].endpoints.is_empty());
    }

    #[test]
    fn paths_are_merged_in_the_form_in_which_they_are_compared() {
        let at = |name: &str, created: &str, path: &str| {
            let mut table = table(name, created, "x.test", "127.0.0.1:1");
            table.spec.routes[0].path = path.into();
            table
        };
        let tables = [
            at("a", "2026-01-01T00:00:00Z", "/ü"),
            at("b", "2026-01-02T00:00:00Z", "/%c3%bc/"),
            at("c", "2026-01-03T00:00:00Z", "/a*"),
            at("d", "2026-01-04T00:00:00Z", "/a?b"),
        ];
        let merged: Vec<(String, String)> = merge(&tables).into_iter().map(|merged| (merged.service, merged.path)).collect();
        assert_eq!(merged, [("d/a".into(), "/%C3%BC".into()), ("d/c".into(), "/a*".into())]);
    }

    #[test]
    fn what_copies_speak_and_how_long_they_may_take_is_merged_too() {
        let mut table = table("a", "2026-01-01T00:00:00Z", "x.test", "127.0.0.1:1");
        table.spec.routes[0].speaks = Speaks::H2c;
        table.spec.routes[0].timeouts = Some(RouteTimeouts { request: Some(model::Duration::from_secs(5)), backend_request: None });
        let merged = merge(&[table]);
        assert_eq!((merged[0].speaks, merged[0].timeouts.request), (Speaks::H2c, Some(model::Duration::from_secs(5))));
    }
}
