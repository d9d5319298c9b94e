//! What only the docker runtime promises: adoption, orphans, images, limits, and an engine that is absent, denied or hung.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use runtime::docker::Docker;
use runtime::{
    Container, ContainerPhase, Credential, Error, ExecOptions, ImageTrouble, Input, Limits, LogOptions, Output, Pod, PullPolicy, Runtime,
};
use serde_json::json;
use tokio::net::UnixListener;

use crate::engine::{DockerSubject, containers, is_podman, load, own_architecture};
use crate::subject::{Subject, eventually, exit, pod, port, state};

const PATIENCE: Duration = Duration::from_secs(10);

async fn started(subject: &DockerSubject, container: Container) -> Pod {
    let pod = pod("a", vec![container]);
    subject.runtime().create(&pod).await.unwrap();
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    pod
}

async fn read(runtime: &dyn Runtime, uid: &str) -> String {
    let pieces: Vec<_> = futures::StreamExt::collect(runtime.logs(uid, "web", LogOptions::default()).await.unwrap()).await;
    String::from_utf8(pieces.concat()).unwrap()
}

#[tokio::test]
async fn what_runs_is_found_again_and_what_ended_meanwhile_is_told() {
    let Some(mut subject) = DockerSubject::new().await else { return };
    let web = Container { ports: vec![port("http")], ..subject.container("web") };
    let goes_on = started(&subject, web).await;
    let ends = started(&subject, subject.container("web")).await;
    let before = subject.runtime().list().await.unwrap();
    subject.drop_runtime();
    subject.exit(&ends.uid, "web", 7);
    subject.reopen().await;
    let after = subject.runtime().list().await.unwrap();
    let of = |states: &[runtime::PodState], uid: &str| states.iter().find(|state| state.pod.uid == uid).cloned();
    assert_eq!(of(&after, &goes_on.uid), of(&before, &goes_on.uid));
    assert_eq!(exit(subject.runtime(), &ends.uid, "web").await.code, 7);
    subject.runtime().start(&ends.uid, "web", &[]).await.unwrap();
    let again = state(subject.runtime(), &ends.uid, "web").await;
    assert_eq!((again.starts, again.last_exit.map(|exit| exit.code)), (2, Some(7)));
    subject.close().await;
}

#[tokio::test]
async fn a_container_without_a_pod_is_removed_and_those_of_others_are_left_alone() {
    let Some(mut subject) = DockerSubject::new().await else { return };
    let make = async |name: String, server: String| {
        let (key, value) = server.split_once('=').unwrap();
        let labels = [(key.to_owned(), value.to_owned()), ("dev.conductor.uid".to_owned(), "gone".to_owned())].into();
        let command = Some(vec!["/bin/true".to_owned()]);
        let body = ContainerCreateBody { image: Some(subject.image.clone()), cmd: command, labels: Some(labels), ..Default::default() };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        subject.client.create_container(Some(options), body).await.unwrap().id
    };
    let pid = std::process::id();
    let other = "dev.conductor.server=somebody-else".to_owned();
    make(format!("conductor-test-orphan-{pid}"), subject.server()).await;
    let others = make(format!("conductor-test-other-{pid}"), other.clone()).await;
    subject.reopen().await;
    eventually("the orphan is gone", async || containers(&subject.client, &[subject.server()]).await.is_empty().then_some(())).await;
    assert!(containers(&subject.client, &[other]).await.contains(&others));
    subject.client.remove_container(&others, Some(RemoveContainerOptionsBuilder::default().force(true).build())).await.unwrap();
    subject.close().await;
}

#[tokio::test]
async fn a_container_that_somebody_removes_has_ended_and_is_counted_on() {
    let Some(subject) = DockerSubject::new().await else { return };
    let pod = started(&subject, subject.container("web")).await;
    for id in containers(&subject.client, &[subject.server()]).await {
        subject.client.remove_container(&id, Some(RemoveContainerOptionsBuilder::default().force(true).build())).await.unwrap();
    }
    assert_eq!(exit(subject.runtime(), &pod.uid, "web").await.code, 137);
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    assert_eq!(state(subject.runtime(), &pod.uid, "web").await.starts, 2);
    subject.close().await;
}

