//! The page about Services: its table is made from the types, and its example is a Service.

use std::fmt::Write as _;
use std::path::Path;

use schemars::generate::SchemaSettings;
use serde_json::Value;

const BEGIN: &str = "<!-- fields -->\n";
const END: &str = "<!-- end of fields -->";

/// A row of the table.
struct Field {
    path: String,
    type_name: String,
    default: String,
    about: String,
}

/// The schema that a reference leads to.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    // What may be left out is one thing or null.
    let is_null = |one: &&Value| one["type"] == "null" || one["enum"] == serde_json::json!([null]);
    let schema = match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([one, null]) if is_null(&null) => one,
        _ => schema,
    };
    let named = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str()).and_then(|path| path.rsplit_once('/'));
    named.map_or(schema, |(_, name)| &root[name])
}

fn type_of(schema: &Value, resolved: &Value) -> String {
    let words = |value: &Value| match value {
        Value::String(word) => word.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).find(|word| *word != "null").unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let constants = resolved["oneOf"].as_array().into_iter().flatten().filter_map(|one| one["const"].as_str());
    let named: Vec<&str> = resolved["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).chain(constants).collect();
    match words(&resolved["type"]).as_str() {
        _ if !named.is_empty() => named.join(" or "),
        "array" => "list".into(),
        "object" if resolved["additionalProperties"].is_object() => "map".into(),
        "" if resolved["anyOf"].is_array() => "text or object".into(),
        _ if resolved["format"] == "duration" || schema["format"] == "duration" => "duration".into(),
        word => word.to_owned(),
    }
}

fn walk(root: &Value, schema: &Value, path: &str, found: &mut Vec<Field>) {
    let schema = resolved(root, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let target = resolved(root, property);
        let mut at = format!("{path}.{name}");
        let about = property["description"].as_str().or_else(|| target["description"].as_str()).unwrap_or_default();
        let default = property.get("default").filter(|default| !default.is_object() && !default.is_null());
        let is_required = schema["required"].as_array().is_some_and(|required| required.iter().any(|other| other == name));
        let default =
            default.map(|default| format!("`{default}`")).unwrap_or_else(|| if is_required { "required".into() } else { String::new() });
        found.push(Field {
            path: at.clone(),
            type_name: type_of(property, target),
            default,
            about: about.replace('\n', " ").replace('|', "\\|"),
        });
        if name == "pod" {
            continue;
        }
        if target["items"].is_object() {
            at.push_str("[]");
            walk(root, &target["items"], &at, found);
        } else if target["additionalProperties"].is_object() {
            let value = resolved(root, &target["additionalProperties"]);
            for variant in value["anyOf"].as_array().into_iter().flatten() {
                walk(root, variant, &format!("{at}.KEY"), found);
            }
        } else {
            walk(root, target, &at, found);
            for variant in target["anyOf"].as_array().into_iter().flatten() {
                walk(root, variant, &at, found);
            }
        }
    }
}

fn fields() -> Vec<Field> {
    let kind = model::service::kind();
    let mut settings = SchemaSettings::openapi3();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let reference = (kind.schema)(&mut generator).to_value();
    let root = Value::Object(generator.take_definitions(false));
    let mut found = Vec::new();
    let object = resolved(&root, &reference);
    walk(&root, &object["properties"]["spec"], "spec", &mut found);
    found
}

/// What the example says at a path.
fn example(value: &Value, path: &str) -> Option<String> {
    let (head, rest) = path.split_once('.').map_or((path, ""), |(head, rest)| (head, rest));
    let (name, is_list) = head.strip_suffix("[]").map_or((head, false), |name| (name, true));
    let candidates: Vec<&Value> = match name {
        "KEY" => value.as_object()?.values().collect(),
        _ => vec![value.get(name)?],
    };
    let items = candidates
        .into_iter()
        .flat_map(|value| if is_list { value.as_array().map(|items| items.iter().collect()).unwrap_or_default() } else { vec![value] });
    items.into_iter().find_map(|item| if rest.is_empty() { Some(item.to_string()) } else { example(item, rest) })
}

#[test]
fn every_field_of_a_service_is_on_its_page_with_an_example_that_is_good() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/services.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let yaml = text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let service = logic::yaml::parse(yaml).unwrap().remove(0);
    let problems = (model::service::kind().validate)(&service);
    assert!(problems.is_empty(), "{problems:?}");

    let mut table = String::from("| field | type | default | example | what it is |\n|---|---|---|---|---|\n");
    let found = fields();
    assert!(found.iter().any(|field| field.path == "spec.rollout.drain"), "the schema was not walked");
    for Field { path, type_name, default, about } in &found {
        let shown = example(&service, path).unwrap_or_else(|| panic!("the example on the page has no {path}"));
        let shown = if shown.starts_with(['{', '[']) { String::new() } else { format!("`{shown}`") };
        writeln!(table, "| `{path}` | {type_name} | {default} | {shown} | {about} |").unwrap();
    }
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&page, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(written, table, "docs/services.md is not of these types: run this test with UPDATE_DOCS=1");
    }
}
