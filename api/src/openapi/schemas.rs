//! The definitions of a document: those of the kinds, of their lists, and of what requests and answers hold beside them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use model::Kind;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::access;
use crate::custom::Custom;
use crate::registry::{self, Served};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The names of a kind's definitions.
pub struct Names {
    /// That of its objects.
    pub one: String,
    /// That of its lists.
    pub list: String,
}

/// A reference to a definition of Kubernetes' shared types.
pub fn shared(name: &str) -> Value {
    reference(&format!("{META}.{name}"))
}

/// A reference to a definition.
pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The definitions of kinds and all that they refer to, and how those of each kind are called.
pub fn of_kinds(kinds: &[&Served]) -> (Vec<Names>, Map<String, Value>) {
    let described: Vec<(&Kind, Option<&Custom>)> = kinds.iter().map(|served| (&served.kind, served.custom.as_ref())).collect();
    let (roots, mut definitions) = registry::schemas(&described);
    definitions.extend(beside());
    logic::patch::core_types::annotate(&mut definitions);
    say_scalars(&mut definitions);
    let mut names = Vec::new();
    for (served, root) in kinds.iter().zip(&roots) {
        let kind = &served.kind;
        let one = root["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()).unwrap_or_default().to_owned();
        let list = format!("{}{}", one.strip_suffix(kind.kind.as_str()).unwrap_or(&one), kind.list_kind);
        let of = |name: &str| json!([{"group": kind.group, "version": kind.version, "kind": name}]);
        if let Some(schema) = definitions.get_mut(&one) {
            schema["x-kubernetes-group-version-kind"] = of(&kind.kind);
        }
        if access::verbs(kind).contains(&"list") {
            let mut schema = list_schema(&one, &kind.kind);
            schema["x-kubernetes-group-version-kind"] = of(&kind.list_kind);
            definitions.insert(list.clone(), schema);
        }
        names.push(Names { one, list });
    }
    definitions.sort_keys();
    (names, definitions)
}

fn list_schema(item: &str, kind: &str) -> Value {
    let metadata = json!({"allOf": [shared("ListMeta")], "default": {}, "description": "Standard metadata of lists."});
    json!({
        "type": "object", "description": format!("{kind}List is a list of {kind}."), "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The group and version of the list."},
            "items": {"type": "array", "items": {"allOf": [reference(item)], "default": {}}, "description": "The items."},
            "kind": {"type": "string", "description": "The kind of the list."},
            "metadata": metadata,
        },
    })
}

/// What is in every document: options, refusals, patches.
fn beside() -> Map<String, Value> {
    let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
    generator.subschema_for::<meta::DeleteOptions>();
    generator.subschema_for::<meta::Status>();
    generator.subschema_for::<meta::ListMeta>();
    generator.subschema_for::<meta::APIResourceList>();
    generator.subschema_for::<k8s_openapi::api::autoscaling::v1::Scale>();
    let mut definitions = generator.take_definitions(true);
    let patch = "Patch is provided to give a concrete name and type to the body of a patch.";
    definitions.insert(format!("{META}.Patch"), json!({"type": "object", "description": patch}));
    definitions
}

/// The definitions of the documents about discovery.
pub fn of_discovery() -> Map<String, Value> {
    let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
    generator.subschema_for::<meta::APIVersions>();
    generator.subschema_for::<meta::APIGroup>();
    generator.subschema_for::<meta::APIGroupList>();
    generator.take_definitions(true)
}

/// The definitions of the document about the program's version.
pub fn of_program() -> Map<String, Value> {
    let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
    generator.subschema_for::<k8s_openapi::apimachinery::pkg::version::Info>();
    generator.take_definitions(true)
}

/// The two types that are a number or a text, as Kubernetes describes them.
fn say_scalars(definitions: &mut Map<String, Value>) {
    let choices = [
        (
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        ),
        ("io.k8s.apimachinery.pkg.api.resource.Quantity", json!({"oneOf": [{"type": "string"}, {"type": "number"}]})),
    ];
    for (name, choice) in choices {
        let Some(schema) = definitions.get_mut(name).and_then(Value::as_object_mut) else { continue };
        schema.shift_remove("x-kubernetes-int-or-string");
        schema.extend(choice.as_object().cloned().unwrap_or_default());
    }
}
