//! Secret: settings nobody should read over a shoulder.

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::config_map::{frozen, key_problems};
use crate::{Column, Kind};

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        columns: vec![
            Column::name(),
            Column::path("Type", "string", ".type", "What the Secret is for"),
            Column::computed("Data", "string", count, "Number of entries"),
            Column::age(),
        ],
        selectable_fields: vec!["type".into()],
        default: default_type,
        validate: |object| key_problems(object, &["data"]),
        validate_change: frozen,
        ..Kind::new("", "v1", "Secret", "secrets", |generator| generator.subschema_for::<Secret>())
    }
}

fn count(object: &Value, _: jiff::Timestamp) -> Value {
    json!(object["data"].as_object().map_or(0, serde_json::Map::len).to_string())
}

fn default_type(object: &mut Value) {
    if object["type"].as_str().is_none_or(str::is_empty) {
        object["type"] = json!("Opaque");
    }
}
