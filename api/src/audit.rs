//! Who changed what: a line for each request that may change something, whatever came of it.

use std::collections::BTreeMap;

use axum::response::Response;
use http::{HeaderValue, Method};
use model::Clock;
use serde::Serialize;

use crate::User;
use crate::access::{self, ANONYMOUS};
use crate::admission::Notes;
use crate::path::Place;
use crate::query::Query;
use crate::requests::Shown;

/// A request extension: where a request comes from, as whoever accepted the connection saw it.
#[derive(Debug, Clone)]
pub struct Origin(pub String);

/// Which of the records a line belongs to: what one holds cannot push out what another does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// Something was changed, or opened.
    Change,
    /// Something was refused, or came to nothing.
    Refusal,
    /// A Secret was read.
    Read,
}

/// Where the lines go.
pub trait AuditLog: Send + Sync + 'static {
    /// Keeps one line of somebody, who is a user or an address. It is JSON and has no end yet.
    fn keep(&self, record: Record, by: &str, line: String);
    /// Keeps what is about to be changed, until it is settled; should that never be, the next server tells of it.
    fn intend(&self, line: String) -> u64;
    /// The line of what was intended is kept.
    fn settled(&self, intent: u64);
    /// Whether reads of Secrets are kept.
    fn reads(&self) -> bool;
}

/// A field of a line has at most so many bytes, and so has a line, about.
const FIELD_BYTES_MAX: usize = 512;
const LINE_BYTES_MAX: usize = 16 << 10;

/// A request that may change something, before it is served.
#[derive(Debug)]
pub struct Attempt {
    /// The name of the request, told to the client as well.
    id: String,
    verb: &'static str,
    place: Place,
    from: String,
    record: Record,
}

impl Attempt {
    /// What is told of a request; `None` for one that only reads or asks. Reads of Secrets are told of where `reads` says so.
    pub fn of(id: &str, method: &Method, path: &str, query: &Query, origin: Option<&Origin>, reads: bool) -> Option<Self> {
        let place = Place::parse(path)?;
        let talks = place.subresource.as_deref().is_some_and(|name| ["exec", "attach", "portforward"].contains(&name));
        let asks = [model::review::AUTHENTICATION, model::review::AUTHORIZATION].contains(&place.group.as_str());
        let only_reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) && !talks;
        let of_secrets = place.group.is_empty() && place.resource == "secrets";
        if asks || (only_reads && !(reads && of_secrets)) {
            return None;
        }
        let verb = access::verb(method, &place, query.is_true("watch"));
        let from = origin.map(|origin| origin.0.clone()).unwrap_or_default();
        let record = if only_reads { Record::Read } else { Record::Change };
        Some(Self { id: id.to_owned(), verb, place, from, record })
    }

    /// The line of what is about to be changed.
    pub fn intent(&self, clock: &dyn Clock, user: &User, taken_for: &User) -> String {
        let resource = self.resource();
        self.line(clock, &resource, Some((user, taken_for)), None).text()
    }

    /// Tells what came of it. Requests of our own controllers are left out: their writes name their cause in the object.
    pub fn tell(&self, log: &dyn AuditLog, clock: &dyn Clock, by: Option<&(User, User)>, response: &mut Response, committed: bool) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            response.headers_mut().insert("audit-id", id);
        }
        let notes = response.extensions_mut().remove::<Notes>();
        if by.is_some_and(|(user, _)| access::is_ours(&user.name)) {
            return;
        }
        let (resource, shown) = (self.resource(), response.extensions().get::<Shown>().map(|Shown(entry)| entry));
        let mut line = self.line(clock, &resource, by.map(|(user, taken_for)| (user, taken_for)), Some(response.status().as_u16()));
        line.name = line.name.or_else(|| shown?.key.rsplit('/').next());
        line.version = shown.map(|entry| entry.modified.to_string());
        line.annotations = notes.map(|Notes(notes)| notes.into_iter().map(|(key, value)| (key, cut(&value).to_owned())).collect());
        let nobody = by.is_none_or(|(user, _)| user.name == ANONYMOUS);
        let who = if nobody { self.from.as_str() } else { line.user.unwrap_or_default() };
        log.keep(self.record_of(response, committed), who, line.text());
    }

    /// What opened something, or handed out a token, changed something without the store's knowing.
    fn record_of(&self, response: &Response, committed: bool) -> Record {
        let code = response.status();
        let opens = self.place.subresource.as_deref().is_some_and(|name| ["exec", "attach", "portforward", "token"].contains(&name));
        match self.record {
            Record::Read if !code.is_client_error() => Record::Read,
            Record::Change if committed || (opens && !code.is_client_error() && !code.is_server_error()) => Record::Change,
            _ => Record::Refusal,
        }
    }

    fn resource(&self) -> String {
        match &self.place.subresource {
            Some(subresource) => format!("{}/{subresource}", self.place.resource),
            None => self.place.resource.clone(),
        }
    }

    fn line<'a>(&'a self, clock: &dyn Clock, resource: &'a str, by: Option<(&'a User, &'a User)>, code: Option<u16>) -> Line<'a> {
        Line {
            time: clock.now().to_string(),
            user: by.map(|(user, _)| cut(&user.name)),
            from: &self.from,
            verb: self.verb,
            group: cut(&self.place.group),
            resource: cut(resource),
            namespace: self.place.namespace.as_deref().map(cut),
            name: self.place.name.as_deref().map(cut),
            request: &self.id,
            code,
            version: None,
            taken_for: by.filter(|(user, taken_for)| user != taken_for).map(|(_, taken_for)| cut(&taken_for.name)),
            annotations: None,
        }
    }
}

/// The line of something that was done otherwise than by a request for a resource: a backup, a new key, settings read again.
pub fn deed(clock: &dyn Clock, user: &str, from: &str, verb: &str, resource: &str, name: Option<&str>, failed: bool) -> String {
    let code = Some(if failed { 500 } else { 200 });
    let (time, request) = (clock.now().to_string(), uuid::Uuid::new_v4().to_string());
    let line = Line {
        time,
        user: Some(user),
        from,
        verb,
        group: "",
        resource,
        namespace: None,
        name: name.map(cut),
        request: &request,
        code,
        version: None,
        taken_for: None,
        annotations: None,
    };
    line.text()
}

/// A text, or its beginning.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(FIELD_BYTES_MAX)]
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
    /// What was answered; `None` before it was.
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    taken_for: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

impl Line<'_> {
    /// The line as JSON. What policies note beside it is left out where it would be too long.
    fn text(mut self) -> String {
        let text = serde_json::to_string(&self).unwrap_or_default();
        if text.len() <= LINE_BYTES_MAX || self.annotations.is_none() {
            return text;
        }
        self.annotations = Some(BTreeMap::from([("conductor.dev/omitted".to_owned(), "annotations too long for a line".to_owned())]));
        serde_json::to_string(&self).unwrap_or_default()
    }
}
