//! What every store promises, run over each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use futures::future::join_all;
use store::{Compare, Error, Event, Limits, ListOptions, Store, Transaction};

use crate::support::{Kind, batch, batches_until, commit, keys, list, next, put, value};

/// Runs each function over both stores.
macro_rules! over_both {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::support::Kind::Memory).await; })*
        }
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::support::Kind::Embedded).await; })*
        }
    };
}

over_both! {
    an_empty_store_is_at_revision_zero,
    one_transaction_is_one_revision,
    a_put_keeps_when_the_key_was_created,
    a_transaction_that_changes_nothing_moves_no_revision,
    a_key_named_twice_ends_as_the_last_operation_says,
    a_failed_comparison_changes_nothing_and_names_the_key,
    every_comparison_is_against_the_state_before_the_transaction,
    a_list_is_sorted_and_stays_under_its_prefix,
    pages_at_one_revision_ignore_writes_in_between,
    a_read_at_an_older_revision_sees_what_was_there,
    a_revision_not_reached_yet_is_refused,
    forgotten_revisions_are_refused_as_too_old,
    the_history_is_bounded_by_events_and_by_bytes,
    a_watch_reports_what_was_and_what_is,
    a_watch_resumes_without_gap_or_repeat_while_others_write,
    a_watch_sees_only_its_prefix,
    a_dropped_watch_leaves_the_others_alone,
    a_watch_that_falls_behind_is_told_and_slows_nobody,
    a_watch_ends_when_its_store_does,
    concurrent_counters_lose_nothing,
}

async fn an_empty_store_is_at_revision_zero(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    assert_eq!(store.revision(), 0);
    assert_eq!(value(store, "/a", None).await, None);
    assert_eq!(value(store, "/a", Some(0)).await, None);
    let page = list(store, "", Some(0)).await;
    assert_eq!((page.revision, page.remaining, page.entries.len()), (0, 0, 0));
}

async fn one_transaction_is_one_revision(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    let committed = commit(store, Transaction::new().put("/a", "1").put("/b", "2").delete("/absent")).await;
    assert_eq!((committed.revision, committed.changed, store.revision()), (1, true, 1));
    let page = list(store, "/", None).await;
    assert_eq!(keys(&page), ["/a", "/b"]);
    assert!(page.entries.iter().all(|entry| (entry.created, entry.modified) == (1, 1)));
    assert_eq!(commit(store, Transaction::new().delete("/a").put("/b", "3")).await.revision, 2);
    assert_eq!(keys(&list(store, "/", None).await), ["/b"]);
}

async fn a_put_keeps_when_the_key_was_created(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    put(store, "/a", "1").await;
    put(store, "/a", "2").await;
    let entry = store.get("/a", None).await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified, &*entry.value), (1, 2, &b"2"[..]));
    commit(store, Transaction::new().delete("/a")).await;
    put(store, "/a", "3").await;
    let entry = store.get("/a", None).await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified, entry.key.as_str()), (4, 4, "/a"));
}

async fn a_transaction_that_changes_nothing_moves_no_revision(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    put(store, "/a", "1").await;
    let mut watch = store.watch("/", 1).await.unwrap();
    let nothings = [
        Transaction::new(),
        Transaction::new().put("/a", "1"),
        Transaction::new().delete("/b"),
        Transaction::new().when(Compare::Present("/a".into())).put("/a", "1").delete("/b"),
        Transaction::new().put("/b", "new").delete("/b"),
        Transaction::new().put("/a", "2").put("/a", "1"),
    ];
    for nothing in nothings {
        let committed = commit(store, nothing.clone()).await;
        assert_eq!((committed.revision, committed.changed), (1, false), "{nothing:?}");
    }
    assert_eq!(store.get("/a", None).await.unwrap().unwrap().modified, 1);
    put(store, "/c", "1").await;
    assert_eq!(batch(&mut watch).await.revision, 2);
}

async fn a_key_named_twice_ends_as_the_last_operation_says(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    put(store, "/a", "1").await;
    commit(store, Transaction::new().put("/a", "2").put("/b", "1").delete("/a").put("/a", "3")).await;
    let batch = batch(&mut store.watch("/", 1).await.unwrap()).await;
    let seen: Vec<_> = batch.events.iter().map(|event| (event.key.as_str(), event.previous.is_some())).collect();
    assert_eq!(seen, [("/a", true), ("/b", false)]);
    assert_eq!(store.get("/a", None).await.unwrap().unwrap().created, 2);
}

