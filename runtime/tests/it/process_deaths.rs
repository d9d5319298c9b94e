//! What `process` promises when somebody dies: the runtime, a shim, or both, at any moment.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::StreamExt;
use nix::sys::signal::Signal;
use runtime::process::Process;
use runtime::{ContainerPhase, LogOptions, Pod, Runtime};
use tokio::time::timeout;

use crate::proc;
use crate::subject::{ProcessSubject, Subject, eventually, example, exit, pod, port, shell, state};

const PATIENCE: Duration = Duration::from_secs(10);

async fn log(subject: &ProcessSubject, uid: &str, options: LogOptions) -> String {
    let pieces: Vec<_> = subject.runtime().logs(uid, "web", options).await.unwrap().collect().await;
    String::from_utf8(pieces.concat()).unwrap()
}

async fn started(subject: &ProcessSubject) -> Pod {
    let pod = pod("a", vec![subject.container("web")]);
    subject.runtime().create(&pod).await.unwrap();
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    pod
}

async fn says(subject: &ProcessSubject, uid: &str, line: &str) {
    eventually(&format!("{line} is in the log"), async || {
        log(subject, uid, LogOptions::default()).await.lines().any(|one| one == line).then_some(())
    })
    .await;
}

fn shim_pid(subject: &ProcessSubject, uid: &str) -> i32 {
    let record = fs::read_to_string(subject.pod_dir(uid).join("shim.json")).unwrap();
    record.split_once("\"pid\":").unwrap().1.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_runs_goes_on_without_us_and_is_found_again() {
    let mut subject = ProcessSubject::new().await;
    let pod = started(&subject).await;
    let before = subject.runtime().list().await.unwrap();
    subject.say(&pod.uid, "web", "before");
    says(&subject, &pod.uid, "before").await;
    subject.close();
    subject.say(&pod.uid, "web", "meanwhile");
    subject.reopen().await;
    assert_eq!(subject.runtime().list().await.unwrap(), before);
    subject.say(&pod.uid, "web", "after");
    says(&subject, &pod.uid, "after").await;
    assert_eq!(log(&subject, &pod.uid, LogOptions::default()).await, "before\nmeanwhile\nafter\n");

    let mut changes = subject.runtime().changes();
    subject.exit(&pod.uid, "web", 6);
    assert_eq!(timeout(PATIENCE, changes.next()).await.unwrap(), Some(pod.uid.clone()));
    assert_eq!(exit(subject.runtime(), &pod.uid, "web").await.code, 6);
}

#[tokio::test]
async fn an_end_without_us_is_told_when_we_are_back() {
    let mut subject = ProcessSubject::new().await;
    let pod = started(&subject).await;
    subject.close();
    subject.exit(&pod.uid, "web", 9);
    let record = subject.pod_dir(&pod.uid).join("web.exit.json");
    eventually("the end is recorded", async || record.exists().then_some(())).await;
    subject.reopen().await;
    let exit = exit(subject.runtime(), &pod.uid, "web").await;
    assert_eq!((exit.code, exit.reason), (9, None));
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    assert_eq!(state(subject.runtime(), &pod.uid, "web").await.starts, 2);
}

/// Starts programs of every sort that can be left behind; the pod's uid and their pids.
async fn start_a_family(subject: &ProcessSubject) -> (String, Vec<i32>) {
    let script = "sleep 1000 & echo pid $!; (setsid sh -c 'echo pid $$; exec sleep 1000' &); echo pid $$; \
                  sh -c 'echo pid $$; exec env -i sleep 1000' & wait";
    let pod = pod("a", vec![shell("web", script), shell("side", "exit 3"), shell("idle", "true")]);
    subject.runtime().create(&pod).await.unwrap();
    let uid = pod.uid;
    subject.runtime().start(&uid, "side", &[]).await.unwrap();
    exit(subject.runtime(), &uid, "side").await;
    subject.runtime().start(&uid, "web", &[]).await.unwrap();
    let pids = eventually("four have told their pid", async || {
        let log = log(subject, &uid, LogOptions::default()).await;
        let pids: Vec<i32> = log.lines().filter_map(|line| line.strip_prefix("pid ")?.parse().ok()).collect();
        (pids.len() == 4).then_some(pids)
    })
    .await;
    (uid, pids)
}

async fn assert_buried(subject: &ProcessSubject, uid: &str, pids: &[i32]) {
    let ended = exit(subject.runtime(), uid, "web").await;
    assert_eq!((ended.code, ended.signal, ended.reason.as_deref()), (137, Some(9), Some("shim gone")));
    assert_eq!(pids.iter().filter(|pid| proc::runs(**pid)).collect::<Vec<_>>(), Vec::<&i32>::new());
    let side = exit(subject.runtime(), uid, "side").await;
    assert_eq!((side.code, side.reason), (3, None));
    assert_eq!(state(subject.runtime(), uid, "idle").await.phase, ContainerPhase::Created);
}

#[tokio::test]
async fn when_a_shim_is_killed_its_programs_end_and_are_told_to_have() {
    let subject = ProcessSubject::new().await;
    let (uid, pids) = start_a_family(&subject).await;
    let uid = uid.as_str();
    let mut changes = subject.runtime().changes();
    proc::send(shim_pid(&subject, uid), Signal::SIGKILL);
    assert_eq!(timeout(PATIENCE, changes.next()).await.unwrap().as_deref(), Some(uid));
    assert_buried(&subject, uid, &pids).await;

    // A new shim goes on where the old one was.
    let before = exit(subject.runtime(), uid, "web").await;
    subject.runtime().start(uid, "web", &[]).await.unwrap();
    let after = state(subject.runtime(), uid, "web").await;
    assert_eq!((after.starts, after.last_exit), (2, Some(before)));
    assert_eq!(exit(subject.runtime(), uid, "side").await.code, 3);
    assert!(log(&subject, uid, LogOptions { previous: true, ..LogOptions::default() }).await.starts_with("pid "));
}

#[tokio::test]
async fn when_a_shim_is_killed_without_us_its_programs_end_when_we_are_back() {
    let mut subject = ProcessSubject::new().await;
    let (uid, pids) = start_a_family(&subject).await;
    let uid = uid.as_str();
    subject.close();
    proc::send(shim_pid(&subject, uid), Signal::SIGKILL);
    subject.reopen().await;
    assert_buried(&subject, uid, &pids).await;
    // The same is told the next time.
    let before = subject.runtime().list().await.unwrap();
    subject.reopen().await;
    assert_eq!(subject.runtime().list().await.unwrap(), before);
}

#[tokio::test]
async fn calls_that_wait_for_a_shim_that_is_killed_end_too() {
    let subject = ProcessSubject::new().await;
    let pod = pod("a", vec![shell("web", "trap '' TERM; echo ready; while :; do sleep 0.05; done")]);
    let uid = pod.uid.as_str();
    subject.runtime().create(&pod).await.unwrap();
    subject.runtime().start(uid, "web", &[]).await.unwrap();
    says(&subject, uid, "ready").await;
    let follow = subject.runtime().logs(uid, "web", LogOptions { follow: true, ..LogOptions::default() }).await.unwrap();
    let (stopped, followed, ()) = tokio::join!(
        timeout(PATIENCE, subject.runtime().stop(uid, "web", Duration::from_secs(600))),
        timeout(PATIENCE, follow.collect::<Vec<_>>()),
        async {
            // Once a start is refused, the request to stop has arrived.
            eventually("it is being stopped", async || subject.runtime().start(uid, "web", &[]).await.err()).await;
            proc::send(shim_pid(&subject, uid), Signal::SIGKILL);
        }
    );
    stopped.unwrap().unwrap();
    assert_eq!(followed.unwrap().concat(), b"ready\n");
    assert!(matches!(state(subject.runtime(), uid, "web").await.phase, ContainerPhase::Exited(_)));
}

#[tokio::test]
async fn a_shim_that_hangs_does_not_keep_its_pod_from_being_removed() {
    let subject = ProcessSubject::new().await;
    let (uid, pids) = start_a_family(&subject).await;
    let uid = uid.as_str();
    let shim = shim_pid(&subject, uid);
    proc::send(shim, Signal::SIGSTOP);
    timeout(Duration::from_secs(30), subject.runtime().remove(uid)).await.unwrap().unwrap();
    assert!(!proc::runs(shim) && pids.iter().all(|pid| !proc::runs(*pid)));
    assert!(!subject.pod_dir(uid).exists());
}

#[tokio::test]
async fn what_an_interrupted_call_left_is_cleared_or_taken_up() {
    let mut subject = ProcessSubject::new().await;
    let pod = pod("a", vec![shell("web", "exit 4")]);
    subject.runtime().create(&pod).await.unwrap();
    let kept = fs::read(subject.pod_dir(&pod.uid).join("pod.json")).unwrap();
    subject.runtime().remove(&pod.uid).await.unwrap();
    subject.close();

    let pods = subject.pod_dir("");
    fs::create_dir_all(pods.join(".new-b/work")).unwrap();
    fs::create_dir_all(pods.join(".old-c/work")).unwrap();
    fs::create_dir_all(pods.join("d")).unwrap();
    fs::write(pods.join("d/pod.json"), &kept[..kept.len() / 2]).unwrap();
    // Made whole, but nobody came to start its shim.
    fs::create_dir_all(pods.join(&pod.uid)).unwrap();
    fs::write(pods.join(&pod.uid).join("pod.json"), &kept).unwrap();
    subject.reopen().await;
    let listed = subject.runtime().list().await.unwrap();
    assert_eq!(listed.iter().map(|state| &state.pod).collect::<Vec<_>>(), [&pod]);
    assert_eq!(listed[0].containers[0].phase, ContainerPhase::Created);
    let mut left: Vec<_> = fs::read_dir(&pods).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".lock", &pod.uid]);
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    assert_eq!(exit(subject.runtime(), &pod.uid, "web").await.code, 4);
}

