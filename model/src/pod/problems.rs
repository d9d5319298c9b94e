//! What is wrong with a pod's spec, wherever it stands.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{container, nodes, security, volumes};
use crate::{Problem, ProblemKind, check_label, check_port_name};

const PORT_RULE: &str = "must be between 1 and 65535, inclusive";

/// Problems of a pod's spec wherever it stands; `field` is its path.
pub fn spec_problems(spec: &PodSpec, field: &str, found: &mut Vec<Problem>) {
    if spec.containers.is_empty() {
        found.push(Problem::required(format!("{field}.containers"), ""));
    }
    volumes::problems(spec, field, found);
    security::pod_problems(spec, field, found);
    nodes::problems(spec, field, found);
    let choices = [
        ("restartPolicy", &spec.restart_policy, &["Always", "OnFailure", "Never"][..]),
        ("dnsPolicy", &spec.dns_policy, &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]),
        ("preemptionPolicy", &spec.preemption_policy, &["Never", "PreemptLowerPriority"]),
    ];
    for (name, value, supported) in choices {
        found.extend(not_supported(format!("{field}.{name}"), value.as_deref(), supported));
    }
    if let Some(seconds) = spec.active_deadline_seconds.filter(|seconds| !(1..=i64::from(i32::MAX)).contains(seconds)) {
        let detail = format!("{seconds}: must be between 1 and 2147483647, inclusive");
        found.push(Problem::invalid(format!("{field}.activeDeadlineSeconds"), detail));
    }
    let mut names = BTreeSet::new();
    let mut ports = BTreeSet::new();
    let lists = [("initContainers", spec.init_containers.as_deref().unwrap_or(&[])), ("containers", spec.containers.as_slice())];
    for (list, containers) in lists {
        for (at, container) in containers.iter().enumerate() {
            let field = format!("{field}.{list}[{at}]");
            if !names.insert(container.name.as_str()) {
                found.push(Problem::duplicate(format!("{field}.name"), &container.name));
            }
            container_problems(container, &field, &mut ports, found);
            volumes::mount_problems(container, spec, &field, found);
            container::problems(container, spec, list == "initContainers", &field, found);
            security::container_problems(container, &field, found);
        }
    }
    container::host_port_problems(spec, field, found);
}

pub(super) fn not_supported(field: String, value: Option<&str>, supported: &[&str]) -> Option<Problem> {
    let value = value.filter(|value| !supported.contains(value))?;
    let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
    Some(Problem::new(ProblemKind::NotSupported, field, format!("{value:?}: supported values: {}", supported.join(", "))))
}

fn container_problems<'a>(container: &'a Container, field: &str, ports: &mut BTreeSet<&'a str>, found: &mut Vec<Problem>) {
    if container.name.is_empty() {
        found.push(Problem::required(format!("{field}.name"), ""));
    } else {
        let words = check_label(&container.name).into_iter();
        found.extend(words.map(|why| Problem::invalid(format!("{field}.name"), format!("{:?}: {why}", container.name))));
    }
    if let Some(image) = container.image.as_ref().filter(|image| image.trim().len() != image.len()) {
        let detail = format!("{image:?}: must not have leading or trailing whitespace");
        found.push(Problem::invalid(format!("{field}.image"), detail));
    }
    let policies = &["Always", "IfNotPresent", "Never"];
    found.extend(not_supported(format!("{field}.imagePullPolicy"), container.image_pull_policy.as_deref(), policies));
    for (at, port) in container.ports.iter().flatten().enumerate() {
        let field = format!("{field}.ports[{at}]");
        if port.container_port == 0 {
            found.push(Problem::required(format!("{field}.containerPort"), ""));
        }
        let numbers = [("containerPort", Some(port.container_port)), ("hostPort", port.host_port)];
        for (name, number) in numbers.into_iter().filter_map(|(name, number)| number.map(|number| (name, number))) {
            if number != 0 && !(1..=65_535).contains(&number) {
                found.push(Problem::invalid(format!("{field}.{name}"), format!("{number}: {PORT_RULE}")));
            }
        }
        found.extend(not_supported(format!("{field}.protocol"), port.protocol.as_deref(), &["SCTP", "TCP", "UDP"]));
        let Some(name) = port.name.as_ref().filter(|name| !name.is_empty()) else { continue };
        found.extend(check_port_name(name).into_iter().map(|why| Problem::invalid(format!("{field}.name"), format!("{name:?}: {why}"))));
        if !ports.insert(name) {
            found.push(Problem::duplicate(format!("{field}.name"), name));
        }
    }
}
