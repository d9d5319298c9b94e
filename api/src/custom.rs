//! A kind that people defined, made from its definition.

use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use logic::definition::json_path::Path;
use logic::definition::scale::ScalePaths;
use logic::definition::{Structural, check};
use model::{Cell, Column, Kind, Scope, kind_age};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};
use store::{Compare, Entry, Transaction};

use crate::conversion::Conversion;

const PREFIX: &str = "/-/schemas/";

/// What a definition says of one version of a kind.
pub struct Custom {
    /// The schema, compiled.
    pub structural: Structural,
    /// The schema of the version in which objects are kept, where that is another.
    pub kept: Option<Structural>,
    /// How its objects get from one version to another, where that takes more than another name.
    pub conversion: Option<Conversion>,
    /// Where its scale is.
    pub scale: Option<ScalePaths>,
    /// Whether its definition is going, so that nothing new may come.
    pub terminating: bool,
    /// What clients of this version are told.
    pub warning: Option<String>,
    /// The name of the definition.
    definition: String,
    /// The schema, as it was written.
    written: Value,
    /// The fields that selectors may name, as OpenAPI tells them; null for none.
    selectable: Value,
    /// The revision at which the schemas of the definition last changed.
    since: u64,
}

/// The key that changes when the schemas of a definition do.
pub fn schema_key(definition: &str) -> String {
    format!("{PREFIX}{definition}")
}

/// Whether a key of the store is one of those.
pub fn is_schema_key(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// The kinds of a definition: one for each version that is served, the most stable first.
pub fn kinds(definition: &Value, since: u64) -> Vec<(Kind, Option<Custom>)> {
    let mut versions: Vec<&Value> = check::version_list(&definition["spec"]).iter().filter(|version| version["served"] == true).collect();
    versions.sort_by_key(|version| Reverse(priority(version["name"].as_str().unwrap_or_default())));
    versions.into_iter().map(|version| (kind(definition, version), Some(custom(definition, version, since)))).collect()
}

/// `v2` before `v1` before `v1beta2` before `v1alpha1` before anything else.
fn priority(version: &str) -> (u8, u64, u64, Reverse<String>) {
    let parsed = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, rest) = (rest[..digits].parse().ok()?, &rest[digits..]);
        let stage = [("", 3), ("beta", 2), ("alpha", 1)].into_iter().find_map(|(word, stage)| {
            let minor = rest.strip_prefix(word)?;
            if word.is_empty() { minor.is_empty().then_some((stage, 0)) } else { minor.parse().ok().map(|minor| (stage, minor)) }
        })?;
        Some((stage.0, major, stage.1))
    };
    let (stage, major, minor) = parsed().unwrap_or((0, 0, 0));
    (stage, major, minor, Reverse(version.to_owned()))
}

fn kind(definition: &Value, version: &Value) -> Kind {
    let (spec, names) = (&definition["spec"], &definition["spec"]["names"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    let selectable = |field: &Value| text(&field["jsonPath"]).trim_start_matches('.').to_owned();
    let unused = |_: &mut SchemaGenerator| schemars::json_schema!({});
    Kind {
        list_kind: text(&names["listKind"]),
        singular: text(&names["singular"]),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        scope: if spec["scope"] == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
        status: version["subresources"]["status"].is_object(),
        generation: true,
        defined: true,
        keeps_unknown: false,
        columns: columns(version),
        selectable_fields: version["selectableFields"].as_array().into_iter().flatten().map(selectable).collect(),
        kept_version: check::version_list(spec).iter().find(|version| version["storage"] == true).map(|version| text(&version["name"])),
        ..Kind::new(&text(&spec["group"]), &text(&version["name"]), &text(&names["kind"]), &text(&names["plural"]), unused)
    }
}

fn columns(version: &Value) -> Vec<Column> {
    let mut columns = vec![Column::name()];
    let Some(asked) = version["additionalPrinterColumns"].as_array().filter(|columns| !columns.is_empty()) else {
        let created = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
        columns.extend(column(&created));
        return columns;
    };
    columns.extend(asked.iter().filter_map(column));
    columns
}

fn column(asked: &Value) -> Option<Column> {
    let text = |field: &str| asked[field].as_str().unwrap_or_default().to_owned();
    let (type_name, path) = (text("type"), Path::parse(&text("jsonPath")).ok()?);
    let shown = type_name.clone();
    let cell = move |object: &Value, now: jiff::Timestamp| cell(&shown, &path.find(object), now);
    let created = "CreationTimestamp is a timestamp representing the server time when this object was created.";
    let described = if asked["description"].is_null() && text("jsonPath") == ".metadata.creationTimestamp" {
        created.to_owned()
    } else if asked["description"].is_null() {
        format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath"))
    } else {
        text("description")
    };
    Some(Column {
        absent: "",
        name: text("name"),
        type_name,
        format: text("format"),
        description: described,
        priority: asked["priority"].as_i64().and_then(|priority| i32::try_from(priority).ok()).unwrap_or(0),
        cell: Cell::Found(Arc::new(cell)),
    })
}

fn cell(type_name: &str, found: &[&Value], now: jiff::Timestamp) -> Value {
    let Some(first) = found.first() else { return Value::Null };
    match type_name {
        "integer" => first.as_i64().or_else(|| first.as_f64().map(|number| number as i64)).map_or(Value::Null, Value::from),
        "number" => first.as_f64().map_or(Value::Null, Value::from),
        "boolean" => first.as_bool().map_or(Value::Null, Value::from),
        "date" if first.is_string() => kind_age(first, now),
        "date" => Value::Null,
        _ => {
            let plain = |value: &&Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Value::from(found.iter().map(plain).collect::<Vec<_>>().join(","))
        }
    }
}

fn custom(definition: &Value, version: &Value, since: u64) -> Custom {
    let schema = &version["schema"]["openAPIV3Schema"];
    let deprecated = (version["deprecated"] == true).then(|| {
        let (group, name) = (definition["spec"]["group"].as_str().unwrap_or_default(), version["name"].as_str().unwrap_or_default());
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default();
        let own = version["deprecationWarning"].as_str().map(str::to_owned);
        own.unwrap_or_else(|| format!("{group}/{name} {kind} is deprecated"))
    });
    let kept = check::version_list(&definition["spec"]).iter().find(|other| other["storage"] == true && other["name"] != version["name"]);
    Custom {
        structural: Structural::compile(schema),
        kept: kept.map(|kept| Structural::compile(&kept["schema"]["openAPIV3Schema"])),
        conversion: Conversion::of(definition),
        scale: ScalePaths::of(version),
        terminating: definition["metadata"]["deletionTimestamp"].is_string(),
        warning: deprecated,
        definition: definition["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        written: schema.clone(),
        selectable: selectable(version),
        since,
    }
}

fn selectable(version: &Value) -> Value {
    let fields = version["selectableFields"].as_array().into_iter().flatten();
    let paths: Vec<Value> =
        fields.filter_map(|field| field["jsonPath"].as_str()).map(|path| json!({"fieldPath": path.trim_start_matches('.')})).collect();
    if paths.is_empty() { Value::Null } else { json!(paths) }
}

/// A number or a text is told in words that every reader of OpenAPI knows.
fn say_int_or_string(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true))
                && !fields.contains_key("anyOf")
                && !fields.contains_key("allOf")
            {
                fields.insert("anyOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
            }
            fields.values_mut().for_each(say_int_or_string);
        }
        Value::Array(items) => items.iter_mut().for_each(say_int_or_string),
        _ => {}
    }
}

