//! Namespace: a room for names.

use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

use crate::{Column, Kind, Scope};

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        short_names: vec!["ns".into()],
        scope: Scope::Cluster,
        status: true,
        subresources: vec![("finalize".into(), vec!["update".into()])],
        columns: vec![Column::name(), Column::path("Status", "string", ".status.phase", "The status of the namespace"), Column::age()],
        selectable_fields: vec!["status.phase".into()],
        default: label,
        complete: activate,
        ..Kind::new("", "v1", "Namespace", "namespaces", |generator| generator.subschema_for::<Namespace>())
    }
}

/// Its name as a label, for selectors.
fn label(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    if name.is_string() {
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    }
}

fn activate(object: &mut Value) {
    if !object["spec"]["finalizers"].is_array() {
        object["spec"]["finalizers"] = json!([crate::labels::NAMESPACE_FINALIZER]);
    }
    if !object["status"]["phase"].is_string() {
        object["status"]["phase"] = json!("Active");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_namespace_is_active_and_held_by_its_finalizer() {
        let mut object = json!({"metadata": {"name": "a"}});
        label(&mut object);
        activate(&mut object);
        assert_eq!(object["status"]["phase"], "Active");
        assert_eq!(object["spec"]["finalizers"], json!(["kubernetes"]));
        assert_eq!(object["metadata"]["labels"]["kubernetes.io/metadata.name"], "a");
    }
}
