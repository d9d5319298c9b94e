//! Programs that somebody talks to, through pipes and through terminals.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use runtime::{Error, ExecOptions, Input, LogOptions, Output, Session, Stdin};
use tokio::time::timeout;

use crate::subject::{ProcessSubject, Subject as _, eventually, pod, shell};

const PATIENCE: Duration = Duration::from_secs(10);

async fn open(subject: &ProcessSubject, script: &str, stdin: bool, tty: bool) -> Session {
    let pod = pod("a", vec![shell("web", "exec sleep 1000")]);
    subject.runtime().create(&pod).await.unwrap();
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    subject.runtime().open(&pod.uid, "web", ExecOptions { command, stdin, tty }).await.unwrap()
}

/// What was written to output and error, and the code.
async fn end(session: &mut Session) -> (String, String, i32) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = timeout(PATIENCE, async {
        loop {
            match session.output.recv().await {
                Some(Output::Out(bytes)) => out.extend_from_slice(&bytes),
                Some(Output::Err(bytes)) => err.extend_from_slice(&bytes),
                Some(Output::Ended(code)) => break code,
                None => panic!("nobody said how it ended"),
            }
        }
    });
    let code = code.await.unwrap();
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), code)
}

/// Waits for the output to hold a text.
async fn until(session: &mut Session, text: &str) -> String {
    let mut said = String::new();
    while !said.contains(text) {
        match timeout(PATIENCE, session.output.recv()).await.unwrap() {
            Some(Output::Out(bytes)) => said.push_str(&String::from_utf8_lossy(&bytes)),
            other => panic!("{said:?}, then {other:?}"),
        }
    }
    said
}

#[tokio::test]
async fn output_and_error_come_apart_and_input_reaches_its_end() {
    let subject = ProcessSubject::new().await;
    let mut session = open(&subject, "echo bad >&2; cat; exit 5", true, false).await;
    session.input.send(Input::Bytes(Bytes::from_static(b"one\n"))).await.unwrap();
    session.input.send(Input::Bytes(Bytes::from_static(b"two\n"))).await.unwrap();
    session.input.send(Input::End).await.unwrap();
    assert_eq!(end(&mut session).await, ("one\ntwo\n".into(), "bad\n".into(), 5));
}

#[tokio::test]
async fn without_input_the_end_is_read_at_once_and_a_signal_is_a_code() {
    let subject = ProcessSubject::new().await;
    let mut session = open(&subject, "cat; kill -9 $$", false, false).await;
    assert_eq!(end(&mut session).await, (String::new(), String::new(), 137));
}

#[tokio::test]
async fn much_output_arrives_whole_however_slowly_it_is_read() {
    let subject = ProcessSubject::new().await;
    let mut session = open(&subject, "yes 0123456 | head -c 4000000", false, false).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(end(&mut session).await.0.len(), 4_000_000);
}

#[tokio::test]
async fn what_a_program_leaves_running_is_not_waited_for() {
    let subject = ProcessSubject::new().await;
    let mut session = open(&subject, "sleep 1000 & echo done", false, false).await;
    assert_eq!(end(&mut session).await, ("done\n".into(), String::new(), 0));
}

#[tokio::test]
async fn a_terminal_is_one_to_the_program_and_has_the_size_it_is_told() {
    let subject = ProcessSubject::new().await;
    let script = "tty -s && echo is-one; read line; stty size; echo \"got $line\" >&2; read more || echo over; exit 7";
    let mut session = open(&subject, script, true, true).await;
    until(&mut session, "is-one").await;
    session.input.send(Input::Resize { columns: 123, rows: 45 }).await.unwrap();
    session.input.send(Input::Bytes(Bytes::from_static(b"hello\n"))).await.unwrap();
    let said = until(&mut session, "got hello").await;
    assert!(said.contains("45 123"), "{said:?}");
    session.input.send(Input::End).await.unwrap();
    let (out, err, code) = end(&mut session).await;
    assert!(out.contains("over") && err.is_empty(), "{out:?} {err:?}");
    assert_eq!(code, 7);
}

#[tokio::test]
async fn an_interrupt_typed_at_a_terminal_reaches_the_program() {
    let subject = ProcessSubject::new().await;
    let mut session = open(&subject, "trap 'exit 42' INT; echo ready; while :; do sleep 0.1; done", true, true).await;
    until(&mut session, "ready").await;
    session.input.send(Input::Bytes(Bytes::from_static(b"\x03"))).await.unwrap();
    assert_eq!(end(&mut session).await.2, 42);
}

#[tokio::test]
async fn a_session_that_is_dropped_ends_its_program_with_all_it_started() {
    let subject = ProcessSubject::new().await;
    for tty in [false, true] {
        let mut session = open(&subject, "sleep 1000 & echo child $! .; wait", false, tty).await;
        let said = until(&mut session, " .").await;
        let pid: i32 = said.split_whitespace().nth(1).unwrap().parse().unwrap();
        drop(session);
        eventually("the child is gone", async || (!std::path::Path::new(&format!("/proc/{pid}/cwd")).exists()).then_some(())).await;
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_in_the_systems_words() {
    let subject = ProcessSubject::new().await;
    let pod = pod("a", vec![shell("web", "exec sleep 1000")]);
    subject.runtime().create(&pod).await.unwrap();
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    let options = |tty| ExecOptions { command: vec!["/no/such".into()], stdin: false, tty };
    let error = subject.runtime().open(&pod.uid, "web", options(false)).await.unwrap_err();
    assert!(matches!(&error, Error::CannotStart { .. }), "{error}");
    let mut session = subject.runtime().open(&pod.uid, "web", options(true)).await.unwrap();
    let (out, _, code) = end(&mut session).await;
    assert!(code != 0 && out.contains("/no/such"), "{code} {out:?}");
}

#[tokio::test]
async fn a_question_without_a_line_end_is_heard_and_output_and_error_come_apart() {
    let subject = ProcessSubject::new().await;
    let script = "printf 'name? '; read name; echo \"hello $name\" >&2; printf 'more? '; read more; exec sleep 1000";
    let mut asking = shell("web", script);
    asking.stdin = Stdin::Open;
    let pod = pod("a", vec![asking]);
    let runtime = subject.runtime();
    runtime.create(&pod).await.unwrap();
    runtime.start(&pod.uid, "web", &[]).await.unwrap();
    let log = async || {
        let mut read = runtime.logs(&pod.uid, "web", LogOptions::default()).await.unwrap();
        let mut text = Vec::new();
        while let Some(bytes) = read.next().await {
            text.extend_from_slice(&bytes);
        }
        String::from_utf8(text).unwrap()
    };
    eventually("the question is in the log", async || (log().await == "name? ").then_some(())).await;
    let mut session = runtime.attach(&pod.uid, "web", true).await.unwrap();
    session.input.send(Input::Bytes(Bytes::from_static(b"you\n"))).await.unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while out != b"more? " || err != b"hello you\n" {
        match timeout(PATIENCE, session.output.recv()).await.unwrap() {
            Some(Output::Out(bytes)) => out.extend_from_slice(&bytes),
            Some(Output::Err(bytes)) => err.extend_from_slice(&bytes),
            other => panic!("{other:?} after {out:?} and {err:?}"),
        }
    }
    assert_eq!(log().await, "name? hello you\nmore? ");
}
