//! `GET`: one object, or a list.

mod list_body;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use logic::selector::{FieldSelector, LabelSelector};
use model::{Kind, Problem, ProblemKind};
use serde_json::{Value, json};
use store::{Entry, ListOptions};

use crate::answer::{self, Accepted, Format, Number, View};
use crate::form::Form;
use crate::held;
use crate::object;
use crate::query::{Query, not_a_number};
use crate::requests::Shown;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::table::{Include, table};
use list_body::ListBody;

/// Reads one object. Errors: 404, 406.
pub async fn get(call: &Call) -> Result<Response> {
    let accepted = call.accepted()?;
    let name = call.name()?;
    if let Some(version) = call.query.get("resourceVersion") {
        let asked: u64 = version.parse().map_err(|_| {
            Status::unexplained(format!("resourceVersion: Invalid value: {version:?}: {}", not_a_number("ParseUint", version)))
        })?;
        not_ahead(asked, call.server.store.revision())?;
    }
    let entry = call.server.store.get(&call.key(name), None).await?.ok_or_else(|| Status::not_found(call.kind(), name))?;
    let entry = if accepted.view == View::Metadata { entry } else { call.shown(entry).await? };
    Ok(respond(call, accepted, StatusCode::OK, &entry))
}

/// An object as an answer, in the form asked for.
pub fn respond(call: &Call, accepted: Accepted, code: StatusCode, entry: &Entry) -> Response {
    let mut response = written(call, accepted, code, entry);
    response.extensions_mut().insert(Shown(entry.clone()));
    response
}

fn written(call: &Call, accepted: Accepted, code: StatusCode, entry: &Entry) -> Response {
    if let Err(refused) = accepted.check_number(call.kind(), Number::One) {
        return answer::refusal(answer::format_of_refusal(&call.headers), &refused);
    }
    match accepted.view {
        View::Whole => {
            let mut json = Vec::with_capacity(entry.value.len() + 40);
            call.served.write(&mut json, entry, true);
            answer::json_bytes(accepted.format, code, json)
        }
        View::Metadata => answer::value(accepted.format, code, &answer::metadata_only(accepted.meta, &call.served.read(entry))),
        View::Table => {
            let include = Include::parse(call.query.get("includeObject")).unwrap_or_default();
            let metadata = json!({"resourceVersion": entry.modified.to_string()});
            let table = table(accepted.meta, call.kind(), &[call.served.read(entry)], &metadata, include, true, call.server.clock.now());
            answer::value(accepted.format, code, &table)
        }
    }
}

/// Which objects a list or watch asks for.
#[derive(Debug, Clone)]
pub struct Selection {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    expose: fn(&mut Value),
}

impl Selection {
    /// Reads the selectors of a query. Errors: 400 for one that cannot be read or names a field that cannot be selected by.
    pub fn parse(kind: &Kind, query: &Query, name: Option<&str>) -> Result<Self> {
        let bad = |error: logic::selector::NotASelector| Status::bad_request(error.to_string());
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default()).map_err(bad)?;
        let text = query.get("fieldSelector").unwrap_or_default();
        let text = name.map_or_else(|| text.to_owned(), |name| format!("metadata.name={name},{text}"));
        let fields = FieldSelector::parse(&text).map_err(bad)?;
        for field in fields.fields() {
            let known =
                ["metadata.name", "metadata.namespace"].contains(&field) || kind.selectable_fields.iter().any(|other| other == field);
            if !known {
                return Err(Status::bad_request(unsupported(kind, field)));
            }
        }
        Ok(Self { labels, fields, expose: kind.expose })
    }

    /// Whether everything is asked for.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether it asks for more than metadata, so that objects must be seen as they are shown.
    pub fn looks_inside(&self) -> bool {
        self.fields.fields().any(|field| !field.starts_with("metadata."))
    }

    /// Those entries that are asked for. Errors: they cannot be shown in the version of the kind.
    pub async fn of(&self, call: &Call, entries: Vec<Entry>) -> Result<Vec<Entry>> {
        if self.is_empty() {
            return Ok(entries);
        }
        let entries = if self.looks_inside() { call.shown_all(entries).await? } else { entries };
        Ok(entries.into_iter().filter(|entry| self.matches(&call.served.read(entry))).collect())
    }

    /// Whether an object is asked for.
    pub fn matches(&self, object: &Value) -> bool {
        if self.fields.is_empty() || !self.labels.matches(object) {
            return self.labels.matches(object);
        }
        let mut exposed = object.clone();
        (self.expose)(&mut exposed);
        self.fields.matches(&exposed)
    }
}

