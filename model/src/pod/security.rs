//! What is wrong with as whom a pod runs and what it calls itself and others, in Kubernetes' words.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::{Problem, check_label};

const ID_RULE: &str = "must be between 0 and 2147483647, inclusive";

/// Problems of what a pod says for all of its containers.
pub(super) fn pod_problems(spec: &PodSpec, field: &str, found: &mut Vec<Problem>) {
    if let Some(name) = spec.hostname.as_ref().filter(|name| !name.is_empty()) {
        found.extend(check_label(name).into_iter().map(|why| Problem::invalid(format!("{field}.hostname"), format!("{name:?}: {why}"))));
    }
    for (at, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let field = format!("{field}.hostAliases[{at}]");
        address_problems(&alias.ip, &format!("{field}.ip"), found);
        for (number, name) in alias.hostnames.iter().flatten().enumerate() {
            let why = crate::check_subdomain(name).into_iter();
            found.extend(why.map(|why| Problem::invalid(format!("{field}.hostnames[{number}]"), format!("{name:?}: {why}"))));
        }
    }
    let nameservers = spec.dns_config.iter().flat_map(|config| config.nameservers.iter().flatten());
    for (at, address) in nameservers.clone().enumerate() {
        address_problems(address, &format!("{field}.dnsConfig.nameservers[{at}]"), found);
    }
    if spec.dns_policy.as_deref() == Some("None") && nameservers.count() == 0 {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is \"None\"";
        found.push(Problem::required(format!("{field}.dnsConfig.nameservers"), detail));
    }
    let Some(context) = &spec.security_context else { return };
    let at = format!("{field}.securityContext");
    let ids = [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group), ("fsGroup", context.fs_group)];
    ids.into_iter().for_each(|(name, id)| id_problem(id, &format!("{at}.{name}"), found));
    for (number, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id_problem(Some(*group), &format!("{at}.supplementalGroups[{number}]"), found);
    }
}

/// Problems of what a container says for itself.
pub(super) fn container_problems(container: &Container, field: &str, found: &mut Vec<Problem>) {
    let Some(context) = &container.security_context else { return };
    let at = format!("{field}.securityContext");
    for (name, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
        id_problem(id, &format!("{at}.{name}"), found);
    }
    if context.allow_privilege_escalation != Some(false) {
        return;
    }
    let adds = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
    let adds_all = adds.into_iter().any(|name| ["SYS_ADMIN", "CAP_SYS_ADMIN"].contains(&name.as_str()));
    for (is_set, what) in [(context.privileged == Some(true), "`privileged` to true"), (adds_all, "`capabilities.Add` CAP_SYS_ADMIN")] {
        if is_set {
            found.push(Problem::invalid(&at, format!("cannot set `allowPrivilegeEscalation` to false and {what}")));
        }
    }
}

fn id_problem(id: Option<i64>, field: &str, found: &mut Vec<Problem>) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        found.push(Problem::invalid(field, format!("{id}: {ID_RULE}")));
    }
}

fn address_problems(text: &str, field: &str, found: &mut Vec<Problem>) {
    if text.parse::<std::net::IpAddr>().is_err() {
        found.push(Problem::invalid(field, format!("{text:?}: must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_mistake_names_its_whole_path() {
        let spec: PodSpec = serde_json::from_value(json!({
            "hostname": "A", "hostAliases": [{"ip": "10.1", "hostnames": ["ok", "not ok"]}], "dnsPolicy": "None",
            "securityContext": {"runAsUser": -1, "runAsGroup": 0, "fsGroup": 4_294_967_296_i64, "supplementalGroups": [1, -2]},
            "containers": [{"name": "c", "securityContext": {"runAsUser": -5, "privileged": true, "allowPrivilegeEscalation": false,
                "capabilities": {"add": ["SYS_ADMIN"]}}}]}))
        .unwrap();
        let mut found = Vec::new();
        pod_problems(&spec, "at", &mut found);
        container_problems(&spec.containers[0], "at.containers[0]", &mut found);
        let found: Vec<&str> = found.iter().map(|problem| problem.field.as_str()).collect();
        let expected = [
            "at.hostname",
            "at.hostAliases[0].ip",
            "at.hostAliases[0].hostnames[1]",
            "at.dnsConfig.nameservers",
            "at.securityContext.runAsUser",
            "at.securityContext.fsGroup",
            "at.securityContext.supplementalGroups[1]",
            "at.containers[0].securityContext.runAsUser",
            "at.containers[0].securityContext",
            "at.containers[0].securityContext",
        ];
        assert_eq!(found, expected);
    }
}