#[tokio::test]
async fn a_create_that_is_given_up_at_any_moment_can_be_repeated() {
    let subject = ProcessSubject::new().await;
    for number in 0..12 {
        let mut web = subject.container("web");
        web.ports = vec![port("http")];
        let pod = pod(&format!("p{number}"), vec![web]);
        let runtime = subject.runtime();
        let _given_up = timeout(Duration::from_micros(number * 700), runtime.create(&pod)).await;
        runtime.create(&pod).await.unwrap();
        runtime.start(&pod.uid, "web", &[]).await.unwrap();
        assert_eq!(state(runtime, &pod.uid, "web").await.starts, 1);
        runtime.remove(&pod.uid).await.unwrap();
        assert!(!subject.pod_dir(&pod.uid).exists());
    }
    assert_eq!(subject.runtime().list().await.unwrap(), []);
}

/// A process of ours that makes, starts and removes pods until it is killed.
struct Churn(Child);

impl Churn {
    fn start(dir: &std::path::Path) -> Self {
        let mut command = Command::new(example("churn"));
        Self(command.arg(dir).arg(example("shim")).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Kills it a while after it has started a few pods.
    fn kill_after(mut self, pods: usize, more: Duration) {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        assert_eq!(lines.take(pods).count(), pods);
        std::thread::sleep(more);
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn killed_at_any_moment_we_find_what_is_there_and_can_remove_it() {
    for round in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let more = Duration::from_micros(round * 2_300);
        tokio::task::spawn_blocking(move || Churn::start(&path).kill_after(3, more)).await.unwrap();
        let runtime = Process::open(dir.path(), vec![example("shim")]).await.unwrap();
        let found = runtime.list().await.unwrap();
        assert!(!found.is_empty());
        let mut again = 0;
        for pod in &found {
            // Whatever it was in the middle of can be done, and what had been started was not started again; except for one
            // that it may have been about to remove.
            runtime.create(&pod.pod).await.unwrap();
            runtime.start(&pod.pod.uid, "web", &[]).await.unwrap();
            let after = state(&runtime, &pod.pod.uid, "web").await;
            assert!(matches!(after.phase, ContainerPhase::Running { .. }), "{after:?}");
            again += after.starts - 1;
            runtime.remove(&pod.pod.uid).await.unwrap();
        }
        assert!(again <= 1, "{found:?}");
        // Shims have it among their arguments, programs in their environment. One that was just begun may take a moment.
        let path = dir.path().to_str().unwrap();
        eventually("nothing runs", async || proc::all_with(path).is_empty().then_some(())).await;
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".lock"]);
    }
}
