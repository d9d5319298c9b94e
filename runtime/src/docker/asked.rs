//! From a pod to what the engine is asked to make of one of its containers.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount as Mounted, MountType, PortBinding};

use crate::docker::records::Record;
use crate::{Container, Rule, Stdin};

/// Which server of ours a container belongs to: that of one data directory.
pub(super) const SERVER: &str = "dev.conductor.server";
/// The uid of its pod.
pub(super) const UID: &str = "dev.conductor.uid";
/// Its name within the pod.
pub(super) const CONTAINER: &str = "dev.conductor.container";
/// Which start of it this is, from 1 on.
pub(super) const ATTEMPT: &str = "dev.conductor.attempt";
const NAMESPACE: &str = "dev.conductor.namespace";
const POD: &str = "dev.conductor.pod";

/// How large a log grows before it is rotated, and how many such files are kept: a disk is not to be filled by words.
const LOG_SIZE: &str = "10m";
const LOG_FILES: &str = "2";

/// What the engine calls a run.
pub(super) fn name(server: &str, record: &Record, container: &str, attempt: u32) -> String {
    let word = |text: &str| text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect::<String>();
    format!("conductor-{}-{}-{attempt}-{:08x}", word(&record.pod.name), word(container), short_hash(server, &record.pod.uid))
}

/// What the engine is asked to make.
/// `user` is the one that it runs as, where that is not its image's.
pub(super) fn body(server: &str, record: &Record, container: &Container, attempt: u32, user: Option<String>) -> ContainerCreateBody {
    let some = |words: &Vec<String>| Some(words.clone()).filter(|words| !words.is_empty());
    let inside: Vec<String> = container.ports.iter().map(|port| format!("{}/tcp", port.container_port)).collect();
    ContainerCreateBody {
        image: Some(container.image.clone()),
        hostname: container.names.hostname.clone().or_else(|| Some(record.pod.name.clone()).filter(|name| is_label(name))),
        user,
        tty: container.has_terminal.then_some(true),
        open_stdin: (container.stdin != Stdin::Empty).then_some(true),
        stdin_once: (container.stdin == Stdin::Once).then_some(true),
        stop_signal: container.stop_signal.clone(),
        entrypoint: some(&container.command),
        cmd: some(&container.args),
        working_dir: container.working_dir.clone(),
        env: Some(environment(record, container).into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        exposed_ports: Some(inside),
        labels: Some(labels(server, record, container, attempt)),
        host_config: Some(HostConfig {
            port_bindings: Some(bindings(record, container)),
            mounts: Some(mounts(container)).filter(|mounts| !mounts.is_empty()),
            memory: container.limits.memory_bytes.map(signed),
            // The same: what may not be in memory may not be swapped out instead.
            memory_swap: container.limits.memory_bytes.map(signed),
            nano_cpus: container.limits.cpu_millis.map(|millis| signed(millis.saturating_mul(1_000_000))),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".into()),
                config: Some([("max-size".to_owned(), LOG_SIZE.to_owned()), ("max-file".to_owned(), LOG_FILES.to_owned())].into()),
            }),
            ..confined(container)
        }),
        ..ContainerCreateBody::default()
    }
}