#[tokio::test]
async fn an_image_runs_as_it_says_unless_the_pod_says_otherwise() {
    let Some(subject) = DockerSubject::new().await else { return };
    let (name, tag) = ("localhost/conductor-test-said", crate::engine::tag());
    let config = json!({"Env": ["PATH=/bin", "GREETING=hello"], "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo $GREETING in $PWD"],
        "WorkingDir": "/bin"});
    load(&subject.client, &format!("{name}:{tag}"), own_architecture(), config).await;
    let base = Container { name: "web".into(), image: format!("{name}:{tag}"), ..Container::default() };
    let cases = [
        (base.clone(), "hello in /bin\n"),
        (Container { args: vec!["echo args".into()], ..base.clone() }, "args\n"),
        (Container { command: vec!["/bin/busybox".into(), "echo".into(), "command".into()], ..base.clone() }, "command\n"),
        (Container { env: vec![("GREETING".into(), "moin".into())], working_dir: Some("/tmp".into()), ..base }, "moin in /tmp\n"),
    ];
    for (container, expected) in cases {
        let pod = started(&subject, container).await;
        assert_eq!(exit(subject.runtime(), &pod.uid, "web").await.code, 0);
        assert_eq!(read(subject.runtime(), &pod.uid).await, expected);
        let image = state(subject.runtime(), &pod.uid, "web").await.image_id.unwrap();
        assert!(image.contains("sha256:"), "{image}");
        subject.runtime().remove(&pod.uid).await.unwrap();
    }
    let force = bollard::query_parameters::RemoveImageOptionsBuilder::default().force(true).build();
    subject.client.remove_image(&format!("{name}:{tag}"), Some(force), None).await.unwrap();
    subject.close().await;
}

pub async fn fault(subject: &DockerSubject, image: &str, pull: PullPolicy) -> (ImageTrouble, String) {
    fault_with(subject, image, pull, &[]).await
}

pub async fn fault_with(subject: &DockerSubject, image: &str, pull: PullPolicy, credentials: &[Credential]) -> (ImageTrouble, String) {
    let pod = pod("a", vec![Container { image: image.into(), pull, ..subject.container("web") }]);
    subject.runtime().create(&pod).await.unwrap();
    let found = eventually("the image's fetch has ended", async || {
        match subject.runtime().start(&pod.uid, "web", credentials).await.unwrap_err() {
            Error::Image { trouble: ImageTrouble::Fetching, .. } => None,
            Error::Image { trouble, said, .. } => Some((trouble, said)),
            error => panic!("{error}"),
        }
    })
    .await;
    assert_eq!(state(subject.runtime(), &pod.uid, "web").await.starts, 0, "nothing was started");
    subject.runtime().remove(&pod.uid).await.unwrap();
    found
}

#[tokio::test]
async fn images_that_are_not_to_be_had_are_told_apart() {
    let Some(subject) = DockerSubject::new().await else { return };
    let absent = "localhost/conductor-test-nowhere:1";
    assert_eq!(fault(&subject, absent, PullPolicy::Never).await.0, ImageTrouble::NeverFetched);
    assert_eq!(fault(&subject, "Not/An:Image:Name", PullPolicy::IfNotPresent).await.0, ImageTrouble::InvalidName);
    assert_eq!(fault(&subject, "no?name", PullPolicy::IfNotPresent).await.0, ImageTrouble::InvalidName);
    // Nobody listens on port 1.
    let unreachable = "127.0.0.1:1/shop:7";
    assert_eq!(fault(&subject, unreachable, PullPolicy::IfNotPresent).await.0, ImageTrouble::Unreachable);
    let (again, said) = fault(&subject, unreachable, PullPolicy::IfNotPresent).await;
    assert!(matches!(again, ImageTrouble::BackOff(_)) && said.contains("cannot be reached"), "{again:?} {said}");
    subject.close().await;
}

#[tokio::test]
async fn a_limit_of_memory_is_kept_and_what_breaks_it_is_told() {
    let Some(subject) = DockerSubject::new().await else { return };
    // The engine watches for it once the program was started, and would miss what comes before.
    let greedy = subject.shell("web", "sleep 0.5; a=x; while :; do a=$a$a$a$a; done");
    let limits = Limits { memory_bytes: Some(16 << 20), cpu_millis: Some(500) };
    let pod = started(&subject, Container { limits, ..greedy }).await;
    assert_eq!(exit(subject.runtime(), &pod.uid, "web").await.code, 137);
    // Podman's interface for Docker's clients does not tell why.
    if !is_podman(&subject.client).await {
        let is_told = async || exit(subject.runtime(), &pod.uid, "web").await.is_out_of_memory.then_some(());
        eventually("the engine told why the program ended", is_told).await;
    }
    subject.close().await;
}

