//! `GET …?watch=true`: every change from a version on.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use model::{Problem, ProblemKind};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Batch, Entry, Event, ListOptions, Watch};
use tokio::time::Instant;

use super::read::Selection;
use crate::answer::{Format, View, json, metadata_only};
use crate::limits::Principal;
use crate::query::not_a_number;
use crate::registry::Served;
use crate::serve::Call;
use crate::status::{Result, Status};
use crate::table::{Include, table};
use crate::{Server, conversion, object, protobuf};

/// How long a watch lasts when nobody says.
const LASTS_DEFAULT: Duration = Duration::from_secs(1_800);
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// Events that are ready go together, up to about so much.
const PIECE_BYTES: usize = 64 << 10;
/// What is there at the beginning goes in smaller pieces: a client that reads nothing has one of them.
const INITIAL_PIECE_BYTES: usize = 16 << 10;
/// What stands around an object in an event, about.
const LINE_BYTES: usize = 64;
/// So many objects are looked up first, and twice as many each time that they were sent.
const INITIAL_OBJECTS: usize = 64;
const INITIAL_OBJECTS_MAX: usize = 4_096;
/// Between two pieces a watch rests so long for each watch there is: the more there are, the more events share the cost of a piece.
const REST_EACH: Duration = Duration::from_micros(80);
/// Shorter rests would save nothing.
const REST_MIN: Duration = Duration::from_millis(8);
const REST_MAX: Duration = Duration::from_millis(150);

/// How a watch writes its events.
struct Writer {
    server: Arc<Server>,
    served: Arc<Served>,
    selection: Selection,
    view: View,
    format: Format,
    meta: &'static str,
    include: Include,
    headed: bool,
}

/// Watches objects. Errors: 400, 422; a version no longer kept is an ERROR event with a 410.
pub async fn watch(call: &Call) -> Result<Response> {
    let accepted = call.accepted()?;
    if accepted.format == Format::Yaml {
        return Err(Status::not_acceptable());
    }
    let kind = call.kind();
    let selection = Selection::parse(kind, &call.query, call.place.name.as_deref())?;
    let initial = check_options(call)?;
    let version =
        match call.query.get("resourceVersion") {
            None => None,
            Some(text) => Some(text.parse::<u64>().map_err(|_| {
                Status::unexplained(format!("resourceVersion: Invalid value: {text:?}: {}", not_a_number("ParseUint", text)))
            })?),
        };
    let include = Include::parse(call.query.get("includeObject")).unwrap_or_default();
    let (server, served) = (Arc::clone(&call.server), Arc::clone(&call.served));
    let (view, format, meta) = (accepted.view, accepted.format, accepted.meta);
    let writer = Writer { server, served, selection, view, format, meta, include, headed: true };
    let bookmarks = call.query.is_true("allowWatchBookmarks");
    let prefix = object::prefix(kind, call.place.namespace.as_deref());
    let store = &call.server.store;
    let (initial, watch) = match version {
        Some(version) if version > 0 && initial != Some(true) => match store.watch(&prefix, version).await {
            Ok(watch) => (None, watch),
            Err(store::Error::Future { .. }) => (None, stream::pending().boxed()),
            Err(error) => {
                let mut line = Vec::new();
                event(&mut line, accepted.format, "ERROR", &refusal(&error, version).to_value());
                return Ok(streamed(accepted.format, stream::iter([Bytes::from(line)]).boxed()));
            }
        },
        _ => {
            let revision = store.revision();
            let told = bookmarks && (initial == Some(true) || version == Some(0));
            let limit = if initial == Some(false) { 0 } else { INITIAL_OBJECTS };
            let options = ListOptions { prefix, limit: Some(limit), at: Some(revision), ..ListOptions::default() };
            (Some(Initial { options, revision, told, entries: Vec::new().into_iter() }), stream::pending().boxed())
        }
    };
    let lasts = call.query.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    let lasts = lasts.map_or(LASTS_DEFAULT, Duration::from_secs);
    let (deadline, watching) = (Instant::now() + lasts, Arc::clone(&call.server.watching));
    let principal = call.principal.clone();
    let events = Events { writer, initial, watch, bookmarks, deadline, rests_until: None, watching, principal, done: false };
    Ok(streamed(accepted.format, stream::unfold(events, Events::next).boxed()))
}

