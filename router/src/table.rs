//! The compiled form of a table: which route a host and a path belong to, found in a few hash lookups.
//!
//! Pure: what a route leads to is a parameter, so that any router can hang its own endpoints on it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use model::route_path;

use crate::{Error, Result, Route, Table};

/// Routes by host, then by path prefix; `T` is what a route leads to.
#[derive(Debug)]
pub struct Routes<T> {
    exact: HashMap<String, Paths<T>>,
    wildcard: HashMap<String, Paths<T>>,
    any: Option<Paths<T>>,
}

/// What [`Routes::find`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, T> {
    /// The route with the longest matching prefix.
    Route(&'a T),
    /// The host has routes, but none for this path.
    NoPath,
    /// No route is for this host.
    NoHost,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: None }
    }
}

impl<T> Routes<T> {
    /// Checks the whole table, then builds it with `lead_to` saying what each route leads to.
    /// Errors: [`Error::Refused`] when a host or path cannot be matched, or two routes claim the same one;
    /// `lead_to` has then not been called.
    pub fn compile(table: &Table, mut lead_to: impl FnMut(&Route) -> T) -> Result<Self> {
        let mut seen = HashSet::new();
        let mut checked = Vec::with_capacity(table.routes.len());
        for route in &table.routes {
            let place = (route_host(route)?, route_path(route)?);
            if !seen.insert(place.clone()) {
                return Err(Error::Refused(format!("host {:?} and path {:?} are claimed twice", place.0, place.1)));
            }
            checked.push((place, route));
        }
        let mut routes = Self::default();
        for ((host, path), route) in checked {
            routes.paths_of(host).insert(path, lead_to(route));
        }
        Ok(routes)
    }

    /// Finds the route for a request. `host` is what the client sent: any case, perhaps with port or trailing dot. `path` is
    /// in the form of [`model::route_path`].
    /// A host named exactly hides wildcards and the routes for every host, whatever the path.
    pub fn find(&self, host: &str, path: &str) -> Found<'_, T> {
        match self.paths_for(&plain_host(host)) {
            None => Found::NoHost,
            Some(paths) => paths.find(path).map_or(Found::NoPath, Found::Route),
        }
    }

    fn paths_for(&self, host: &str) -> Option<&Paths<T>> {
        if let Some(paths) = self.exact.get(host) {
            return Some(paths);
        }
        if !self.wildcard.is_empty() {
            let mut rest = host;
            while let Some((_, parent)) = rest.split_once('.') {
                if let Some(paths) = self.wildcard.get(parent) {
                    return Some(paths);
                }
                rest = parent;
            }
        }
        self.any.as_ref()
    }

    fn paths_of(&mut self, host: String) -> &mut Paths<T> {
        if host.is_empty() {
            return self.any.get_or_insert_with(Paths::default);
        }
        match host.strip_prefix("*.") {
            Some(parent) => self.wildcard.entry(parent.to_owned()).or_default(),
            None => self.exact.entry(host).or_default(),
        }
    }
}

/// The prefixes of one host, each without a trailing slash; the root is the empty prefix.
#[derive(Debug)]
struct Paths<T> {
    by_prefix: HashMap<String, T>,
    longest_bytes: usize,
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self { by_prefix: HashMap::new(), longest_bytes: 0 }
    }
}

impl<T> Paths<T> {
    fn insert(&mut self, prefix: String, target: T) {
        self.longest_bytes = self.longest_bytes.max(prefix.len());
        self.by_prefix.insert(prefix, target);
    }

    /// Tries ever shorter prefixes that end where a path segment ends. No more are tried than the longest known
    /// prefix has segments, however long the path is.
    fn find(&self, path: &str) -> Option<&T> {
        let bytes = path.as_bytes();
        let mut end = bytes.len().min(self.longest_bytes);
        loop {
            let ends_segment = bytes.get(end).is_none_or(|next| *next == b'/');
            if ends_segment && let Some(target) = path.get(..end).and_then(|prefix| self.by_prefix.get(prefix)) {
                return Some(target);
            }
            end = bytes.get(..end)?.iter().rposition(|byte| *byte == b'/')?;
        }
    }
}

/// The host as the table keys it: without port and trailing dot, in lower case. Borrowed when it already is.
fn plain_host(host: &str) -> Cow<'_, str> {
    let without_port = match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => host.get(..colon).unwrap_or(host),
        _ => host,
    };
    let name = without_port.strip_suffix('.').unwrap_or(without_port);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) }
}

