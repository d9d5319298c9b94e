//! Between the version in which an object of a defined kind is asked for and the one in which it is kept.
//!
//! All objects of a kind are kept in one version. Where their definition names a webhook, that turns them into each other; else the
//! versions differ in name only. What is read passes [`shown`], what is written [`kept`].

use std::borrow::Cow;
use std::time::Duration;

use logic::admission::{Request, Resource};
use logic::definition::conversion;
use serde_json::{Value, json};
use store::{Entry, Event};

use crate::registry::Served;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::{Server, object, webhook};

/// How long a webhook may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A question holds at most so much, but at least one object.
const QUESTION_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How objects of a kind get from one version to another.
pub struct Conversion {
    /// Whom to ask: a `clientConfig`.
    client: Value,
    /// The version of the question.
    review: String,
}

impl Conversion {
    /// What a definition says, where that is more than that versions differ in name.
    pub fn of(definition: &Value) -> Option<Self> {
        let spec = &definition["spec"];
        let review = conversion::review_version(&spec["conversion"]).filter(|_| spec["conversion"]["strategy"] == "Webhook")?.to_owned();
        Some(Self { client: spec["conversion"]["webhook"]["clientConfig"].clone(), review })
    }

    /// Objects in the version `wanted`. Errors: 500, with what the webhook said or why there is no answer.
    async fn convert(&self, server: &Server, wanted: &str, objects: Vec<Value>) -> Result<Vec<Value>> {
        let Some(first) = objects.first() else { return Ok(objects) };
        let (from, kind) = (first["apiVersion"].as_str().unwrap_or_default(), first["kind"].as_str().unwrap_or_default());
        let about = format!("conversion webhook for {from}, Kind={kind} failed");
        let uid = uuid::Uuid::new_v4().to_string();
        let question = conversion::question(&self.review, &uid, wanted, &objects);
        let answered = webhook::post(server, &self.client, TIMEOUT, &question).await;
        answered
            .and_then(|bytes| conversion::answer(&bytes, &self.review, &uid, wanted, objects))
            .map_err(|why| Status::internal(format!("{about}: {why}")))
    }
}

/// How the objects of a kind are converted, where that takes more than another name.
fn conversion_of(served: &Served) -> Option<&Conversion> {
    served.custom.as_ref()?.conversion.as_ref()
}

/// Brings entries into the version of a kind, as whoever reads them is shown them. Errors: 500 where its webhook fails.
pub async fn shown(server: &Server, served: &Served, mut entries: Vec<Entry>) -> Result<Vec<Entry>> {
    let Some(conversion) = conversion_of(served) else { return Ok(entries) };
    let wanted = served.kind.api_version();
    let others: Vec<usize> = entries.iter().enumerate().filter(|(_, entry)| !is_in(&wanted, entry)).map(|(at, _)| at).collect();
    let mut rest = others.as_slice();
    while !rest.is_empty() {
        let mut size = 0;
        let count = rest.iter().take_while(|at| {
            size += entries.get(**at).map_or(0, |entry| entry.value.len());
            size <= QUESTION_BYTES_MAX
        });
        let (asked, later) = rest.split_at(count.count().max(1));
        let objects = asked.iter().filter_map(|at| entries.get(*at)).map(object::decode).collect();
        for (at, mut converted) in asked.iter().zip(conversion.convert(server, &wanted, objects).await?) {
            served.prune(&mut converted);
            if let Some(entry) = entries.get_mut(*at) {
                entry.value = object::encode_in(&served.kind, &wanted, converted).into();
            }
        }
        rest = later;
    }
    Ok(entries)
}

/// The bytes in which an object is kept that is in the version of a kind. Errors: 500 where its webhook fails.
pub async fn kept(server: &Server, served: &Served, mut object: Value) -> Result<Vec<u8>> {
    let (kind, version) = (&served.kind, served.kind.kept_api_version());
    if let Some(conversion) = conversion_of(served).filter(|_| version != kind.api_version()) {
        object["apiVersion"] = json!(kind.api_version());
        object = conversion.convert(server, &version, vec![object]).await?.pop().unwrap_or_default();
    }
    if let Some(schema) = served.custom.as_ref().and_then(|custom| custom.kept.as_ref()) {
        schema.prune(&mut object);
    }
    Ok(object::encode_in(kind, &version, object))
}

/// An entry's object with a change of its metadata alone, for which no webhook need be asked: as it is kept, and as bytes.
/// `shown` is the object as it was read.
pub fn marked(served: &Served, entry: &Entry, shown: &Value, mark: impl FnOnce(&mut Value)) -> (Value, Vec<u8>) {
    let is_kept = conversion_of(served).is_some();
    let mut object = if is_kept { object::decode(entry) } else { shown.clone() };
    mark(&mut object);
    let version = object["apiVersion"].as_str().filter(|_| is_kept).map_or_else(|| served.kind.kept_api_version(), str::to_owned);
    let bytes = object::encode_in(&served.kind, &version, object.clone());
    (object, bytes)
}

/// What happened, in the version of a kind. Errors: 500 where its webhook fails.
pub async fn shown_events(server: &Server, served: &Served, events: &[Event]) -> Result<Vec<Event>> {
    let entries = events.iter().flat_map(|event| event.previous.iter().chain(&event.entry)).cloned().collect();
    let mut entries = shown(server, served, entries).await?.into_iter();
    let mut next = |entry: &Option<Entry>| entry.as_ref().and_then(|_| entries.next());
    Ok(events.iter().map(|event| Event { previous: next(&event.previous), entry: next(&event.entry), ..event.clone() }).collect())
}

/// A request as it is seen by somebody who was matched by another version of its resource. Errors: 500 where the webhook fails.
pub async fn seen<'a>(call: &Call, request: &'a Request, matched: &Resource) -> Result<Cow<'a, Request>> {
    if !is_needed(&call.served) || matched.version == request.resource.version || matched.kind_api.is_some() {
        return Ok(Cow::Borrowed(request));
    }
    let version = matched.api_version();
    let object = in_version(call, &version, request.object.clone()).await?;
    let old_object = in_version(call, &version, request.old_object.clone()).await?;
    Ok(Cow::Owned(Request { object, old_object, ..request.clone() }))
}

/// The object of a call in another version of its kind; null stays null. Errors: 500 where the webhook fails.
pub async fn in_version(call: &Call, version: &str, object: Value) -> Result<Value> {
    let Some(conversion) = conversion_of(&call.served).filter(|_| object.is_object() && object["apiVersion"] != version) else {
        return Ok(object);
    };
    Ok(conversion.convert(&call.server, version, vec![object]).await?.pop().unwrap_or_default())
}

/// Whether what is kept of a kind must be converted before it is shown.
pub fn is_needed(served: &Served) -> bool {
    conversion_of(served).is_some()
}

/// Whether an entry's object is in a version, such as `example.dev/v1`.
fn is_in(version: &str, entry: &Entry) -> bool {
    let told = entry.value.strip_prefix(b"{\"apiVersion\":\"").and_then(|rest| rest.strip_prefix(version.as_bytes()));
    told.is_some_and(|rest| rest.starts_with(b"\""))
}
