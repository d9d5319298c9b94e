//! What is wrong with the variables, probes and hooks of a container, in Kubernetes' words.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, ExecAction, HTTPGetAction, LifecycleHandler, PodSpec, Probe, SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::{Problem, ProblemKind};

const PORT_RULE: &str = "must be between 1 and 65535, inclusive";
const NAME_RULE: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";
/// How long a pod may take to end where it does not say.
const GRACE_SECONDS: i64 = 30;

/// Problems of what a container is told, asked and made to do.
pub(super) fn problems(container: &Container, spec: &PodSpec, is_init: bool, field: &str, found: &mut Vec<Problem>) {
    for (at, variable) in container.env.iter().flatten().enumerate() {
        variable_problems(variable, &format!("{field}.env[{at}]"), found);
    }
    for (at, source) in container.env_from.iter().flatten().enumerate() {
        source_problems(source, &format!("{field}.envFrom[{at}]"), found);
    }
    let is_short = is_init && container.restart_policy.as_deref() != Some("Always");
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    let forbid = |name: &str| {
        Problem::new(ProblemKind::Forbidden, format!("{field}.{name}"), "may not be set for init containers without restartPolicy=Always")
    };
    for (name, probe) in probes {
        let Some(probe) = probe else { continue };
        if is_short {
            found.push(forbid(name));
        } else {
            probe_problems(probe, name, container, &format!("{field}.{name}"), found);
        }
    }
    let Some(lifecycle) = &container.lifecycle else { return };
    if is_short {
        found.push(forbid("lifecycle"));
        return;
    }
    let grace = spec.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS).max(1);
    for (name, handler) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(handler) = handler {
            handler_problems(handler, container, grace, &format!("{field}.lifecycle.{name}"), found);
        }
    }
}

/// Ports of the machine that containers of one pod want twice.
pub(super) fn host_port_problems(spec: &PodSpec, field: &str, found: &mut Vec<Problem>) {
    let mut taken = BTreeSet::new();
    for (at, container) in spec.containers.iter().enumerate() {
        for (number, port) in container.ports.iter().flatten().enumerate() {
            let Some(wanted) = port.host_port.filter(|wanted| *wanted != 0) else { continue };
            let text = format!("{}/{}/{wanted}", port.protocol.as_deref().unwrap_or("TCP"), port.host_ip.as_deref().unwrap_or_default());
            if !taken.insert(text.clone()) {
                found.push(Problem::duplicate(format!("{field}.containers[{at}].ports[{number}].hostPort"), &text));
            }
        }
    }
}

/// Whether a text can be the name of a variable.
fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}

fn variable_problems(variable: &EnvVar, field: &str, found: &mut Vec<Problem>) {
    if variable.name.is_empty() {
        found.push(Problem::required(format!("{field}.name"), ""));
    } else if !is_variable(&variable.name) {
        found.push(Problem::invalid(format!("{field}.name"), format!("{:?}: {NAME_RULE}", variable.name)));
    }
    let Some(from) = &variable.value_from else { return };
    let at = format!("{field}.valueFrom");
    let told = serde_json::to_value(from).unwrap_or_default();
    let mut invalid = |detail: &str| found.push(Problem::invalid(&at, format!("\"\": {detail}")));
    match told.as_object().map_or(0, serde_json::Map::len) {
        0 => invalid("must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"),
        _ if variable.value.as_ref().is_some_and(|value| !value.is_empty()) => {
            invalid("may not be specified when `value` is not empty");
        }
        1 => {}
        _ => invalid("may not have more than one field specified at a time"),
    }
    let keys = [
        ("configMapKeyRef", from.config_map_key_ref.as_ref().map(|key| &key.key)),
        ("secretKeyRef", from.secret_key_ref.as_ref().map(|key| &key.key)),
    ];
    for (name, key) in keys {
        if key.is_some_and(String::is_empty) {
            found.push(Problem::required(format!("{at}.{name}.key"), ""));
        }
    }
    if from.field_ref.as_ref().is_some_and(|of| of.field_path.is_empty()) {
        found.push(Problem::required(format!("{at}.fieldRef.fieldPath"), ""));
    }
}

fn source_problems(source: &EnvFromSource, field: &str, found: &mut Vec<Problem>) {
    if let Some(prefix) = source.prefix.as_ref().filter(|prefix| !is_variable(prefix)) {
        found.push(Problem::invalid(format!("{field}.prefix"), format!("{prefix:?}: {NAME_RULE}")));
    }
    let detail = match (&source.config_map_ref, &source.secret_ref) {
        (None, None) => "must specify one of: `configMapRef` or `secretRef`",
        (Some(_), Some(_)) => "may not have more than one field specified at a time",
        _ => "",
    };
    if !detail.is_empty() {
        found.push(Problem::invalid(field, format!("\"\": {detail}")));
    }
    let names = [
        ("configMapRef", source.config_map_ref.as_ref().map(|of| of.name.as_str())),
        ("secretRef", source.secret_ref.as_ref().map(|of| of.name.as_str())),
    ];
    for (name, of) in names {
        if of.is_some_and(str::is_empty) {
            found.push(Problem::required(format!("{field}.{name}.name"), ""));
        }
    }
}

