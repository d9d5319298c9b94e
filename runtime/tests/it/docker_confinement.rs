//! As whom containers of an engine run, what they may do, and what they call themselves and others.

use futures::StreamExt as _;
use runtime::{Confinement, Container, Dns, Error, LogOptions, Names, Rule};

use crate::engine::DockerSubject;
use crate::subject::{Subject as _, exit, pod};

/// What a shell says in a container that is confined and named so.
async fn said(subject: &DockerSubject, confinement: Confinement, names: Names, script: &str) -> String {
    let command = ["/bin/busybox", "sh", "-c", script].map(ToOwned::to_owned).to_vec();
    let pod = pod("a", vec![Container { command, confinement, names, ..subject.container("web") }]);
    let runtime = subject.runtime();
    runtime.create(&pod).await.unwrap();
    runtime.start(&pod.uid, "web", &[]).await.unwrap();
    exit(runtime, &pod.uid, "web").await;
    let pieces: Vec<_> = runtime.logs(&pod.uid, "web", LogOptions::default()).await.unwrap().collect().await;
    runtime.remove(&pod.uid).await.unwrap();
    String::from_utf8(pieces.concat()).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_container_runs_as_it_is_told_to_and_may_do_no_more() {
    let Some(subject) = DockerSubject::new().await else { return };
    let with = |rule: Rule| Confinement { rules: vec![rule], ..Confinement::default() };
    let status = |field: &str| format!("busybox grep '^{field}:' /proc/self/status | busybox awk '{{print $2}}'");
    let user = Confinement { user: Some(1000), group: Some(2000), groups: vec![3000, 4000], ..with(Rule::NonRoot) };
    let id = "echo $(busybox id -u) $(busybox id -g) $(busybox id -G)";
    assert_eq!(said(&subject, user, Names::default(), id).await, "1000 2000 2000 3000 4000");
    let group = Confinement { group: Some(2000), ..Confinement::default() };
    assert_eq!(said(&subject, group, Names::default(), "echo $(busybox id -u) $(busybox id -g)").await, "0 2000");
    let write = "{ echo x >/written && echo written; } 2>/dev/null || echo not";
    assert_eq!(said(&subject, Confinement::default(), Names::default(), write).await, "written");
    assert_eq!(said(&subject, with(Rule::ReadOnlyRoot), Names::default(), write).await, "not");
    let dropped = Confinement { dropped: vec!["ALL".into()], ..Confinement::default() };
    assert_eq!(said(&subject, dropped.clone(), Names::default(), &status("CapBnd")).await, "0000000000000000");
    let one = Confinement { added: vec!["NET_BIND_SERVICE".into()], ..dropped };
    assert_eq!(said(&subject, one, Names::default(), &status("CapBnd")).await, "0000000000000400");
    assert_eq!(said(&subject, with(Rule::NoNewPrivileges), Names::default(), &status("NoNewPrivs")).await, "1");
    assert_eq!(said(&subject, Confinement::default(), Names::default(), &status("NoNewPrivs")).await, "0");
    assert_eq!(said(&subject, Confinement::default(), Names::default(), &status("Seccomp")).await, "2");
    assert_eq!(said(&subject, with(Rule::SeccompUnconfined), Names::default(), &status("Seccomp")).await, "0");
    let of_init = "busybox readlink /proc/self/ns/pid";
    let own = std::fs::read_link("/proc/self/ns/pid").unwrap().display().to_string();
    assert_ne!(said(&subject, Confinement::default(), Names::default(), of_init).await, own);
    assert_eq!(said(&subject, with(Rule::HostProcesses), Names::default(), of_init).await, own);
    let sysctl = Confinement { sysctls: [("net.core.somaxconn".to_owned(), "77".to_owned())].into(), ..Confinement::default() };
    assert_eq!(said(&subject, sysctl, Names::default(), "cat /proc/sys/net/core/somaxconn").await, "77");
    subject.close().await;
}

#[tokio::test]
async fn an_image_of_root_is_not_started_where_root_is_ruled_out() {
    let Some(subject) = DockerSubject::new().await else { return };
    for user in [None, Some(0)] {
        let confinement = Confinement { user, rules: vec![Rule::NonRoot], ..Confinement::default() };
        let pod = pod("a", vec![Container { confinement, ..subject.container("web") }]);
        subject.runtime().create(&pod).await.unwrap();
        let refused = subject.runtime().start(&pod.uid, "web", &[]).await;
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    }
    subject.close().await;
}

#[tokio::test]
async fn a_container_knows_its_name_and_others_as_it_is_told() {
    let Some(subject) = DockerSubject::new().await else { return };
    let names = Names {
        hostname: Some("chosen".into()),
        hosts: vec![("10.1.2.3".into(), vec!["alias.test".into(), "other.test".into()])],
        dns: Some(Dns {
            is_all: true,
            nameservers: vec!["10.9.9.9".into()],
            searches: vec!["a.test".into()],
            options: vec!["ndots:2".into()],
        }),
    };
    let script = "busybox hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf";
    let said = said(&subject, Confinement::default(), names, script).await;
    let lines: Vec<String> = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[..2], ["chosen", "chosen"]);
    for expected in ["10.1.2.3 alias.test", "10.1.2.3 other.test", "nameserver 10.9.9.9", "search a.test", "options ndots:2"] {
        assert!(lines.iter().any(|line| line == expected), "{lines:?} lacks {expected}");
    }
    assert_eq!(lines.iter().filter(|line| line.starts_with("nameserver")).count(), 1);
    subject.close().await;
}

#[tokio::test]
async fn a_container_has_a_terminal_where_it_asks_for_one() {
    let Some(subject) = DockerSubject::new().await else { return };
    for (has_terminal, expected) in [(true, "a terminal\r\nthe end"), (false, "none\nthe end")] {
        let script = "test -t 1 && echo a terminal || echo none; sleep 0.5; printf 'the end'";
        let command = ["/bin/busybox", "sh", "-c", script].map(ToOwned::to_owned).to_vec();
        let pod = pod("a", vec![Container { command, has_terminal, ..subject.container("web") }]);
        let runtime = subject.runtime();
        runtime.create(&pod).await.unwrap();
        runtime.start(&pod.uid, "web", &[]).await.unwrap();
        let followed = LogOptions { follow: true, ..LogOptions::default() };
        let pieces: Vec<_> = runtime.logs(&pod.uid, "web", followed).await.unwrap().collect().await;
        assert_eq!(String::from_utf8(pieces.concat()).unwrap(), expected);
        let pieces: Vec<_> = runtime.logs(&pod.uid, "web", LogOptions::default()).await.unwrap().collect().await;
        assert_eq!(String::from_utf8(pieces.concat()).unwrap(), expected);
    }
    subject.close().await;
}
