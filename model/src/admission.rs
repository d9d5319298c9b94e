//! What is asked before something is stored: policies in CEL with their bindings, and webhooks.

use k8s_openapi::api::admissionregistration::v1 as api;
use serde_json::{Value, json};

use crate::filling::default_to;
use crate::{Column, Kind, Scope};

mod check;

pub use check::client_problems;

/// The API group.
pub const GROUP: &str = "admissionregistration.k8s.io";

/// The kind ValidatingAdmissionPolicy, for [`crate::KINDS`].
pub fn validating_policy() -> Kind {
    Kind {
        status: true,
        columns: vec![
            Column::name(),
            Column::computed("Validations", "integer", |object, _| length(&object["spec"]["validations"]), "How many validations it has"),
            Column::computed("ParamKind", "string", param_kind_cell, "The kind of the objects that its expressions see as params"),
            Column::age(),
        ],
        default: |object| {
            if object["spec"].is_object() {
                default_to(&mut object["spec"], "failurePolicy", json!("Fail"));
                default_matching(&mut object["spec"], "matchConstraints", "resourceRules");
            }
            default_to(object, "status", json!({}));
        },
        validate: check::policy,
        ..kind("ValidatingAdmissionPolicy", "validatingadmissionpolicies", |generator| {
            generator.subschema_for::<api::ValidatingAdmissionPolicy>()
        })
    }
}

/// The kind ValidatingAdmissionPolicyBinding, for [`crate::KINDS`].
pub fn validating_policy_binding() -> Kind {
    Kind {
        columns: binding_columns(),
        default: default_binding,
        validate: check::binding,
        ..kind("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", |generator| {
            generator.subschema_for::<api::ValidatingAdmissionPolicyBinding>()
        })
    }
}

/// The kind MutatingAdmissionPolicy, for [`crate::KINDS`].
pub fn mutating_policy() -> Kind {
    Kind {
        columns: vec![
            Column::name(),
            Column::computed("Mutations", "integer", |object, _| length(&object["spec"]["mutations"]), "How many mutations it has"),
            Column::computed("ParamKind", "string", param_kind_cell, "The kind of the objects that its expressions see as params"),
            Column::age(),
        ],
        default: |object| {
            if object["spec"].is_object() {
                default_to(&mut object["spec"], "failurePolicy", json!("Fail"));
                default_matching(&mut object["spec"], "matchConstraints", "resourceRules");
            }
        },
        validate: check::mutating_policy,
        ..kind("MutatingAdmissionPolicy", "mutatingadmissionpolicies", |generator| {
            generator.subschema_for::<api::MutatingAdmissionPolicy>()
        })
    }
}

/// The kind MutatingAdmissionPolicyBinding, for [`crate::KINDS`].
pub fn mutating_policy_binding() -> Kind {
    Kind {
        columns: binding_columns(),
        default: default_binding,
        validate: check::mutating_binding,
        ..kind("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", |generator| {
            generator.subschema_for::<api::MutatingAdmissionPolicyBinding>()
        })
    }
}

/// The kind ValidatingWebhookConfiguration, for [`crate::KINDS`].
pub fn validating_webhooks() -> Kind {
    Kind {
        columns: webhook_columns(),
        default: |object| default_webhooks(object, false),
        validate: check::webhooks,
        ..kind("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", |generator| {
            generator.subschema_for::<api::ValidatingWebhookConfiguration>()
        })
    }
}

/// The kind MutatingWebhookConfiguration, for [`crate::KINDS`].
pub fn mutating_webhooks() -> Kind {
    Kind {
        columns: webhook_columns(),
        default: |object| default_webhooks(object, true),
        validate: check::webhooks,
        ..kind("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", |generator| {
            generator.subschema_for::<api::MutatingWebhookConfiguration>()
        })
    }
}

fn kind(name: &str, plural: &str, schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema) -> Kind {
    let categories = vec!["api-extensions".into()];
    Kind { scope: Scope::Cluster, generation: true, keeps_unknown: true, categories, ..Kind::new(GROUP, "v1", name, plural, schema) }
}

fn binding_columns() -> Vec<Column> {
    vec![
        Column::name(),
        Column::path("PolicyName", "string", ".spec.policyName", "The policy that it puts in force, and where"),
        Column::computed("ParamRef", "string", param_ref_cell, "The objects that the expressions of the policy see as params"),
        Column::age(),
    ]
}

fn default_binding(object: &mut Value) {
    if object["spec"].is_object() {
        default_matching(&mut object["spec"], "matchResources", "resourceRules");
    }
}

fn webhook_columns() -> Vec<Column> {
    let count = Column::computed("Webhooks", "integer", |object, _| length(&object["webhooks"]), "How many webhooks are asked by it");
    vec![Column::name(), count, Column::age()]
}

fn length(list: &Value) -> Value {
    json!(list.as_array().map_or(0, Vec::len))
}

fn param_kind_cell(object: &Value, _: jiff::Timestamp) -> Value {
    let kind = &object["spec"]["paramKind"];
    let text = |field: &str| kind[field].as_str().unwrap_or_default();
    json!(if kind.is_object() { format!("{}/{}", text("apiVersion"), text("kind")) } else { "<unset>".into() })
}

fn param_ref_cell(object: &Value, _: jiff::Timestamp) -> Value {
    let reference = &object["spec"]["paramRef"];
    match (reference["name"].as_str(), reference["namespace"].as_str()) {
        _ if !reference.is_object() => json!("<unset>"),
        (Some(name), Some(namespace)) => json!(format!("{namespace}/{name}")),
        (Some(name), None) => json!(name),
        (None, _) => json!(reference["selector"].to_string()),
    }
}

fn default_matching(of: &mut Value, field: &str, rules: &str) {
    let Some(matching) = of.get_mut(field).filter(|matching| matching.is_object()) else { return };
    for (field, value) in [("matchPolicy", json!("Equivalent")), ("namespaceSelector", json!({})), ("objectSelector", json!({}))] {
        default_to(matching, field, value);
    }
    for rules in [rules, "excludeResourceRules"] {
        let rules = matching.get_mut(rules).and_then(Value::as_array_mut);
        for rule in rules.into_iter().flatten().filter(|rule| rule.is_object()) {
            default_to(rule, "scope", json!("*"));
        }
    }
}

fn default_webhooks(object: &mut Value, mutating: bool) {
    let webhooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
    for webhook in webhooks.into_iter().flatten().filter(|webhook| webhook.is_object()) {
        default_to(webhook, "failurePolicy", json!("Fail"));
        default_to(webhook, "timeoutSeconds", json!(10));
        if mutating {
            default_to(webhook, "reinvocationPolicy", json!("Never"));
        }
        let mut within = json!({"webhook": webhook.take()});
        default_matching(&mut within, "webhook", "rules");
        *webhook = within["webhook"].take();
        if let Some(client) = webhook.get_mut("clientConfig") {
            fill_in_client(client);
        }
    }
}

/// Fills in what may be left out of where a webhook is.
pub fn fill_in_client(client: &mut Value) {
    if let Some(service) = client.get_mut("service").filter(|service| service.is_object()) {
        default_to(service, "port", json!(443));
    }
}
