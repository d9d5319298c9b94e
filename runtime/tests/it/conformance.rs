//! What every runtime does. Each case runs against each of them.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use runtime::{
    Check, Container, ContainerPhase, Error, ExecOptions, Input, LogOptions, Output, Pod, Port, ProbeAnswer, Runtime, Session, Stdin,
};
use tokio::time::timeout;

use crate::subject::{Subject, eventually, exit, pod, port, state};

const PATIENCE: Duration = Duration::from_secs(10);

/// A test for each case and runtime.
macro_rules! suite {
    ($($case:ident,)*) => {
        mod fake {
            use crate::subject::FakeSubject;
            $(#[tokio::test]
            async fn $case() {
                super::$case(&mut FakeSubject(runtime::fake::Fake::new())).await;
            })*
        }
        #[cfg(feature = "process")]
        mod process {
            use crate::subject::ProcessSubject;
            $(#[tokio::test]
            async fn $case() {
                super::$case(&mut ProcessSubject::new().await).await;
            })*
        }
        #[cfg(feature = "docker")]
        mod docker {
            use crate::engine::DockerSubject;
            $(#[tokio::test]
            async fn $case() {
                let Some(mut subject) = DockerSubject::new().await else { return };
                super::$case(&mut subject).await;
                subject.close().await;
            })*
        }
    };
}

suite! {
    a_created_pod_has_started_nothing_and_creating_it_again_changes_nothing,
    a_started_container_runs_and_starting_it_again_changes_nothing,
    an_exit_code_is_told_and_restarts_are_counted,
    a_stopped_container_tells_the_signal_that_ended_it,
    stopping_what_does_not_run_changes_nothing,
    a_removed_pod_is_gone_and_removing_it_again_is_no_error,
    containers_of_a_pod_live_apart,
    every_change_is_told,
    names_that_do_not_exist_are_told_with_those_that_do,
    a_pod_that_cannot_be_held_is_refused_by_its_field,
    a_program_that_cannot_be_started_is_told_in_the_systems_words,
    every_port_gets_an_endpoint_of_its_own_also_when_many_ask_at_once,
    a_fixed_port_is_kept_and_refused_to_a_second_pod,
    a_log_is_told_as_asked_for,
    the_log_of_the_run_before_is_kept,
    a_followed_log_goes_on_until_the_container_ends,
    a_port_probe_passes_while_something_listens,
    a_container_that_does_not_run_passes_no_probe,
    a_program_run_inside_tells_its_code_and_output,
    a_program_that_is_talked_to_says_what_it_says_and_then_how_it_ended,
    an_open_input_takes_what_is_typed_and_stays_open,
    an_input_that_is_open_once_ends_with_the_first_who_attached,
    what_is_typed_at_a_container_without_input_is_passed_over,
    what_a_container_uses_is_told_while_it_runs,
}

/// A pod of one container that was created.
async fn created(subject: &impl Subject, name: &str) -> Pod {
    let pod = pod(name, vec![subject.container("web")]);
    subject.runtime().create(&pod).await.unwrap();
    pod
}

/// A pod of one container that was started.
async fn started(subject: &impl Subject, name: &str) -> Pod {
    let pod = created(subject, name).await;
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    pod
}

async fn a_created_pod_has_started_nothing_and_creating_it_again_changes_nothing(subject: &mut impl Subject) {
    let runtime = subject.runtime();
    let mut web = subject.container("web");
    web.ports = vec![port("http")];
    let pod = pod("a", vec![web, subject.container("side")]);
    let first = runtime.create(&pod).await.unwrap();
    assert_eq!(first.pod, pod);
    assert_eq!(first.containers.iter().map(|state| (state.name.as_str(), state.starts)).collect::<Vec<_>>(), [("web", 0), ("side", 0)]);
    assert!(first.containers.iter().all(|state| state.phase == ContainerPhase::Created && state.last_exit.is_none()));
    assert_eq!(runtime.create(&pod).await.unwrap(), first);
    assert_eq!(runtime.list().await.unwrap(), [first]);
}

