//! The environment a container's programs see: what the pod says, and little else.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Container;
use crate::ports;
use crate::process::records::PodRecord;

/// Marks every process of a pod with its directory, so that those of a dead shim can be found. The uid would not do: it could
/// be found in another directory of the machine.
pub(super) const DIR: &str = "CONDUCTOR_POD_DIR";
/// Marks every process of a container.
pub(super) const CONTAINER: &str = "CONDUCTOR_CONTAINER";
/// What of our own environment a shim gets, and through it a container that says nothing else.
pub(super) const INHERITED: [&str; 2] = ["PATH", "HOME"];
/// What a container gets instead that is confined to its namespace.
const CONFINED: [(&str, &str); 2] = [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/tmp")];

/// The environment of a container whose pod rests in `dir`, names with values. What we set wins over what the pod says.
/// `ours` reads our own environment.
pub(super) fn of(record: &PodRecord, container: &Container, dir: &Path, ours: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    if record.user.is_some() {
        all.extend(CONFINED.map(|(name, value)| (name.to_owned(), value.to_owned())));
    } else {
        all.extend(INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), ours(name)?))));
    }
    all.extend(container.env.iter().cloned());
    all.extend(record.ports.iter().map(|(name, port)| (ports::variable(name), port.to_string())));
    all.extend(main_port(record, container).map(|port| ("PORT".to_owned(), port.to_string())));
    let marks = [
        (DIR, dir_mark(dir)),
        (CONTAINER, container.name.clone()),
        ("CONDUCTOR_POD_UID", record.pod.uid.clone()),
        ("CONDUCTOR_POD", record.pod.name.clone()),
        ("CONDUCTOR_NAMESPACE", record.pod.namespace.clone()),
    ];
    all.extend(marks.map(|(name, value)| (name.to_owned(), value)));
    all
}

/// What [`DIR`] is for a pod that rests in `dir`.
pub(super) fn dir_mark(dir: &Path) -> String {
    dir.display().to_string()
}

/// The variable that tells a container of a port: `$PORT` where that is the one, `$PORT_<NAME>` otherwise.
pub(super) fn told_by(record: &PodRecord, container: &Container, port: &str) -> String {
    if record.ports.get(port).is_some_and(|number| main_port(record, container) == Some(*number)) {
        return "$PORT".to_owned();
    }
    format!("${}", ports::variable(port))
}

/// The container's first port, or else the pod's.
fn main_port(record: &PodRecord, container: &Container) -> Option<u16> {
    let of_pod = record.pod.containers.iter().flat_map(|container| &container.ports);
    let first = container.ports.iter().chain(of_pod).next()?;
    record.ports.get(&first.name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pod, Port, RunsAs};

    fn record() -> PodRecord {
        let port = |name: &str| Port { name: name.into(), container_port: 80, host_port: None };
        let web = Container { name: "web".into(), ports: vec![port("http"), port("admin-ui")], ..Container::default() };
        let side = Container {
            name: "side".into(),
            env: vec![("PATH".into(), "/opt".into()), ("PORT".into(), "1".into()), ("A".into(), "1".into()), ("A".into(), "2".into())],
            ..Container::default()
        };
        let pod =
            Pod { uid: "u1".into(), namespace: "shop".into(), name: "web-1".into(), containers: vec![web, side], runs_as: RunsAs::Server };
        PodRecord { pod, ports: [("http".into(), 20_001), ("admin-ui".into(), 20_002)].into(), user: None }
    }

    fn ours(name: &str) -> Option<String> {
        ["PATH", "HOME", "SECRET"].contains(&name).then(|| format!("our {name}"))
    }

    #[test]
    fn a_container_sees_its_ports_its_pod_our_path_and_nothing_else_of_ours() {
        let record = record();
        let seen: Vec<_> =
            of(&record, &record.pod.containers[0], Path::new("/pods/u1"), ours).into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            seen,
            [
                "CONDUCTOR_CONTAINER=web",
                "CONDUCTOR_NAMESPACE=shop",
                "CONDUCTOR_POD=web-1",
                "CONDUCTOR_POD_DIR=/pods/u1",
                "CONDUCTOR_POD_UID=u1",
                "HOME=our HOME",
                "PATH=our PATH",
                "PORT=20001",
                "PORT_ADMIN_UI=20002",
                "PORT_HTTP=20001",
            ]
        );
    }

    #[test]
    fn what_the_pod_says_wins_over_our_path_but_not_over_its_port() {
        let record = record();
        let seen = of(&record, &record.pod.containers[1], Path::new("/pods/u1"), ours);
        assert_eq!((seen["PATH"].as_str(), seen["PORT"].as_str(), seen["A"].as_str()), ("/opt", "20001", "2"));
    }

    #[test]
    fn a_confined_container_sees_nothing_of_our_environment() {
        let record = PodRecord { user: Some(7), ..record() };
        let seen = of(&record, &record.pod.containers[0], Path::new("/pods/u1"), ours);
        assert!(!seen.values().any(|value| value.starts_with("our ")), "{seen:?}");
        assert_eq!(seen["HOME"], "/tmp");
    }

    #[test]
    fn a_port_is_known_by_the_variable_that_tells_of_it() {
        let record = record();
        let web = &record.pod.containers[0];
        assert_eq!(told_by(&record, web, "http"), "$PORT");
        assert_eq!(told_by(&record, web, "admin-ui"), "$PORT_ADMIN_UI");
    }
}
