//! Draining waits for what is in flight, and cuts it off when patience ends.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use router::Router;

use crate::backend::{Backend, until};
use crate::wire::{Kept, read_to_end, read_until};
use crate::{SOON, builtin, send_all_to};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const BRIEFLY: Duration = Duration::from_millis(50);
/// So long that a drain which ends was told to.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A drain that must end by itself.
async fn drained(router: &impl Router, endpoint: SocketAddr) -> usize {
    tokio::time::timeout(SOON, router.drain(&[endpoint], FOR_EVER)).await.expect("the drain ends in time").unwrap()
}

#[tokio::test]
async fn draining_ends_with_the_last_request_in_flight() {
    let [old, new] = [Backend::start("old").await, Backend::start("new").await];
    let router = builtin().await;
    send_all_to(&router, &[old.address]).await;
    let [mut one, mut other] = [Kept::open(router.address()).await, Kept::open(router.address()).await];
    let clients = async { tokio::join!(one.get("/hold"), other.get("/stream")) };
    let operator = async {
        old.waiting(2).await;
        send_all_to(&router, &[new.address]).await;
        let drain = drained(&router, old.address);
        tokio::pin!(drain);
        assert!(tokio::time::timeout(BRIEFLY, &mut drain).await.is_err(), "two are in flight");
        old.release();
        assert!(tokio::time::timeout(BRIEFLY, &mut drain).await.is_err(), "one is in flight");
        old.release();
        drain.await
    };
    let ((held, streamed), cut) = tokio::join!(clients, operator);
    assert_eq!(cut, 0);
    assert_eq!((held.unwrap().body.as_str(), streamed.unwrap().body.as_str()), ("old", "onetwo"));
}

#[tokio::test]
async fn what_is_left_at_the_deadline_is_cut_and_counted_as_failed() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let [mut one, mut other] = [Kept::open(router.address()).await, Kept::open(router.address()).await];
    let clients = async { tokio::join!(one.get("/hang"), other.get("/stream")) };
    let operator = async {
        until(|| backend.requests() == 2).await;
        backend.waiting(1).await;
        send_all_to(&router, &[]).await;
        router.drain(&[backend.address], BRIEFLY).await.unwrap()
    };
    let ((unanswered, torn), cut) = tokio::join!(clients, operator);
    assert_eq!(cut, 2);
    assert_eq!(unanswered.unwrap().status, StatusCode::BAD_GATEWAY);
    assert!(torn.is_err());
    backend.open(0).await;
    assert_eq!(router.totals().in_flight, 0);
    let counts = router.counts("default/shop").await.unwrap().unwrap();
    assert_eq!((counts.requests, counts.failed), (2, 2));
}

#[tokio::test]
async fn a_request_cut_before_its_answer_is_asked_again_where_it_can_be_answered() {
    let [old, new] = [Backend::start("old").await, Backend::start("new").await];
    let router = builtin().await;
    send_all_to(&router, &[old.address]).await;
    let mut kept = Kept::open(router.address()).await;
    let operator = async {
        old.waiting(1).await;
        send_all_to(&router, &[new.address]).await;
        new.release();
        router.drain(&[old.address], BRIEFLY).await.unwrap()
    };
    let (answer, cut) = tokio::join!(kept.get("/hold"), operator);
    assert_eq!((answer.unwrap().body.as_str(), cut), ("new", 1));
}

#[tokio::test]
async fn a_request_cut_while_its_endpoint_is_still_routed_is_not_asked_there_again() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut kept = Kept::open(router.address()).await;
    let operator = async {
        until(|| backend.requests() == 1).await;
        router.drain(&[backend.address], Duration::ZERO).await.unwrap()
    };
    let (answer, cut) = tokio::join!(kept.get("/hang"), operator);
    assert_eq!((answer.unwrap().status, cut, backend.requests()), (StatusCode::BAD_GATEWAY, 1, 1));
}

#[tokio::test]
async fn an_endpoint_serves_again_after_it_was_cut() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut kept = Kept::open(router.address()).await;
    let operator = async {
        until(|| backend.requests() >= 1).await;
        send_all_to(&router, &[]).await;
        router.drain(&[backend.address], Duration::ZERO).await.unwrap()
    };
    let (_, cut) = tokio::join!(kept.get("/hang"), operator);
    assert_eq!(cut, 1);
    send_all_to(&router, &[backend.address]).await;
    assert_eq!(kept.get("/").await.unwrap().body, "shop");
}

#[tokio::test]
async fn a_tunnel_is_in_flight_until_it_is_cut() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut tunnel = TcpStream::connect(router.address()).await.unwrap();
    let wish = b"GET /upgrade HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    tunnel.write_all(wish).await.unwrap();
    read_until(&mut tunnel, "\r\n\r\nshop").await;
    assert_eq!(router.totals().in_flight, 1);
    send_all_to(&router, &[]).await;
    assert_eq!(router.drain(&[backend.address], BRIEFLY).await.unwrap(), 1);
    assert_eq!(read_to_end(&mut tunnel).await, "");
    until(|| router.totals().in_flight == 0).await;
    assert_eq!(router.totals().failed, 0);
}

#[tokio::test]
async fn a_tunnel_that_ends_by_itself_lets_a_drain_end() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut tunnel = TcpStream::connect(router.address()).await.unwrap();
    let wish = b"GET /upgrade HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    tunnel.write_all(wish).await.unwrap();
    read_until(&mut tunnel, "shop").await;
    let (cut, ()) = tokio::join!(drained(&router, backend.address), async { drop(tunnel) });
    assert_eq!(cut, 0);
}

#[tokio::test]
async fn shutting_down_lets_requests_end_and_refuses_new_connections() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    let address = router.address();
    send_all_to(&router, &[backend.address]).await;
    let _idle = Kept::open(address).await;
    let mut kept = Kept::open(address).await;
    let operator = async {
        backend.waiting(1).await;
        let release = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            backend.release();
        };
        tokio::join!(router.shutdown(SOON), tokio::time::timeout(SOON, release)).0
    };
    let (answer, cut) = tokio::join!(kept.get("/hold"), operator);
    assert_eq!((answer.unwrap().body.as_str(), cut), ("shop", 0));
}

#[tokio::test]
async fn shutting_down_cuts_what_outlasts_patience() {
    for workers in [0, 1] {
        let backend = Backend::start("shop").await;
        let router = crate::builtin_with(router::builtin::Options { workers, ..Default::default() }).await;
        send_all_to(&router, &[backend.address]).await;
        let mut kept = Kept::open(router.address()).await;
        let operator = async {
            until(|| backend.requests() == 1).await;
            router.shutdown(BRIEFLY).await
        };
        let (_, cut) = tokio::join!(kept.get("/hang"), operator);
        assert_eq!(cut, 1, "{workers} workers");
    }
}