fn probe_problems(probe: &Probe, name: &str, container: &Container, field: &str, found: &mut Vec<Problem>) {
    let checks = [probe.exec.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.grpc.is_some()];
    if checks.iter().filter(|set| **set).count() != 1 {
        found.push(Problem::required(field, "exactly one of exec, httpGet and tcpSocket"));
    }
    action_problems((&probe.exec, &probe.http_get, &probe.tcp_socket), container, field, found);
    let counts = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("failureThreshold", probe.failure_threshold),
        ("successThreshold", probe.success_threshold),
    ];
    for (count, value) in counts {
        if let Some(value) = value.filter(|value| *value < 0) {
            found.push(Problem::invalid(format!("{field}.{count}"), format!("{value}: must be greater than or equal to 0")));
        }
    }
    if let Some(value) = probe.success_threshold.filter(|value| *value > 1 && name != "readinessProbe") {
        found.push(Problem::invalid(format!("{field}.successThreshold"), format!("{value}: must be 1")));
    }
    if let Some(seconds) = probe.termination_grace_period_seconds {
        let detail = match name {
            "readinessProbe" => Some("must not be set for readinessProbes"),
            _ => (seconds <= 0).then_some("must be greater than 0"),
        };
        let field = format!("{field}.terminationGracePeriodSeconds");
        found.extend(detail.map(|detail| Problem::invalid(field, format!("{seconds}: {detail}"))));
    }
}

type Asked<'a> = (&'a Option<ExecAction>, &'a Option<HTTPGetAction>, &'a Option<TCPSocketAction>);

