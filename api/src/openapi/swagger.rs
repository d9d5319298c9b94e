//! OpenAPI version 2, made from version 3: for clients that check objects and explain fields by it.

use serde_json::{Map, Value, json};

use super::{About, TITLE, places, version_three};
use crate::registry::Registry;

/// Words of schemas that version 2 has not.
const NEWER: [&str; 5] = ["oneOf", "anyOf", "not", "nullable", "x-kubernetes-validations"];
/// The words of a schema that the table of protobuf fields has, beside those that are shaped anew.
const PLAIN: [&str; 17] = [
    "$ref",
    "format",
    "title",
    "description",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxProperties",
    "minProperties",
];

/// One document about everything that is served.
pub fn document(registry: &Registry) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for place in places(registry) {
        let mut document = version_three(registry, &place);
        if matches!(place.about, About::Program) || document["components"]["schemas"].is_object() {
            for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
                let was: Option<&Value> = definitions.get(name);
                // A definition of a kind says more in the document of its own version.
                if was.is_none_or(|was| was["x-kubernetes-group-version-kind"].is_null()) {
                    definitions.insert(name.clone(), schema_of(schema));
                }
            }
        }
        if let Value::Object(found) = document["paths"].take() {
            paths.extend(found.into_iter().map(|(path, item)| (path, path_item(&item))));
        }
    }
    definitions.sort_keys();
    paths.sort_keys();
    json!({
        "swagger": "2.0", "info": {"title": TITLE, "version": env!("CARGO_PKG_VERSION")}, "paths": paths, "definitions": definitions,
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"}},
        "security": [{"BearerToken": []}],
    })
}

fn schema_of(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    if let Some([only]) = schema["allOf"].as_array().map(Vec::as_slice)
        && only["$ref"].is_string()
    {
        let mut found = schema_of(only);
        if schema["description"].is_string() {
            found["description"] = schema["description"].clone();
        }
        for (name, value) in fields.iter().filter(|(name, _)| name.starts_with("x-kubernetes-")) {
            found[name] = value.clone();
        }
        return found;
    }
    // Readers of version 2 refuse null where there is a type.
    let untyped = schema["nullable"] == true || schema["x-kubernetes-int-or-string"] == true;
    let mut found = Map::new();
    for (name, value) in fields {
        let value = match name.as_str() {
            _ if NEWER.contains(&name.as_str()) => continue,
            "type" | "items" | "properties" | "additionalProperties" if untyped => continue,
            "$ref" => json!(value.as_str().unwrap_or_default().replace("#/components/schemas/", "#/definitions/")),
            "properties" => value.as_object().into_iter().flatten().map(|(name, schema)| (name.clone(), schema_of(schema))).collect(),
            "allOf" => value.as_array().into_iter().flatten().map(schema_of).collect(),
            "items" | "additionalProperties" => schema_of(value),
            _ => value.clone(),
        };
        found.insert(name.clone(), value);
    }
    if schema["oneOf"].is_array() && !found.contains_key("type") {
        found.insert("type".into(), json!("string"));
    }
    Value::Object(found)
}

fn path_item(item: &Value) -> Value {
    let mut found = Map::new();
    for (name, value) in item.as_object().into_iter().flatten() {
        let value = if name == "parameters" { parameters(value) } else { operation(value) };
        found.insert(name.clone(), value);
    }
    Value::Object(found)
}

fn parameters(of: &Value) -> Value {
    let parameter = |parameter: &Value| {
        let mut found = parameter.clone();
        if let (Some(fields), Value::Object(schema)) = (found.as_object_mut(), &parameter["schema"]) {
            fields.shift_remove("schema");
            fields.extend(schema.clone());
        }
        found
    };
    of.as_array().into_iter().flatten().map(parameter).collect()
}

fn operation(of: &Value) -> Value {
    let mut found = of.clone();
    let Some(fields) = found.as_object_mut() else { return found };
    let mut all = parameters(&of["parameters"]).as_array().cloned().unwrap_or_default();
    let keys = |content: &Value| content.as_object().into_iter().flatten().map(|(name, _)| json!(name)).collect::<Vec<_>>();
    if let Some(body) = fields.shift_remove("requestBody") {
        let schema =
            body["content"].as_object().and_then(|content| content.values().next()).map_or(Value::Null, |of| schema_of(&of["schema"]));
        let mut parameter = json!({"name": "body", "in": "body", "schema": schema});
        if body["required"] == true {
            parameter["required"] = json!(true);
        }
        all.insert(0, parameter);
        fields.insert("consumes".into(), json!(keys(&body["content"])));
    }
    fields.insert("produces".into(), json!(keys(&of["responses"]["200"]["content"])));
    if !all.is_empty() {
        fields.insert("parameters".into(), json!(all));
    }
    for response in fields.get_mut("responses").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        let schema = schema_of(&response["content"]["application/json"]["schema"]);
        *response = json!({"description": response["description"]});
        if schema.is_object() {
            response["schema"] = schema;
        }
    }
    found
}