/// What the container sees of volumes. A source that is not there is an error, rather than made.
fn mounts(container: &Container) -> Vec<Mounted> {
    let all = container.mounts.iter().map(|mount| Mounted {
        target: Some(mount.target.clone()),
        source: Some(mount.source.to_string_lossy().into_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(mount.is_read_only),
        ..Mounted::default()
    });
    all.collect()
}

/// What the container may do and what it calls others.
fn confined(container: &Container) -> HostConfig {
    let (confinement, names) = (&container.confinement, &container.names);
    let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let only = |rule: Rule, word: &str| confinement.has(rule).then(|| word.to_owned());
    let options = [only(Rule::NoNewPrivileges, "no-new-privileges:true"), only(Rule::SeccompUnconfined, "seccomp=unconfined")];
    let hosts = names.hosts.iter().flat_map(|(address, names)| names.iter().map(move |name| format!("{name}:{address}")));
    let machine = || std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let dns = names.dns.as_ref().map(|dns| dns.over(&machine())).unwrap_or_default();
    HostConfig {
        privileged: confinement.has(Rule::Privileged).then_some(true),
        readonly_rootfs: confinement.has(Rule::ReadOnlyRoot).then_some(true),
        security_opt: some(options.into_iter().flatten().collect()),
        cap_add: some(confinement.added.clone()),
        cap_drop: some(confinement.dropped.clone()),
        group_add: some(confinement.groups.iter().map(ToString::to_string).collect()),
        sysctls: Some(confinement.sysctls.clone().into_iter().collect()).filter(|sysctls: &HashMap<_, _>| !sysctls.is_empty()),
        pid_mode: only(Rule::HostProcesses, "host"),
        ipc_mode: only(Rule::HostIpc, "host"),
        extra_hosts: some(hosts.collect()),
        dns: some(dns.nameservers),
        dns_search: some(dns.searches),
        dns_options: some(dns.options),
        ..HostConfig::default()
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn labels(server: &str, record: &Record, container: &Container, attempt: u32) -> HashMap<String, String> {
    let pod = &record.pod;
    let attempt = attempt.to_string();
    let all = [
        (SERVER, server),
        (NAMESPACE, &pod.namespace),
        (POD, &pod.name),
        (UID, &pod.uid),
        (CONTAINER, &container.name),
        (ATTEMPT, &attempt),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Each port of the container, published on this machine alone.
fn bindings(record: &Record, container: &Container) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut all: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &container.ports {
        let Some(number) = record.ports.get(&port.name) else { continue };
        let binding = PortBinding { host_ip: Some("127.0.0.1".into()), host_port: Some(number.to_string()) };
        all.entry(format!("{}/tcp", port.container_port)).or_default().get_or_insert_default().push(binding);
    }
    all
}

/// What the pod says, and where the container is to listen, inside.
fn environment(record: &Record, container: &Container) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = container.env.iter().cloned().collect();
    all.extend(container.ports.iter().map(|port| (crate::ports::variable(&port.name), port.container_port.to_string())));
    all.extend(container.ports.first().map(|port| ("PORT".to_owned(), port.container_port.to_string())));
    let pod = &record.pod;
    let marks = [
        ("CONDUCTOR_CONTAINER", &container.name),
        ("CONDUCTOR_POD_UID", &pod.uid),
        ("CONDUCTOR_POD", &pod.name),
        ("CONDUCTOR_NAMESPACE", &pod.namespace),
    ];
    all.extend(marks.map(|(name, value)| (name.to_owned(), value.clone())));
    all
}

fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !name.starts_with('-')
}

fn short_hash(server: &str, uid: &str) -> u32 {
    let hash = crate::ports::hash(server, uid);
    u32::try_from((hash >> 32) ^ (hash & 0xffff_ffff)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Pod, Port};

    fn record(change: impl Fn(&mut Container)) -> Record {
        let port = |name: &str, number| Port { name: name.into(), container_port: number, host_port: None };
        let mut web = Container {
            name: "web".into(),
            image: "shop:7".into(),
            env: vec![("A".into(), "1".into()), ("PORT".into(), "9".into()), ("A".into(), "2".into())],
            ports: vec![port("http", 8080), port("admin-ui", 9090)],
            ..Container::default()
        };
        change(&mut web);
        let pod = Pod {
            uid: "u1".into(),
            namespace: "shop".into(),
            name: "shop-web-1-0".into(),
            containers: vec![web],
            runs_as: crate::RunsAs::Server,
        };
        Record::new(pod, [("http".into(), 20_001), ("admin-ui".into(), 20_002)].into())
    }

    fn made(change: impl Fn(&mut Container)) -> ContainerCreateBody {
        let record = record(change);
        body("s1", &record, &record.pod.containers[0], 3, None)
    }

    #[test]
    fn command_and_args_take_the_places_of_entrypoint_and_cmd() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (command, args) in [(&[][..], &[][..]), (&["a"], &[]), (&[], &["b"]), (&["a"], &["b", "c"])] {
            let made = made(|web| (web.command, web.args) = (words(command), words(args)));
            assert_eq!(made.entrypoint.unwrap_or_default(), command);
            assert_eq!(made.cmd.unwrap_or_default(), args);
        }
    }

    #[test]
    fn a_program_is_told_the_ports_inside_and_they_are_published_on_this_machine_alone() {
        let made = made(|_| ());
        let env = made.env.unwrap();
        for expected in ["A=2", "PORT=8080", "PORT_HTTP=8080", "PORT_ADMIN_UI=9090", "CONDUCTOR_POD=shop-web-1-0"] {
            assert!(env.iter().any(|variable| variable == expected), "{env:?} lacks {expected}");
        }
        let bindings = made.host_config.unwrap().port_bindings.unwrap();
        let http = bindings["8080/tcp"].as_ref().unwrap();
        assert_eq!((http[0].host_ip.as_deref(), http[0].host_port.as_deref()), (Some("127.0.0.1"), Some("20001")));
    }

    #[test]
    fn limits_are_the_engines_and_only_where_there_are_some() {
        let free = made(|_| ()).host_config.unwrap();
        assert_eq!((free.memory, free.memory_swap, free.nano_cpus), (None, None, None));
        let held = made(|web| web.limits = Limits { memory_bytes: Some(1 << 20), cpu_millis: Some(250) }).host_config.unwrap();
        assert_eq!((held.memory, held.memory_swap, held.nano_cpus), (Some(1 << 20), Some(1 << 20), Some(250_000_000)));
    }

    #[test]
    fn runs_are_labelled_and_their_names_differ() {
        let record = record(|_| ());
        let labels = made(|_| ()).labels.unwrap();
        let expected = [(SERVER, "s1"), (NAMESPACE, "shop"), (POD, "shop-web-1-0"), (UID, "u1"), (CONTAINER, "web"), (ATTEMPT, "3")];
        assert!(expected.iter().all(|(name, value)| labels[*name] == *value), "{labels:?}");
        let names: std::collections::BTreeSet<_> =
            [("s1", 1), ("s1", 2), ("s2", 1)].map(|(server, attempt)| name(server, &record, "web", attempt)).into();
        assert_eq!(names.len(), 3);
        assert!(names.iter().all(|name| name.starts_with("conductor-shop-web-1-0-web-")), "{names:?}");
    }
}