async fn a_failed_comparison_changes_nothing_and_names_the_key(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    put(store, "/there", "1").await;
    put(store, "/other", "1").await;
    let cases = [
        (Compare::Absent("/there".into()), "/there", 1),
        (Compare::Present("/gone".into()), "/gone", 0),
        (Compare::Modified("/there".into(), 2), "/there", 1),
        (Compare::Modified("/gone".into(), 1), "/gone", 0),
    ];
    for (compare, expected, at) in cases {
        let holds = Compare::Present("/other".into());
        let transaction = Transaction::new().when(holds).when(compare).put("/new", "x").delete("/there");
        let error = store.commit(transaction).await.unwrap_err();
        assert!(matches!(&error, Error::Conflict { key, actual } if key == expected && *actual == at), "{error:?}");
    }
    assert_eq!(store.revision(), 2);
    assert_eq!(keys(&list(store, "", None).await), ["/other", "/there"]);
}

async fn every_comparison_is_against_the_state_before_the_transaction(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    put(store, "/a", "1").await;
    let transaction = Transaction::new().delete("/a").put("/b", "1");
    let transaction = transaction.when(Compare::Modified("/a".into(), 1)).when(Compare::Absent("/b".into()));
    assert_eq!(commit(store, transaction).await.revision, 2);
    assert_eq!(keys(&list(store, "", None).await), ["/b"]);
}

async fn a_list_is_sorted_and_stays_under_its_prefix(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    for key in ["/v1/pods/b/x", "/v1/pods/a/z", "/v1/podsets/a", "/v1/pods/a/y", "/v1/pods", "/v1/pods/ä/x"] {
        put(store, key, key).await;
    }
    assert_eq!(keys(&list(store, "/v1/pods/", None).await), ["/v1/pods/a/y", "/v1/pods/a/z", "/v1/pods/b/x", "/v1/pods/ä/x"]);
    assert_eq!(keys(&list(store, "/v1/pods/a/", None).await), ["/v1/pods/a/y", "/v1/pods/a/z"]);
    assert!(list(store, "/v2", None).await.entries.is_empty());
    let before = ListOptions { prefix: "/v1/pods/".into(), after: Some("/a".into()), ..ListOptions::default() };
    assert_eq!(store.list(before).await.unwrap().entries.len(), 4);
    let beyond = ListOptions { prefix: "/v1/pods/".into(), after: Some("/v1/x".into()), ..ListOptions::default() };
    assert_eq!(store.list(beyond).await.unwrap().entries.len(), 0);
}

async fn pages_at_one_revision_ignore_writes_in_between(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    for number in 0..10 {
        put(store, &format!("/k/{number}"), "old").await;
    }
    let mut seen = Vec::new();
    let mut options = ListOptions { prefix: "/k/".into(), limit: Some(3), ..ListOptions::default() };
    for round in 0.. {
        let page = store.list(options.clone()).await.unwrap();
        assert_eq!(page.revision, 10);
        assert_eq!(page.remaining, 10 - seen.len() - page.entries.len());
        seen.extend(page.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())));
        options.at = Some(page.revision);
        options.after = seen.last().map(|(key, _)| key.clone());
        if page.remaining == 0 {
            break;
        }
        let noise =
            Transaction::new().put(format!("/k/{round}x"), "new").put("/k/9", format!("{round}")).delete(format!("/k/{}", 8 - round));
        commit(store, noise).await;
    }
    let expected: Vec<_> = (0..10).map(|number| (format!("/k/{number}"), "old".into())).collect();
    assert_eq!(seen, expected);
}

async fn a_read_at_an_older_revision_sees_what_was_there(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    put(store, "/a", "1").await;
    put(store, "/b", "1").await;
    put(store, "/a", "2").await;
    commit(store, Transaction::new().delete("/a")).await;
    put(store, "/a", "3").await;
    let expected = [None, Some("1"), Some("1"), Some("2"), None, Some("3")];
    for (at, expected) in (0..).zip(expected) {
        assert_eq!(value(store, "/a", Some(at)).await.as_deref(), expected, "at {at}");
        let page = list(store, "/a", Some(at)).await;
        let listed = page.entries.first().map(|entry| std::str::from_utf8(&entry.value).unwrap());
        assert_eq!((page.revision, listed), (at, expected));
    }
    let entry = store.get("/a", Some(3)).await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified), (1, 3));
}

async fn a_revision_not_reached_yet_is_refused(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    put(store, "/a", "1").await;
    let is_future = |error: &Error| matches!(error, Error::Future { asked: 2, current: 1 });
    assert!(is_future(&store.get("/a", Some(2)).await.unwrap_err()));
    assert!(is_future(&store.list(ListOptions { at: Some(2), ..ListOptions::default() }).await.unwrap_err()));
    assert!(is_future(&store.watch("/", 2).await.err().unwrap()));
    assert!(is_future(&store.compact(2).await.unwrap_err()));
}

