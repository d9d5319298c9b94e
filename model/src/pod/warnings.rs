//! What whoever writes a pod's spec is warned of: what is out of date, and what does nothing.

use serde_json::Value;

/// Labels of nodes that have other names by now: the old one, since when, the new one.
const OLD_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
];

/// Warnings of a pod's spec, which stands at `field`.
pub fn warnings(spec: &Value, field: &str) -> Vec<String> {
    let mut found = Vec::new();
    for key in spec["nodeSelector"].as_object().into_iter().flat_map(serde_json::Map::keys) {
        if let Some((_, since, now)) = OLD_LABELS.iter().find(|(old, ..)| old == key) {
            found.push(format!("{field}.nodeSelector[{key}]: deprecated since {since}; use {now:?} instead"));
        }
    }
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        let rule = "must be >= 0; negative values are invalid and will be treated as 1";
        found.push(format!("{field}.terminationGracePeriodSeconds: {rule}"));
    }
    for (at, secret) in items(&spec["imagePullSecrets"]) {
        if secret["name"].as_str().is_none_or(str::is_empty) {
            found.push(format!("{field}.imagePullSecrets[{at}].name: invalid empty name \"\""));
        }
    }
    for (at, volume) in items(&spec["volumes"]) {
        let source = &volume["emptyDir"];
        if !source["sizeLimit"].is_null() && source["medium"] != "Memory" {
            found.push(format!(
                "{field}.volumes[{at}].emptyDir.sizeLimit: has no effect without medium: Memory; what lies on the disk is not measured"
            ));
        }
    }
    for list in ["initContainers", "containers"] {
        for (at, container) in items(&spec[list]) {
            container_warnings(container, &format!("{field}.{list}[{at}]"), &mut found);
        }
    }
    found
}

fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

fn container_warnings(container: &Value, field: &str, found: &mut Vec<String>) {
    for (at, variable) in items(&container["env"]) {
        let name = &variable["name"];
        if items(&container["env"]).take(at).any(|(_, earlier)| earlier["name"] == *name) {
            found.push(format!("{field}.env[{at}]: hides previous definition of {name}, which may be dropped when using apply"));
        }
    }
    for (at, port) in items(&container["ports"]) {
        let is_same = |other: &Value| {
            let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
            ["containerPort", "hostPort", "hostIP"].iter().all(|of| other[of] == port[of]) && protocol(other) == protocol(port)
        };
        if let Some((earlier, _)) = items(&container["ports"]).take(at).find(|(_, other)| is_same(other)) {
            found.push(format!("{field}.ports[{at}]: duplicate port definition with {field}.ports[{earlier}]"));
        }
    }
    for list in ["limits", "requests"] {
        for resource in ["ephemeral-storage", "memory"] {
            let amount = container["resources"][list][resource].as_str().unwrap_or_default();
            if amount.ends_with('m') {
                let rule = "is invalid, must be an integer";
                found.push(format!("{field}.resources.{list}[{resource}]: fractional byte value {amount:?} {rule}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_warning_names_its_field() {
        let spec = json!({
            "nodeSelector": {"beta.kubernetes.io/os": "linux", "kubernetes.io/os": "linux"}, "imagePullSecrets": [{"name": "a"}, {}],
            "containers": [{"name": "c", "env": [{"name": "X"}, {"name": "Y"}, {"name": "X"}],
                "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"memory": "100m", "cpu": "100m"}}}],
        });
        let expected = [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.imagePullSecrets[1].name: invalid empty name \"\"",
            "spec.containers[0].env[2]: hides previous definition of \"X\", which may be dropped when using apply",
            "spec.containers[0].ports[2]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
        ];
        assert_eq!(warnings(&spec, "spec"), expected);
        assert!(warnings(&json!({"containers": [{"name": "c", "env": [{"name": "X"}]}]}), "spec").is_empty());
    }
}
