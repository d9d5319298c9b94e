//! Event: something worth telling people about an object.

use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};

use crate::kind::age;
use crate::{Column, Kind, Problem};

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        short_names: vec!["ev".into()],
        columns: vec![
            Column::computed("Last Seen", "string", last_seen, "The time at which the event was most recently recorded"),
            Column::path("Type", "string", ".type", "The type of the event: Normal or Warning, others may be added"),
            Column::path("Reason", "string", ".reason", "A short word for programs that says why this happened"),
            Column::computed("Object", "string", about, "The object that the event is about, as kind and name"),
            Column::path("Subobject", "string", ".involvedObject.fieldPath", "The part of the object that the event is about")
                .blank()
                .wide(),
            Column::computed("Source", "string", source, "The program that tells of the event, and its node").wide(),
            Column::computed("Message", "string", message, "A description of what happened, for people to read"),
            Column::computed("First Seen", "string", first_seen, "The time at which the event was first recorded").wide(),
            Column::computed("Count", "string", count, "The number of times that this event has occurred").wide(),
            Column {
                format: "name".into(),
                ..Column::path("Name", "string", ".metadata.name", "The name of the event, which no other of its namespace has").wide()
            },
        ],
        selectable_fields: [
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
        .map(Into::into)
        .to_vec(),
        validate: problems,
        ..Kind::new("", "v1", "Event", "events", |generator| generator.subschema_for::<Event>())
    }
}

/// An event is in the namespace of what it is about; one about something without a namespace is in `default`.
fn problems(event: &Value) -> Vec<Problem> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (own, about) = (text(&event["metadata"]["namespace"]), text(&event["involvedObject"]["namespace"]));
    let fits = if about.is_empty() { own.is_empty() || own == "default" } else { own == about };
    let problem = || Problem::invalid("involvedObject.namespace", format!("{about:?}: does not match event.namespace"));
    if fits { Vec::new() } else { vec![problem()] }
}

/// When an event was seen: at the time of its kind, or at the time in microseconds that stands for it.
fn seen(event: &Value, field: &str, now: jiff::Timestamp) -> Value {
    let time = [&event[field], &event["eventTime"]].into_iter().find(|time| time.is_string());
    time.map_or_else(|| json!("<unknown>"), |time| age(time, now))
}

fn first_seen(event: &Value, now: jiff::Timestamp) -> Value {
    seen(event, "firstTimestamp", now)
}

fn last_seen(event: &Value, now: jiff::Timestamp) -> Value {
    let series = &event["series"]["lastObservedTime"];
    if series.is_string() { age(series, now) } else { seen(event, "lastTimestamp", now) }
}

fn count(event: &Value, _: jiff::Timestamp) -> Value {
    let count = event["series"]["count"].as_i64().or_else(|| event["count"].as_i64().filter(|count| *count > 0));
    json!(count.unwrap_or(1).to_string())
}

fn message(event: &Value, _: jiff::Timestamp) -> Value {
    json!(event["message"].as_str().unwrap_or_default().trim())
}

fn source(event: &Value, _: jiff::Timestamp) -> Value {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let component = text(&event["source"]["component"]).or_else(|| text(&event["reportingComponent"]));
    let host = text(&event["source"]["host"]).or_else(|| text(&event["reportingInstance"]));
    json!([component, host].into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn about(object: &Value, _: jiff::Timestamp) -> Value {
    let involved = &object["involvedObject"];
    let text = |field: &str| involved[field].as_str().unwrap_or("").to_lowercase();
    json!(format!("{}/{}", text("kind"), text("name")))
}
