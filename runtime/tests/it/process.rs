//! What `process` promises beyond the suite, while everybody lives.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use nix::sys::signal::Signal;
use runtime::process::Process;
use runtime::{Container, ContainerPhase, Error, Exit, LogOptions, Runtime};

use crate::proc;
use crate::subject::{ProcessSubject, Subject, eventually, example, exit, pod, port, shell, state};

const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a script as the one container `web` of pod `a`; the pod's uid.
async fn run(subject: &ProcessSubject, web: Container) -> String {
    let pod = pod("a", vec![web]);
    subject.runtime().create(&pod).await.unwrap();
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    pod.uid
}

async fn log(subject: &ProcessSubject, uid: &str, options: LogOptions) -> String {
    let pieces: Vec<_> = subject.runtime().logs(uid, "web", options).await.unwrap().collect().await;
    String::from_utf8(pieces.concat()).unwrap()
}

/// The pid that a program has written to its log as `<word> <pid>`.
async fn pid(subject: &ProcessSubject, uid: &str, word: &str) -> i32 {
    eventually(&format!("{word} tells its pid"), async || {
        let log = log(subject, uid, LogOptions::default()).await;
        log.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
    })
    .await
}

fn shim_pid(subject: &ProcessSubject, uid: &str) -> i32 {
    let record = fs::read_to_string(subject.pod_dir(uid).join("shim.json")).unwrap();
    record.split_once("\"pid\":").unwrap().1.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_program_gets_its_environment_and_nothing_else_of_ours() {
    let subject = ProcessSubject::new().await;
    let web = Container {
        env: vec![("GREETING".into(), "hello world".into())],
        ports: vec![port("http"), port("admin-ui")],
        command: vec!["/usr/bin/env".into()],
        ..shell("web", "")
    };
    let uid = run(&subject, web).await;
    exit(subject.runtime(), &uid, "web").await;
    let endpoints = subject.runtime().list().await.unwrap().remove(0).endpoints;
    let (http, admin) = (endpoints["http"].port(), endpoints["admin-ui"].port());
    let log = log(&subject, &uid, LogOptions::default()).await;
    let mut lines: Vec<_> = log.lines().filter(|line| !line.starts_with("PATH=") && !line.starts_with("HOME=")).collect();
    lines.sort_unstable();
    let expected = [
        "CONDUCTOR_CONTAINER=web".into(),
        "CONDUCTOR_NAMESPACE=default".into(),
        "CONDUCTOR_POD=a".into(),
        format!("CONDUCTOR_POD_DIR={}", subject.pod_dir(&uid).display()),
        format!("CONDUCTOR_POD_UID={uid}"),
        "GREETING=hello world".into(),
        format!("PORT={http}"),
        format!("PORT_ADMIN_UI={admin}"),
        format!("PORT_HTTP={http}"),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_program_starts_in_the_directory_asked_for_or_in_one_of_its_own() {
    let subject = ProcessSubject::new().await;
    let there = Container { working_dir: Some("/usr".into()), ..shell("there", "pwd") };
    let nowhere = Container { working_dir: Some("/no/such/place".into()), ..shell("nowhere", "pwd") };
    let pod = pod("a", vec![shell("web", "pwd; touch mine"), there, nowhere]);
    let runtime = subject.runtime();
    runtime.create(&pod).await.unwrap();
    for (name, expected) in [("web", subject.pod_dir(&pod.uid).join("work").to_str().unwrap()), ("there", "/usr")] {
        runtime.start(&pod.uid, name, &[]).await.unwrap();
        assert_eq!(exit(runtime, &pod.uid, name).await.code, 0);
        let log: Vec<_> = runtime.logs(&pod.uid, name, LogOptions::default()).await.unwrap().collect().await;
        assert_eq!(String::from_utf8(log.concat()).unwrap().trim_end(), expected);
    }
    let error = runtime.start(&pod.uid, "nowhere", &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot start /bin/sh: working directory /no/such/place: No such file or directory");
}

#[tokio::test]
async fn a_file_that_is_no_program_is_told_as_such() {
    let subject = ProcessSubject::new().await;
    let runtime = subject.runtime();
    let pod = pod("a", vec![Container { command: vec!["/etc/passwd".into()], ..shell("web", "") }]);
    runtime.create(&pod).await.unwrap();
    assert_eq!(runtime.start(&pod.uid, "web", &[]).await.unwrap_err().to_string(), "cannot start /etc/passwd: Permission denied");
    let ContainerPhase::Exited(Exit { code, .. }) = state(runtime, &pod.uid, "web").await.phase else { panic!("it runs") };
    assert_eq!(code, 126);
}

#[tokio::test]
async fn a_container_without_a_command_is_refused() {
    let subject = ProcessSubject::new().await;
    let pod = pod("a", vec![shell("side", "true"), Container { name: "web".into(), image: "shop:7".into(), ..Container::default() }]);
    match subject.runtime().create(&pod).await {
        Err(Error::Refused { field, .. }) => assert_eq!(field, "spec.containers[1].command"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whatever_signal_ends_a_program_is_told() {
    let subject = ProcessSubject::new().await;
    let runtime = subject.runtime();
    // The last is a real-time signal, which has no name.
    let signals = [9, 11, 6, 40];
    let pod = pod("a", signals.iter().map(|signal| shell(&format!("by-{signal}"), &format!("kill -{signal} $$"))).collect());
    runtime.create(&pod).await.unwrap();
    for signal in signals {
        let name = format!("by-{signal}");
        runtime.start(&pod.uid, &name, &[]).await.unwrap();
        let exit = exit(runtime, &pod.uid, &name).await;
        assert_eq!((exit.code, exit.signal), (128 + signal, Some(signal)));
    }
}

#[tokio::test]
async fn a_program_that_ignores_the_request_to_end_is_killed_after_its_grace() {
    let subject = ProcessSubject::new().await;
    let uid = run(&subject, shell("web", "trap '' TERM; echo ready; while :; do sleep 0.05; done")).await;
    eventually("it ignores the signal", async || (log(&subject, &uid, LogOptions::default()).await == "ready\n").then_some(())).await;
    let grace = Duration::from_millis(300);
    let begun = Instant::now();
    subject.runtime().stop(&uid, "web", grace).await.unwrap();
    assert!(begun.elapsed() >= grace);
    let exit = exit(subject.runtime(), &uid, "web").await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
}

#[tokio::test]
async fn what_a_program_started_has_its_grace_too_when_the_program_ends_first() {
    let subject = ProcessSubject::new().await;
    let script = "(trap 'sleep 0.3; echo child is done; exit' TERM; echo ready; while :; do sleep 0.05; done) & wait";
    let uid = run(&subject, shell("web", script)).await;
    eventually("the child is ready", async || (log(&subject, &uid, LogOptions::default()).await == "ready\n").then_some(())).await;
    subject.runtime().stop(&uid, "web", PATIENCE).await.unwrap();
    // The shell may also have told of the sleeper it lost.
    let log = log(&subject, &uid, LogOptions::default()).await;
    assert!(log.contains("child is done\n"), "{log}");
    assert_eq!(exit(subject.runtime(), &uid, "web").await.signal, Some(15));
}

/// Leaves a process in a session of its own that has lost its parent, and one that bears no mark either.
const LEAVES_ORPHANS: &str = r#"
    (setsid sh -c 'echo marked $$; exec sleep 1000' &)
    (env -i setsid sh -c 'trap "" TERM; echo hidden $$; while :; do sleep 1; done' &)
    echo main $$"#;

#[tokio::test]
async fn stopping_ends_orphans_too() {
    let subject = ProcessSubject::new().await;
    let uid = run(&subject, shell("web", &format!("{LEAVES_ORPHANS}; exec sleep 1000"))).await;
    let (marked, hidden) = (pid(&subject, &uid, "marked").await, pid(&subject, &uid, "hidden").await);
    assert!(proc::runs(marked) && proc::runs(hidden));
    subject.runtime().stop(&uid, "web", Duration::from_millis(200)).await.unwrap();
    assert!(!proc::runs(marked) && !proc::runs(hidden));
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let subject = ProcessSubject::new().await;
    let uid = run(&subject, shell("web", &format!("{LEAVES_ORPHANS}; sleep 0.3; exit 5"))).await;
    let (marked, hidden) = (pid(&subject, &uid, "marked").await, pid(&subject, &uid, "hidden").await);
    assert_eq!(exit(subject.runtime(), &uid, "web").await.code, 5);
    assert!(!proc::runs(marked) && !proc::runs(hidden));
}

#[tokio::test]
async fn removing_leaves_no_process_and_no_file() {
    let subject = ProcessSubject::new().await;
    let script = format!("mkdir -p a/b; touch a/b/c; chmod 555 a/b; {LEAVES_ORPHANS}; trap '' TERM; while :; do sleep 0.05; done");
    let uid = run(&subject, shell("web", &script)).await;
    let pids = [pid(&subject, &uid, "marked").await, pid(&subject, &uid, "hidden").await, pid(&subject, &uid, "main").await];
    let shim = shim_pid(&subject, &uid);
    subject.runtime().remove(&uid).await.unwrap();
    assert_eq!(pids.map(proc::runs), [false; 3]);
    assert!(!proc::runs(shim));
    let pods = subject.pod_dir(&uid).parent().unwrap().to_owned();
    let left: Vec<_> = fs::read_dir(pods).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".lock"]);
}

#[tokio::test]
async fn a_container_that_is_being_stopped_is_not_started_and_removing_it_does_not_wait() {
    let subject = ProcessSubject::new().await;
    let uid = run(&subject, shell("web", "trap '' TERM; echo ready; while :; do sleep 0.05; done")).await;
    eventually("it ignores the signal", async || (log(&subject, &uid, LogOptions::default()).await == "ready\n").then_some(())).await;
    let runtime = subject.runtime();
    let begun = Instant::now();
    let (stopped, (), ()) = tokio::join!(
        runtime.stop(&uid, "web", Duration::from_secs(600)),
        async {
            let error = eventually("the start is refused", async || runtime.start(&uid, "web", &[]).await.err()).await;
            assert_eq!(error.to_string(), "start container web: its last run is being ended");
            runtime.remove(&uid).await.unwrap();
        },
        async {}
    );
    stopped.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_port_of_the_machine_that_somebody_has_is_not_given_away() {
    let subject = ProcessSubject::new().await;
    let web = Container { ports: vec![port("http")], ..shell("web", "true") };
    let first = pod("a", vec![web.clone()]);
    let endpoint = subject.runtime().create(&first).await.unwrap().endpoints["http"];
    subject.runtime().remove(&first.uid).await.unwrap();
    let _taken = std::net::TcpListener::bind(endpoint).unwrap();
    assert_ne!(subject.runtime().create(&first).await.unwrap().endpoints["http"], endpoint);
    let mut fixed = web;
    fixed.ports[0].host_port = Some(endpoint.port());
    let error = subject.runtime().create(&pod("b", vec![fixed])).await.unwrap_err();
    assert_eq!(error.to_string(), format!("port {} is in use by another program", endpoint.port()));
}

#[tokio::test]
async fn a_log_keeps_its_newest_part_within_bounds() {
    let subject = ProcessSubject::new().await;
    // 240,000 lines of 100 bytes make more than two full files.
    let script = "line=$(head -c 90 /dev/zero | tr '\\0' x); yes $line | head -n 240000 | nl -w 8 -n rz; echo the end";
    let uid = run(&subject, shell("web", script)).await;
    let uid = &uid;
    let followed = subject.runtime().logs(uid, "web", LogOptions { follow: true, ..LogOptions::default() }).await.unwrap();
    let followed = followed.fold(0, async |total, piece| total + piece.len());
    assert!(tokio::time::timeout(Duration::from_secs(60), followed).await.unwrap() > 10_000_000);
    exit(subject.runtime(), uid, "web").await;
    let size = |name: &str| fs::metadata(subject.pod_dir(uid).join(name)).unwrap().len();
    let (newer, older) = (size("web.1.log"), size("web.1.log.1"));
    assert!(newer <= 10 << 20 && older <= 10 << 20 && older > 9 << 20, "{newer}, {older}");

    let all = log(&subject, uid, LogOptions::default()).await;
    assert!(all.ends_with("the end\n"));
    let numbers: Vec<u32> = all.lines().filter_map(|line| line.split_once('\t')?.0.parse().ok()).collect();
    assert_eq!(numbers.last(), Some(&240_000));
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no line is missing within");
    let tail = log(&subject, uid, LogOptions { tail: Some(numbers.len() as u64 - 9), ..LogOptions::default() }).await;
    assert_eq!(tail.lines().count(), numbers.len() - 9);
    assert!(all.ends_with(&tail));
}

#[tokio::test]
async fn output_without_a_line_end_and_on_both_streams_is_kept() {
    let subject = ProcessSubject::new().await;
    let uid = run(&subject, shell("web", "echo out; echo err >&2; head -c 40000 /dev/zero | tr '\\0' x; printf ' no end'")).await;
    exit(subject.runtime(), &uid, "web").await;
    let raw = fs::read_to_string(subject.pod_dir(&uid).join("web.1.log")).unwrap();
    assert!(raw.contains(" stdout F out\n") && raw.contains(" stderr F err\n"), "{}", &raw[..200]);
    let log = log(&subject, &uid, LogOptions::default()).await;
    assert!(log.ends_with("x no end") && log.len() == 8 + 40_000 + 7, "{}", log.len());
}

#[tokio::test]
async fn a_program_run_inside_that_does_not_end_is_killed_with_what_it_started() {
    let subject = ProcessSubject::new().await;
    let uid = run(&subject, shell("web", "exec sleep 1000")).await;
    let command = shell("", "sleep 4711.25 & sleep 4711.5").command;
    let runtime = subject.runtime();
    let error = runtime.exec(&uid, "web", &command, Duration::from_millis(300)).await.unwrap_err();
    assert!(error.to_string().ends_with("in container web: it had not ended after 300ms"), "{error}");
    eventually("both are gone", async || proc::all_with("sleep 4711.").is_empty().then_some(())).await;
}

#[tokio::test]
async fn the_end_of_a_long_output_of_a_program_run_inside_is_told() {
    let subject = ProcessSubject::new().await;
    let uid = run(&subject, shell("web", "exec sleep 1000")).await;
    // The sleeper holds the output open; it is not waited for.
    let command = shell("", "yes 0123456 | head -n 50000; echo $CONDUCTOR_POD; sleep 1000 & exit 0").command;
    let answer = subject.runtime().exec(&uid, "web", &command, PATIENCE).await.unwrap();
    assert_eq!((answer.code, answer.output.len()), (0, 64 * 1024));
    assert!(answer.output.ends_with(b"0123456\na\n"));
    let missing = subject.runtime().exec(&uid, "web", &["/nowhere".into()], PATIENCE).await.unwrap_err();
    assert_eq!(missing.to_string(), "cannot start /nowhere: No such file or directory");
    // What it left behind bears the pod's mark and goes with it.
    let mark = format!("CONDUCTOR_POD_DIR={}", subject.pod_dir(&uid).display());
    assert!(!proc::all_with(&mark).is_empty());
    subject.runtime().remove(&uid).await.unwrap();
    assert_eq!(proc::all_with(&mark), Vec::<i32>::new());
}

#[tokio::test]
async fn a_deep_directory_is_no_hindrance_and_nobody_else_may_look_into_it() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
    let runtime = Process::open(&deep, vec![example("shim")]).await.unwrap();
    let pod = pod("a", vec![shell("web", "exec sleep 1000")]);
    runtime.create(&pod).await.unwrap();
    runtime.start(&pod.uid, "web", &[]).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&deep), mode(&deep.join(&pod.uid))), (0o700, 0o700));
    runtime.remove(&pod.uid).await.unwrap();
}

#[tokio::test]
async fn two_runtimes_do_not_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Process::open(dir.path(), vec![example("shim")]).await.unwrap();
    let error = Process::open(dir.path(), vec![example("shim")]).await.unwrap_err();
    assert!(error.to_string().contains("another process of ours has it"), "{error}");
}

#[tokio::test]
async fn a_shim_that_cannot_be_started_is_told_with_its_command() {
    let dir = tempfile::tempdir().unwrap();
    let pod = pod("a", vec![shell("web", "true")]);
    let create = async |command: &[&str]| {
        let runtime = Process::open(dir.path(), command.iter().map(|word| (*word).to_owned()).collect()).await.unwrap();
        runtime.create(&pod).await.unwrap_err().to_string()
    };
    assert_eq!(create(&["/nowhere/shim"]).await, "start a shim for pod a (/nowhere/shim): No such file or directory (os error 2)");
    let error = create(&["/bin/sh", "-c", "echo it is broken >&2; exit 1"]).await;
    assert!(error.ends_with(": it is broken"), "{error}");
    // Once it can, the pod that was left is taken up.
    let runtime = Process::open(dir.path(), vec![example("shim")]).await.unwrap();
    assert_eq!(runtime.list().await.unwrap().len(), 1);
    runtime.start(&pod.uid, "web", &[]).await.unwrap();
    assert_eq!(exit(&runtime, &pod.uid, "web").await.code, 0);
    runtime.remove(&pod.uid).await.unwrap();
}

#[tokio::test]
async fn a_shim_is_small_and_sleeps_while_nothing_happens() {
    let subject = ProcessSubject::new().await;
    let uid = run(&subject, shell("web", "echo hello; exec sleep 1000")).await;
    eventually("it has written", async || (!log(&subject, &uid, LogOptions::default()).await.is_empty()).then_some(())).await;
    let shim = shim_pid(&subject, &uid);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let wakes = || proc::status(shim, "voluntary_ctxt_switches");
    let before = wakes();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(wakes(), before);
    let (all, own) = (proc::status(shim, "VmRSS"), proc::status(shim, "RssAnon"));
    println!("a shim has {all} KiB resident, {own} KiB of them its own");
    assert_eq!(proc::status(shim, "Threads"), 1);
    assert!(own < 1024, "{own} KiB");
    if !cfg!(debug_assertions) {
        assert!(all < 4 * 1024, "{all} KiB");
    }
}

#[tokio::test]
async fn the_end_of_a_program_is_told_soon() {
    let subject = ProcessSubject::new().await;
    let uid = run(&subject, subject.container("web")).await;
    let mut changes = subject.runtime().changes();
    let mut taken = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        subject.exit(&uid, "web", 0);
        changes.next().await.unwrap();
        taken.push(begun.elapsed());
        exit(subject.runtime(), &uid, "web").await;
        subject.runtime().start(&uid, "web", &[]).await.unwrap();
        changes.next().await.unwrap();
    }
    println!("told of an end after {taken:?}");
    assert!(taken.iter().min().unwrap() < &Duration::from_millis(100), "{taken:?}");
}

#[tokio::test]
async fn asked_to_end_a_shim_ends_its_programs_first() {
    let subject = ProcessSubject::new().await;
    let uid = run(&subject, shell("web", "trap 'echo goodbye; exit 7' TERM; echo ready; while :; do sleep 0.05; done")).await;
    eventually("it is ready", async || (log(&subject, &uid, LogOptions::default()).await == "ready\n").then_some(())).await;
    proc::send(shim_pid(&subject, &uid), Signal::SIGTERM);
    let exit = exit(subject.runtime(), &uid, "web").await;
    assert_eq!((exit.code, exit.reason), (7, None));
    // The shell may also have told of the sleeper it lost.
    let log = log(&subject, &uid, LogOptions::default()).await;
    assert!(log.contains("goodbye\n"), "{log}");
}
