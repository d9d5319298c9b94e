//! Every typed field of every kind of ours, with a value of a wrong type and one out of range: the refusal names its whole path.

use model::{KINDS, Kind};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::server::Server;

type Definitions = Map<String, Value>;

/// A field: its path as people read it, the keys to it, and what it may hold.
struct Place {
    path: String,
    keys: Vec<Key>,
    schema: Value,
}

#[derive(Clone, PartialEq)]
enum Key {
    Field(String),
    /// The second item of a list, or the only one where it is empty in the base.
    Item,
}

fn resolved(definitions: &Definitions, schema: &Value) -> Value {
    let is_null = |one: &&Value| one["type"] == "null" || one["enum"] == json!([null]);
    let choices = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
    if let Some(choices) = choices.filter(|choices| choices.iter().any(|one| is_null(&one))) {
        return resolved(definitions, choices.iter().find(|one| !is_null(one)).unwrap());
    }
    let named = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    match named.and_then(|path| path.rsplit('/').next()) {
        Some(name) => {
            let mut found = resolved(definitions, &definitions[name]);
            found["x-name"] = json!(name);
            found
        }
        None => schema.clone(),
    }
}

fn is(schema: &Value, name: &str) -> bool {
    schema["type"] == name || schema["type"].as_array().is_some_and(|names| names.iter().any(|other| other == name))
}

fn walk(definitions: &Definitions, schema: &Value, path: &str, keys: &[Key], found: &mut Vec<Place>) {
    let schema = resolved(definitions, schema);
    let below = |key: Key| keys.iter().cloned().chain([key]).collect::<Vec<_>>();
    if !keys.is_empty() {
        found.push(Place { path: path.to_owned(), keys: keys.to_vec(), schema: schema.clone() });
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(definitions, property, &format!("{path}.{name}"), &below(Key::Field(name.clone())), found);
    }
    if schema["additionalProperties"].is_object() {
        walk(definitions, &schema["additionalProperties"], &format!("{path}[KEY]"), &below(Key::Field("KEY".into())), found);
    }
    if schema["items"].is_object() {
        walk(definitions, &schema["items"], &format!("{path}[0]"), &below(Key::Item), found);
    }
    for one in schema["anyOf"].as_array().into_iter().flatten().map(|one| resolved(definitions, one)).filter(|one| is(one, "object")) {
        walk(definitions, &one, path, keys, found);
    }
}

/// Values that the field cannot have: of another type, and out of range where its type has one.
fn wrong(schema: &Value) -> Vec<Value> {
    let is_of_numbers_or_text = schema["x-kubernetes-int-or-string"] == true || schema["format"] == "int-or-string";
    let mut values = Vec::new();
    let named = schema["x-name"].as_str().unwrap_or_default();
    let types = ["object", "array", "string", "integer", "number", "boolean"];
    let is_choice = schema["anyOf"].is_array();
    if is_of_numbers_or_text || is_choice {
        values.push(json!(true));
    } else if types.iter().any(|name| is(schema, name)) {
        values.push(if is(schema, "boolean") { json!("yes") } else { json!(false) });
        values.push(if is(schema, "array") { json!({"a": 1}) } else { json!([7]) });
    }
    if is(schema, "integer") {
        values.push(json!(1.5));
        match schema["format"].as_str() {
            Some("int32") => values.extend([json!(i64::from(i32::MAX) + 1), json!(i64::from(i32::MIN) - 1)]),
            _ => values.push(json!(u64::MAX)),
        }
    }
    let is_enum = schema["enum"].is_array() || schema["oneOf"].is_array();
    match schema["format"].as_str() {
        Some("duration") => values.extend([json!("soon"), json!("25h")]),
        Some("date-time") => values.push(json!("yesterday")),
        Some("byte") => values.push(json!("%%")),
        _ if named.ends_with(".Quantity") => values.push(json!("much")),
        _ if is_enum => values.push(json!("nonesuch")),
        _ => {}
    }
    values
}

/// The object with a value at a field; what is on the way there is made as needed.
fn with(object: &Value, keys: &[Key], value: Value) -> Value {
    let mut object = object.clone();
    let mut at = &mut object;
    for key in keys {
        at = match key {
            Key::Field(name) => {
                if !at.is_object() {
                    *at = json!({});
                }
                &mut at[name.as_str()]
            }
            Key::Item => {
                if at.as_array().is_none_or(Vec::is_empty) {
                    *at = json!([null]);
                }
                &mut at[0]
            }
        };
    }
    *at = value;
    object
}

fn base(kind: &Kind) -> Value {
    let pod = json!({"spec": {"containers": [{"name": "a", "command": ["a"], "ports": [{"name": "http", "containerPort": 80}]}]}});
    let service = json!({"application": "a", "parts": [{"name": "web", "pod": pod}], "routes": [{"part": "web", "port": "http"}]});
    let spec = match kind.kind.as_str() {
        "Service" => service,
        "Revision" => json!({"service": "a", "number": 1, "template": service}),
        "RouteTable" => json!({"revision": "a-1", "routes": [{"host": "a.test", "path": "/", "part": "web"}]}),
        other => panic!("{other} has no example here"),
    };
    json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "a"}, "spec": spec})
}

#[tokio::test]
async fn a_value_that_a_field_cannot_have_is_refused_with_the_whole_path() {
    let server = Server::start().await;
    let (mut asked, mut lacking) = (0, Vec::new());
    for kind in KINDS.iter().map(|kind| kind()).filter(|kind| kind.group == "conductor.dev") {
        let mut generator = SchemaSettings::openapi3().into_generator();
        let root = serde_json::to_value((kind.schema)(&mut generator)).unwrap();
        let definitions = generator.take_definitions(true);
        let whole = resolved(&definitions, &root);
        let base = base(&kind);
        let all = format!("/apis/conductor.dev/v1/namespaces/default/{}", kind.plural);
        server.post(&all, &base).await.expect(201);
        for part in ["spec", "status"] {
            let mut places = Vec::new();
            walk(&definitions, &whole["properties"][part], part, &[Key::Field(part.into())], &mut places);
            assert!(places.len() > 5, "{} {part}: {}", kind.kind, places.len());
            for place in places {
                for value in wrong(&place.schema) {
                    asked += 1;
                    let object = with(&base, &place.keys, value.clone());
                    let answer = match part {
                        "spec" => server.put(&format!("{all}/a"), &object).await,
                        _ => server.put(&format!("{all}/a/status"), &object).await,
                    };
                    let causes = answer.body["details"]["causes"].as_array().into_iter().flatten();
                    let fields: Vec<&str> = causes.filter_map(|cause| cause["field"].as_str()).collect();
                    if answer.code != 422 || !fields.contains(&place.path.as_str()) {
                        lacking.push(format!("{} {} = {value}: {} {}", kind.kind, place.path, answer.code, answer.text));
                    }
                }
            }
        }
    }
    assert!(asked > 2_000, "{asked}");
    let few: Vec<&String> = lacking.iter().take(25).collect();
    assert!(lacking.is_empty(), "{} of {asked}: {few:#?}", lacking.len());
}
