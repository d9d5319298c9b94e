//! Programs of a namespace that is not the administrator's: what they are, see and may not. Part of `make attack`.
//!
//! Only root can run them. Where the tests are run by another, each looks for the refusal by name instead.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use runtime::{Error, Input, LogOptions, Pod, RunsAs, Runtime, Stdin};

use crate::subject::{ProcessSubject, Subject as _, eventually, exit, pod, shell};

fn confined(name: &str, namespace: &str, script: &str) -> Pod {
    Pod { namespace: namespace.into(), runs_as: RunsAs::Namespace, ..pod(name, vec![shell("web", script)]) }
}

/// Makes and starts a pod; whether it may run here at all.
async fn begin(runtime: &dyn Runtime, pod: &Pod) -> bool {
    if !nix::unistd::geteuid().is_root() {
        let refused = runtime.create(pod).await.unwrap_err();
        assert!(refused.to_string().contains("the server does not run as root"), "{refused}");
        return false;
    }
    runtime.create(pod).await.unwrap();
    runtime.start(&pod.uid, "web", &[]).await.unwrap();
    true
}

async fn said(runtime: &dyn Runtime, uid: &str) -> String {
    use futures::StreamExt as _;
    let log = runtime.logs(uid, "web", LogOptions::default()).await.unwrap();
    let pieces: Vec<bytes::Bytes> = log.collect().await;
    pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect()
}

async fn told(runtime: &dyn Runtime, pod: &Pod) -> Option<String> {
    if !begin(runtime, pod).await {
        return None;
    }
    exit(runtime, &pod.uid, "web").await;
    Some(said(runtime, &pod.uid).await)
}

#[tokio::test]
async fn a_program_of_a_namespace_is_nobody_and_can_become_nobody_else() {
    let subject = ProcessSubject::new().await;
    let look =
        "id -u; id -G; grep -E '^(Cap(Prm|Eff|Amb)|NoNewPrivs)' /proc/self/status; ls /proc/self/fd | wc -l; pwd; ls -A /tmp | wc -l";
    let Some(found) = told(subject.runtime(), &confined("a", "shop", look)).await else { return };
    let lines: Vec<&str> = found.lines().map(|line| line.split('\t').next_back().unwrap_or(line)).collect();
    let [user, groups, permitted, effective, ambient, no_new, open, dir, in_tmp] = lines.as_slice() else { panic!("{found}") };
    assert!(user.parse::<u32>().unwrap() >= 2_000_000_000, "{found}");
    assert_eq!(groups, user);
    for none in [permitted, effective, ambient] {
        assert_eq!(none.trim_matches('0'), "", "{found}");
    }
    // The list itself is read through a fourth.
    assert_eq!((*no_new, *open, *dir, *in_tmp), ("1", "4", "/tmp", "0"), "{found}");
}

#[tokio::test]
async fn a_program_of_a_namespace_reads_nothing_of_the_server_and_of_other_namespaces() {
    let subject = ProcessSubject::new().await;
    let secret = subject.dir().join("admin-token");
    fs::write(&secret, "root of all").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let place = subject.dir().display().to_string();
    let look = format!("cat {place}/admin-token; ls {place}; cat /proc/1/environ; cat /proc/$PPID/environ; cat /etc/shadow; ls /root; env");
    let Some(found) = told(subject.runtime(), &confined("a", "shop", &look)).await else { return };
    for leaked in ["root of all", "root:", "CARGO"] {
        assert!(!found.contains(leaked), "{found}");
    }
    let writer = confined("b", "shop", "echo ours > /tmp/mark; echo ours > /dev/shm/mark; sleep 60");
    begin(subject.runtime(), &writer).await;
    let reader =
        confined("c", "other", "sleep 0.5; cat /tmp/mark /var/tmp/mark /dev/shm/mark; ps ax 2>/dev/null | grep -c 'sleep 6[0]'; id -u");
    let found = told(subject.runtime(), &reader).await.unwrap();
    assert!(!found.contains("ours"), "{found}");
}

#[tokio::test]
async fn what_is_run_beside_a_program_of_a_namespace_is_confined_as_it_is() {
    let subject = ProcessSubject::new().await;
    let pod = confined("a", "shop", "id -u > /tmp/mine; sleep 60");
    if !begin(subject.runtime(), &pod).await {
        return;
    }
    let command = ["/bin/sh", "-c", "cat /tmp/mine; id -u; grep NoNewPrivs /proc/self/status; pwd"].map(str::to_owned);
    let answer = eventually("the program has written", async || {
        let answer = subject.runtime().exec(&pod.uid, "web", &command, Duration::from_secs(5)).await.unwrap();
        let text = String::from_utf8_lossy(&answer.output).into_owned();
        (answer.code == 0 && text.lines().count() == 4).then_some(text)
    })
    .await;
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines[0], lines[1], "{answer}");
    assert_eq!((lines[2], lines[3]), ("NoNewPrivs:\t1", "/tmp"));
}

#[tokio::test]
async fn a_confined_program_that_is_not_there_is_told_in_the_systems_words() {
    let subject = ProcessSubject::new().await;
    let mut pod = confined("a", "shop", "");
    pod.containers[0].command = vec!["/nowhere/program".into()];
    if !nix::unistd::geteuid().is_root() {
        return assert!(!begin(subject.runtime(), &pod).await);
    }
    subject.runtime().create(&pod).await.unwrap();
    let error = subject.runtime().start(&pod.uid, "web", &[]).await.unwrap_err();
    assert!(
        matches!(&error, Error::CannotStart { program, reason } if program == "/nowhere/program" && reason.contains("No such file")),
        "{error}"
    );
    assert_eq!(exit(subject.runtime(), &pod.uid, "web").await.code, 127);
}

#[tokio::test]
async fn a_program_of_a_namespace_reads_what_is_typed_to_its_end() {
    let subject = ProcessSubject::new().await;
    let mut pod = confined("a", "shop", "cat; id -u; ls /proc/self/fd | wc -l");
    pod.containers[0].stdin = Stdin::Once;
    if !begin(subject.runtime(), &pod).await {
        return;
    }
    let session = subject.runtime().attach(&pod.uid, "web", true).await.unwrap();
    session.input.send(Input::Bytes("typed\n".into())).await.unwrap();
    drop(session);
    exit(subject.runtime(), &pod.uid, "web").await;
    let found = said(subject.runtime(), &pod.uid).await;
    assert!(found.starts_with("typed\n2") && found.ends_with("\n4\n"), "{found}");
}