fn check_options(call: &Call) -> Result<Option<bool>> {
    let query = &call.query;
    let (matching, initial) = (query.get("resourceVersionMatch"), query.has("sendInitialEvents"));
    let field = "resourceVersionMatch";
    let mut found = Vec::new();
    let mut forbid = |detail: &str| found.push(Problem::new(ProblemKind::Forbidden, field, detail));
    if initial && matching != Some("NotOlderThan") {
        forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    if matching.is_some() && !initial {
        forbid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    }
    if matching.is_some() && query.get("continue").is_some() {
        forbid("resourceVersionMatch is forbidden when continue is provided");
    }
    if let Some(other) = matching.filter(|matching| *matching != "NotOlderThan") {
        let detail = format!("{other:?}: supported values: \"NotOlderThan\"");
        found.push(Problem::new(ProblemKind::NotSupported, field, detail));
    }
    if !found.is_empty() {
        return Err(Status::invalid_options("ListOptions", &found));
    }
    Ok(initial.then(|| query.is_true("sendInitialEvents")))
}

fn streamed(format: Format, events: BoxStream<'static, Bytes>) -> Response {
    let media_type = if format == Format::Protobuf { protobuf::WATCH_MEDIA_TYPE } else { "application/json" };
    let mut response = Response::new(Body::from_stream(events.map(Ok::<_, std::convert::Infallible>)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn refusal(error: &store::Error, version: u64) -> Status {
    match error {
        store::Error::Compacted { oldest, .. } => Status::expired(format!("too old resource version: {version} ({oldest})")),
        other => Status::from(other.clone()),
    }
}

/// Appends an event: a line of JSON, or a frame of protobuf.
fn event(out: &mut Vec<u8>, format: Format, event: &str, object: &Value) {
    if let Some(frame) = Some(object).filter(|_| format == Format::Protobuf).and_then(|object| protobuf::frame(event, object)) {
        out.extend_from_slice(&frame);
        return;
    }
    out.extend_from_slice(format!("{{\"type\":\"{event}\",\"object\":").as_bytes());
    out.extend(json(object));
    out.extend_from_slice(b"}\n");
}

/// What is there when a watch begins, and was not sent yet. It is looked up as it is sent, so that nothing waits for a client that does
/// not read; what changed meanwhile is told afterwards.
struct Initial {
    options: ListOptions,
    revision: u64,
    /// Whether its end is told.
    told: bool,
    entries: std::vec::IntoIter<Entry>,
}

/// A watch that goes on.
struct Events {
    writer: Writer,
    initial: Option<Initial>,
    watch: Watch,
    bookmarks: bool,
    deadline: Instant,
    rests_until: Option<Instant>,
    watching: Arc<()>,
    /// Who is charged for what was not read yet.
    principal: Option<Arc<Principal>>,
    done: bool,
}

impl Events {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        while let Some(initial) = self.initial.take() {
            if let Some(piece) = self.begin(initial).await {
                return Some((piece, self));
            }
        }
        let mut lines = Vec::new();
        while !self.done {
            if let Some(rested) = self.rests_until.take() {
                tokio::time::sleep_until(rested).await;
            }
            tokio::select! {
                biased;
                batch = self.watch.next() => self.receive(batch, &mut lines).await,
                () = tokio::time::sleep_until(self.deadline) => {
                    self.done = true;
                    lines = self.bookmark();
                }
                () = tokio::time::sleep(BOOKMARK_PERIOD) => lines = self.bookmark(),
            }
            while !self.done && lines.len() < PIECE_BYTES {
                let Some(batch) = self.watch.next().now_or_never() else { break };
                self.receive(batch, &mut lines).await;
            }
            if !lines.is_empty() {
                self.rests_until = rest(Arc::strong_count(&self.watching)).map(|rest| Instant::now() + rest);
                let piece = self.charged(lines.len(), |_| lines).await;
                return Some((piece, self));
            }
        }
        None
    }

    /// The next piece of what was there at the beginning, or none where all of it was sent.
    async fn begin(&mut self, mut initial: Initial) -> Option<Bytes> {
        let entries = match self.piece_of(&mut initial).await {
            Ok(entries) => entries,
            Err(status) => return Some(self.end(&status)),
        };
        if !entries.is_empty() {
            self.initial = Some(initial);
            let bytes = entries.iter().map(|entry| entry.value.len() + LINE_BYTES).sum();
            return Some(self.charged(bytes, |writer| writer.initial(&entries)).await);
        }
        match self.writer.server.store.watch(&initial.options.prefix, initial.revision).await {
            Ok(watch) => self.watch = watch,
            Err(error) => return Some(self.end(&refusal(&error, initial.revision))),
        }
        initial.told.then(|| self.writer.bookmark(initial.revision, true).into())
    }

    /// Some of the objects, in the version of the kind; none where there are no more.
    async fn piece_of(&mut self, initial: &mut Initial) -> Result<Vec<Entry>> {
        let writer = &self.writer;
        let (mut piece, mut bytes) = (Vec::new(), 0);
        while bytes < INITIAL_PIECE_BYTES {
            if initial.entries.len() == 0 {
                if initial.options.limit == Some(0) || !piece.is_empty() {
                    break;
                }
                let page = writer.server.store.list(initial.options.clone()).await.map_err(|error| refusal(&error, initial.revision))?;
                let Some(last) = page.entries.last() else { break };
                initial.options.after = Some(last.key.clone());
                initial.options.limit = match page.remaining {
                    0 => Some(0),
                    _ => initial.options.limit.map(|limit| (limit * 2).min(INITIAL_OBJECTS_MAX)),
                };
                initial.entries = writer.chosen(page.entries).await?.into_iter();
                continue;
            }
            if let Some(entry) = initial.entries.next() {
                bytes += entry.value.len();
                piece.push(entry);
            }
        }
        Ok(piece)
    }

    /// What is written for somebody who is charged for it, as soon as they have so many bytes to spend; where they do not read what
    /// waits for them, the watch ends.
    async fn charged(&mut self, bytes: usize, write: impl FnOnce(&mut Writer) -> Vec<u8>) -> Bytes {
        let Some(principal) = self.principal.clone() else { return write(&mut self.writer).into() };
        match principal.charge(bytes).await {
            Ok(charge) => charge.of(write(&mut self.writer)),
            Err(status) => self.end(&status),
        }
    }

    /// The last thing that a watch tells.
    fn end(&mut self, status: &Status) -> Bytes {
        (self.done, self.initial) = (true, None);
        let mut line = Vec::new();
        event(&mut line, self.writer.format, "ERROR", &status.to_value());
        line.into()
    }

    async fn receive(&mut self, batch: Option<store::Result<Batch>>, lines: &mut Vec<u8>) {
        let refused = match batch {
            Some(Ok(batch)) => self.writer.events(lines, &batch.events).await.err(),
            Some(Err(error)) => Some(refusal(&error, 0)),
            None => {
                self.done = true;
                return;
            }
        };
        if let Some(status) = refused {
            self.done = true;
            event(lines, self.writer.format, "ERROR", &status.to_value());
        }
    }

    fn bookmark(&self) -> Vec<u8> {
        if self.bookmarks { self.writer.bookmark(self.writer.server.store.revision(), false) } else { Vec::new() }
    }
}

/// How long a watch rests after a piece, where there are so many.
fn rest(watches: usize) -> Option<Duration> {
    let rest = REST_EACH.saturating_mul(u32::try_from(watches).unwrap_or(u32::MAX)).min(REST_MAX);
    (rest >= REST_MIN).then_some(rest)
}

impl Writer {
    fn initial(&mut self, entries: &[Entry]) -> Vec<u8> {
        let mut lines = Vec::new();
        for entry in entries {
            self.line(&mut lines, "ADDED", entry);
        }
        lines
    }

    /// Those of some entries that are asked for, in the version of the kind. Errors: a webhook that converts them failed.
    async fn chosen(&self, entries: Vec<Entry>) -> Result<Vec<Entry>> {
        let shown = async |entries| conversion::shown(&self.server, &self.served, entries).await;
        let inside = self.selection.looks_inside();
        let mut entries = if inside { shown(entries).await? } else { entries };
        entries.retain(|entry| self.chooses(entry));
        if inside || self.view == View::Metadata || !conversion::is_needed(&self.served) { Ok(entries) } else { shown(entries).await }
    }

    /// Writes events, in the version of the kind. Errors: a webhook that converts them failed.
    async fn events(&mut self, lines: &mut Vec<u8>, events: &[Event]) -> Result<()> {
        if conversion::is_needed(&self.served) && (self.view != View::Metadata || self.selection.looks_inside()) {
            let shown = conversion::shown_events(&self.server, &self.served, events).await?;
            shown.iter().for_each(|event| self.event(lines, event));
        } else {
            events.iter().for_each(|event| self.event(lines, event));
        }
        Ok(())
    }

    /// An object that a change brings into the selection is ADDED, one that it takes out of it DELETED.
    fn event(&mut self, lines: &mut Vec<u8>, event: &Event) {
        let before = event.previous.as_ref().filter(|entry| self.chooses(entry));
        let after = event.entry.as_ref().filter(|entry| self.chooses(entry));
        match (before, after) {
            (None, Some(after)) => self.line(lines, "ADDED", after),
            (Some(_), Some(after)) => self.line(lines, "MODIFIED", after),
            (Some(before), None) => {
                // Its last state, at the version of the change that removed it.
                let last = Entry { modified: event.revision, ..before.clone() };
                self.line(lines, "DELETED", &last);
            }
            (None, None) => {}
        }
    }

    fn chooses(&self, entry: &Entry) -> bool {
        self.selection.is_empty() || self.selection.matches(&self.served.read(entry))
    }

    fn line(&mut self, lines: &mut Vec<u8>, name: &str, entry: &Entry) {
        match self.view {
            View::Whole if self.format == Format::Json => {
                lines.extend_from_slice(format!("{{\"type\":\"{name}\",\"object\":").as_bytes());
                self.served.write(lines, entry, true);
                lines.extend_from_slice(b"}\n");
            }
            View::Whole => event(lines, self.format, name, &self.served.read(entry)),
            View::Metadata if self.format == Format::Json && self.served.kind.form.is_none() => {
                let meta = self.meta;
                lines.extend_from_slice(
                    format!("{{\"type\":\"{name}\",\"object\":{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"{meta}\",").as_bytes(),
                );
                self.served.write_metadata(lines, entry);
                lines.extend_from_slice(b"}}\n");
            }
            View::Metadata => event(lines, self.format, name, &metadata_only(self.meta, &self.served.read(entry))),
            View::Table => {
                let row = self.row(entry);
                event(lines, self.format, name, &row);
            }
        }
    }

    fn row(&mut self, entry: &Entry) -> Value {
        let headed = std::mem::take(&mut self.headed);
        let metadata = json!({"resourceVersion": entry.modified.to_string()});
        table(self.meta, &self.served.kind, &[self.served.read(entry)], &metadata, self.include, headed, self.server.clock.now())
    }

    fn bookmark(&self, revision: u64, initial_end: bool) -> Vec<u8> {
        let kind = &self.served.kind;
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.view {
            View::Whole => json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata}),
            View::Metadata => json!({"kind": "PartialObjectMetadata", "apiVersion": self.meta, "metadata": metadata}),
            View::Table => {
                let row = json!({"cells": [], "object": {"kind": "PartialObjectMetadata", "apiVersion": self.meta, "metadata": metadata}});
                json!({"kind": "Table", "apiVersion": self.meta, "metadata": {"resourceVersion": revision.to_string()}, "columnDefinitions": null, "rows": [row]})
            }
        };
        let mut line = Vec::new();
        event(&mut line, self.format, "BOOKMARK", &object);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_rest_only_where_there_are_many() {
        for (watches, expected) in [(0, None), (1, None), (99, None), (100, Some(8)), (1_000, Some(80)), (100_000, Some(150))] {
            assert_eq!(rest(watches), expected.map(Duration::from_millis), "{watches}");
        }
    }
}