async fn forgotten_revisions_are_refused_as_too_old(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    for number in 1..=5 {
        put(store, "/a", &number.to_string()).await;
    }
    store.compact(3).await.unwrap();
    store.compact(2).await.unwrap();
    let is_compacted = |error: &Error| matches!(error, Error::Compacted { asked: 2, oldest: 3 });
    assert!(is_compacted(&store.get("/a", Some(2)).await.unwrap_err()));
    assert!(is_compacted(&store.list(ListOptions { at: Some(2), ..ListOptions::default() }).await.unwrap_err()));
    let error = store.watch("/", 2).await.err().unwrap();
    assert!(is_compacted(&error));
    assert!(error.to_string().contains("too old"));
    assert_eq!(value(store, "/a", Some(3)).await.as_deref(), Some("3"));
    let revisions: Vec<_> = batches_until(&mut store.watch("/", 3).await.unwrap(), 5).await.iter().map(|batch| batch.revision).collect();
    assert_eq!(revisions, [4, 5]);
    store.compact(5).await.unwrap();
    assert_eq!(value(store, "/a", None).await.as_deref(), Some("5"));
    assert_eq!(put(store, "/a", "6").await, 6);
    assert_eq!(value(store, "/a", Some(5)).await.as_deref(), Some("5"));
}

async fn the_history_is_bounded_by_events_and_by_bytes(kind: Kind) {
    let few = Limits { history_events_max: 4, ..Limits::default() };
    let subject = kind.open_with(few);
    for number in 0..10 {
        put(&*subject.store, "/a", &number.to_string()).await;
    }
    let error = subject.store.get("/a", Some(5)).await.unwrap_err();
    assert!(matches!(error, Error::Compacted { oldest: 6, .. }), "{error:?}");
    assert_eq!(value(&*subject.store, "/a", Some(6)).await.as_deref(), Some("5"));

    let small = Limits { history_bytes_max: 10_000, ..Limits::default() };
    let subject = kind.open_with(small);
    for number in 0..10_u8 {
        commit(&*subject.store, Transaction::new().put("/a", vec![number; 4000])).await;
    }
    let error = subject.store.get("/a", Some(7)).await.unwrap_err();
    assert!(matches!(error, Error::Compacted { oldest: 8, .. }), "{error:?}");
    assert!(subject.store.get("/a", Some(8)).await.unwrap().is_some());
}

async fn a_watch_reports_what_was_and_what_is(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    put(store, "/a", "1").await;
    let mut watch = store.watch("/", 0).await.unwrap();
    put(store, "/a", "2").await;
    commit(store, Transaction::new().delete("/a").put("/b", "1")).await;
    let batches = batches_until(&mut watch, 3).await;
    let at = |revision| async move { store.get("/a", Some(revision)).await.unwrap() };
    let event = |revision, previous, entry| Event { key: "/a".into(), revision, entry, previous };
    assert_eq!(batches[0].events, [event(1, None, at(1).await)]);
    assert_eq!(batches[1].events, [event(2, at(1).await, at(2).await)]);
    assert_eq!(batches[2].events[0], event(3, at(2).await, None));
    assert_eq!(batches[2].events[1].key, "/b");
    assert_eq!(batches[2].events.len(), 2);
}

async fn a_watch_resumes_without_gap_or_repeat_while_others_write(kind: Kind) {
    const WATCHES: u64 = 150;
    let subject = kind.open_with(Limits { history_events_max: 10_000_000, watch_batches_max: 1_000_000, ..Limits::default() });
    let store: Arc<dyn Store> = Arc::from(subject.store);
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2).map(|writer| tokio::spawn(write_until(done.clone(), store.clone(), writer))).collect();
    let mut seen = 0;
    for round in 0..WATCHES {
        // A few batches of each watch are read, some from the past and some as they come, then the next resumes.
        let mut watch = store.watch("/w/", seen).await.unwrap();
        for _ in 0..1 + round % 17 {
            let batch = batch(&mut watch).await;
            assert_eq!((batch.revision, batch.events.len()), (seen + 1, 1));
            seen += 1;
        }
        // Behind by much at times, and not at all at others.
        if round % 3 == 0 {
            let mut watch = store.watch("/w/", seen).await.unwrap();
            seen = batches_until(&mut watch, store.revision()).await.iter().fold(seen, |seen, batch| {
                assert_eq!(batch.revision, seen + 1);
                batch.revision
            });
        }
    }
    done.store(true, Ordering::Release);
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    assert_eq!(
        batches_until(&mut store.watch("/w/", seen - 1).await.unwrap(), store.revision()).await.len() as u64,
        store.revision() - seen + 1
    );
}

