//! Probes against what answers, and how.

use std::time::Duration;

use runtime::{Check, Container, ProbeAnswer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::subject::{ProcessSubject, Subject, pod, port, shell};

/// Probes a container in whose place the test answers, with this text, and tells what it was asked.
async fn ask(answer: &'static str, headers: &[(&str, &str)], patience: Duration) -> (ProbeAnswer, String, u16) {
    let subject = ProcessSubject::new().await;
    let web = Container { ports: vec![port("http")], ..shell("web", "exec sleep 1000") };
    let pod = pod("a", vec![web]);
    let endpoint = subject.runtime().create(&pod).await.unwrap().endpoints["http"];
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    let listener = TcpListener::bind(endpoint).await.unwrap();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        let asked = String::from_utf8(asked).unwrap();
        // Kept open: an answer must not need the end of the connection.
        (asked, stream)
    });
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let check = Check::Http { port: "http".into(), path: "/ready?deep=1".into(), headers };
    let told = subject.runtime().probe(&pod.uid, "web", &check, patience).await.unwrap();
    let (asked, _stream) = answering.await.unwrap();
    subject.runtime().remove(&pod.uid).await.unwrap();
    (told, asked, endpoint.port())
}

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_answer_below_400_passes_and_the_question_is_a_plain_get() {
    let (told, asked, port) = ask("HTTP/1.1 302 Found\r\nlocation: /login\r\n\r\n", &[("X-Probe", "yes")], PATIENCE).await;
    assert_eq!(told, ProbeAnswer::yes(format!("GET http://127.0.0.1:{port}/ready?deep=1 answered 302")));
    assert!(asked.starts_with("GET /ready?deep=1 HTTP/1.1\r\n"), "{asked}");
    for header in ["x-probe: yes", "connection: close", &format!("host: 127.0.0.1:{port}")] {
        assert!(asked.contains(&format!("{header}\r\n")), "{asked}");
    }
}

#[tokio::test]
async fn a_host_that_is_asked_for_takes_the_place_of_the_address() {
    let (told, asked, _) = ask("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", &[("Host", "shop.test")], PATIENCE).await;
    assert!(told.passed && asked.contains("host: shop.test\r\n") && asked.matches("host:").count() == 1, "{told:?} {asked}");
}

#[tokio::test]
async fn a_refusal_is_told_with_the_beginning_of_what_it_said() {
    let (told, _, port) = ask("HTTP/1.1 503 Busy\r\ncontent-length: 10\r\n\r\nwarming up", &[], PATIENCE).await;
    assert_eq!(told, ProbeAnswer::no(format!("GET http://127.0.0.1:{port}/ready?deep=1 answered 503: \"warming up\"")));
    // The rest of this body never comes.
    let (told, ..) = ask("HTTP/1.1 500 Oh\r\ncontent-length: 1000\r\n\r\nhalf", &[], PATIENCE).await;
    assert!(told.detail.ends_with("answered 500: \"half\""), "{told:?}");
}

#[tokio::test]
async fn silence_is_told_with_how_long_it_lasted() {
    let (told, _, port) = ask("", &[], Duration::from_millis(500)).await;
    assert_eq!(told, ProbeAnswer::no(format!("no answer from http://127.0.0.1:{port}/ready?deep=1 within 500ms")));
}

#[tokio::test]
async fn what_is_no_http_and_what_cannot_be_asked_fail() {
    let (told, ..) = ask("SSH-2.0-OpenSSH_9.6\r\n\r\n", &[], PATIENCE).await;
    assert!(!told.passed && told.detail.contains(" failed: "), "{told:?}");

    let subject = ProcessSubject::new().await;
    let web = Container { ports: vec![port("http")], ..shell("web", "exec sleep 1000") };
    let pod = pod("a", vec![web]);
    subject.runtime().create(&pod).await.unwrap();
    subject.runtime().start(&pod.uid, "web", &[]).await.unwrap();
    let check = Check::Http { port: "http".into(), path: "/a b".into(), headers: vec![] };
    let told = subject.runtime().probe(&pod.uid, "web", &check, PATIENCE).await.unwrap();
    assert!(told.detail.starts_with("cannot ask http://127.0.0.1:"), "{told:?}");
}