async fn a_started_container_runs_and_starting_it_again_changes_nothing(subject: &mut impl Subject) {
    let pod = started(subject, "a").await;
    let before = state(subject.runtime(), &pod.uid, "web").await;
    assert_eq!(before.starts, 1);
    assert!(matches!(before.phase, ContainerPhase::Running { .. }), "{before:?}");
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    subject.runtime().create(&pod).await.unwrap();
    assert_eq!(state(subject.runtime(), &pod.uid, "web").await, before);
}

async fn an_exit_code_is_told_and_restarts_are_counted(subject: &mut impl Subject) {
    let pod = started(subject, "a").await;
    subject.exit(&pod.uid, "web", 3);
    let first = exit(subject.runtime(), &pod.uid, "web").await;
    assert_eq!((first.code, first.signal, &first.reason), (3, None, &None));
    assert!(first.started <= first.finished);
    assert_eq!(state(subject.runtime(), &pod.uid, "web").await.last_exit, None);

    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    let again = state(subject.runtime(), &pod.uid, "web").await;
    assert_eq!((again.starts, again.last_exit.as_ref()), (2, Some(&first)));
    subject.exit(&pod.uid, "web", 0);
    assert_eq!(exit(subject.runtime(), &pod.uid, "web").await.code, 0);
    assert_eq!(state(subject.runtime(), &pod.uid, "web").await.last_exit, Some(first));
}

async fn a_stopped_container_tells_the_signal_that_ended_it(subject: &mut impl Subject) {
    let pod = started(subject, "a").await;
    // A program that has not yet begun to listen to signals may miss this one.
    say(subject, &pod.uid, &["here"]).await;
    subject.runtime().stop(&pod.uid, "web", PATIENCE).await.unwrap();
    let ContainerPhase::Exited(exit) = state(subject.runtime(), &pod.uid, "web").await.phase else { panic!("it still runs") };
    assert_eq!((exit.code, exit.signal), (143, Some(15)));
}

async fn stopping_what_does_not_run_changes_nothing(subject: &mut impl Subject) {
    let pod = created(subject, "a").await;
    subject.runtime().stop(&pod.uid, "web", PATIENCE).await.unwrap();
    assert_eq!(state(subject.runtime(), &pod.uid, "web").await.phase, ContainerPhase::Created);
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    subject.exit(&pod.uid, "web", 4);
    exit(subject.runtime(), &pod.uid, "web").await;
    let before = state(subject.runtime(), &pod.uid, "web").await;
    subject.runtime().stop(&pod.uid, "web", PATIENCE).await.unwrap();
    assert_eq!(state(subject.runtime(), &pod.uid, "web").await, before);
}

async fn a_removed_pod_is_gone_and_removing_it_again_is_no_error(subject: &mut impl Subject) {
    let pod = started(subject, "a").await;
    let other = created(subject, "b").await;
    subject.runtime().remove(&pod.uid).await.unwrap();
    let left: Vec<_> = subject.runtime().list().await.unwrap().into_iter().map(|state| state.pod).collect();
    assert_eq!(left, [other]);
    subject.runtime().remove(&pod.uid).await.unwrap();
    assert!(matches!(subject.runtime().start(&pod.uid, "web", &[]).await, Err(Error::NoSuchPod(uid)) if uid == pod.uid));
    // The same uid begins anew.
    assert_eq!(subject.runtime().create(&pod).await.unwrap().containers[0].starts, 0);
}

async fn containers_of_a_pod_live_apart(subject: &mut impl Subject) {
    let pod = pod("a", vec![subject.container("web"), subject.container("side")]);
    let runtime = subject.runtime();
    runtime.create(&pod).await.unwrap();
    runtime.start(&pod.uid, "web", &[]).await.unwrap();
    runtime.start(&pod.uid, "side", &[]).await.unwrap();
    let before = state(runtime, &pod.uid, "side").await;
    runtime.stop(&pod.uid, "web", PATIENCE).await.unwrap();
    runtime.start(&pod.uid, "web", &[]).await.unwrap();
    assert_eq!(state(runtime, &pod.uid, "web").await.starts, 2);
    assert_eq!(state(runtime, &pod.uid, "side").await, before);
}

