//! How long requests of a route may take, and how each refusal is told.

use std::time::Duration;

use http::StatusCode;
use router::builtin::Options;
use router::{Route, Router, Timeouts};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::backend::{Backend, until};
use crate::wire::{get, read_until};
use crate::{builtin, builtin_with, nobody, route, table};

const SHORT: Option<Duration> = Some(Duration::from_millis(150));

async fn with(timeouts: Timeouts, backend: &Backend) -> router::builtin::Builtin {
    let router = builtin_with(Options { response_timeout: Duration::from_millis(300), ..Options::default() }).await;
    router.apply(table([Route { timeouts, ..route("", "/", &[backend.address]) }])).await.unwrap();
    router
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_the_time_of_its_route_is_504() {
    for (timeouts, reason) in [
        (Timeouts { request: SHORT, backend_request: None }, "request_timeout"),
        (Timeouts { request: None, backend_request: SHORT }, "answer_timeout"),
        (Timeouts::default(), "answer_timeout"),
    ] {
        let backend = Backend::start("shop").await;
        let router = with(timeouts, &backend).await;
        let answer = get(router.address(), "shop.test", "/hang").await;
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{timeouts:?}");
        assert_eq!(answer.headers["proxy-status"], "conductor; error=http_response_timeout");
        assert!(router.refusals().contains(&(reason, 1)), "{timeouts:?}: {:?}", router.refusals());
        assert_eq!(backend.requests(), 1, "it is not tried again");
    }
}

#[tokio::test]
async fn a_route_may_wait_longer_than_the_server_does_by_itself() {
    for timeouts in [
        Timeouts { request: Some(Duration::ZERO), backend_request: None },
        Timeouts { request: None, backend_request: Some(Duration::from_secs(20)) },
    ] {
        let backend = Backend::start("shop").await;
        let router = with(timeouts, &backend).await;
        let (answer, ()) = tokio::join!(get(router.address(), "shop.test", "/hold"), async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            backend.release();
        });
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "shop"), "{timeouts:?}");
    }
}

#[tokio::test]
async fn a_stream_goes_on_for_ever_unless_its_route_says_otherwise() {
    for (timeouts, is_cut) in [(Timeouts::default(), false), (Timeouts { request: SHORT, backend_request: None }, true)] {
        let backend = Backend::start("shop").await;
        let router = with(timeouts, &backend).await;
        let mut client = TcpStream::connect(router.address()).await.unwrap();
        client.write_all(b"GET /stream HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
        read_until(&mut client, "one").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        backend.release();
        if is_cut {
            let rest = crate::wire::read_to_end(&mut client).await;
            assert!(!rest.contains("two") && !rest.contains("0\r\n\r\n"), "a torn answer must not look whole: {rest:?}");
            until(|| router.totals().failed == 1).await;
        } else {
            read_until(&mut client, "two").await;
        }
    }
}

#[tokio::test]
async fn a_tunnel_outlives_the_time_of_its_route() {
    let backend = Backend::start("shop").await;
    let router = with(Timeouts { request: SHORT, backend_request: SHORT }, &backend).await;
    let mut tunnel = TcpStream::connect(router.address()).await.unwrap();
    tunnel.write_all(b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await.unwrap();
    read_until(&mut tunnel, "shop").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    tunnel.write_all(b"hello").await.unwrap();
    read_until(&mut tunnel, "hello").await;
}

#[tokio::test]
async fn each_refusal_has_a_reason_that_is_counted_and_told() {
    let router = builtin().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closing = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
        }
    });
    let routes = [route("empty.test", "/", &[]), route("dead.test", "/", &[nobody().await]), route("closing.test", "/", &[closing])];
    router.apply(table(routes)).await.unwrap();
    for (host, status, reason, error) in [
        ("empty.test", 503, "no_ready_copy", "destination_unavailable"),
        ("dead.test", 502, "connect_failed", "connection_refused"),
        ("closing.test", 502, "connection_closed", "connection_terminated"),
    ] {
        let answer = get(router.address(), host, "/").await;
        assert_eq!(
            (answer.status.as_u16(), answer.headers["proxy-status"].to_str().unwrap()),
            (status, &*format!("conductor; error={error}"))
        );
        assert!(router.refusals().contains(&(reason, 1)), "{:?}", router.refusals());
    }
    assert_eq!(get(router.address(), "nowhere.test", "/").await.headers.get("proxy-status"), None);
    assert!(router.refusals().contains(&("no_route", 1)));
}
