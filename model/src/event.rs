//! Event: something worth telling people about an object. Its two kinds are two forms of the same objects.

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::api::events::v1 as events;
use serde_json::{Value, json};

use crate::kind::age;
use crate::{Column, Form, Kind, Problem, check_subdomain};

/// The group of the newer form.
const EVENTS: &str = "events.k8s.io";
/// The names of fields in the kept form and in the newer one.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];
/// What an Event that is seen again may not change.
const FIXED: [&str; 12] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingInstance",
];
const REFERENCE: [&str; 7] = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];

/// The kind in the core group, for [`crate::KINDS`].
pub fn kind() -> Kind {
    let selectable = REFERENCE.iter().map(|field| format!("involvedObject.{field}"));
    Kind {
        short_names: vec!["ev".into()],
        columns: columns(),
        selectable_fields: selectable.chain(["reason", "reportingComponent", "source", "type"].map(Into::into)).collect(),
        expose: |object| object["source"] = source(object, &object["reportingComponent"]),
        default: fill_in,
        validate: |object| problems(object, "reportingComponent"),
        ..Kind::new("", "v1", "Event", "events", |generator| generator.subschema_for::<Event>())
    }
}

/// The kind in the group of its own, for [`crate::KINDS`].
pub fn events_kind() -> Kind {
    let selectable = REFERENCE.iter().map(|field| format!("regarding.{field}"));
    Kind {
        short_names: vec!["ev".into()],
        columns: columns(),
        keeps_unknown: true,
        selectable_fields: selectable.chain(["reason", "reportingController", "type"].map(Into::into)).collect(),
        form: Some(Form { group: "", version: "v1", show, keep }),
        default: |object| {
            for field in ["regarding", "deprecatedSource"] {
                if object[field].is_null() {
                    object[field] = json!({});
                }
            }
        },
        validate_new: |object| new_problems(&kept(object)),
        validate: |object| problems(&kept(object), "reportingController"),
        validate_change: |before, after| change_problems(&kept(before), &kept(after)),
        ..Kind::new(EVENTS, "v1", "Event", "events", |generator| generator.subschema_for::<events::Event>())
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column::computed("Last Seen", "string", last_seen, "The time at which the event was most recently recorded"),
        Column::path("Type", "string", ".type", "The type of the event: Normal or Warning, others may be added"),
        Column::path("Reason", "string", ".reason", "A short word for programs that says why this happened"),
        Column::computed("Object", "string", about, "The object that the event is about, as kind and name"),
        Column::computed("Subobject", "string", part, "The part of the object that the event is about").wide(),
        Column::computed("Source", "string", reporter, "The program that tells of the event, and its node").wide(),
        Column::computed("Message", "string", message, "A description of what happened, for people to read"),
        Column::computed("First Seen", "string", first_seen, "The time at which the event was first recorded").wide(),
        Column::computed("Count", "string", count, "The number of times that this event has occurred").wide(),
        Column {
            format: "name".into(),
            ..Column::path("Name", "string", ".metadata.name", "The name of the event, which no other of its namespace has").wide()
        },
    ]
}

fn either(object: &Value, field: &str, other: &str) -> Value {
    let found = if object[field].is_null() { &object[other] } else { &object[field] };
    found.clone()
}

/// When an event was seen: at the time of its kind, or at the time in microseconds that stands for it.
fn seen(event: &Value, field: &str, now: jiff::Timestamp) -> Value {
    let time = [&event[field], &event["eventTime"]].into_iter().find(|time| time.is_string());
    time.map_or_else(|| json!("<unknown>"), |time| age(time, now))
}

fn first_seen(event: &Value, now: jiff::Timestamp) -> Value {
    seen(&kept(event), "firstTimestamp", now)
}

fn last_seen(event: &Value, now: jiff::Timestamp) -> Value {
    let series = &event["series"]["lastObservedTime"];
    if series.is_string() { age(series, now) } else { seen(&kept(event), "lastTimestamp", now) }
}

fn count(event: &Value, _: jiff::Timestamp) -> Value {
    let total = either(event, "count", "deprecatedCount").as_i64().filter(|count| *count > 0);
    json!(event["series"]["count"].as_i64().or(total).unwrap_or(1).to_string())
}

fn message(event: &Value, _: jiff::Timestamp) -> Value {
    json!(either(event, "message", "note").as_str().unwrap_or_default().trim())
}

fn part(event: &Value, _: jiff::Timestamp) -> Value {
    json!(either(event, "involvedObject", "regarding")["fieldPath"].as_str().unwrap_or_default())
}

