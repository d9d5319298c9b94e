//! What a request's path is about.

/// A resource path, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The resource's plural.
    pub resource: String,
    /// The namespace, where one is named.
    pub namespace: Option<String>,
    /// The object's name, where one is named.
    pub name: Option<String>,
    /// What follows the name.
    pub subresource: Option<String>,
    /// Whether the path itself asks for a watch.
    pub watch: bool,
}

impl Place {
    /// Takes a path apart; `None` when it names no resource.
    pub fn parse(path: &str) -> Option<Self> {
        let mut segments = path.trim_matches('/').split('/').map(decoded).collect::<Option<Vec<String>>>()?.into_iter().peekable();
        let mut place = Self::default();
        match segments.next()?.as_str() {
            "api" => {}
            "apis" => place.group = segments.next()?,
            _ => return None,
        }
        place.version = segments.next()?;
        if segments.peek().is_some_and(|segment| segment == "watch") {
            segments.next();
            place.watch = true;
        }
        let first = segments.next().filter(|segment| !segment.is_empty())?;
        let rest: Vec<String> = segments.collect();
        match (first.as_str(), rest.as_slice()) {
            ("namespaces", [namespace, resource, tail @ ..]) if !["status", "finalize"].contains(&resource.as_str()) => {
                place.namespace = Some(namespace.clone());
                place.resource = resource.clone();
                place.name = tail.first().cloned();
                place.subresource = joined(tail.get(1..));
            }
            (_, tail) => {
                place.resource = first;
                place.name = tail.first().cloned();
                place.subresource = joined(tail.get(1..));
            }
        }
        Some(place)
    }
}

fn joined(segments: Option<&[String]>) -> Option<String> {
    segments.filter(|segments| !segments.is_empty()).map(|segments| segments.join("/"))
}

/// Undoes percent encoding; `None` when the result is no UTF-8.
pub fn decoded(text: &str) -> Option<String> {
    String::from_utf8(decoded_bytes(text)).ok()
}

/// Undoes percent encoding.
pub fn decoded_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%'
            && let [high, low, tail @ ..] = rest
            && let (Some(high), Some(low)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16))
        {
            bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        for (path, expected) in [
            ("/api/v1/pods", ("", "v1", "pods", None, None, None)),
            ("/api/v1/namespaces/a", ("", "v1", "namespaces", None, Some("a"), None)),
            ("/api/v1/namespaces/a/status", ("", "v1", "namespaces", None, Some("a"), Some("status"))),
            ("/api/v1/namespaces/a/pods/b/log", ("", "v1", "pods", Some("a"), Some("b"), Some("log"))),
            ("/apis/conductor.dev/v1/namespaces/a/services/b%2Fc", ("conductor.dev", "v1", "services", Some("a"), Some("b/c"), None)),
        ] {
            let place = Place::parse(path).unwrap();
            let (group, version, resource, namespace, name, subresource) = expected;
            assert_eq!((place.group.as_str(), place.version.as_str(), place.resource.as_str()), (group, version, resource), "{path}");
            assert_eq!((place.namespace.as_deref(), place.name.as_deref()), (namespace, name), "{path}");
            assert_eq!(place.subresource.as_deref(), subresource, "{path}");
        }
        for path in ["/", "/api", "/api/v1", "/apis/a/v1", "/version", "/api/v1/pods/%ff"] {
            assert_eq!(Place::parse(path), None, "{path}");
        }
        assert!(Place::parse("/api/v1/watch/pods").unwrap().watch);
    }
}
