//! What every runtime asks of a pod before it holds it.

use std::collections::BTreeSet;

use crate::{Container, Error, Pod, Port, Result};

/// How many ports a pod may have.
const PORTS_MAX: usize = 100;

/// Looks for what no runtime could hold. Errors: [`Error::Refused`], naming the first field at fault.
pub(crate) fn check(pod: &Pod) -> Result<()> {
    if !is_file_name(&pod.uid, 128) {
        return refuse("metadata.uid", "up to 128 letters, digits, '-', '_' and '.', beginning with a letter or digit");
    }
    if pod.containers.is_empty() {
        return refuse("spec.containers", "at least one container");
    }
    let mut names = BTreeSet::new();
    for (at, container) in pod.containers.iter().enumerate() {
        let field = format!("spec.containers[{at}]");
        if !is_file_name(&container.name, 63) {
            return refuse(format!("{field}.name"), "up to 63 letters, digits, '-', '_' and '.', beginning with a letter or digit");
        }
        if !names.insert(&container.name) {
            return refuse(format!("{field}.name"), format!("a name of its own, but {} is also another container's", container.name));
        }
        check_container(container, &field)?;
    }
    check_ports(pod)
}

/// An [`Error::Refused`].
pub(crate) fn refuse<T>(field: impl Into<String>, expected: impl Into<String>) -> Result<T> {
    Err(Error::Refused { field: field.into(), expected: expected.into() })
}

fn check_container(container: &Container, field: &str) -> Result<()> {
    for (list, words) in [("command", &container.command), ("args", &container.args)] {
        if let Some(at) = words.iter().position(|word| word.contains('\0')) {
            return refuse(format!("{field}.{list}[{at}]"), "text without NUL bytes");
        }
    }
    for (at, (name, value)) in container.env.iter().enumerate() {
        if name.is_empty() || name.contains(['=', '\0']) {
            return refuse(format!("{field}.env[{at}].name"), "a name without '=' and NUL bytes");
        }
        if value.contains('\0') {
            return refuse(format!("{field}.env[{at}].value"), "text without NUL bytes");
        }
    }
    for (at, mount) in container.mounts.iter().enumerate() {
        let is_path = mount.target.starts_with('/')
            && !mount.target.trim_matches('/').is_empty()
            && !mount.target.contains('\0')
            && !mount.target.split('/').any(|step| step == "..");
        if !is_path {
            return refuse(format!("{field}.volumeMounts[{at}].mountPath"), "an absolute path below / without '..'");
        }
    }
    match &container.working_dir {
        Some(dir) if !dir.starts_with('/') || dir.contains('\0') => refuse(format!("{field}.workingDir"), "an absolute path"),
        _ => Ok(()),
    }
}

fn check_ports(pod: &Pod) -> Result<()> {
    let (mut names, mut fixed, mut count) = (BTreeSet::new(), BTreeSet::new(), 0);
    for (at, container) in pod.containers.iter().enumerate() {
        for (port_at, Port { name, host_port, .. }) in container.ports.iter().enumerate() {
            let field = format!("spec.containers[{at}].ports[{port_at}]");
            count += 1;
            if count > PORTS_MAX {
                return refuse(format!("spec.containers[{at}].ports"), format!("at most {PORTS_MAX} ports in a pod"));
            }
            if name.is_empty() || name.contains(['=', '\0']) {
                return refuse(format!("{field}.name"), "a name");
            }
            if !names.insert(name) {
                return refuse(format!("{field}.name"), format!("a name of its own, but {name} is also another port's"));
            }
            if *host_port == Some(0) {
                return refuse(format!("{field}.hostPort"), "a port from 1 to 65535, or none");
            }
            if host_port.is_some_and(|port| !fixed.insert(port)) {
                return refuse(format!("{field}.hostPort"), "a port that no other of the pod has");
            }
        }
    }
    Ok(())
}

/// Whether a text can be a file's name, or the beginning of one, without further thought.
fn is_file_name(text: &str, length_max: usize) -> bool {
    text.len() <= length_max
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
