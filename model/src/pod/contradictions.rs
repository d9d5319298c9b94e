//! What a pod says that could never start, though each word of it is known: refused when it is new, rather than when it should run.

use serde_json::Value;

use super::fields::CLASSES;
use crate::{Problem, ProblemKind};

/// What a program may be let do, as Linux names it (capabilities(7)), without `CAP_`.
const CAPABILITIES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Everything in a pod's spec that contradicts itself or names what there is nowhere; `field` is where the spec stands.
pub(super) fn contradictions(spec: &Value, field: &str) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(name) = spec["runtimeClassName"].as_str().filter(|name| !name.is_empty() && !CLASSES.contains(name)) {
        let detail = format!("{name:?}: supported values: {}", CLASSES.map(|class| format!("{class:?}")).join(", "));
        found.push(Problem::new(ProblemKind::NotSupported, format!("{field}.runtimeClassName"), detail));
    }
    let names: Vec<&str> = containers(spec, field).filter_map(|(_, container)| container["name"].as_str()).collect();
    for (at, container) in containers(spec, field) {
        capability_problems(container, &at, &mut found);
        user_problems(spec, container, &at, &mut found);
        for (number, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
            let of = variable["valueFrom"]["resourceFieldRef"]["containerName"].as_str().unwrap_or_default();
            if !of.is_empty() && !names.contains(&of) {
                let at = format!("{at}.env[{number}].valueFrom.resourceFieldRef.containerName");
                found.push(Problem::new(ProblemKind::NotFound, at, format!("{of:?}")));
            }
        }
    }
    found
}

fn containers<'a>(spec: &'a Value, field: &'a str) -> impl Iterator<Item = (String, &'a Value)> {
    ["initContainers", "containers"].into_iter().flat_map(move |list| {
        let all = spec[list].as_array().into_iter().flatten().enumerate();
        all.map(move |(at, container)| (format!("{field}.{list}[{at}]"), container))
    })
}

fn capability_problems(container: &Value, at: &str, found: &mut Vec<Problem>) {
    for list in ["add", "drop"] {
        let asked = container["securityContext"]["capabilities"][list].as_array().into_iter().flatten().enumerate();
        for (number, name) in asked.filter_map(|(number, name)| Some((number, name.as_str()?))) {
            let plain = name.to_ascii_uppercase();
            if !CAPABILITIES.contains(&plain.strip_prefix("CAP_").unwrap_or(&plain)) {
                let field = format!("{at}.securityContext.capabilities.{list}[{number}]");
                found.push(Problem::invalid(
                    field,
                    format!("{name:?}: must be a capability of Linux, such as \"NET_BIND_SERVICE\", or \"ALL\""),
                ));
            }
        }
    }
}

/// Who must not be root is not told to be.
fn user_problems(spec: &Value, container: &Value, at: &str, found: &mut Vec<Problem>) {
    let said = |name: &str| {
        let own = &container["securityContext"][name];
        if own.is_null() { &spec["securityContext"][name] } else { own }
    };
    if *said("runAsNonRoot") == true && *said("runAsUser") == 0 {
        found.push(Problem::invalid(format!("{at}.securityContext.runAsUser"), "0: must not be 0 where runAsNonRoot is true"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_could_never_start_is_named_with_its_whole_path() {
        let of = |name: &str| json!([{"name": "a", "valueFrom": {"resourceFieldRef": {"containerName": name, "resource": "limits.cpu"}}}]);
        for (spec, expected) in [
            (json!({"runtimeClassName": "gvisor"}), "at.runtimeClassName"),
            (json!({"runtimeClassName": "podman"}), ""),
            (json!({"containers": [{"name": "c", "env": of("d")}]}), "at.containers[0].env[0].valueFrom.resourceFieldRef.containerName"),
            (json!({"containers": [{"name": "c", "env": of("d")}, {"name": "d"}]}), ""),
            (
                json!({"initContainers": [{"name": "c", "securityContext": {"capabilities": {"add": ["CAP_CHOWN", "net_admin"], "drop": ["ALL", "X"]}}}]}),
                "at.initContainers[0].securityContext.capabilities.drop[1]",
            ),
            (
                json!({"securityContext": {"runAsUser": 0}, "containers": [{"securityContext": {"runAsNonRoot": true}}]}),
                "at.containers[0].securityContext.runAsUser",
            ),
            (json!({"securityContext": {"runAsUser": 0}, "containers": [{"securityContext": {"runAsNonRoot": true, "runAsUser": 5}}]}), ""),
        ] {
            let fields: Vec<String> = contradictions(&spec, "at").into_iter().map(|problem| problem.field).collect();
            assert_eq!(fields.join(" "), expected, "{spec}");
        }
    }
}