/// The document with its objects as messages have them: what JSON leaves out between is put in, by the names of the table.
pub fn shaped(document: &Value) -> Value {
    let each = |of: &Value, shape: fn(&Value) -> Value| -> Value {
        of.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), shape(value))).collect()
    };
    json!({
        "swagger": document["swagger"], "info": document["info"],
        "paths": {"path": each(&document["paths"], shaped_item)}, "definitions": {"all": each(&document["definitions"], shaped_schema)},
    })
}

fn any(value: &Value) -> Value {
    json!({"yaml": value.to_string()})
}

/// What begins with `x-`, as the table has it.
fn extensions(of: &Value) -> Value {
    let fields = of.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-"));
    fields.map(|(name, value)| (name.clone(), any(value))).collect()
}

fn shaped_schema(schema: &Value) -> Value {
    let mut found = json!({"extensions": extensions(schema)});
    for name in PLAIN {
        if !schema[name].is_null() {
            found[name] = schema[name].clone();
        }
    }
    for (name, value) in schema.as_object().into_iter().flatten() {
        match name.as_str() {
            "type" if value.is_string() => found["type"] = json!([value]),
            "type" | "required" => found[name] = value.clone(),
            "default" | "example" => found[name] = any(value),
            "enum" => found["enum"] = value.as_array().into_iter().flatten().map(any).collect(),
            "items" => found["items"] = json!({"schema": [shaped_schema(value)]}),
            "allOf" => found["allOf"] = value.as_array().into_iter().flatten().map(shaped_schema).collect(),
            "additionalProperties" if value.is_boolean() => found[name] = json!({"boolean": value}),
            "additionalProperties" => found[name] = json!({"schema": shaped_schema(value)}),
            "properties" => {
                let all: Value =
                    value.as_object().into_iter().flatten().map(|(name, schema)| (name.clone(), shaped_schema(schema))).collect();
                found["properties"] = json!({"all": all});
            }
            _ => {}
        }
    }
    found
}

fn shaped_item(item: &Value) -> Value {
    let mut found = Map::new();
    for (name, value) in item.as_object().into_iter().flatten() {
        let value = if name == "parameters" { shaped_parameters(value) } else { shaped_operation(value) };
        found.insert(name.clone(), value);
    }
    Value::Object(found)
}

fn shaped_parameters(of: &Value) -> Value {
    let parameter = |parameter: &Value| {
        let inner = match parameter["in"].as_str() {
            Some("body") => {
                let mut body = parameter.clone();
                body["schema"] = shaped_schema(&parameter["schema"]);
                json!({"body": body})
            }
            Some("path") => json!({"other": {"path": parameter}}),
            _ => json!({"other": {"query": parameter}}),
        };
        json!({"parameter": inner})
    };
    of.as_array().into_iter().flatten().map(parameter).collect()
}

fn shaped_operation(of: &Value) -> Value {
    let mut found = of.clone();
    found["extensions"] = extensions(of);
    found["parameters"] = shaped_parameters(&of["parameters"]);
    let response = |(code, response): (&String, &Value)| {
        let mut inner = json!({"description": response["description"]});
        if response["schema"].is_object() {
            inner["schema"] = json!({"schema": shaped_schema(&response["schema"])});
        }
        (code.clone(), json!({"response": inner}))
    };
    let codes: Value = of["responses"].as_object().into_iter().flatten().map(response).collect();
    found["responses"] = json!({"codes": codes});
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_words_go_and_references_are_rewritten() {
        let schema = json!({"type": "object", "properties": {
            "a": {"allOf": [{"$ref": "#/components/schemas/A"}], "default": {}, "description": "d"},
            "b": {"type": "string", "nullable": true}, "c": {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"},
        }});
        let expected = json!({"type": "object", "properties": {
            "a": {"$ref": "#/definitions/A", "description": "d"}, "b": {}, "c": {"format": "int-or-string", "type": "string"},
        }});
        assert_eq!(schema_of(&schema), expected);
    }
}
