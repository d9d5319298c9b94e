//! The controls of `baseline`.

use serde_json::Value;

use super::Bar;
use super::spec::{PodView, name, of_containers, quoted, setters, subject, texts};

/// Capabilities that a container may ask for, as engines give them anyway.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Settings of the kernel that concern the pod alone, with the version since which they are known to.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

/// Types of SELinux that containers have, with the version since which they may name them.
const SELINUX_TYPES: [(&str, u32); 5] =
    [("", 0), ("container_t", 0), ("container_init_t", 0), ("container_kvm_t", 0), ("container_engine_t", 31)];

/// What a pod violates of `baseline`.
pub(super) fn violations(pod: &PodView<'_>, bar: Bar) -> Vec<String> {
    let only_here = [capabilities(pod), host_path(pod), seccomp(pod)];
    let [capabilities, host_path, seccomp] = only_here;
    [
        app_armor(pod),
        capabilities,
        host_namespaces(pod),
        host_path,
        host_ports(pod),
        host_probes(pod, bar),
        privileged(pod),
        proc_mount(pod),
        selinux(pod, bar),
        seccomp,
        sysctls(pod, bar),
        windows(pod),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The same without what `restricted` asks in a stricter way.
pub(super) fn violations_also_restricted(pod: &PodView<'_>, bar: Bar) -> Vec<String> {
    let found = [
        app_armor(pod),
        host_namespaces(pod),
        host_ports(pod),
        host_probes(pod, bar),
        privileged(pod),
        proc_mount(pod),
        selinux(pod, bar),
        sysctls(pod, bar),
        windows(pod),
    ];
    found.into_iter().flatten().collect()
}

fn app_armor(pod: &PodView<'_>) -> Option<String> {
    let is_bad = |profile: &Value| profile["type"].as_str().is_some_and(|kind| !["RuntimeDefault", "Localhost"].contains(&kind));
    let of = |context: &Value| context["appArmorProfile"].clone();
    let names = pod.names(|container| is_bad(&of(&container["securityContext"])));
    let mut values: Vec<String> = pod
        .containers()
        .map(|container| of(&container["securityContext"]))
        .collect::<Vec<_>>()
        .iter()
        .chain([&of(pod.context())])
        .filter(|profile| is_bad(profile))
        .filter_map(|profile| profile["type"].as_str().map(str::to_owned))
        .collect();
    values.sort();
    let annotations = pod.metadata["annotations"].as_object().into_iter().flatten().filter(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        key.starts_with("container.apparmor.security.beta.kubernetes.io/")
            && !value.is_empty()
            && value != "runtime/default"
            && !value.starts_with("localhost/")
    });
    let mut said: Vec<String> = annotations.map(|(key, value)| format!("{key}={value}")).collect();
    let from_fields = setters(is_bad(&of(pod.context())), &names);
    said.extend(from_fields.map(|who| format!("{who} must not set AppArmor profile type to {}", quoted(&values))));
    let what = if said.len() + values.len() > 1 { "forbidden AppArmor profiles" } else { "forbidden AppArmor profile" };
    (!said.is_empty()).then(|| format!("{what} ({})", said.join(", ")))
}

fn capabilities(pod: &PodView<'_>) -> Option<String> {
    added_beyond(pod, &CAPABILITIES).map(|why| format!("non-default capabilities ({why})"))
}

/// Who adds which capabilities that are none of these.
pub(super) fn added_beyond(pod: &PodView<'_>, allowed: &[&str]) -> Option<String> {
    let added = |container: &Value| -> Vec<String> {
        let all = texts(&container["securityContext"]["capabilities"]["add"]);
        all.filter(|capability| !allowed.contains(capability)).map(str::to_owned).collect()
    };
    let names = pod.names(|container| !added(container).is_empty());
    let mut beyond: Vec<String> = pod.containers().flat_map(added).collect();
    beyond.sort();
    of_containers(&names, &format!("must not include {} in securityContext.capabilities.add", quoted(&beyond)))
}

fn host_namespaces(pod: &PodView<'_>) -> Option<String> {
    let all = ["hostNetwork", "hostPID", "hostIPC"].into_iter();
    let set: Vec<String> = all.filter(|field| pod.spec[*field] == true).map(|field| format!("{field}=true")).collect();
    (!set.is_empty()).then(|| format!("host namespaces ({})", set.join(", ")))
}

fn host_path(pod: &PodView<'_>) -> Option<String> {
    let volumes = pod.spec["volumes"].as_array().into_iter().flatten();
    let names: Vec<String> = volumes.filter(|volume| volume["hostPath"].is_object()).map(name).collect();
    let word = if names.len() == 1 { "volume" } else { "volumes" };
    (!names.is_empty()).then(|| format!("hostPath volumes ({word} {})", quoted(&names)))
}

fn host_ports(pod: &PodView<'_>) -> Option<String> {
    let of = |container: &Value| -> Vec<i64> {
        let ports = container["ports"].as_array().into_iter().flatten();
        ports.filter_map(|port| port["hostPort"].as_i64()).filter(|port| *port != 0).collect()
    };
    let names = pod.names(|container| !of(container).is_empty());
    let mut ports: Vec<i64> = pod.containers().flat_map(of).collect();
    ports.sort_unstable();
    ports.dedup();
    let what = if ports.len() == 1 { "hostPort" } else { "hostPorts" };
    let uses = if names.len() == 1 { "uses" } else { "use" };
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    of_containers(&names, &format!("{uses} {what} {}", ports.join(", "))).map(|why| format!("{what} ({why})"))
}

/// Whoever names a host in a probe has the node ask it.
fn host_probes(pod: &PodView<'_>, bar: Bar) -> Option<String> {
    let places = ["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    let of = |container: &Value| -> Vec<String> {
        let asked = places.iter().flat_map(|place| ["httpGet", "tcpSocket"].map(|way| format!("{place}/{way}/host")));
        asked.filter_map(|host| container.pointer(&host)?.as_str().map(str::to_owned)).filter(|host| !host.is_empty()).collect()
    };
    let names = pod.names(|container| !of(container).is_empty());
    let hosts: Vec<String> = pod.containers().flat_map(of).collect();
    let uses = if names.len() == 1 { "uses" } else { "use" };
    let why = of_containers(&names, &format!("{uses} probe or lifecycle host {}", quoted(&hosts)))?;
    bar.is_since(34).then(|| format!("probe or lifecycle host ({why})"))
}

fn privileged(pod: &PodView<'_>) -> Option<String> {
    let names = pod.names(|container| container["securityContext"]["privileged"] == true);
    of_containers(&names, "must not set securityContext.privileged=true").map(|why| format!("privileged ({why})"))
}

fn proc_mount(pod: &PodView<'_>) -> Option<String> {
    let of = |container: &Value| {
        let mount = container["securityContext"]["procMount"].as_str().filter(|mount| !["", "Default"].contains(mount));
        mount.map(str::to_owned)
    };
    let names = pod.names(|container| of(container).is_some());
    let values: Vec<String> = pod.containers().filter_map(of).collect();
    of_containers(&names, &format!("must not set securityContext.procMount to {}", quoted(&values))).map(|why| format!("procMount ({why})"))
}

fn selinux(pod: &PodView<'_>, bar: Bar) -> Option<String> {
    let is_known = |kind: &str| SELINUX_TYPES.iter().any(|(known, since)| *known == kind && bar.is_since(*since));
    let of = |context: &Value| context["seLinuxOptions"].clone();
    let bad_type = |options: &Value| options["type"].as_str().filter(|kind| !is_known(kind)).map(str::to_owned);
    let sets = |options: &Value, field: &str| options[field].as_str().is_some_and(|text| !text.is_empty());
    let is_bad = |options: &Value| bad_type(options).is_some() || sets(options, "user") || sets(options, "role");
    let names = pod.names(|container| is_bad(&of(&container["securityContext"])));
    let all: Vec<Value> = [of(pod.context())].into_iter().chain(pod.containers().map(|one| of(&one["securityContext"]))).collect();
    let mut types: Vec<String> = all.iter().filter_map(bad_type).collect();
    types.sort();
    let mut said = Vec::new();
    if !types.is_empty() {
        said.push(format!("{} {}", if types.len() == 1 { "type" } else { "types" }, quoted(&types)));
    }
    for field in ["user", "role"] {
        if all.iter().any(|options| sets(options, field)) {
            said.push(format!("{field} may not be set"));
        }
    }
    let who = setters(is_bad(&of(pod.context())), &names)?;
    Some(format!("seLinuxOptions ({who} set forbidden securityContext.seLinuxOptions: {})", said.join("; ")))
}

fn seccomp(pod: &PodView<'_>) -> Option<String> {
    let bad = |context: &Value| {
        let kind = context["seccompProfile"]["type"].as_str().filter(|kind| !["RuntimeDefault", "Localhost"].contains(kind));
        kind.map(str::to_owned)
    };
    let names = pod.names(|container| bad(&container["securityContext"]).is_some());
    let of_pod = bad(pod.context());
    let mut values: Vec<String> =
        pod.containers().filter_map(|container| bad(&container["securityContext"])).chain(of_pod.clone()).collect();
    values.sort();
    let who = setters(of_pod.is_some(), &names)?;
    Some(format!("seccompProfile ({who} must not set securityContext.seccompProfile.type to {})", quoted(&values)))
}

fn sysctls(pod: &PodView<'_>, bar: Bar) -> Option<String> {
    let is_allowed = |name: &str| SYSCTLS.iter().any(|(known, since)| *known == name && bar.is_since(*since));
    let all = pod.context()["sysctls"].as_array().into_iter().flatten();
    let forbidden: Vec<String> = all.map(name).filter(|name| !is_allowed(name)).collect();
    let what = if forbidden.len() == 1 { "forbidden sysctl" } else { "forbidden sysctls" };
    (!forbidden.is_empty()).then(|| format!("{what} ({})", forbidden.join(", ")))
}

fn windows(pod: &PodView<'_>) -> Option<String> {
    let is_set = |context: &Value| context["windowsOptions"]["hostProcess"] == true;
    let names = pod.names(|container| is_set(&container["securityContext"]));
    let said = "must not set securityContext.windowsOptions.hostProcess=true";
    let who = match (is_set(pod.context()), names.as_slice()) {
        (false, []) => return None,
        (true, []) => "pod".to_owned(),
        (false, names) => subject(names),
        (true, names) => format!("pod and {}", subject(names)),
    };
    Some(format!("hostProcess ({who} {said})"))
}
