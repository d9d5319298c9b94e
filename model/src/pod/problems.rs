//! What is wrong with a pod's spec, wherever it stands.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{container, security};
use crate::{Problem, ProblemKind, check_label, check_port_name};

/// The sources of volumes in the order in which they are looked at: of two, the later is one too many.
const SOURCES: [&str; 8] = ["emptyDir", "hostPath", "secret", "nfs", "persistentVolumeClaim", "configMap", "downwardAPI", "projected"];
const PORT_RULE: &str = "must be between 1 and 65535, inclusive";

/// Problems of a pod's spec wherever it stands; `field` is its path.
pub fn spec_problems(spec: &PodSpec, field: &str, found: &mut Vec<Problem>) {
    if spec.containers.is_empty() {
        found.push(Problem::required(format!("{field}.containers"), ""));
    }
    volume_problems(spec, field, found);
    security::pod_problems(spec, field, found);
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
    let volumes: BTreeSet<&str> = spec.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
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
            mount_problems(container, &field, &volumes, found);
            container::problems(container, spec, list == "initContainers", &field, found);
            security::container_problems(container, &field, found);
        }
    }
    container::host_port_problems(spec, field, found);
}

fn not_supported(field: String, value: Option<&str>, supported: &[&str]) -> Option<Problem> {
    let value = value.filter(|value| !supported.contains(value))?;
    let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
    Some(Problem::new(ProblemKind::NotSupported, field, format!("{value:?}: supported values: {}", supported.join(", "))))
}

/// A volume has a name of its own and one source.
fn volume_problems(spec: &PodSpec, field: &str, found: &mut Vec<Problem>) {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    for (at, volume) in volumes.iter().enumerate() {
        let name = format!("{field}.volumes[{at}].name");
        found.extend(check_label(&volume.name).into_iter().map(|why| Problem::invalid(&name, format!("{:?}: {why}", volume.name))));
        if volumes.iter().take(at).any(|other| other.name == volume.name) {
            found.push(Problem::duplicate(name, &volume.name));
        }
        let told = serde_json::to_value(volume).unwrap_or_default();
        let mut sources: Vec<&String> =
            told.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| *name != "name").collect();
        sources.sort_by_key(|name| SOURCES.iter().position(|known| known == name));
        let field = format!("{field}.volumes[{at}]");
        for source in sources.iter().skip(1) {
            let detail = "may not specify more than 1 volume type";
            found.push(Problem::new(ProblemKind::Forbidden, format!("{field}.{source}"), detail));
        }
    }
}

fn mount_problems(container: &Container, field: &str, volumes: &BTreeSet<&str>, found: &mut Vec<Problem>) {
    let mounts = || container.volume_mounts.iter().flatten();
    for (at, mount) in mounts().enumerate() {
        let field = format!("{field}.volumeMounts[{at}]");
        if mount.name.is_empty() {
            found.push(Problem::required(format!("{field}.name"), ""));
        } else if !volumes.contains(mount.name.as_str()) {
            found.push(Problem::new(ProblemKind::NotFound, format!("{field}.name"), format!("{:?}", mount.name)));
        }
        if mount.mount_path.is_empty() {
            found.push(Problem::required(format!("{field}.mountPath"), ""));
        } else if mounts().take(at).any(|other| other.mount_path == mount.mount_path) {
            found.push(Problem::invalid(format!("{field}.mountPath"), format!("{:?}: must be unique", mount.mount_path)));
        }
    }
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
