//! Secret: settings nobody should read over a shoulder.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::config_map::{frozen, key_problems, size_problem};
use crate::{Column, Kind, Problem};

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        columns: vec![
            Column::name(),
            Column::path("Type", "string", ".type", "What the Secret is for, and so which keys it must have"),
            Column::computed("Data", "string", count, "How many entries the Secret has; what is in them is not shown"),
            Column::age(),
        ],
        selectable_fields: vec!["type".into()],
        default: fill_in,
        validate: problems,
        validate_change: change_problems,
        ..Kind::new("", "v1", "Secret", "secrets", |generator| generator.subschema_for::<Secret>())
    }
}

fn count(object: &Value, _: jiff::Timestamp) -> Value {
    json!(object["data"].as_object().map_or(0, serde_json::Map::len))
}

/// Plain text becomes data, over what is there under the same key; it is never kept or shown as such.
fn fill_in(object: &mut Value) {
    if object["type"].as_str().is_none_or(str::is_empty) {
        object["type"] = json!("Opaque");
    }
    let Some(fields) = object.as_object_mut() else { return };
    if let Some(Value::Object(plain)) = fields.shift_remove("stringData") {
        let data = fields.entry("data").or_insert_with(|| json!({}));
        if data.is_null() {
            *data = json!({});
        }
        for (key, value) in plain {
            data[key] = json!(STANDARD.encode(value.as_str().unwrap_or_default()));
        }
    }
}

/// The keys that a Secret of a type must have.
fn required_keys(type_name: &str) -> &'static [&'static str] {
    match type_name {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    }
}

fn problems(object: &Value) -> Vec<Problem> {
    let mut found = key_problems(object, &["data"]);
    found.extend(size_problem(object, &["data"], "data"));
    let required = required_keys(object["type"].as_str().unwrap_or_default()).iter();
    let missing = required.filter(|key| object["data"].get(**key).is_none());
    found.extend(missing.map(|key| Problem::required(format!("data[{key}]"), "")));
    match object["type"].as_str().unwrap_or_default() {
        "kubernetes.io/basic-auth" if ["username", "password"].iter().all(|key| object["data"].get(key).is_none()) => {
            found.extend(["username", "password"].map(|key| Problem::required(format!("data[{key}]"), "")));
        }
        "kubernetes.io/service-account-token" => {
            let of = "kubernetes.io/service-account.name";
            if object["metadata"]["annotations"][of].as_str().is_none_or(str::is_empty) {
                found.push(Problem::required(format!("metadata.annotations[{of}]"), ""));
            }
        }
        "kubernetes.io/dockerconfigjson" => found.extend(no_json(object, ".dockerconfigjson")),
        "kubernetes.io/dockercfg" => found.extend(no_json(object, ".dockercfg")),
        _ => {}
    }
    found
}

/// The problem of data that should be JSON and is not; what it is stays secret.
fn no_json(object: &Value, key: &str) -> Option<Problem> {
    let bytes = STANDARD.decode(object["data"][key].as_str()?).ok()?;
    let why = serde_json::from_slice::<Value>(&bytes).err()?;
    let why = if bytes.is_empty() { "unexpected end of JSON input".to_owned() } else { format!("must be JSON: {why}") };
    Some(Problem::invalid(format!("data[{key}]"), format!("\"<secret contents redacted>\": {why}")))
}

fn change_problems(before: &Value, after: &Value) -> Vec<Problem> {
    let mut found = frozen(before, after);
    if before["type"] != after["type"] {
        found.push(Problem::invalid("type", format!("{}: field is immutable", after["type"])));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_becomes_data() {
        let mut secret = json!({"data": {"a": "MQ==", "b": "Mg=="}, "stringData": {"b": "3"}});
        fill_in(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "MQ==", "b": "Mw=="}, "type": "Opaque"}));
    }

    #[test]
    fn some_types_need_keys_and_none_changes() {
        let secret = json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}});
        let found: Vec<String> = problems(&secret).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["data[tls.key]: Required value"]);
        for (of, expected) in [
            (json!({"type": "kubernetes.io/basic-auth", "data": {}}), "data[username]: Required value; data[password]: Required value"),
            (json!({"type": "kubernetes.io/basic-auth", "data": {"password": ""}}), ""),
            (
                json!({"type": "kubernetes.io/service-account-token"}),
                "metadata.annotations[kubernetes.io/service-account.name]: Required value",
            ),
            (json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}), ""),
            (
                json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": ""}}),
                "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": unexpected end of JSON input",
            ),
        ] {
            let found: Vec<String> = problems(&of).iter().map(ToString::to_string).collect();
            assert_eq!(found.join("; "), expected, "{of}");
        }
        let found = change_problems(&secret, &json!({"type": "Opaque"}));
        assert_eq!(found[0].to_string(), "type: Invalid value: \"Opaque\": field is immutable");
    }
}
