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
            Column::computed("Status", "string", status_cell, "The status of the node"),
            Column::computed("Roles", "string", roles_cell, "The roles of the node"),
            Column::age(),
            Column::path("Version", "string", ".status.nodeInfo.kubeletVersion", "The version of the program that runs pods on this node"),
            Column::computed("Internal-IP", "string", |node, _| address(node, "InternalIP"), "The address of the node inside its network")
                .wide(),
            Column::computed("External-IP", "string", |node, _| address(node, "ExternalIP"), "The address of the node outside its network")
                .wide(),
            reported("OS-Image", "osImage", "The operating system of the node, as it names itself"),
            reported("Kernel-Version", "kernelVersion", "The version of the kernel that the node runs, as uname has it"),
            reported("Container-Runtime", "containerRuntimeVersion", "What runs the containers of this node, and its version"),
        ],
        selectable_fields: vec!["spec.unschedulable".into()],
        ..Kind::new("", "v1", "Node", "nodes", |generator| generator.subschema_for::<Node>())
    }
}

fn reported(name: &str, field: &str, description: &str) -> Column {
    let column = Column::path(name, "string", &format!(".status.nodeInfo.{field}"), description).wide();
    Column { absent: "<unknown>", ..column }
}

fn address(node: &Value, type_name: &str) -> Value {
    let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
    let found = addresses.filter(|address| address["type"] == type_name).find_map(|address| address["address"].as_str());
    json!(found.unwrap_or("<none>"))
}

fn roles_cell(node: &Value, _: jiff::Timestamp) -> Value {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None => value.as_str().filter(|_| key == "kubernetes.io/role"),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    json!(if roles.is_empty() { "<none>".into() } else { roles.join(",") })
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