fn unsupported(kind: &Kind, field: &str) -> String {
    if kind.defined || ["Secret", "Event", "Pod", "Node"].contains(&kind.kind.as_str()) {
        return format!("field label not supported: {field}");
    }
    if kind.kind == "Job" {
        return format!("field label {field:?} not supported for Job");
    }
    format!("{field:?} is not a known field selector: only {}", selectable(kind))
}

fn selectable(kind: &Kind) -> String {
    let fields = ["metadata.name", "metadata.namespace"].into_iter().chain(kind.selectable_fields.iter().map(String::as_str));
    fields.map(|field| format!("{field:?}")).collect::<Vec<_>>().join(", ")
}

/// Lists objects. Errors: 400, 410 for a version no longer kept, 422, 504 for one not reached.
pub async fn list(call: &Call) -> Result<Response> {
    let accepted = call.accepted()?;
    let (mut chosen, metadata) = page(call).await?;
    if accepted.view != View::Metadata {
        chosen = call.shown_all(chosen).await?;
    }
    let charge = call.charge(cost(call, accepted, &chosen)).await?;
    let mut response = respond_list(call, accepted, chosen, &metadata);
    if let Some(charge) = charge {
        held::bytes(&mut response, charge);
    }
    Ok(response)
}

/// The page of a list that a query asks for, and the metadata of that list. Errors: as for `list`.
pub async fn page(call: &Call) -> Result<(Vec<Entry>, Value)> {
    let kind = call.kind();
    let selection = Selection::parse(kind, &call.query, call.place.name.as_deref())?;
    check_list_options(&call.query)?;
    let (mut options, limit) = list_options(call)?;
    let mut chosen: Vec<Entry> = Vec::new();
    let (revision, remaining) = loop {
        let page = call.server.store.list(options.clone()).await?;
        options.at = Some(page.revision);
        options.after = page.entries.last().map(|entry| entry.key.clone());
        chosen.extend(selection.of(call, page.entries).await?);
        let full = limit.is_some_and(|limit| chosen.len() >= limit);
        if page.remaining == 0 || full {
            break (page.revision, page.remaining);
        }
    };
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    let cut = limit.is_some_and(|limit| chosen.len() > limit);
    chosen.truncate(limit.unwrap_or(usize::MAX));
    if remaining > 0 || cut {
        metadata["continue"] = json!(token(revision, chosen.last().map(|entry| entry.key.as_str()).unwrap_or_default()));
        if selection.is_empty() {
            metadata["remainingItemCount"] = json!(remaining);
        }
    } else if !kind.keeps_unknown {
        metadata["continue"] = json!("");
    }
    Ok((chosen, metadata))
}

/// What an answer with so many objects takes: as it is sent, a list of them and a piece; otherwise all of them, read and written.
fn cost(call: &Call, accepted: Accepted, entries: &[Entry]) -> usize {
    const READ_AND_WRITTEN: usize = 6;
    let bytes: usize = entries.iter().map(|entry| entry.value.len()).sum();
    let is_indented = call.extensions.get::<Form>().is_some_and(|form| form.pretty);
    if (accepted.view, accepted.format, is_indented) == (View::Whole, Format::Json, false) {
        return size_of_val(entries) + bytes.min(list_body::PIECE_BYTES_MIN);
    }
    bytes.saturating_mul(READ_AND_WRITTEN)
}

