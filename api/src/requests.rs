//! What is known of a request beside its answer: its name, how long it took, and which request of somebody a controller's write
//! follows from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use model::metrics::{Form, Histogram, Labelled, Text};
use model::{Cause, labels};
use serde_json::Value;
use store::Entry;

use crate::User;
use crate::access;

/// The header that names a request, from the client or for it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How many revisions are remembered with the request that they follow from.
const REMEMBERED_MAX: usize = 10_000;
/// A name that a client gives its request is no longer than this.
const ID_BYTES_MAX: usize = 128;

/// What a request was about, once that is known.
#[derive(Debug, Default)]
pub struct Told {
    /// Who asks, and whom they are taken for.
    pub by: Option<(User, User)>,
    /// Verb, group and resource, with its subresource; of kinds that there are.
    pub resource: Option<(&'static str, String, String)>,
}

/// A response extension: the object that is answered with.
#[derive(Debug, Clone)]
pub struct Shown(pub Entry);

/// What all requests leave behind.
#[derive(Debug, Default)]
pub struct Requests {
    took: Labelled<Histogram>,
    in_flight: Arc<()>,
    /// Revision → the request that it follows from.
    origins: Mutex<BTreeMap<u64, String>>,
}

/// A request that is being served.
#[derive(Debug)]
pub struct Served {
    /// Its name.
    pub id: String,
    begun: Instant,
    method: Method,
    _in_flight: Arc<()>,
}

impl Requests {
    /// Takes in a request, under the name that the client gave it or a new one.
    pub fn begin(&self, method: &Method, headers: &HeaderMap) -> Served {
        let is_good = |id: &&str| {
            (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
        };
        let given = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_good);
        let id = given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
        Served { id, begun: Instant::now(), method: method.clone(), _in_flight: Arc::clone(&self.in_flight) }
    }

    /// Takes note of how a request ended, and names it in the answer. What a controller wrote because of an object carries the
    /// name of the request that the object's change follows from, as far as that is remembered.
    pub fn end(&self, served: Served, told: &Told, response: &mut Response) {
        if let Some((verb, group, resource)) = &told.resource {
            let code = response.status().as_u16().to_string();
            if let Some(histogram) = self.took.with(&[verb, group, resource, &code]) {
                histogram.observe(served.begun.elapsed());
            }
        }
        let shown = response.extensions_mut().remove::<Shown>();
        let id = match shown {
            Some(Shown(entry)) if served.method != Method::GET && response.status().is_success() => self.follow(served.id, told, &entry),
            _ => served.id,
        };
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
    }

    /// Remembers what a write follows from, and tells it.
    fn follow(&self, id: String, told: &Told, entry: &Entry) -> String {
        let (verb, user) = (told.resource.as_ref().map_or("", |resource| resource.0), told.by.as_ref().map_or("", |(user, _)| &user.name));
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        let cause = if access::is_ours(user) { cause(entry) } else { None };
        let origin = cause.as_ref().and_then(|cause| origins.get(&cause.revision.parse().ok()?).cloned());
        let id = origin.unwrap_or(id);
        origins.insert(entry.modified, id.clone());
        while origins.len() > REMEMBERED_MAX {
            origins.pop_first();
        }
        drop(origins);
        let (reason, actor) = cause.map(|cause| (cause.reason, cause.actor)).unwrap_or_default();
        tracing::debug!(request = id, user, actor, verb, key = entry.key, version = entry.modified, reason, "written");
        id
    }

    /// Tells the numbers.
    pub fn tell(&self, text: &mut Text) {
        const TOOK: &str = "conductor_api_request_duration_seconds";
        text.family(TOOK, Form::Histogram, "How long requests to the control API took to be answered; watches until they begin.");
        for (labels, histogram) in self.took.all() {
            let names = ["verb", "group", "resource", "code"];
            let labels: Vec<(&str, &str)> = names.into_iter().zip(labels.iter().map(String::as_str)).collect();
            text.histogram(TOOK, &labels, &histogram);
        }
        let in_flight = Arc::strong_count(&self.in_flight).saturating_sub(1);
        text.single("conductor_api_requests_in_flight", Form::Gauge, "Requests that are worked on.", in_flight);
    }
}

fn cause(entry: &Entry) -> Option<Cause> {
    let object: Value = serde_json::from_slice(&entry.value).ok()?;
    Cause::from_annotation(object["metadata"]["annotations"][labels::CAUSE].as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(revision: u64, cause: Option<u64>) -> Entry {
        let annotation = cause.map(|revision| Cause { revision: revision.to_string(), ..Cause::default() }.to_annotation());
        let object = serde_json::json!({"metadata": {"annotations": {labels::CAUSE: annotation}}});
        Entry { key: "/k".into(), value: object.to_string().into(), created: 1, modified: revision }
    }

    #[test]
    fn what_controllers_write_follows_from_the_request_that_made_them() {
        let requests = Requests::default();
        let by = |name: &str| Told { by: Some((User::new(name, []), User::new(name, []))), resource: None };
        let ours = by("system:conductor:controllers");
        assert_eq!(requests.follow("a".into(), &by("jane"), &entry(5, None)), "a");
        assert_eq!(requests.follow("b".into(), &ours, &entry(6, Some(5))), "a");
        assert_eq!(requests.follow("c".into(), &ours, &entry(7, Some(6))), "a", "and so on");
        assert_eq!(requests.follow("d".into(), &ours, &entry(8, Some(3))), "d", "not remembered");
        assert_eq!(requests.follow("e".into(), &by("jane"), &entry(9, Some(5))), "e", "people write for themselves");
    }

    #[test]
    fn a_request_keeps_the_name_that_its_client_gave_it_if_that_is_one() {
        let requests = Requests::default();
        let id = |given: &'static str| {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(given))]);
            requests.begin(&Method::GET, &headers).id
        };
        assert_eq!(id("req-1.a:b_2"), "req-1.a:b_2");
        for bad in ["", "a b", "a\"b", "<x>"] {
            assert_eq!(id(bad).len(), 36, "{bad}");
        }
    }
}