impl Custom {
    /// Whether an entry cannot be shown as it is kept: it is in another version, or is older than the schema.
    pub fn is_read(&self, entry: &Entry) -> bool {
        self.is_stale(entry) || (self.kept.is_some() && self.conversion.is_none())
    }

    /// Makes an object of an entry what this version shows: what it was kept as is filled in and pruned by the schema of the version in
    /// which it is kept, and what this version does not know goes. What a webhook converted comes so already.
    pub fn show(&self, entry: &Entry, object: &mut Value) {
        let kept = self.kept.as_ref().filter(|_| self.conversion.is_none());
        if self.is_stale(entry) {
            let schema = kept.unwrap_or(&self.structural);
            schema.prune(object);
            schema.fill_defaults(object);
        }
        if kept.is_some() {
            self.structural.prune(object);
        }
    }

    /// Whether an entry was stored before the schema last changed.
    pub fn is_stale(&self, entry: &Entry) -> bool {
        entry.modified > 0 && entry.modified < self.since
    }

    /// A transaction that holds only as long as the schema does.
    pub fn guard(&self, transaction: Transaction) -> Transaction {
        transaction.when(Compare::Modified(schema_key(&self.definition), self.since))
    }

    /// What changes when the schema does.
    pub fn fingerprint(&self) -> String {
        format!("{}@{}", self.definition, self.since)
    }

    /// Adds the schema of whole objects to a generator and refers to it.
    pub fn described(&self, kind: &Kind, generator: &mut SchemaGenerator) -> Value {
        let reversed: Vec<&str> = kind.group.rsplit('.').collect();
        let name = format!("{}.{}.{}", reversed.join("."), kind.version, kind.kind);
        let metadata = json!({
            "allOf": [generator.subschema_for::<ObjectMeta>()],
            "description": "Standard object's metadata: names, labels, annotations, owners and finalizers.",
        });
        let mut schema = self.written.clone();
        let api = "APIVersion defines the versioned schema of this representation of an object.";
        schema["properties"]["apiVersion"] = json!({"type": "string", "description": api});
        schema["properties"]["kind"] = json!({"type": "string", "description": "Kind is the resource that this object represents."});
        schema["properties"]["metadata"] = metadata;
        if !self.selectable.is_null() {
            schema["x-kubernetes-selectable-fields"] = self.selectable.clone();
        }
        say_int_or_string(&mut schema);
        if let Ok(schema) = serde_json::from_value::<Map<String, Value>>(schema) {
            generator.definitions_mut().insert(name.clone(), Value::Object(schema));
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// What is checked of an object before its own schema is: its metadata.
    pub fn envelope(&self, reference: &Value, definitions: &Map<String, Value>) -> Value {
        let name = reference["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let metadata = definitions.get(name).map_or(Value::Null, |schema| schema["properties"]["metadata"].clone());
        let text = json!({"type": "string"});
        json!({
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"apiVersion": text, "kind": text, "metadata": metadata},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_come_first() {
        let mut versions = ["v1alpha1", "v2beta1", "v1", "v10", "foo1", "v1beta2", "v2"];
        versions.sort_by_key(|version| Reverse(priority(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo1"]);
    }
}