#[tokio::test]
async fn a_program_run_inside_that_takes_too_long_is_killed_and_one_that_is_not_there_is_named() {
    let Some(subject) = DockerSubject::new().await else { return };
    let pod = started(&subject, subject.container("web")).await;
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let exec = async |command: &[&str], patience| subject.runtime().exec(&pod.uid, "web", &words(command), patience).await;
    let error = exec(&["/bin/sleep", "1234"], Duration::from_millis(500)).await.unwrap_err().to_string();
    assert!(error.ends_with("it had not ended after 500ms"), "{error}");
    let script = "for file in /proc/[0-9]*/cmdline; do case $(cat $file) in *sleep12[3]4*) exit 9 ;; esac; done; exit 0";
    eventually("the program is gone", async || (exec(&["/bin/sh", "-c", script], PATIENCE).await.unwrap().code == 0).then_some(())).await;
    let error = exec(&["/nowhere"], PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot start /nowhere: No such file or directory");
    let long = exec(&["/bin/sh", "-c", "head -c 100000 /dev/zero; echo end"], PATIENCE).await.unwrap().output;
    assert!(long.len() == 64 * 1024 && long.ends_with(b"end\n"), "{}", long.len());
    subject.close().await;
}

#[tokio::test]
async fn an_engine_that_is_absent_denied_or_hung_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let address = format!("unix://{}", socket.display());
    let asked = pod("a", vec![Container { name: "web".into(), image: "shop:7".into(), ..Container::default() }]);
    let docker = Docker::open(dir.path().join("pods"), &address).await.unwrap();
    let error = docker.create(&asked).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert_eq!(error.to_string(), format!("no container engine answers at {address}; start Docker, or name its socket in DOCKER_HOST"));
    assert_eq!(docker.list().await.unwrap(), []);

    let listener = UnixListener::bind(&socket).unwrap();
    let begun = tokio::time::Instant::now();
    let error = docker.create(&asked).await.unwrap_err().to_string();
    assert!(error.contains("has not answered within 10s; see whether `docker info` does"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15));
    drop(listener);

    if !nix::unistd::geteuid().is_root() {
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
        let error = docker.create(&asked).await.unwrap_err().to_string();
        assert!(error.contains("add it to the group docker"), "{error}");
    }
    let refused = Docker::open(dir.path().join("other"), "tcp://10.0.0.1:2375").await.unwrap_err().to_string();
    assert!(refused.starts_with("DOCKER_HOST: unix://"), "{refused}");
}

#[tokio::test]
async fn an_engine_that_returns_is_found_again() {
    let Some(subject) = DockerSubject::new().await else { return };
    // The engine's socket, by way of one that comes and goes.
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let real = crate::engine::address();
    let real = real.strip_prefix("unix://").unwrap().to_owned();
    let docker = Docker::open(dir.path().join("pods"), &format!("unix://{}", socket.display())).await.unwrap();
    let web = pod("a", vec![subject.shell("web", "exec sleep 1000")]);
    assert!(matches!(docker.create(&web).await, Err(Error::Unavailable(_))));

    std::os::unix::fs::symlink(&real, &socket).unwrap();
    docker.create(&web).await.unwrap();
    docker.start(&web.uid, "web", &[]).await.unwrap();
    std::fs::remove_file(&socket).unwrap();
    let error = docker.exec(&web.uid, "web", &["true".into()], PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(matches!(docker.remove(&web.uid).await, Err(Error::Unavailable(_))));
    assert!(matches!(state(&docker, &web.uid, "web").await.phase, ContainerPhase::Running { .. }), "what was known is told on");
    std::os::unix::fs::symlink(&real, &socket).unwrap();
    docker.remove(&web.uid).await.unwrap();
    assert_eq!(docker.list().await.unwrap(), []);
    std::io::stdout().flush().unwrap();
    subject.close().await;
}

#[tokio::test]
async fn a_program_in_a_container_hears_what_it_is_told_and_ends_when_nobody_listens() {
    let Some(subject) = DockerSubject::new().await else { return };
    let pod = started(&subject, subject.container("web")).await;
    let shell = |script: &str| ExecOptions { command: ["sh", "-c", script].map(str::to_owned).to_vec(), stdin: true, tty: false };
    let mut session =
        subject.runtime().open(&pod.uid, "web", shell("read line; echo heard $line; echo oops >&2; cat; exit 4")).await.unwrap();
    for input in [Input::Bytes("one\n".into()), Input::Bytes("two".into()), Input::End] {
        session.input.send(input).await.unwrap();
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = loop {
        match tokio::time::timeout(PATIENCE, session.output.recv()).await.unwrap() {
            Some(Output::Out(bytes)) => out.extend_from_slice(&bytes),
            Some(Output::Err(bytes)) => err.extend_from_slice(&bytes),
            Some(Output::Ended(code)) => break code,
            None => panic!("nobody said how it ended"),
        }
    };
    assert_eq!((code, &out[..], &err[..]), (4, &b"heard one\ntwo"[..], &b"oops\n"[..]));

    let options = ExecOptions { tty: true, ..shell("stty size; read line; stty size; exec sleep 4713.5") };
    let mut session = subject.runtime().open(&pod.uid, "web", options).await.unwrap();
    session.input.send(Input::Resize { columns: 132, rows: 43 }).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    session.input.send(Input::Bytes("\n".into())).await.unwrap();
    let mut said = String::new();
    while !said.contains("43 132") {
        match tokio::time::timeout(PATIENCE, session.output.recv()).await.unwrap() {
            Some(Output::Out(bytes)) => said.push_str(&String::from_utf8_lossy(&bytes)),
            other => panic!("{other:?} after {said:?}"),
        }
    }
    eventually("it sleeps", async || (!crate::proc::all_with("sleep 4713.5").is_empty()).then_some(())).await;
    drop(session);
    eventually("it was ended", async || crate::proc::all_with("sleep 4713.5").is_empty().then_some(())).await;
    subject.runtime().remove(&pod.uid).await.unwrap();
    subject.close().await;
}
