//! Who changed what: a line for each request that may change something, whatever came of it.

use std::collections::BTreeMap;

use axum::response::Response;
use http::{HeaderValue, Method};
use model::Clock;
use serde::Serialize;

use crate::User;
use crate::access;
use crate::admission::Notes;
use crate::path::Place;
use crate::query::Query;
use crate::requests::Shown;

/// A request extension: where a request comes from, as whoever accepted the connection saw it.
#[derive(Debug, Clone)]
pub struct Origin(pub String);

/// Where the lines go.
pub trait AuditLog: Send + Sync + 'static {
    /// Keeps one line, which is JSON and has no end yet.
    fn keep(&self, line: String);
}

/// A request that may change something, before it is served.
#[derive(Debug)]
pub struct Attempt {
    /// The name of the request, told to the client as well.
    id: String,
    verb: &'static str,
    place: Place,
    from: String,
}

impl Attempt {
    /// What is told of a request; `None` for one that only reads or asks.
    pub fn of(id: &str, method: &Method, path: &str, query: &Query, origin: Option<&Origin>) -> Option<Self> {
        let place = Place::parse(path)?;
        let talks = place.subresource.as_deref().is_some_and(|name| ["exec", "attach", "portforward"].contains(&name));
        let asks = [model::review::AUTHENTICATION, model::review::AUTHORIZATION].contains(&place.group.as_str());
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
        if asks || (reads && !talks) {
            return None;
        }
        let verb = access::verb(method, &place, query.is_true("watch"));
        let from = origin.map(|origin| origin.0.clone()).unwrap_or_default();
        Some(Self { id: id.to_owned(), verb, place, from })
    }

    /// Tells what came of it. Requests of our own controllers are left out: their writes name their cause in the object.
    pub fn tell(self, log: &dyn AuditLog, clock: &dyn Clock, by: Option<&(User, User)>, response: &mut Response) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            response.headers_mut().insert("audit-id", id);
        }
        if by.is_some_and(|(user, _)| access::is_ours(&user.name)) {
            return;
        }
        let resource = match &self.place.subresource {
            Some(subresource) => format!("{}/{subresource}", self.place.resource),
            None => self.place.resource.clone(),
        };
        let notes = response.extensions_mut().remove::<Notes>();
        let line = Line {
            time: clock.now().to_string(),
            user: by.map(|(user, _)| user.name.as_str()),
            from: &self.from,
            verb: self.verb,
            group: &self.place.group,
            resource: &resource,
            namespace: self.place.namespace.as_deref(),
            name: self.place.name.as_deref(),
            request: &self.id,
            code: response.status().as_u16(),
            version: response.extensions().get::<Shown>().map(|Shown(entry)| entry.modified.to_string()),
            taken_for: by.filter(|(user, taken_for)| user != taken_for).map(|(_, taken_for)| taken_for.name.as_str()),
            annotations: notes.map(|Notes(notes)| notes.into_iter().collect()),
        };
        log.keep(serde_json::to_string(&line).unwrap_or_default());
    }
}

/// What a line tells.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    user: Option<&'a str>,
    from: &'a str,
    verb: &'a str,
    group: &'a str,
    resource: &'a str,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    request: &'a str,
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    taken_for: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}