fn route_host(route: &Route) -> Result<String> {
    let host = route.host.strip_suffix('.').unwrap_or(&route.host).to_ascii_lowercase();
    let name = host.strip_prefix("*.").unwrap_or(&host);
    let is_address = name.starts_with('[') && name.ends_with(']');
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) || (is_address && b":[]".contains(&byte));
    if !name.bytes().all(legal) || (name.is_empty() && !host.is_empty()) {
        return Err(Error::Refused(format!("the route of {} has the host {:?}, which is no host name", route.service, route.host)));
    }
    Ok(host)
}

fn route_path(route: &Route) -> Result<String> {
    if !route.path.starts_with('/') || route.path.contains(['?', '#', ' ']) {
        return Err(Error::Refused(format!("the route of {} has the path {:?}, which is no path prefix", route.service, route.path)));
    }
    Ok(route_path::normal(route.path.as_bytes()).trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[(&str, &str)]) -> Table {
        let route = |(host, path): &(&str, &str)| Route {
            service: format!("{host}{path}"),
            host: (*host).into(),
            path: (*path).into(),
            ..Route::default()
        };
        Table { routes: routes.iter().map(route).collect() }
    }

    fn check(routes: &[(&str, &str)], host: &str, path: &str, expected: &str) {
        let routes = Routes::compile(&table(routes), |route| route.service.clone()).expect("the table is legal");
        let found = match routes.find(host, path) {
            Found::Route(service) => service.as_str(),
            Found::NoPath => "no path",
            Found::NoHost => "no host",
        };
        assert_eq!(found, expected, "host {host:?} path {path:?}");
    }

    #[test]
    fn the_longest_prefix_that_ends_at_a_segment_wins() {
        let routes = [("a.test", "/"), ("a.test", "/shop"), ("a.test", "/shop/admin/"), ("a.test", "/shopping")];
        for (path, expected) in [
            ("/", "a.test/"),
            ("/other/thing", "a.test/"),
            ("/shop", "a.test/shop"),
            ("/shop/", "a.test/shop"),
            ("/shop/cart/7", "a.test/shop"),
            ("/shops", "a.test/"),
            ("/shopping", "a.test/shopping"),
            ("/shop/admin", "a.test/shop/admin/"),
            ("/shop/admin/users", "a.test/shop/admin/"),
            ("/shop/administrator", "a.test/shop"),
            ("*", "no path"),
            ("", "a.test/"),
        ] {
            check(&routes, "a.test", path, expected);
        }
    }

    #[test]
    fn hosts_match_without_case_port_or_trailing_dot() {
        let routes = [("a.test", "/"), ("[::1]", "/"), ("127.0.0.1", "/")];
        for host in ["a.test", "A.Test", "a.test.", "a.test:8080", "A.TEST.:80"] {
            check(&routes, host, "/", "a.test/");
        }
        check(&routes, "[::1]:80", "/", "[::1]/");
        check(&routes, "[::1]", "/", "[::1]/");
        check(&routes, "127.0.0.1:80", "/", "127.0.0.1/");
        check(&routes, "b.test", "/", "no host");
        check(&routes, "", "/", "no host");
    }

    #[test]
    fn the_most_particular_host_hides_wider_ones_even_where_its_paths_do_not_match() {
        let routes = [("", "/"), ("*.test", "/"), ("*.a.test", "/"), ("b.a.test", "/only")];
        check(&routes, "b.a.test", "/only/this", "b.a.test/only");
        check(&routes, "b.a.test", "/else", "no path");
        check(&routes, "c.a.test", "/", "*.a.test/");
        check(&routes, "d.c.a.test", "/", "*.a.test/");
        check(&routes, "a.test", "/", "*.test/");
        check(&routes, "test", "/", "/");
        check(&routes, "elsewhere", "/", "/");
    }

    #[test]
    fn contradictory_and_unmatchable_routes_are_refused_before_anything_is_built() {
        for routes in [
            vec![("a.test", "/"), ("A.test", "/")],
            vec![("a.test", "/x"), ("a.test", "/x/")],
            vec![("", "/"), ("", "/")],
            vec![("a.test", "")],
            vec![("a.test", "x")],
            vec![("a.test", "/x?y")],
            vec![("a.test:80", "/")],
            vec![("*.", "/")],
            vec![("a.*.test", "/")],
            vec![("a b", "/")],
        ] {
            let mut built = 0;
            let refusal = Routes::compile(&table(&routes), |_| built += 1);
            assert!(matches!(refusal, Err(Error::Refused(_))), "{routes:?}");
            assert_eq!(built, 0, "{routes:?}");
        }
    }
}
