//! Clients that are slow, silent, verbose or many.

use std::time::Duration;

use router::Router;
use router::builtin::Options;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::backend::{Backend, until};
use crate::wire::{Kept, read_to_end, read_until};
use crate::{SOON, builtin, builtin_with, send_all_to};

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_head_that_trickles_in_is_not_waited_for() {
    let router = builtin_with(Options { header_timeout: SHORT, ..Options::default() }).await;
    let mut slow = TcpStream::connect(router.address()).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let trickle = async {
        while slow.write_all(b"X: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, trickle).await.expect("the router closes the connection");
    until(|| router.totals().connections == 0).await;
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let router = builtin_with(Options { header_timeout: SHORT, ..Options::default() }).await;
    let mut silent = TcpStream::connect(router.address()).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
}

#[tokio::test]
async fn a_second_head_that_stops_half_way_is_not_waited_for_either() {
    let backend = Backend::start("shop").await;
    let router = builtin_with(Options { header_timeout: SHORT, ..Options::default() }).await;
    send_all_to(&router, &[backend.address]).await;
    let mut slow = TcpStream::connect(router.address()).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_until(&mut slow, "shop").await;
    slow.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let rest = read_to_end(&mut slow).await;
    assert!(rest.starts_with("HTTP/1.1 408 ") && !rest.contains("200"), "{rest}");
}

#[tokio::test]
async fn rest_between_requests_may_be_longer_than_a_head_but_not_for_ever() {
    let backend = Backend::start("shop").await;
    let options = Options { header_timeout: SHORT, idle_timeout: Duration::from_millis(1500), ..Options::default() };
    let router = builtin_with(options).await;
    send_all_to(&router, &[backend.address]).await;
    let mut kept = Kept::open(router.address()).await;
    kept.get("/").await.unwrap();
    tokio::time::sleep(3 * SHORT).await;
    assert_eq!(kept.get("/").await.unwrap().body, "shop");
    until(|| kept.0.is_closed()).await;
}

#[tokio::test]
async fn an_answer_that_takes_its_time_outlives_the_limits_for_clients() {
    let backend = Backend::start("shop").await;
    let options = Options { header_timeout: SHORT, idle_timeout: SHORT, ..Options::default() };
    let router = builtin_with(options).await;
    send_all_to(&router, &[backend.address]).await;
    let mut kept = Kept::open(router.address()).await;
    let (answer, ()) = tokio::join!(kept.get("/stream"), async {
        backend.waiting(1).await;
        tokio::time::sleep(5 * SHORT).await;
        backend.release();
    });
    assert_eq!(answer.unwrap().body, "onetwo");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut client = TcpStream::connect(router.address()).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(200 * 1024));
    // The router may close before it has read everything.
    let _ = client.write_all(head.as_bytes()).await;
    let answer = read_to_end(&mut client).await;
    assert!(answer.is_empty() || answer.contains(" 431 "), "{answer}");
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_take_the_place_of_one_at_rest() {
    let backend = Backend::start("shop").await;
    let router = builtin_with(Options { connections_max: Some(2), ..Options::default() }).await;
    send_all_to(&router, &[backend.address]).await;
    let mut first = Kept::open(router.address()).await;
    first.get("/").await.unwrap();
    let mut silent = TcpStream::connect(router.address()).await.unwrap();
    until(|| router.totals().connections == 2).await;
    first.get("/").await.unwrap();
    let mut third = Kept::open(router.address()).await;
    assert_eq!(third.get("/").await.unwrap().body, "shop");
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(first.get("/").await.unwrap().body, "shop");
    assert_eq!(router.totals().connections, 2);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_while_all_are_at_work() {
    let backend = Backend::start("much to read ".repeat(2_000_000).leak()).await;
    let router = builtin_with(Options { connections_max: Some(1), ..Options::default() }).await;
    send_all_to(&router, &[backend.address]).await;
    let mut first = TcpStream::connect(router.address()).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until(|| backend.requests() == 1).await;
    let mut second = Kept::open(router.address()).await;
    let (answer, ()) = tokio::join!(second.get("/"), async {
        tokio::time::sleep(SHORT).await;
        assert_eq!((backend.requests(), router.totals().connections), (1, 1));
        drop(first);
    });
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let backend = Backend::start("much to read ".repeat(2_000_000).leak()).await;
    let router = builtin_with(Options { write_timeout: SHORT, ..Options::default() }).await;
    send_all_to(&router, &[backend.address]).await;
    let mut deaf = TcpStream::connect(router.address()).await.unwrap();
    deaf.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until(|| router.totals().connections == 1).await;
    until(|| router.totals().connections == 0).await;
}
