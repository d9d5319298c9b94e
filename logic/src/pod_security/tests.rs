use serde_json::json;

use super::*;

fn namespace(name: &str, labels: &Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}})
}

fn check(level: &str, spec: &Value, expected: &str) {
    let bar = Bar::of(&namespace("a", &json!({"pod-security.kubernetes.io/enforce": level})), Mode::Enforce);
    let found = bar.violations(&Value::Null, spec).unwrap_or_default();
    let expected = if expected.is_empty() { String::new() } else { format!("\"{level}:latest\": {expected}") };
    assert_eq!(found, expected, "{spec}");
}

fn with(pod: &Value, container: &Value) -> Value {
    let mut spec = pod.clone();
    let mut containers = vec![json!({"name": "ok", "image": "i"})];
    let mut own = container.clone();
    own["name"] = json!("a");
    own["image"] = json!("i");
    containers.push(own);
    spec["containers"] = json!(containers);
    spec
}

#[test]
fn every_control_of_baseline_is_told_in_kubernetes_words() {
    let none = json!({});
    let context = |value: Value| json!({"securityContext": value});
    for (pod, container, expected) in [
        (none.clone(), none.clone(), ""),
        (
            json!({"hostNetwork": true, "hostPID": true, "hostIPC": true}),
            none.clone(),
            "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
        ),
        (json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), none.clone(), "hostPath volumes (volume \"v\")"),
        (none.clone(), json!({"ports": [{"containerPort": 1, "hostPort": 80}]}), "hostPort (container \"a\" uses hostPort 80)"),
        (none.clone(), context(json!({"privileged": true})), "privileged (container \"a\" must not set securityContext.privileged=true)"),
        (
            none.clone(),
            context(json!({"capabilities": {"add": ["NET_ADMIN", "CHOWN", "CAP_CHOWN"]}})),
            "non-default capabilities (container \"a\" must not include \"CAP_CHOWN\", \"NET_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            none.clone(),
            context(json!({"procMount": "Unmasked"})),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            context(json!({"seLinuxOptions": {"type": "spc_t", "role": "r"}})),
            none.clone(),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; role may not be set)",
        ),
        (
            context(json!({"seccompProfile": {"type": "Unconfined"}})),
            none.clone(),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            context(json!({"appArmorProfile": {"type": "Unconfined"}})),
            none.clone(),
            "forbidden AppArmor profiles (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            context(json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}, {"name": "net.ipv4.tcp_syncookies", "value": "1"}]})),
            none.clone(),
            "forbidden sysctl (kernel.msgmax)",
        ),
        (
            none.clone(),
            context(json!({"windowsOptions": {"hostProcess": true}})),
            "hostProcess (container \"a\" must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            none,
            json!({"livenessProbe": {"tcpSocket": {"host": "10.0.0.1", "port": 1}}}),
            "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"10.0.0.1\")",
        ),
    ] {
        check("baseline", &with(&pod, &container), expected);
        check("privileged", &with(&pod, &container), "");
    }
}

#[test]
fn a_control_is_the_same_for_every_list_of_containers() {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let spec = json!({list: [{"name": "x", "image": "i", "securityContext": {"privileged": true}}]});
        check("baseline", &spec, "privileged (container \"x\" must not set securityContext.privileged=true)");
    }
}

#[test]
fn restricted_demands_what_kubernetes_demands() {
    let good = json!({"runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"}});
    let one = |context: &Value, more: &Value| {
        let mut spec = more.clone();
        spec["containers"] = json!([{"name": "a", "image": "i", "securityContext": context}]);
        spec
    };
    check("restricted", &one(&good, &json!({})), "");
    check(
        "restricted",
        &one(&json!({}), &json!({})),
        "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
    );
    let changed = |field: &str, value: Value| {
        let mut context = good.clone();
        context[field] = value;
        one(&context, &json!({}))
    };
    check("restricted", &changed("runAsUser", json!(0)), "runAsUser=0 (container \"a\" must not set runAsUser=0)");
    check(
        "restricted",
        &changed("runAsNonRoot", json!(false)),
        "runAsNonRoot != true (container \"a\" must not set securityContext.runAsNonRoot=false)",
    );
    check(
        "restricted",
        &changed("seccompProfile", json!({"type": "Unconfined"})),
        "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
    );
    check(
        "restricted",
        &changed("capabilities", json!({"drop": ["ALL"], "add": ["CHOWN", "NET_BIND_SERVICE"]})),
        "unrestricted capabilities (container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)",
    );
    let volumes = json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "emptyDir": {}}, {"name": "x", "nfs": {}}]});
    check(
        "restricted",
        &one(&good, &volumes),
        "restricted volume types (volumes \"v\", \"x\" use restricted volume types \"hostPath\", \"nfs\")",
    );
}

#[test]
fn programs_of_the_machine_are_beyond_restricted_and_within_baseline() {
    let program = json!({"containers": [{"name": "a", "command": ["/bin/true"], "securityContext": {"runAsNonRoot": true,
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}}]});
    check("baseline", &program, "");
    check("restricted", &program, "programs of the machine (container \"a\" must have an image)");
    let mut named = program;
    named["containers"][0]["image"] = json!("i");
    named["runtimeClassName"] = json!("process");
    check("restricted", &named, "programs of the machine (container \"a\" must have an image)");
}

#[test]
fn a_namespace_is_baseline_unless_it_says_otherwise_or_is_the_administrators() {
    let level = |name: &str, labels: Value| Bar::of(&namespace(name, &labels), Mode::Enforce).level;
    assert_eq!(level("shop", json!({})), Level::Baseline);
    assert_eq!(level("default", json!({})), Level::Privileged);
    assert_eq!(level("kube-system", json!(null)), Level::Privileged);
    assert_eq!(level("default", json!({"pod-security.kubernetes.io/enforce": "restricted"})), Level::Restricted);
    assert_eq!(level("shop", json!({"pod-security.kubernetes.io/enforce": "privileged"})), Level::Privileged);
    assert_eq!(level("shop", json!({"pod-security.kubernetes.io/enforce": "nonsense"})), Level::Restricted);
    assert_eq!(Bar::of(&namespace("shop", &json!({})), Mode::Warn).level, Level::Privileged);
}

#[test]
fn a_version_is_named_and_asks_no_more_than_it_did() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.25"});
    let bar = Bar::of(&namespace("a", &labels), Mode::Enforce);
    let sysctl = |name: &str| json!({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}, "containers": []});
    let found = bar.violations(&Value::Null, &sysctl("net.ipv4.tcp_keepalive_time")).unwrap();
    assert_eq!(found, "\"baseline:v1.25\": forbidden sysctl (net.ipv4.tcp_keepalive_time)");
    assert_eq!(bar.violations(&Value::Null, &sysctl("net.ipv4.tcp_syncookies")), None);
}

#[test]
fn a_label_that_is_no_level_is_refused_by_name() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "Baseline", "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/audit-version": "1.25"});
    let found: Vec<String> = label_problems(&namespace("a", &labels)).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"Baseline\": must be one of privileged, baseline, restricted",
            "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"1.25\": must be \"latest\" or \"v1.x\"",
        ]
    );
}