async fn every_change_is_told(subject: &mut impl Subject) {
    let mut changes = subject.runtime().changes();
    let pod = started(subject, "a").await;
    told(&mut changes, &pod.uid, 2).await;
    subject.exit(&pod.uid, "web", 0);
    told(&mut changes, &pod.uid, 1).await;
    exit(subject.runtime(), &pod.uid, "web").await;
    subject.runtime().remove(&pod.uid).await.unwrap();
    told(&mut changes, &pod.uid, 1).await;
}

async fn told(changes: &mut BoxStream<'static, String>, uid: &str, times: usize) {
    for _ in 0..times {
        assert_eq!(timeout(PATIENCE, changes.next()).await.unwrap().as_deref(), Some(uid));
    }
}

async fn names_that_do_not_exist_are_told_with_those_that_do(subject: &mut impl Subject) {
    let pod = pod("a", vec![subject.container("web"), subject.container("side")]);
    subject.runtime().create(&pod).await.unwrap();
    let runtime = subject.runtime();
    assert_eq!(runtime.start("nobody", "web", &[]).await.unwrap_err().to_string(), "there is no pod nobody here");
    let error = runtime.start(&pod.uid, "db", &[]).await.unwrap_err().to_string();
    assert_eq!(error, "pod a has no container db, it has web, side");
    assert!(matches!(runtime.stop(&pod.uid, "db", PATIENCE).await, Err(Error::NoSuchContainer { .. })));
    assert!(matches!(runtime.logs(&pod.uid, "db", LogOptions::default()).await, Err(Error::NoSuchContainer { .. })));
    assert!(matches!(runtime.exec("nobody", "web", &[], PATIENCE).await, Err(Error::NoSuchPod(_))));
    let check = Check::Tcp { port: "http".into() };
    assert!(matches!(runtime.probe(&pod.uid, "db", &check, PATIENCE).await, Err(Error::NoSuchContainer { .. })));
}

