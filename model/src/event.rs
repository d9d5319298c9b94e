//! Event: something worth telling people about an object.

use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};

use crate::kind::age;
use crate::{Column, Kind};

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        short_names: vec!["ev".into()],
        columns: vec![
            Column::computed("Last Seen", "string", |object, now| age(&object["lastTimestamp"], now), "When it last happened"),
            Column::path("Type", "string", ".type", "Normal or Warning"),
            Column::path("Reason", "string", ".reason", "A word for it"),
            Column::computed("Object", "string", about, "What it is about"),
            Column::path("Message", "string", ".message", "What happened"),
            Column { format: "name".into(), ..Column::path("Name", "string", ".metadata.name", "The name of the event").wide() },
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
        ..Kind::new("", "v1", "Event", "events", |generator| generator.subschema_for::<Event>())
    }
}

fn about(object: &Value, _: jiff::Timestamp) -> Value {
    let involved = &object["involvedObject"];
    let text = |field: &str| involved[field].as_str().unwrap_or("").to_lowercase();
    json!(format!("{}/{}", text("kind"), text("name")))
}
