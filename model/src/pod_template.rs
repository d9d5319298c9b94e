//! The pod of a part: Kubernetes' own template, with a word more about its ports.
//!
//! `appProtocol` says what a program speaks at a port. Kubernetes has it on a Service's ports; a Service of ours names ports of
//! containers, so that is where it is said here. Pods do not have it: what is told to routers is no matter of a copy.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use k8s_openapi::api::core::v1::PodTemplateSpec;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Value, json};

/// What `appProtocol` may say, and whether it is HTTP/2 without TLS.
pub const APP_PROTOCOLS: [(&str, bool); 3] = [("http", false), ("kubernetes.io/ws", false), ("kubernetes.io/h2c", true)];

const FIELD: &str = "appProtocol";

/// The pod of a part, as people write it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodTemplate {
    template: PodTemplateSpec,
    /// What is spoken at a port: by the place of its container among the containers, and its own among that one's ports.
    protocols: BTreeMap<(usize, usize), String>,
}

impl PodTemplate {
    /// The template as Kubernetes has it.
    pub fn into_inner(self) -> PodTemplateSpec {
        self.template
    }

    /// What is spoken at the port of a name, where it is said.
    pub fn app_protocol(&self, port: &str) -> Option<&str> {
        let containers = self.spec.iter().flat_map(|spec| &spec.containers).enumerate();
        let mut ports = containers.flat_map(|(at, container)| {
            let ports = container.ports.iter().flatten().enumerate();
            ports.map(move |(number, port)| ((at, number), port.name.as_deref()))
        });
        let (place, _) = ports.find(|(_, name)| *name == Some(port))?;
        self.protocols.get(&place).map(String::as_str)
    }

    /// Whether HTTP/2 without TLS is spoken at the port of a name.
    pub fn is_h2c(&self, port: &str) -> bool {
        let said = self.app_protocol(port);
        APP_PROTOCOLS.iter().any(|(name, is_h2c)| *is_h2c && said == Some(*name))
    }

    /// Each `appProtocol` that there is no carrying for: the field's path below the template, and what it says.
    pub fn unknown_protocols(&self) -> Vec<(String, &str)> {
        let unknown = self.protocols.iter().filter(|(_, said)| !APP_PROTOCOLS.iter().any(|(name, _)| name == said));
        unknown.map(|((at, port), said)| (format!("spec.containers[{at}].ports[{port}].{FIELD}"), said.as_str())).collect()
    }
}

impl From<PodTemplateSpec> for PodTemplate {
    fn from(template: PodTemplateSpec) -> Self {
        Self { template, protocols: BTreeMap::new() }
    }
}

impl Deref for PodTemplate {
    type Target = PodTemplateSpec;

    fn deref(&self) -> &PodTemplateSpec {
        &self.template
    }
}

impl DerefMut for PodTemplate {
    fn deref_mut(&mut self) -> &mut PodTemplateSpec {
        &mut self.template
    }
}

fn ports_of(template: &mut Value) -> impl Iterator<Item = ((usize, usize), &mut Value)> {
    let containers = template.pointer_mut("/spec/containers").and_then(Value::as_array_mut).into_iter().flatten().enumerate();
    containers.flat_map(|(at, container)| {
        let ports = container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten().enumerate();
        ports.map(move |(number, port)| ((at, number), port))
    })
}

impl<'de> Deserialize<'de> for PodTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let mut protocols = BTreeMap::new();
        for (place, port) in ports_of(&mut value) {
            match port.as_object_mut().and_then(|port| port.remove(FIELD)) {
                None | Some(Value::Null) => {}
                Some(Value::String(said)) => {
                    protocols.insert(place, said);
                }
                Some(other) => return Err(de::Error::custom(format!("{FIELD}: expected a string, found {other}"))),
            }
        }
        Ok(Self { template: crate::problem::read_below(value)?, protocols })
    }
}

impl Serialize for PodTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.protocols.is_empty() {
            return self.template.serialize(serializer);
        }
        let mut value = serde_json::to_value(&self.template).map_err(ser::Error::custom)?;
        for (place, port) in ports_of(&mut value) {
            if let Some(said) = self.protocols.get(&place) {
                port[FIELD] = json!(said);
            }
        }
        value.serialize(serializer)
    }
}

/// From the template down to a port: Kubernetes' own definitions, and what ours are called.
const DEFINITIONS: [(&str, &str); 4] = [
    ("io.k8s.api.core.v1.PodTemplateSpec", "dev.conductor.v1.PodTemplateSpec"),
    ("io.k8s.api.core.v1.PodSpec", "dev.conductor.v1.PodSpec"),
    ("io.k8s.api.core.v1.Container", "dev.conductor.v1.Container"),
    ("io.k8s.api.core.v1.ContainerPort", "dev.conductor.v1.ContainerPort"),
];

impl JsonSchema for PodTemplate {
    fn schema_name() -> Cow<'static, str> {
        DEFINITIONS[0].1.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<PodTemplateSpec>();
        let mut template = Value::Bool(true);
        for (theirs, ours) in DEFINITIONS {
            let mut definition = generator.definitions().get(theirs).cloned().unwrap_or(Value::Bool(true));
            rename(&mut definition);
            if theirs.ends_with(".ContainerPort") {
                let words = "What the program speaks at this port: http, kubernetes.io/ws, or kubernetes.io/h2c for HTTP/2 without TLS, \
                             such as gRPC. HTTP/1.1 where nothing is said.";
                definition["properties"][FIELD] = json!({"type": "string", "description": words});
            }
            if ours == DEFINITIONS[0].1 {
                template = definition;
            } else {
                generator.definitions_mut().insert(ours.into(), definition);
            }
        }
        Schema::try_from(template).unwrap_or_default()
    }
}

/// Makes references to their definitions references to ours. Init containers have no ports that requests are routed to.
fn rename(definition: &mut Value) {
    match definition {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(reference) if name == "$ref" => {
                        let ours = DEFINITIONS.iter().find(|(theirs, _)| reference.rsplit('/').next() == Some(*theirs));
                        if let Some((theirs, ours)) = ours {
                            *reference = reference.replace(theirs, ours);
                        }
                    }
                    _ if name == "initContainers" => {}
                    value => rename(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(rename),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_at_a_port_is_kept_beside_the_template() {
        let written = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
            {"name": "a", "ports": [{"containerPort": 1, "name": "x"}]},
            {"name": "b", "ports": [{"containerPort": 2, "name": "y"}, {"appProtocol": "kubernetes.io/h2c", "containerPort": 3, "name": "z"}]}]}});
        let template: PodTemplate = serde_json::from_value(written.clone()).unwrap();
        assert_eq!((template.is_h2c("z"), template.is_h2c("y"), template.is_h2c("?")), (true, false, false));
        assert_eq!(serde_json::to_value(&template).unwrap(), written);
        assert!(template.unknown_protocols().is_empty());
        assert!(!serde_json::to_string(&template.into_inner()).unwrap().contains(FIELD));
    }

    #[test]
    fn a_protocol_that_is_not_carried_is_named_with_its_place() {
        let with = |said: Value| json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1, "appProtocol": said}]}]}});
        let template: PodTemplate = serde_json::from_value(with(json!("mongo"))).unwrap();
        assert_eq!(template.unknown_protocols(), [("spec.containers[0].ports[0].appProtocol".to_owned(), "mongo")]);
        assert!(serde_json::from_value::<PodTemplate>(with(json!(1))).is_err());
    }
}
