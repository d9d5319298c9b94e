//! The table changes while requests run, and no client notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use router::builtin::{Builtin, Options};
use router::{Router, Table};

use crate::backend::{Backend, until};
use crate::wire::{Kept, get, post_request};
use crate::{builtin, builtin_with, route, send_all_to, table};

/// Clients that ask over kept-alive connections, one after the other, until stopped.
struct Crowd {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Crowd {
    fn gather(router: &Builtin, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let address = router.address();
        let client = |number: usize| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(async move {
                let mut kept = Kept::open(address).await;
                let mut failures = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let answer =
                        if number.is_multiple_of(2) { kept.get("/").await } else { kept.ask(post_request("/echo", "hello")).await };
                    asked.fetch_add(1, Ordering::SeqCst);
                    match answer {
                        Ok(answer) if answer.status == StatusCode::OK => {}
                        failure => failures.push(format!("{failure:?}")),
                    }
                }
                failures
            })
        };
        Self { clients: (0..clients).map(client).collect(), stop, asked }
    }

    async fn ask(&self, more: usize) {
        let before = self.asked.load(Ordering::SeqCst);
        until(|| self.asked.load(Ordering::SeqCst) >= before + more).await;
    }

    async fn failures(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        futures::future::join_all(self.clients).await.into_iter().flat_map(Result::unwrap).collect()
    }
}

async fn roll_over(router: &Builtin) {
    let mut serving = vec![Backend::start("zero").await, Backend::start("zero").await];
    send_all_to(router, &[serving[0].address, serving[1].address]).await;
    let crowd = Crowd::gather(router, 8);
    crowd.ask(50).await;
    router.start_counting("default/shop").await.unwrap();
    for name in ["one", "two", "three", "four", "five"] {
        let next = vec![Backend::start(name).await, Backend::start(name).await];
        send_all_to(router, &[next[0].address, next[1].address]).await;
        let old = std::mem::replace(&mut serving, next);
        let addresses = [old[0].address, old[1].address];
        assert_eq!(router.drain(&addresses, crate::SOON).await.unwrap(), 0);
        for backend in old {
            backend.kill().await;
        }
        crowd.ask(50).await;
    }
    assert_eq!(crowd.failures().await, Vec::<String>::new());
    let counts = router.counts("default/shop").await.unwrap().unwrap();
    assert!(counts.requests >= 250, "{counts:?}");
    assert_eq!(counts.failed, 0, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_versions_follow_each_other_and_the_old_are_killed() {
    roll_over(&builtin().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_with_threads_of_its_own_either() {
    roll_over(&builtin_with(Options { workers: 2, ..Options::default() }).await).await;
}

#[tokio::test]
async fn after_apply_returns_no_request_sees_the_old_table() {
    let [old, new] = [Backend::start("old").await, Backend::start("new").await];
    let router = builtin().await;
    let mut kept = Kept::open(router.address()).await;
    for _ in 0..50 {
        send_all_to(&router, &[old.address]).await;
        assert_eq!(kept.get("/").await.unwrap().body, "old");
        send_all_to(&router, &[new.address]).await;
        assert_eq!(kept.get("/").await.unwrap().body, "new");
    }
    assert_eq!(router.totals().connections, 1);
}

#[tokio::test]
async fn a_refused_table_leaves_the_old_one_serving() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let twice = table([route("", "/", &[]), route("", "/", &[])]);
    assert!(router.apply(twice).await.is_err());
    assert_eq!(get(router.address(), "shop.test", "/").await.body, "shop");
}

#[tokio::test]
async fn idle_connections_to_a_removed_endpoint_are_closed_at_once_and_busy_ones_after_their_request() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let [mut one, mut other] = [Kept::open(router.address()).await, Kept::open(router.address()).await];
    let operator = async {
        backend.waiting(2).await;
        backend.release();
        backend.waiting(1).await;
        until(|| router.totals().in_flight == 1).await;
        assert_eq!(backend.connections(), 2);
        router.apply(Table::default()).await.unwrap();
        backend.open(1).await;
        backend.release();
        backend.open(0).await;
    };
    tokio::join!(one.get("/hold"), other.get("/hold"), operator).2
}

#[tokio::test]
async fn a_request_in_flight_to_a_removed_endpoint_goes_on_and_its_connection_is_not_kept() {
    let backend = Backend::start("shop").await;
    let router = builtin().await;
    send_all_to(&router, &[backend.address]).await;
    let mut kept = Kept::open(router.address()).await;
    let (answer, ()) = tokio::join!(kept.get("/hold"), async {
        backend.waiting(1).await;
        router.apply(Table::default()).await.unwrap();
        backend.release();
    });
    assert_eq!(answer.unwrap().body, "shop");
    backend.open(0).await;
}

#[tokio::test]
async fn a_killed_copy_is_masked_while_another_lives() {
    let [mortal, survivor] = [Backend::start("mortal").await, Backend::start("survivor").await];
    let router = builtin_with(Options { ejection: Duration::from_millis(50), ..Options::default() }).await;
    send_all_to(&router, &[mortal.address, survivor.address]).await;
    let mut kept = Kept::open(router.address()).await;
    for _ in 0..4 {
        kept.get("/").await.unwrap();
    }
    mortal.kill().await;
    for _ in 0..40 {
        assert_eq!(kept.get("/").await.unwrap().body, "survivor");
    }
    assert_eq!(router.totals().failed, 0);
}