fn reporter(event: &Value, _: jiff::Timestamp) -> Value {
    let event = kept(event);
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let component = text(&event["source"]["component"]).or_else(|| text(&event["reportingComponent"]));
    let host = text(&event["source"]["host"]).or_else(|| text(&event["reportingInstance"]));
    json!([component, host].into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn about(object: &Value, _: jiff::Timestamp) -> Value {
    let involved = either(object, "involvedObject", "regarding");
    let text = |field: &str| involved[field].as_str().unwrap_or("").to_lowercase();
    json!(format!("{}/{}", text("kind"), text("name")))
}

fn source(object: &Value, otherwise: &Value) -> Value {
    let component = &object["source"]["component"];
    if component.as_str().is_none_or(str::is_empty) { otherwise.clone() } else { component.clone() }
}

fn fill_in(object: &mut Value) {
    for (field, value) in [("source", json!({})), ("reportingComponent", json!("")), ("reportingInstance", json!(""))] {
        if object[field].is_null() {
            object[field] = value;
        }
    }
}

/// From the kept form to the newer one, which leaves empty texts out.
fn show(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    for (kept, shown) in NAMES {
        if let Some(value) = fields.shift_remove(kept) {
            fields.insert(shown.into(), value);
        }
    }
    fields.retain(|_, value| value != "");
    for time in ["eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"] {
        fields.entry(time).or_insert(Value::Null);
    }
}

fn keep(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    for (kept, shown) in NAMES {
        if let Some(value) = fields.shift_remove(shown) {
            fields.insert(kept.into(), value);
        }
    }
    fill_in(object);
}

fn kept(object: &Value) -> Value {
    let mut object = object.clone();
    keep(&mut object);
    object
}

/// Problems of the kept form; `controller` is what the told form calls the reporter.
fn problems(object: &Value, controller: &str) -> Vec<Problem> {
    let mut found = Vec::new();
    let (namespace, about) = (&object["metadata"]["namespace"], &object["involvedObject"]["namespace"]);
    let (namespace, about) = (namespace.as_str().unwrap_or_default(), about.as_str().unwrap_or_default());
    let is_newer = object["eventTime"].is_string();
    let agrees = match (about.is_empty(), is_newer) {
        (true, false) => ["", "default"].contains(&namespace),
        (true, true) => ["default", "kube-system"].contains(&namespace),
        (false, false) => about == namespace,
        (false, true) => true,
    };
    if !agrees {
        found.push(Problem::invalid("involvedObject.namespace", format!("{about:?}: does not match event.namespace")));
    }
    if is_newer {
        reporter_problems(object, controller, &mut found);
    }
    found
}

fn reporter_problems(object: &Value, controller: &str, found: &mut Vec<Problem>) {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let reporter = text("reportingComponent");
    if reporter.is_empty() {
        found.push(Problem::required(controller, ""));
    }
    let prefix = reporter.split_once('/').map(|(prefix, _)| prefix);
    for why in prefix.map(check_subdomain).unwrap_or_default() {
        found.push(Problem::invalid(controller, format!("{reporter:?}: prefix part {why}")));
    }
    for field in ["reportingInstance", "action", "reason"] {
        match text(field) {
            "" => found.push(Problem::required(field, "")),
            long if long.len() > 128 => found.push(Problem::invalid(field, "\"\": can have at most 128 characters")),
            _ => {}
        }
    }
    if text("message").len() > 1024 {
        found.push(Problem::invalid("message", "\"\": can have at most 1024 characters"));
    }
}

/// What is asked of new Events in the newer form.
fn new_problems(object: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    if !object["eventTime"].is_string() {
        found.push(Problem::required("eventTime", ""));
    }
    found.extend(series_problems(object));
    let type_name = object["type"].as_str().unwrap_or_default();
    if !["Normal", "Warning"].contains(&type_name) {
        found.push(Problem::invalid("type", format!("\"\": has invalid value: {type_name}")));
    }
    let is_set = |field: &str| match &object[field] {
        Value::Object(fields) => !fields.is_empty(),
        Value::Number(number) => number.as_i64() != Some(0),
        other => other.is_string(),
    };
    let unset = ["firstTimestamp", "lastTimestamp", "count", "source"].into_iter().filter(|field| is_set(field));
    found.extend(unset.map(|field| Problem::invalid(field, "\"\": needs to be unset")));
    found
}

fn series_problems(object: &Value) -> Vec<Problem> {
    let (series, mut found) = (&object["series"], Vec::new());
    if series.is_object() {
        if series["count"].as_i64().unwrap_or(0) < 2 {
            found.push(Problem::invalid("series.count", "\"\": should be at least 2"));
        }
        if !series["lastObservedTime"].is_string() {
            found.push(Problem::required("series.lastObservedTime", ""));
        }
    }
    found
}

/// In the newer form an Event only counts on.
fn change_problems(before: &Value, after: &Value) -> Vec<Problem> {
    let changed = FIXED.into_iter().filter(|field| before[*field] != after[*field]);
    let mut found: Vec<Problem> = changed.map(|field| Problem::invalid(field, format!("{}: field is immutable", after[field]))).collect();
    if before["series"] != after["series"] {
        found.extend(series_problems(after));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_forms_are_of_one_object() {
        let told = json!({"eventTime": "2001-01-01T00:00:00.000001Z", "regarding": {"name": "a"}, "note": "n", "reason": "r",
            "reportingController": "a.dev/b", "deprecatedSource": {}, "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null});
        let mut object = told.clone();
        keep(&mut object);
        assert_eq!(
            (&object["message"], &object["reportingComponent"], &object["reportingInstance"]),
            (&json!("n"), &json!("a.dev/b"), &json!(""))
        );
        show(&mut object);
        assert_eq!(object, told);
    }

    #[test]
    fn mistakes_are_told_by_form() {
        let texts = |found: Vec<Problem>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        let other = json!({"metadata": {"namespace": "n"}, "involvedObject": {"namespace": "other"}});
        let expected = ["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"];
        assert_eq!(texts(problems(&other, "reportingComponent")), expected);
        let bare = json!({"metadata": {"namespace": "n"}, "regarding": {"namespace": "n"}, "type": "Odd"});
        let expected = ["eventTime: Required value", "type: Invalid value: \"\": has invalid value: Odd"];
        assert_eq!(texts(new_problems(&kept(&bare))), expected);
        let timed = json!({"metadata": {"namespace": "n"}, "regarding": {"namespace": "n"}, "eventTime": "2001-01-01T00:00:00.000001Z"});
        let fields: Vec<String> = problems(&kept(&timed), "reportingController").into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["reportingController", "reportingInstance", "action", "reason"]);
    }
}
