//! What a copy is made from: the part's pod with the Service's configuration in it.

use k8s_openapi::api::core::v1::{ConfigMapKeySelector, EnvVar, EnvVarSource, PodTemplateSpec, Probe, SecretKeySelector, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::ServiceSpec;
use model::service::{ConfigValue, Part};
use sha2::{Digest, Sha256};

/// The part's pod with every config value in the environment of every container, and a readiness probe where requests go.
pub fn render(spec: &ServiceSpec, part: &Part) -> PodTemplateSpec {
    let mut template = part.pod.clone().into_inner();
    let Some(pod) = &mut template.spec else { return template };
    for container in pod.init_containers.iter_mut().flatten().chain(&mut pod.containers) {
        let own = container.env.take().unwrap_or_default();
        let config = spec.config.iter().filter(|(name, _)| !own.iter().any(|variable| variable.name == **name));
        let env: Vec<EnvVar> = config.map(|(name, value)| variable(name, value)).chain(own.iter().cloned()).collect();
        container.env = Some(env).filter(|env| !env.is_empty());
    }
    for container in &mut pod.containers {
        let ports = container.ports.iter().flatten().filter_map(|port| port.name.as_deref());
        let routed = ports.into_iter().find(|port| spec.routes.iter().any(|route| route.part == part.name && route.port == *port));
        if let Some(port) = routed.filter(|_| container.readiness_probe.is_none()) {
            let tcp_socket = Some(TCPSocketAction { port: IntOrString::String(port.to_owned()), host: None });
            container.readiness_probe = Some(Probe { tcp_socket, period_seconds: Some(2), ..Probe::default() });
        }
    }
    template
}

fn variable(name: &str, value: &ConfigValue) -> EnvVar {
    let name = name.to_owned();
    let reference = match value {
        ConfigValue::Text(text) => return EnvVar { name, value: Some(text.clone()), value_from: None },
        ConfigValue::Reference(reference) => reference,
    };
    let secret = reference.secret_ref.as_ref().map(|of| SecretKeySelector { name: of.name.clone(), key: of.key.clone(), optional: None });
    let map =
        reference.config_map_ref.as_ref().map(|of| ConfigMapKeySelector { name: of.name.clone(), key: of.key.clone(), optional: None });
    let source = EnvVarSource { secret_key_ref: secret, config_map_key_ref: map, ..EnvVarSource::default() };
    EnvVar { name, value: None, value_from: Some(source) }
}

/// What tells copies of a part apart: equal hashes mean interchangeable copies. 12 hexadecimal digits.
pub fn part_hash(spec: &ServiceSpec, part: &Part) -> String {
    let rendered = serde_json::to_vec(&render(spec, part)).unwrap_or_default();
    Sha256::digest(rendered).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