async fn a_pod_that_cannot_be_held_is_refused_by_its_field(subject: &mut impl Subject) {
    let web = subject.container("web");
    let with = |change: &dyn Fn(&mut Container)| {
        let mut web = web.clone();
        change(&mut web);
        pod("a", vec![web])
    };
    let many = |count: usize| (0..count).map(|number| port(&format!("p{number}"))).collect::<Vec<Port>>();
    let fixed = |name: &str| Port { host_port: Some(29_999), ..port(name) };
    let cases = [
        (pod("a", vec![]), "spec.containers"),
        (pod("a", vec![web.clone(), web.clone()]), "spec.containers[1].name"),
        (Pod { uid: "../etc".into(), ..pod("a", vec![web.clone()]) }, "metadata.uid"),
        (Pod { uid: String::new(), ..pod("a", vec![web.clone()]) }, "metadata.uid"),
        (with(&|web| web.name = "a/b".into()), "spec.containers[0].name"),
        (with(&|web| web.command.push("nul\0".into())), "spec.containers[0].command[3]"),
        (with(&|web| web.args = vec!["nul\0".into()]), "spec.containers[0].args[0]"),
        (with(&|web| web.working_dir = Some("here".into())), "spec.containers[0].workingDir"),
        (with(&|web| web.env = vec![("A=B".into(), "1".into())]), "spec.containers[0].env[0].name"),
        (with(&|web| web.env = vec![("A".into(), "\0".into())]), "spec.containers[0].env[0].value"),
        (with(&|web| web.ports = many(101)), "spec.containers[0].ports"),
        (with(&|web| web.ports = vec![port("a"), port("a")]), "spec.containers[0].ports[1].name"),
        (with(&|web| web.ports = vec![fixed("a"), fixed("b")]), "spec.containers[0].ports[1].hostPort"),
    ];
    for (pod, expected) in cases {
        // The fake's command is one word, a program's three.
        let shorter = expected.replace("command[3]", "command[1]");
        match subject.runtime().create(&pod).await {
            Err(Error::Refused { field, .. }) => assert!(field == expected || field == shorter, "{field} rather than {expected}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert_eq!(subject.runtime().list().await.unwrap(), []);
}

async fn a_program_that_cannot_be_started_is_told_in_the_systems_words(subject: &mut impl Subject) {
    let web = Container { command: subject.missing_command(), ..subject.container("web") };
    let pod = pod("a", vec![web]);
    let runtime = subject.runtime();
    runtime.create(&pod).await.unwrap();
    for starts in 1..=2 {
        let error = runtime.start(&pod.uid, "web", &[]).await.unwrap_err();
        assert!(matches!(error, Error::CannotStart { .. }), "{error}");
        assert_eq!(error.to_string(), "cannot start /nowhere/program: No such file or directory");
        let after = state(runtime, &pod.uid, "web").await;
        let ContainerPhase::Exited(exit) = after.phase else { panic!("{after:?}") };
        assert_eq!((after.starts, exit.code, exit.reason), (starts, 127, Some(error.to_string())));
    }
}

async fn every_port_gets_an_endpoint_of_its_own_also_when_many_ask_at_once(subject: &mut impl Subject) {
    let pods: Vec<Pod> = (0..8)
        .map(|number| {
            let ports = vec![port("http"), port("admin")];
            pod(&format!("a{number}"), vec![Container { ports, ..subject.container("web") }])
        })
        .collect();
    let runtime = subject.runtime();
    let made = futures::future::join_all(pods.iter().map(|pod| runtime.create(pod))).await;
    let mut endpoints: Vec<_> = made.into_iter().flat_map(|state| state.unwrap().endpoints.into_values()).collect();
    assert!(endpoints.iter().all(|at| at.ip().is_loopback() && (20_000..30_000).contains(&at.port())), "{endpoints:?}");
    endpoints.sort();
    endpoints.dedup();
    assert_eq!(endpoints.len(), 16);
}

async fn a_fixed_port_is_kept_and_refused_to_a_second_pod(subject: &mut impl Subject) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let web = || Container { ports: vec![Port { host_port: Some(free), ..port("http") }], ..subject.container("web") };
    let (first, second) = (pod("a", vec![web()]), pod("b", vec![web()]));
    let runtime = subject.runtime();
    assert_eq!(runtime.create(&first).await.unwrap().endpoints["http"].port(), free);
    assert!(matches!(runtime.create(&second).await, Err(Error::PortTaken { port }) if port == free));
    assert_eq!(runtime.list().await.unwrap().len(), 1);
    runtime.remove(&first.uid).await.unwrap();
    assert_eq!(runtime.create(&second).await.unwrap().endpoints["http"].port(), free);
}

async fn read(runtime: &dyn Runtime, uid: &str, options: LogOptions) -> String {
    let pieces: Vec<_> = runtime.logs(uid, "web", options).await.unwrap().collect().await;
    String::from_utf8(pieces.concat()).unwrap()
}

/// Has the container say lines, and waits until they are in its log.
async fn say(subject: &impl Subject, uid: &str, lines: &[&str]) {
    for line in lines {
        subject.say(uid, "web", line);
    }
    let last = format!("{}\n", lines.last().unwrap());
    crate::subject::eventually("the lines are in the log", async || {
        read(subject.runtime(), uid, LogOptions::default()).await.ends_with(&last).then_some(())
    })
    .await;
}

async fn a_log_is_told_as_asked_for(subject: &mut impl Subject) {
    let uid = started(subject, "a").await.uid;
    say(subject, &uid, &["one", "two", "three"]).await;
    let runtime = subject.runtime();
    let all = LogOptions::default;
    assert_eq!(read(runtime, &uid, all()).await, "one\ntwo\nthree\n");
    assert_eq!(read(runtime, &uid, LogOptions { tail: Some(2), ..all() }).await, "two\nthree\n");
    assert_eq!(read(runtime, &uid, LogOptions { tail: Some(0), ..all() }).await, "");
    assert_eq!(read(runtime, &uid, LogOptions { limit_bytes: Some(6), ..all() }).await, "one\ntw");
    let timed = read(runtime, &uid, LogOptions { timestamps: true, ..all() }).await;
    let (times, lines): (Vec<_>, Vec<_>) = timed.lines().map(|line| line.split_once(' ').unwrap()).unzip();
    assert_eq!(lines, ["one", "two", "three"]);
    let times: Vec<jiff::Timestamp> = times.into_iter().map(|time| time.parse().unwrap()).collect();
    assert!(times.is_sorted());
    let later = times[2] + jiff::SignedDuration::from_nanos(1);
    assert_eq!(read(runtime, &uid, LogOptions { since: Some(later), ..all() }).await, "");
    assert_eq!(read(runtime, &uid, LogOptions { since: Some(times[0]), ..all() }).await, "one\ntwo\nthree\n");
}

async fn the_log_of_the_run_before_is_kept(subject: &mut impl Subject) {
    let uid = started(subject, "a").await.uid;
    let runtime = subject.runtime();
    let previous = || LogOptions { previous: true, ..LogOptions::default() };
    assert!(matches!(runtime.logs(&uid, "web", previous()).await, Err(Error::NoPreviousRun(container)) if container == "web"));
    for run in ["first", "second", "third"] {
        say(subject, &uid, &[run]).await;
        subject.exit(&uid, "web", 1);
        exit(runtime, &uid, "web").await;
        runtime.start(&uid, "web", &[]).await.unwrap();
        assert_eq!(read(runtime, &uid, previous()).await, format!("{run}\n"));
    }
    assert_eq!(read(runtime, &uid, LogOptions::default()).await, "");
}

async fn a_followed_log_goes_on_until_the_container_ends(subject: &mut impl Subject) {
    let uid = started(subject, "a").await.uid;
    say(subject, &uid, &["one", "two"]).await;
    let follow = LogOptions { follow: true, tail: Some(1), ..LogOptions::default() };
    let mut lines = subject.runtime().logs(&uid, "web", follow).await.unwrap();
    assert_eq!(timeout(PATIENCE, lines.next()).await.unwrap().unwrap(), "two\n");
    subject.say(&uid, "web", "three");
    assert_eq!(timeout(PATIENCE, lines.next()).await.unwrap().unwrap(), "three\n");
    subject.say(&uid, "web", "four");
    subject.exit(&uid, "web", 0);
    let rest: Vec<_> = timeout(PATIENCE, lines.collect()).await.unwrap();
    assert_eq!(rest.concat(), b"four\n");
}

async fn probe(runtime: &dyn Runtime, uid: &str, check: &Check) -> ProbeAnswer {
    runtime.probe(uid, "web", check, PATIENCE).await.unwrap()
}

async fn a_port_probe_passes_while_something_listens(subject: &mut impl Subject) {
    let web = Container { ports: vec![port("http")], ..subject.container("web") };
    let pod = pod("a", vec![web]);
    let endpoint = subject.runtime().create(&pod).await.unwrap().endpoints["http"];
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    let check = Check::Tcp { port: "http".into() };
    subject.listen(&pod.uid, endpoint, false);
    let answer = probe(subject.runtime(), &pod.uid, &check).await;
    assert_eq!(answer, ProbeAnswer::no(format!("did not listen on {} (from $PORT)", subject.told_port(endpoint))));
    subject.listen(&pod.uid, endpoint, true);
    let answer = probe(subject.runtime(), &pod.uid, &check).await;
    assert_eq!(answer, ProbeAnswer::yes(format!("{endpoint} accepted a connection")));
    let answer = probe(subject.runtime(), &pod.uid, &Check::Tcp { port: "grpc".into() }).await;
    assert_eq!(answer, ProbeAnswer::no("the pod has no port grpc, it has http"));
}

async fn a_container_that_does_not_run_passes_no_probe(subject: &mut impl Subject) {
    let web = Container { ports: vec![port("http")], ..subject.container("web") };
    let pod = pod("a", vec![web]);
    let endpoint = subject.runtime().create(&pod).await.unwrap().endpoints["http"];
    subject.listen(&pod.uid, endpoint, true);
    for check in [Check::Tcp { port: "http".into() }, Check::Exec { command: vec!["true".into()] }] {
        assert_eq!(probe(subject.runtime(), &pod.uid, &check).await, ProbeAnswer::no("container web does not run"));
    }
}

async fn a_program_run_inside_tells_its_code_and_output(subject: &mut impl Subject) {
    let uid = started(subject, "a").await.uid;
    let runtime = subject.runtime();
    let command = subject.exec_command(&subject.container("web"), 3, "hello");
    let answer = runtime.exec(&uid, "web", &command, PATIENCE).await.unwrap();
    assert_eq!((answer.code, &answer.output[..]), (3, &b"hello\n"[..]));
    let check = Check::Exec { command: command.clone() };
    let answer = probe(runtime, &uid, &check).await;
    assert_eq!(answer, ProbeAnswer::no(format!("{} ended with 3: \"hello\"", command.join(" "))));

    runtime.stop(&uid, "web", PATIENCE).await.unwrap();
    let error = runtime.exec(&uid, "web", &command, PATIENCE).await.unwrap_err().to_string();
    assert!(error.ends_with("in container web: the container does not run"), "{error}");
}

async fn a_program_that_is_talked_to_says_what_it_says_and_then_how_it_ended(subject: &mut impl Subject) {
    let uid = started(subject, "a").await.uid;
    let command = subject.exec_command(&subject.container("web"), 3, "hello");
    let runtime = subject.runtime();
    let options = ExecOptions { command: command.clone(), ..ExecOptions::default() };
    let mut session = runtime.open(&uid, "web", options.clone()).await.unwrap();
    let mut said = Vec::new();
    let ended = timeout(PATIENCE, async {
        loop {
            match session.output.recv().await {
                Some(Output::Out(bytes) | Output::Err(bytes)) => said.extend_from_slice(&bytes),
                Some(Output::Ended(code)) => break code,
                None => panic!("nobody said how it ended"),
            }
        }
    });
    assert_eq!((ended.await.unwrap(), said.as_slice()), (3, &b"hello\n"[..]));
    assert!(session.output.recv().await.is_none());
    assert!(matches!(runtime.open("nobody", "web", options.clone()).await, Err(Error::NoSuchPod(_))));
    assert!(matches!(runtime.open(&uid, "no", options.clone()).await, Err(Error::NoSuchContainer { .. })));
    runtime.stop(&uid, "web", PATIENCE).await.unwrap();
    let error = runtime.open(&uid, "web", options).await.unwrap_err().to_string();
    assert!(error.ends_with("in container web: the container does not run"), "{error}");
}

/// A pod of one container that says again what it reads, which was started.
async fn echoing(subject: &impl Subject, stdin: Stdin) -> Pod {
    let pod = pod("a", vec![Container { stdin, ..subject.echo("web") }]);
    subject.runtime().create(&pod).await.unwrap();
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    pod
}

/// Waits until a session has said exactly this.
async fn hear(session: &mut Session, expected: &str) {
    let mut said = String::new();
    while said != expected {
        match timeout(PATIENCE, session.output.recv()).await.unwrap() {
            Some(Output::Out(bytes)) => said.push_str(&String::from_utf8_lossy(&bytes)),
            other => panic!("{other:?} after {said:?}"),
        }
        assert!(expected.starts_with(&said), "{said:?}, not {expected:?}");
    }
}

async fn an_open_input_takes_what_is_typed_and_stays_open(subject: &mut impl Subject) {
    let uid = echoing(subject, Stdin::Open).await.uid;
    let runtime = subject.runtime();
    for (typed, is_ended) in [("one\n", false), ("two\n", true), ("three\n", false)] {
        let mut session = runtime.attach(&uid, "web", true).await.unwrap();
        session.input.send(Input::Bytes(typed.into())).await.unwrap();
        hear(&mut session, typed).await;
        if is_ended {
            session.input.send(Input::End).await.unwrap();
            assert_eq!(timeout(PATIENCE, session.output.recv()).await.unwrap(), None, "who has no more to say leaves");
        }
    }
    let mut session = runtime.attach(&uid, "web", true).await.unwrap();
    runtime.stop(&uid, "web", Duration::ZERO).await.unwrap();
    assert_eq!(timeout(PATIENCE, session.output.recv()).await.unwrap(), None);
    let error = runtime.attach(&uid, "web", true).await.unwrap_err().to_string();
    assert!(error.ends_with("attach to container web: the container does not run"), "{error}");
    assert!(matches!(runtime.attach("nobody", "web", true).await, Err(Error::NoSuchPod(_))));
    assert!(matches!(runtime.attach(&uid, "no", true).await, Err(Error::NoSuchContainer { .. })));
}

async fn an_input_that_is_open_once_ends_with_the_first_who_attached(subject: &mut impl Subject) {
    for says_so in [true, false] {
        let uid = echoing(subject, Stdin::Once).await.uid;
        let runtime = subject.runtime();
        // Who only listens ends nothing.
        drop(runtime.attach(&uid, "web", false).await.unwrap());
        let mut session = runtime.attach(&uid, "web", true).await.unwrap();
        session.input.send(Input::Bytes("one\n".into())).await.unwrap();
        hear(&mut session, "one\n").await;
        if says_so {
            session.input.send(Input::End).await.unwrap();
            assert_eq!(timeout(PATIENCE, session.output.recv()).await.unwrap(), None);
        }
        drop(session);
        assert_eq!(exit(runtime, &uid, "web").await.code, 0);
        runtime.start(&uid, "web", &[]).await.unwrap();
        hear_again(runtime, &uid).await;
    }
}

/// The next run has an input of its own.
async fn hear_again(runtime: &dyn Runtime, uid: &str) {
    let mut session = runtime.attach(uid, "web", true).await.unwrap();
    session.input.send(Input::Bytes("again\n".into())).await.unwrap();
    hear(&mut session, "again\n").await;
}

async fn what_is_typed_at_a_container_without_input_is_passed_over(subject: &mut impl Subject) {
    let uid = started(subject, "a").await.uid;
    let mut session = subject.runtime().attach(&uid, "web", true).await.unwrap();
    session.input.send(Input::Bytes("typed\n".into())).await.unwrap();
    session.input.send(Input::End).await.unwrap();
    subject.say(&uid, "web", "said");
    hear(&mut session, "said\n").await;
    assert!(matches!(state(subject.runtime(), &uid, "web").await.phase, ContainerPhase::Running { .. }));
}

async fn what_a_container_uses_is_told_while_it_runs(subject: &mut impl Subject) {
    let runtime = subject.runtime();
    let pod = pod("a", vec![subject.container("idle"), subject.busy("busy")]);
    runtime.create(&pod).await.unwrap();
    assert!(runtime.usage(&pod.uid).await.unwrap().is_empty(), "nothing was started");
    runtime.start(&pod.uid, "idle", &[]).await.unwrap();
    runtime.start(&pod.uid, "busy", &[]).await.unwrap();
    let used =
        async || eventually("both are told", async || Some(runtime.usage(&pod.uid).await.unwrap()).filter(|all| all.len() == 2)).await;
    let first = used().await;
    let second = eventually("the busy one has computed for 300 ms more", async || {
        Some(used().await).filter(|now| now["busy"].cpu >= first["busy"].cpu + Duration::from_millis(300))
    })
    .await;
    assert!(second["idle"].cpu - first["idle"].cpu < Duration::from_millis(150), "{first:?} {second:?}");
    assert!(second.values().all(|usage| usage.memory_bytes > 4_096), "{second:?}");
    runtime.stop(&pod.uid, "busy", PATIENCE).await.unwrap();
    assert_eq!(runtime.usage(&pod.uid).await.unwrap().into_keys().collect::<Vec<_>>(), ["idle"]);
    runtime.remove(&pod.uid).await.unwrap();
    assert!(matches!(runtime.usage(&pod.uid).await, Err(Error::NoSuchPod(_))));
}