/// Problems of what is run or asked, for a probe as for a hook.
fn action_problems((exec, http, tcp): Asked<'_>, container: &Container, field: &str, found: &mut Vec<Problem>) {
    if exec.as_ref().is_some_and(|exec| exec.command.as_ref().is_none_or(Vec::is_empty)) {
        found.push(Problem::required(format!("{field}.exec.command"), ""));
    }
    for (check, port) in [("httpGet", http.as_ref().map(|get| &get.port)), ("tcpSocket", tcp.as_ref().map(|socket| &socket.port))] {
        let field = format!("{field}.{check}.port");
        match port {
            Some(IntOrString::String(name)) if !container.ports.iter().flatten().any(|port| port.name.as_ref() == Some(name)) => {
                found.push(Problem::invalid(field, format!("{name:?} is no named port of this container")));
            }
            Some(IntOrString::Int(number)) if !(1..=65_535).contains(number) => {
                found.push(Problem::invalid(field, format!("{number}: {PORT_RULE}")));
            }
            _ => {}
        }
    }
    let Some(get) = http else { return };
    if let Some(scheme) = get.scheme.as_ref().filter(|scheme| !["HTTP", "HTTPS"].contains(&scheme.as_str())) {
        let detail = format!("{scheme:?}: supported values: \"HTTP\", \"HTTPS\"");
        found.push(Problem::new(ProblemKind::NotSupported, format!("{field}.httpGet.scheme"), detail));
    }
    for header in get.http_headers.iter().flatten().filter(|header| !is_token(&header.name)) {
        let detail =
            format!("{:?}: a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name')", header.name);
        found.push(Problem::invalid(format!("{field}.httpGet.httpHeaders"), detail));
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn handler_problems(handler: &LifecycleHandler, container: &Container, grace: i64, field: &str, found: &mut Vec<Problem>) {
    let told = serde_json::to_value(handler).unwrap_or_default();
    match told.as_object().map_or(0, serde_json::Map::len) {
        0 => found.push(Problem::required(field, "must specify a handler type")),
        1 => {}
        _ => found.push(Problem::new(ProblemKind::Forbidden, field, "may not specify more than 1 handler type")),
    }
    action_problems((&handler.exec, &handler.http_get, &handler.tcp_socket), container, field, found);
    if let Some(SleepAction { seconds }) = handler.sleep.as_ref().filter(|sleep| !(0..=grace).contains(&sleep.seconds)) {
        let detail = format!("{seconds}: must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        found.push(Problem::invalid(format!("{field}.sleep.seconds"), detail));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::problems::spec_problems;

    /// The fields of a pod with one container that are wrong.
    fn wrong(container: Value) -> Vec<String> {
        let mut whole = json!({"name": "c", "ports": [{"name": "http", "containerPort": 80}]});
        container.as_object().unwrap().iter().for_each(|(field, value)| whole[field] = value.clone());
        let spec = serde_json::from_value(json!({"containers": [whole]})).unwrap();
        let mut found = Vec::new();
        spec_problems(&spec, "spec", &mut found);
        found.into_iter().map(|problem| problem.field.replace("spec.containers[0].", "")).collect()
    }

    #[test]
    fn what_could_never_work_is_named_with_its_whole_path() {
        let field = json!({"fieldPath": "metadata.name"});
        let key = json!({"name": "a", "key": "b"});
        let get = |more: Value| json!({"livenessProbe": {"httpGet": more}});
        for (container, expected) in [
            (json!({"env": [{"name": "a", "valueFrom": {"fieldRef": field}}, {"name": "b c.d", "value": "x"}]}), ""),
            (json!({"env": [{"name": "a", "value": "x", "valueFrom": {"fieldRef": field}}]}), "env[0].valueFrom"),
            (json!({"env": [{"name": "a", "value": "", "valueFrom": {"fieldRef": field}}]}), ""),
            (json!({"env": [{"name": "a", "valueFrom": {"fieldRef": field, "secretKeyRef": key}}]}), "env[0].valueFrom"),
            (json!({"env": [{"name": "a", "valueFrom": {}}]}), "env[0].valueFrom"),
            (
                json!({"env": [{"name": "a", "valueFrom": {"configMapKeyRef": {"name": "a", "key": ""}}}]}),
                "env[0].valueFrom.configMapKeyRef.key",
            ),
            (json!({"env": [{"name": "a", "valueFrom": {"secretKeyRef": {"name": "a", "key": ""}}}]}), "env[0].valueFrom.secretKeyRef.key"),
            (json!({"env": [{"name": "a=b"}]}), "env[0].name"),
            (json!({"env": [{"name": "ä"}]}), "env[0].name"),
            (json!({"env": [{"name": ""}]}), "env[0].name"),
            (json!({"envFrom": [{}]}), "envFrom[0]"),
            (json!({"envFrom": [{"configMapRef": {"name": "a"}, "secretRef": {"name": "a"}}]}), "envFrom[0]"),
            (json!({"envFrom": [{"prefix": "=", "secretRef": {"name": ""}}]}), "envFrom[0].prefix envFrom[0].secretRef.name"),
            (json!({"livenessProbe": {"exec": {"command": []}}}), "livenessProbe.exec.command"),
            (json!({"livenessProbe": {"tcpSocket": {"port": 80}, "successThreshold": 2}}), "livenessProbe.successThreshold"),
            (json!({"startupProbe": {"tcpSocket": {"port": 80}, "successThreshold": 2}}), "startupProbe.successThreshold"),
            (json!({"readinessProbe": {"tcpSocket": {"port": 80}, "successThreshold": 2}}), ""),
            (
                json!({"readinessProbe": {"tcpSocket": {"port": "web"}, "initialDelaySeconds": -1}}),
                "readinessProbe.tcpSocket.port readinessProbe.initialDelaySeconds",
            ),
            (
                json!({"readinessProbe": {"tcpSocket": {"port": 80}, "terminationGracePeriodSeconds": 5}}),
                "readinessProbe.terminationGracePeriodSeconds",
            ),
            (
                json!({"livenessProbe": {"tcpSocket": {"port": 80}, "terminationGracePeriodSeconds": 0}}),
                "livenessProbe.terminationGracePeriodSeconds",
            ),
            (get(json!({"port": 0})), "livenessProbe.httpGet.port"),
            (get(json!({"port": 80, "scheme": "ftp"})), "livenessProbe.httpGet.scheme"),
            (get(json!({"port": "http", "httpHeaders": [{"name": "a b", "value": "c"}]})), "livenessProbe.httpGet.httpHeaders"),
            (json!({"lifecycle": {"preStop": {}}}), "lifecycle.preStop"),
            (json!({"lifecycle": {"preStop": {"exec": {"command": ["a"]}, "sleep": {"seconds": 1}}}}), "lifecycle.preStop"),
            (json!({"lifecycle": {"preStop": {"exec": {}}}}), "lifecycle.preStop.exec.command"),
            (json!({"lifecycle": {"preStop": {"sleep": {"seconds": -1}}}}), "lifecycle.preStop.sleep.seconds"),
            (json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}), "lifecycle.preStop.sleep.seconds"),
            (json!({"lifecycle": {"preStop": {"sleep": {"seconds": 30}}}}), ""),
            (json!({"ports": [{"containerPort": 80, "hostPort": 81}, {"containerPort": 82, "hostPort": 81}]}), "ports[1].hostPort"),
            (json!({"ports": [{"containerPort": 80, "hostPort": 81}, {"containerPort": 82, "hostPort": 81, "protocol": "UDP"}]}), ""),
        ] {
            assert_eq!(wrong(container.clone()).join(" "), expected, "{container}");
        }
    }

    #[test]
    fn what_runs_before_the_others_is_neither_probed_nor_hooked() {
        let spec = json!({"initContainers": [{"name": "i", "readinessProbe": {"tcpSocket": {"port": 1}}, "lifecycle": {"preStop": {"exec": {"command": ["a"]}}}}], "containers": [{"name": "c"}]});
        let mut found = Vec::new();
        spec_problems(&serde_json::from_value(spec).unwrap(), "spec", &mut found);
        let fields: Vec<String> = found.into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["spec.initContainers[0].readinessProbe", "spec.initContainers[0].lifecycle"]);
    }
}