fn list_options(call: &Call) -> Result<(ListOptions, Option<usize>)> {
    let query = &call.query;
    let prefix = object::prefix(call.kind(), call.place.namespace.as_deref());
    let mut limit = query.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let mut options = ListOptions { prefix, ..ListOptions::default() };
    let version = version(query)?;
    if let Some(text) = query.get("continue") {
        if version.is_some_and(|version| version != 0) {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let (at, after) = parse_token(text)?;
        options.at = Some(at);
        options.after = Some(after);
    } else if let Some(version) = version {
        not_ahead(version, call.server.store.revision())?;
        if version > 0 && (query.get("resourceVersionMatch") == Some("Exact") || (limit.is_some() && !query.has("resourceVersionMatch"))) {
            options.at = Some(version);
        }
    }
    if version == Some(0) {
        limit = None; // as Kubernetes answers from its cache
    }
    // A selector chooses after the store has paged, so its pages are read in larger steps.
    options.limit = limit.map(|limit| if query.has("labelSelector") || query.has("fieldSelector") { limit.max(500) } else { limit });
    Ok((options, limit))
}

fn version(query: &Query) -> Result<Option<u64>> {
    let parse = |text: &str| {
        let words = not_a_number("ParseUint", text);
        text.parse()
            .map_err(|_| Status::bad_request(format!("invalid resource version: resourceVersion: Invalid value: {text:?}: {words}")))
    };
    query.get("resourceVersion").map(parse).transpose()
}

/// Errors: 504 when `asked` lies ahead of `current`.
pub fn not_ahead(asked: u64, current: u64) -> Result<()> {
    if asked > current { Err(Status::version_too_large(asked, current)) } else { Ok(()) }
}

fn check_list_options(query: &Query) -> Result<()> {
    let (matching, version) = (query.get("resourceVersionMatch"), query.get("resourceVersion"));
    let field = "resourceVersionMatch";
    let mut found = Vec::new();
    let mut forbid = |field: &str, detail: &str| found.push(Problem::new(ProblemKind::Forbidden, field, detail));
    if matching.is_some() && version.is_none() {
        forbid(field, "resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if matching.is_some() && query.get("continue").is_some() {
        forbid(field, "resourceVersionMatch is forbidden when continue is provided");
    }
    if matching == Some("Exact") && version == Some("0") {
        forbid(field, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if query.has("sendInitialEvents") {
        forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    if let Some(other) = matching.filter(|matching| !["Exact", "NotOlderThan"].contains(matching)) {
        let detail = format!("{other:?}: supported values: \"Exact\", \"NotOlderThan\", \"\"");
        found.push(Problem::new(ProblemKind::NotSupported, field, detail));
    }
    if found.is_empty() { Ok(()) } else { Err(Status::invalid_options("ListOptions", &found)) }
}

pub fn respond_list(call: &Call, accepted: Accepted, entries: Vec<Entry>, metadata: &Value) -> Response {
    let kind = call.kind();
    if let Err(refused) = accepted.check_number(kind, Number::List) {
        return answer::refusal(answer::format_of_refusal(&call.headers), &refused);
    }
    let objects = || entries.iter().map(|entry| call.served.read(entry)).collect::<Vec<_>>();
    let value = match accepted.view {
        View::Whole => return whole_list(call, accepted.format, entries, metadata),
        View::Table => {
            let include = Include::parse(call.query.get("includeObject")).unwrap_or_default();
            table(accepted.meta, kind, &objects(), &told(metadata), include, true, call.server.clock.now())
        }
        View::Metadata => {
            let items: Vec<Value> = entries.iter().map(|entry| answer::metadata_only(accepted.meta, &call.served.read(entry))).collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": accepted.meta, "metadata": told(metadata), "items": items})
        }
    };
    answer::value(accepted.format, StatusCode::OK, &value)
}

/// The metadata of a list in a form of Kubernetes' own, which leaves out what is empty.
fn told(metadata: &Value) -> Value {
    let mut told = metadata.clone();
    if let Some(fields) = told.as_object_mut() {
        fields.retain(|_, value| value != "");
    }
    told
}

fn whole_list(call: &Call, format: Format, entries: Vec<Entry>, metadata: &Value) -> Response {
    let list = ListBody::new(Arc::clone(&call.served), entries, metadata);
    if format != Format::Json {
        return answer::value(format, StatusCode::OK, &serde_json::from_slice(&list.at_once()).unwrap_or_default());
    }
    let mut response = Response::new(Body::new(list));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn token(revision: u64, after: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": after}).to_string())
}

fn parse_token(text: &str) -> Result<(u64, String)> {
    let invalid = |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let text = text.trim_end_matches('=');
    let illegal = || format!("illegal base64 data at input byte {}", illegal_at(text));
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid(&illegal()))?;
    if let Some(why) = logic::json::syntax_error(&bytes) {
        return Err(invalid(&why));
    }
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    match (value["rv"].as_u64(), value["start"].as_str()) {
        (Some(revision), Some(start)) => Ok((revision, start.to_owned())),
        _ => Err(invalid("it has no version and start")),
    }
}

/// Where a text stops being base64 for URLs.
fn illegal_at(text: &str) -> usize {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.bytes().position(|byte| !is_digit(byte)).unwrap_or(text.len() - text.len() % 4)
}
