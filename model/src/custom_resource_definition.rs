//! CustomResourceDefinition: a kind that people define themselves, served like any other.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::{Schema, SchemaGenerator};

use crate::{Column, Kind, Scope};

/// The group of definitions.
pub const GROUP: &str = "apiextensions.k8s.io";
/// What keeps a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        short_names: vec!["crd".into(), "crds".into()],
        categories: vec!["api-extensions".into()],
        scope: Scope::Cluster,
        status: true,
        generation: true,
        keeps_unknown: true,
        columns: vec![
            Column::name(),
            Column::path(
                "Created At",
                "date",
                ".metadata.creationTimestamp",
                "When the definition was created, as a time and not as an age",
            ),
        ],
        ..Kind::new(GROUP, "v1", "CustomResourceDefinition", "customresourcedefinitions", schema)
    }
}

/// Whether a kind is this one.
pub fn is_definition(kind: &Kind) -> bool {
    kind.group == GROUP && kind.kind == "CustomResourceDefinition"
}

/// As generated, but where the schema of a schema says "any JSON value", any may stand, and not only an object.
fn schema(generator: &mut SchemaGenerator) -> Schema {
    let schema = generator.subschema_for::<CustomResourceDefinition>();
    let any = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
    if let Some(any) = generator.definitions_mut().get_mut(any).and_then(|any| any.as_object_mut()) {
        any.remove("type");
        any.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
    }
    schema
}
