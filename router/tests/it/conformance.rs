//! What every router keeps to, whether it carries requests or not.

use std::net::SocketAddr;
use std::time::Duration;

use router::fake::Fake;
use router::{Counts, Error, Router, Table};

use crate::{builtin, nobody, route, table};

/// One test a router, with the same words.
macro_rules! every_router {
    ($($test:ident)*) => {
        mod fake {
            $(#[tokio::test] async fn $test() { super::$test(super::Fake::default()).await })*
        }
        mod builtin {
            $(#[tokio::test] async fn $test() { super::$test(crate::builtin().await).await })*
        }
    };
}

every_router! {
    it_has_a_name_and_an_address
    a_table_can_be_applied_again_and_again
    a_contradictory_table_is_refused_and_the_next_good_one_accepted
    an_unmatchable_route_is_refused
    draining_idle_and_unknown_endpoints_returns_at_once
    counting_starts_at_zero_for_a_service_nobody_asked
}

async fn it_has_a_name_and_an_address(router: impl Router) {
    assert!(["fake", "builtin"].contains(&router.name()));
    assert_ne!(router.address().port(), 0);
    assert!(router.address().ip().is_loopback());
}

async fn a_table_can_be_applied_again_and_again(router: impl Router) {
    let shop = table([route("shop.test", "/", &[nobody().await])]);
    for table in [Table::default(), shop.clone(), shop, Table::default()] {
        router.apply(table).await.unwrap();
    }
}

async fn a_contradictory_table_is_refused_and_the_next_good_one_accepted(router: impl Router) {
    let twice = table([route("shop.test", "/a", &[]), route("SHOP.test.", "/a/", &[])]);
    let refusal = router.apply(twice).await.unwrap_err();
    assert!(matches!(refusal, Error::Refused(_)), "{refusal}");
    assert!(refusal.to_string().contains("shop.test"), "{refusal}");
    router.apply(table([route("shop.test", "/a", &[])])).await.unwrap();
}

async fn an_unmatchable_route_is_refused(router: impl Router) {
    for (host, path) in [("shop.test", "a"), ("shop test", "/"), ("shop.test:80", "/"), ("*", "/")] {
        let refusal = router.apply(table([route(host, path, &[])])).await;
        assert!(matches!(refusal, Err(Error::Refused(_))), "{host} {path}");
    }
}

async fn draining_idle_and_unknown_endpoints_returns_at_once(router: impl Router) {
    let known = nobody().await;
    router.apply(table([route("shop.test", "/", &[known])])).await.unwrap();
    let forever = Duration::from_secs(3600);
    let endpoints = [known, nobody().await];
    let drained = router.drain(&endpoints, forever);
    assert_eq!(tokio::time::timeout(crate::SOON, drained).await.unwrap().unwrap(), 0);
}

async fn counting_starts_at_zero_for_a_service_nobody_asked(router: impl Router) {
    router.start_counting("default/shop").await.unwrap();
    for service in ["default/shop", "default/never-heard-of"] {
        let counts = router.counts(service).await.unwrap();
        assert!(counts.is_none_or(|counts| counts == Counts::default()), "{service}: {counts:?}");
    }
}

#[tokio::test]
async fn the_fake_keeps_tables_and_refuses_when_told() {
    let fake = Fake::default();
    let shop = table([route("shop.test", "/", &[])]);
    fake.apply(shop.clone()).await.unwrap();
    fake.refuse(Some("the disk is full"));
    assert!(fake.apply(Table::default()).await.is_err());
    assert_eq!(fake.table(), shop);
    fake.refuse(None);
    fake.apply(Table::default()).await.unwrap();
    assert_eq!(fake.applied(), [shop, Table::default()]);
}

#[tokio::test]
async fn the_fake_drains_what_the_test_says_is_in_flight() {
    let fake = Fake::default();
    let [one, other]: [SocketAddr; 2] = [([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()];
    fake.set_in_flight(one, 2);
    fake.set_in_flight(other, 3);
    let briefly = Duration::from_millis(20);
    let first = [one];
    let (cut, ()) = tokio::join!(fake.drain(&first, crate::SOON), async { fake.set_in_flight(one, 0) });
    assert_eq!(cut.unwrap(), 0);
    assert_eq!(fake.drain(&[one, other], briefly).await.unwrap(), 3);
    assert_eq!(fake.drain(&[other], briefly).await.unwrap(), 0);
    assert_eq!(fake.drained(), [one, one, other, other]);
}

#[tokio::test]
async fn the_fake_reports_the_counts_the_test_says() {
    let fake = Fake::default();
    let seen = Counts { requests: 7, failed: 1, ..Counts::default() };
    fake.set_counts("default/shop", seen);
    assert_eq!(fake.counts("default/shop").await.unwrap(), Some(seen));
    fake.start_counting("default/shop").await.unwrap();
    assert_eq!(fake.counts("default/shop").await.unwrap(), Some(Counts::default()));
}

#[tokio::test]
async fn a_dropped_builtin_router_frees_its_port() {
    let router = builtin().await;
    let address = router.address();
    drop(router);
    let bound = async {
        while tokio::net::TcpListener::bind(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::SOON, bound).await.unwrap();
}
