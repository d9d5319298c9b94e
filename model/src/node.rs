//! Node: a machine that runs pods.

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use crate::{Column, Kind, Scope};

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        short_names: vec!["no".into()],
        scope: Scope::Cluster,
        status: true,
        columns: vec![
            Column::name(),
            Column::computed("Status", "string", status_cell, "Whether it takes pods"),
            Column::computed("Roles", "string", |_, _| json!("<none>"), "The roles of the node"),
            Column::age(),
            Column::path("Version", "string", ".status.nodeInfo.kubeletVersion", "The agent's version"),
        ],
        selectable_fields: vec!["spec.unschedulable".into()],
        ..Kind::new("", "v1", "Node", "nodes", |generator| generator.subschema_for::<Node>())
    }
}

fn status_cell(object: &Value, _: jiff::Timestamp) -> Value {
    let ready = object["status"]["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == "Ready");
    let mut text = match ready.and_then(|condition| condition["status"].as_str()) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object["spec"]["unschedulable"] == true {
        text.push_str(",SchedulingDisabled");
    }
    json!(text)
}
