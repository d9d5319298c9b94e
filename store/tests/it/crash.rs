//! What a file keeps when its process is killed, and when the disk is full.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use futures::future::join_all;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use store::embedded::Embedded;
use store::{Error, Store, Transaction};

use crate::support::{PATIENCE, batches_until, commit, list, open, put, value};

/// What the child process is to do, and with which file.
const ROLE: &str = "STORE_TEST_ROLE";
const FILE: &str = "STORE_TEST_FILE";
const WRITERS: u64 = 8;
const ROUNDS: u64 = 10;

/// This program again, as a child process with a role. Arguments before its own come from `wrap`.
fn child(role: &str, path: &Path, wrap: &[&str]) -> (Child, mpsc::Receiver<String>) {
    let program = std::env::current_exe().unwrap();
    let mut command = match wrap {
        [] => Command::new(&program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(&program);
            command
        }
    };
    command.args(["--exact", "crash::the_other_process", "--ignored", "--nocapture"]);
    let mut child = command.env(ROLE, role).env(FILE, path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
    (child, lines)
}

/// Writes a line past the test harness.
fn say(line: std::fmt::Arguments<'_>) {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{line}\n").as_bytes()).unwrap();
    output.flush().unwrap();
}

/// The words after `ok` in a line of a child; `None` for what the test harness says.
fn words(line: &str) -> Option<Vec<u64>> {
    let rest = line.split_once("ok:")?.1;
    Some(rest.split_whitespace().map(|word| word.parse().unwrap()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the other tests, in a process of its own"]
async fn the_other_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var(FILE).unwrap());
    let store = Arc::new(open(&path).unwrap());
    match role.as_str() {
        "write" => drop(join_all((0..WRITERS).map(|writer| write_for_ever(store.clone(), writer))).await),
        "fill" => fill(&store).await,
        "hold" => {
            say(format_args!("ok:"));
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        role => panic!("{role}"),
    }
}

/// Counts up under a key of its own, saying so only when the store has acknowledged it.
async fn write_for_ever(store: Arc<Embedded>, writer: u64) {
    let key = format!("/count/{writer}");
    let before = value(&*store, &key, None).await.map_or(0, |value| value.trim().parse::<u64>().unwrap());
    for count in before + 1.. {
        let revision = put(&*store, &key, &format!("{count:>600}")).await;
        say(format_args!("ok: {writer} {count} {revision}"));
    }
}

#[tokio::test]
async fn a_killed_process_loses_no_acknowledged_write_and_no_event() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let mut random = RandomState::new().hash_one("kill");
    let mut acknowledged: HashMap<u64, u64> = HashMap::new();
    let (mut total, mut lost, mut seen) = (0, 0, 0);
    for round in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (mut child, lines) = child("write", &path, &[]);
        let mut newest = 0;
        let mut kill_after = 1 + (random >> 33) % 300;
        while kill_after > 0 {
            let line = lines.recv_timeout(PATIENCE).unwrap();
            kill_after -= u64::from(take(&line, &mut acknowledged, &mut newest));
        }
        std::thread::sleep(Duration::from_micros((random >> 40) % 5000));
        child.kill().unwrap();
        child.wait().unwrap();
        while let Ok(line) = lines.recv_timeout(PATIENCE) {
            take(&line, &mut acknowledged, &mut newest);
        }
        let store = open(&path).unwrap();
        for (writer, count) in &acknowledged {
            let kept = value(&store, &format!("/count/{writer}"), None).await.map_or(0, |value| value.trim().parse().unwrap());
            lost += count.saturating_sub(kept);
        }
        assert!(store.revision() >= newest, "round {round}: at {}, acknowledged {newest}", store.revision());
        let events = batches_until(&mut store.watch("/count/", seen).await.unwrap(), store.revision()).await;
        let revisions: Vec<_> = events.iter().map(|batch| batch.revision).collect();
        assert_eq!(revisions, (seen + 1..=store.revision()).collect::<Vec<_>>());
        assert!(events.iter().all(|batch| batch.events.len() == 1));
        seen = store.revision();
        total = acknowledged.values().sum();
        // Every other time the next process finds a file that was not closed cleanly twice in a row.
        if round % 2 == 0 {
            store.close().await.unwrap();
        }
    }
    println!("killed {ROUNDS} times: {total} acknowledged writes, {lost} lost");
    assert_eq!(lost, 0);
    assert!(total >= ROUNDS);
}

/// Notes an acknowledgement; whether the line was one. A line cut short by the kill is none.
fn take(line: &str, acknowledged: &mut HashMap<u64, u64>, newest: &mut u64) -> bool {
    let Some(words) = words(line) else { return false };
    let [writer, count, revision] = words[..] else { return false };
    acknowledged.insert(writer, count);
    *newest = (*newest).max(revision);
    true
}

#[tokio::test]
async fn another_process_is_told_that_the_file_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let (mut child, lines) = child("hold", &path, &[]);
    while words(&lines.recv_timeout(PATIENCE).unwrap()).is_none() {}
    let error = open(&path).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error:?}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    open(&path).unwrap();
}

/// Lets no file of this process grow beyond so many bytes.
fn limit_files(bytes: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, bytes.min(hard), hard).unwrap();
}

/// Writes until the file may not grow, checks that the store is as it was, and that it works again once there is room.
async fn fill(store: &Embedded) {
    let large = |number: u64| vec![b'a' + (number % 26) as u8; 64 << 10];
    let key = |number: u64| format!("/large/{number:04}");
    limit_files(8 << 20);
    let mut watch = store.watch("", 0).await.unwrap();
    let mut kept = 0;
    let error = loop {
        match store.commit(Transaction::new().put(key(kept), large(kept))).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 10_000, "the file has no limit");
    };
    for error in [error, store.commit(Transaction::new().put(key(kept), large(kept))).await.unwrap_err()] {
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert_eq!(store.revision(), kept);
        assert_eq!(list(store, "/large/", None).await.entries.len() as u64, kept);
        assert!(store.get(&key(kept), None).await.unwrap().is_none());
    }
    limit_files(u64::MAX);
    let revision = commit(store, Transaction::new().put(key(kept), large(kept)).delete(key(0))).await.revision;
    assert_eq!(revision, kept + 1);
    assert_eq!(batches_until(&mut watch, revision).await.len() as u64, revision);
    say(format_args!("ok: {kept} {revision}"));
}

#[tokio::test]
async fn a_full_disk_fails_the_write_and_leaves_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let (mut child, lines) = child("fill", &path, &["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    let mut outcome = None;
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        outcome = words(&line).or(outcome);
    }
    assert!(child.wait().unwrap().success());
    let [kept, revision] = outcome.unwrap()[..] else { panic!("not two numbers") };
    assert!(kept > 10);
    let store = open(&path).unwrap();
    assert_eq!(store.revision(), revision);
    let values: BTreeMap<_, _> = list(&store, "", None).await.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    assert_eq!(values.len() as u64, kept);
    for number in 1..=kept {
        assert!(values[&format!("/large/{number:04}")].iter().all(|byte| *byte == b'a' + (number % 26) as u8));
    }
}
