//! From a Pod's words about users, rights and names to what a runtime is asked for.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use runtime::{Confinement, Dns, Names, Rule};

/// As whom a container runs and what it may do: what it says itself, and what its pod says otherwise.
pub fn confinement(spec: &PodSpec, container: &Container) -> Confinement {
    let pod = spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let capabilities = own.capabilities.unwrap_or_default();
    let names = |list: Option<Vec<String>>| {
        let list = list.unwrap_or_default().into_iter().map(|name| name.to_uppercase());
        list.map(|name| name.strip_prefix("CAP_").map_or_else(|| name.clone(), str::to_owned)).collect()
    };
    let seccomp = own.seccomp_profile.or(pod.seccomp_profile);
    let said = |value: Option<bool>| value == Some(true);
    let rules = [
        (Rule::NonRoot, said(own.run_as_non_root.or(pod.run_as_non_root))),
        (Rule::Privileged, said(own.privileged)),
        (Rule::ReadOnlyRoot, said(own.read_only_root_filesystem)),
        (Rule::NoNewPrivileges, own.allow_privilege_escalation == Some(false)),
        (Rule::SeccompUnconfined, seccomp.is_some_and(|profile| profile.type_ == "Unconfined")),
        (Rule::HostProcesses, said(spec.host_pid)),
        (Rule::HostIpc, said(spec.host_ipc)),
    ];
    let mut groups = pod.supplemental_groups.unwrap_or_default();
    groups.extend(pod.fs_group);
    Confinement {
        user: own.run_as_user.or(pod.run_as_user),
        group: own.run_as_group.or(pod.run_as_group),
        groups,
        added: names(capabilities.add),
        dropped: names(capabilities.drop),
        sysctls: pod.sysctls.into_iter().flatten().map(|sysctl| (sysctl.name, sysctl.value)).collect(),
        rules: rules.into_iter().filter(|(_, is_said)| *is_said).map(|(rule, _)| rule).collect(),
    }
}

/// What a container of a pod calls itself and others.
pub fn names(spec: &PodSpec) -> Names {
    let aliases = spec.host_aliases.iter().flatten();
    let is_all = spec.dns_policy.as_deref() == Some("None");
    let config = spec.dns_config.clone().filter(|_| is_all || spec.dns_config.is_some());
    let dns = config.map(|config| Dns {
        is_all,
        nameservers: config.nameservers.unwrap_or_default(),
        searches: config.searches.unwrap_or_default(),
        options: config.options.into_iter().flatten().filter_map(|option| Some(word(option.name?, option.value))).collect(),
    });
    Names {
        hostname: spec.hostname.clone().filter(|name| !name.is_empty()),
        hosts: aliases.map(|alias| (alias.ip.clone(), alias.hostnames.clone().unwrap_or_default())).collect(),
        dns,
    }
}

fn word(name: String, value: Option<String>) -> String {
    match value.filter(|value| !value.is_empty()) {
        Some(value) => format!("{name}:{value}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_says_itself_what_its_pod_says_otherwise() {
        let spec: PodSpec = serde_json::from_value(json!({
            "hostPID": true, "hostname": "h", "dnsPolicy": "None", "hostAliases": [{"ip": "10.1.2.3", "hostnames": ["a", "b"]}],
            "dnsConfig": {"nameservers": ["10.9.9.9"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]},
            "securityContext": {"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4], "runAsNonRoot": true,
                "sysctls": [{"name": "a", "value": "b"}], "seccompProfile": {"type": "Unconfined"}},
            "containers": [{"name": "a", "securityContext": {"runAsUser": 9, "runAsNonRoot": false, "allowPrivilegeEscalation": false,
                "capabilities": {"add": ["cap_net_admin"], "drop": ["all"]}, "seccompProfile": {"type": "RuntimeDefault"}}}, {"name": "b"}]}))
        .unwrap();
        let [a, b] = [0, 1].map(|at| confinement(&spec, &spec.containers[at]));
        assert_eq!((a.user, a.group, a.groups, a.rules), (Some(9), Some(2), vec![4, 3], vec![Rule::NoNewPrivileges, Rule::HostProcesses]));
        assert_eq!((a.added, a.dropped), (vec!["NET_ADMIN".to_owned()], vec!["ALL".to_owned()]));
        assert_eq!((b.user, b.rules), (Some(1), vec![Rule::NonRoot, Rule::SeccompUnconfined, Rule::HostProcesses]));
        assert_eq!(b.sysctls["a"], "b");
        let names = names(&spec);
        assert_eq!((names.hostname.as_deref(), names.hosts.len()), (Some("h"), 1));
        assert_eq!(names.dns.map(|dns| (dns.is_all, dns.options)), Some((true, vec!["ndots:2".into(), "edns0".into()])));
    }
}
