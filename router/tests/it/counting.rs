//! The counts that go into a receipt are exact.

use std::time::Duration;

use http::StatusCode;
use router::builtin::Options;
use router::{Counts, Router};

use crate::backend::{Backend, until};
use crate::wire::{Kept, get, get_request};
use crate::{builtin, builtin_with, nobody, route, send_all_to, table};

async fn counts(router: &impl Router) -> Counts {
    router.counts("default/shop").await.unwrap().unwrap()
}

#[tokio::test]
async fn every_request_is_counted_once_and_counting_begins_afresh() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    router.start_counting("default/shop").await.unwrap();
    let mut kept = Kept::open(router.address()).await;
    for _ in 0..30 {
        kept.get("/").await.unwrap();
    }
    let seen = counts(&router).await;
    assert_eq!((seen.requests, seen.failed), (30, 0));
    assert!(seen.longest_stall > Duration::ZERO && seen.p99 <= seen.longest_stall, "{seen:?}");
    router.start_counting("default/shop").await.unwrap();
    assert_eq!(counts(&router).await, Counts::default());
    kept.get("/").await.unwrap();
    assert_eq!(counts(&router).await.requests, 1);
}

#[tokio::test]
async fn counts_survive_a_swap() {
    let [one, other] = [Backend::start("one").await, Backend::start("other").await];
    let router = builtin().await;
    send_all_to(&router, &[one.address]).await;
    get(router.address(), "shop.test", "/").await;
    send_all_to(&router, &[other.address]).await;
    get(router.address(), "shop.test", "/").await;
    assert_eq!(counts(&router).await.requests, 2);
}

#[tokio::test]
async fn our_own_5xx_are_failures_and_what_endpoints_answer_is_not() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    for (endpoints, path, status, failed) in [
        (vec![backend.address], "/503", StatusCode::SERVICE_UNAVAILABLE, 0),
        (vec![], "/", StatusCode::SERVICE_UNAVAILABLE, 1),
        (vec![nobody().await], "/", StatusCode::BAD_GATEWAY, 1),
    ] {
        send_all_to(&router, &endpoints).await;
        router.start_counting("default/shop").await.unwrap();
        assert_eq!(get(router.address(), "shop.test", path).await.status, status);
        let seen = counts(&router).await;
        assert_eq!((seen.requests, seen.failed), (1, failed), "{endpoints:?} {path}");
    }
    assert_eq!((router.totals().requests, router.totals().failed), (3, 2));
}

#[tokio::test]
async fn requests_without_a_route_belong_to_no_service() {
    let router = builtin().await;
    router.apply(table([route("shop.test", "/a", &[])])).await.unwrap();
    get(router.address(), "shop.test", "/b").await;
    assert_eq!(counts(&router).await.requests, 0);
    assert_eq!((router.totals().unrouted, router.totals().failed), (1, 0));
}

#[tokio::test]
async fn an_answer_broken_off_by_the_endpoint_is_a_failure() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut kept = Kept::open(router.address()).await;
    let (answer, ()) = tokio::join!(kept.get("/break"), async {
        backend.waiting(1).await;
        backend.release();
    });
    assert!(answer.is_err(), "the client must not take a torn answer for a whole one");
    let seen = counts(&router).await;
    assert_eq!((seen.requests, seen.failed), (1, 1));
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_and_is_no_failure() {
    let backend = Backend::start("shop").await;
    let router = builtin_with(Options { silence_max: Duration::from_millis(300), ..Options::default() }).await;
    send_all_to(&router, &[backend.address]).await;
    let mut before_head = Kept::open(router.address()).await;
    let asked = before_head.0.send_request(get_request("shop.test", "/hang"));
    let mut after_head = Kept::open(router.address()).await;
    let head = after_head.0.send_request(get_request("shop.test", "/stream"));
    let gone = tokio::spawn(async move {
        let _unread = head.await.unwrap();
        asked.await
    });
    until(|| backend.requests() == 2).await;
    backend.waiting(1).await;
    gone.abort();
    let _ = gone.await;
    drop((before_head, after_head));
    until(|| router.totals().in_flight == 0).await;
    let seen = counts(&router).await;
    assert_eq!((seen.requests, seen.failed), (2, 0));
}