/// Writes with short rests: the reader shares the processors.
async fn write_until(done: Arc<AtomicBool>, store: Arc<dyn Store>, writer: u64) {
    for number in 0.. {
        if done.load(Ordering::Acquire) {
            return;
        }
        put(&*store, &format!("/w/{writer}"), &number.to_string()).await;
        if number % 16 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

async fn a_watch_sees_only_its_prefix(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    let mut pods = store.watch("/pods/", 0).await.unwrap();
    let mut one = store.watch("/pods/a", 0).await.unwrap();
    let mut all = store.watch("", 0).await.unwrap();
    put(store, "/nodes/a", "1").await;
    commit(store, Transaction::new().put("/pods/b", "1").put("/nodes/b", "1").put("/pods/c", "1")).await;
    put(store, "/pods/a", "1").await;
    let keys = |batch: store::Batch| -> Vec<String> { batch.events.into_iter().map(|event| event.key).collect() };
    assert_eq!(keys(batch(&mut pods).await), ["/pods/b", "/pods/c"]);
    assert_eq!(keys(batch(&mut pods).await), ["/pods/a"]);
    assert_eq!(keys(batch(&mut one).await), ["/pods/a"]);
    assert_eq!(batches_until(&mut all, 3).await.len(), 3);
    let mut replayed = store.watch("/pods/", 0).await.unwrap();
    assert_eq!(keys(batch(&mut replayed).await), ["/pods/b", "/pods/c"]);
}

async fn a_dropped_watch_leaves_the_others_alone(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    let mut kept = store.watch("/a", 0).await.unwrap();
    drop(store.watch("/a", 0).await.unwrap());
    drop(store.watch("/b", 0).await.unwrap());
    put(store, "/a", "1").await;
    put(store, "/b", "1").await;
    put(store, "/a", "2").await;
    assert_eq!(batches_until(&mut kept, 3).await.len(), 2);
}

async fn a_watch_that_falls_behind_is_told_and_slows_nobody(kind: Kind) {
    let subject = kind.open_with(Limits { watch_batches_max: 8, watch_bytes_max: 10_000, ..Limits::default() });
    let store = &*subject.store;
    let mut slow = store.watch("/a", 0).await.unwrap();
    let mut heavy = store.watch("/b", 0).await.unwrap();
    let mut exact = store.watch("/c", 0).await.unwrap();
    for number in 0..9 {
        put(store, "/a", &number.to_string()).await;
    }
    for number in 0..3_u8 {
        commit(store, Transaction::new().put("/b", vec![number; 4000])).await;
    }
    for number in 0..8 {
        put(store, "/c", &number.to_string()).await;
    }
    for (watch, revisions) in [(&mut slow, 1..=8), (&mut heavy, 10..=10)] {
        for revision in revisions {
            assert_eq!(batch(watch).await.revision, revision);
        }
        assert!(matches!(next(watch).await, Some(Err(Error::Lagged))));
        assert!(next(watch).await.is_none());
    }
    assert_eq!(batches_until(&mut exact, 20).await.len(), 8);
    put(store, "/c", "more").await;
    assert_eq!(batch(&mut exact).await.revision, 21);
    // Listing again means watching from the listed revision.
    let mut again = store.watch("/a", store.revision()).await.unwrap();
    put(store, "/a", "again").await;
    assert_eq!(batch(&mut again).await.revision, 22);
}

async fn a_watch_ends_when_its_store_does(kind: Kind) {
    let subject = kind.open();
    put(&*subject.store, "/a", "1").await;
    let mut watch = subject.store.watch("/", 0).await.unwrap();
    let mut expiries = subject.store.expiries();
    drop(subject);
    assert_eq!(batch(&mut watch).await.revision, 1);
    assert!(next(&mut watch).await.is_none());
    assert!(expiries.next().await.is_none());
}

async fn concurrent_counters_lose_nothing(kind: Kind) {
    const WRITERS: usize = 64;
    const ROUNDS: usize = 10;
    let subject = kind.open();
    let store: Arc<dyn Store> = Arc::from(subject.store);
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..ROUNDS {
                increment(&*store, &format!("/counter/{}", writer % 4)).await;
            }
        }));
    }
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let mut sum = 0;
    for counter in 0..4 {
        sum += value(&*store, &format!("/counter/{counter}"), None).await.unwrap().parse::<usize>().unwrap();
    }
    assert_eq!(sum, WRITERS * ROUNDS);
    assert_eq!(store.revision(), (WRITERS * ROUNDS) as u64);
}

/// Reads, adds one, and writes if nobody else did meanwhile; again until it works.
async fn increment(store: &dyn Store, key: &str) {
    loop {
        let entry = store.get(key, None).await.unwrap();
        let (compare, count) = match &entry {
            None => (Compare::Absent(key.into()), 0),
            Some(entry) => {
                (Compare::Modified(key.into(), entry.modified), std::str::from_utf8(&entry.value).unwrap().parse::<u64>().unwrap())
            }
        };
        let transaction = Transaction::new().when(compare).put(key, (count + 1).to_string());
        match store.commit(transaction).await {
            Ok(_) => return,
            Err(Error::Conflict { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}
