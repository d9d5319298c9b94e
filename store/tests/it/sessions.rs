//! Sessions end when nobody keeps them alive, and only then.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use store::{Error, SessionId, Store};

use crate::support::{Kind, PATIENCE, open};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(60);

async fn next(expiries: &mut BoxStream<'static, SessionId>) -> SessionId {
    tokio::time::timeout(PATIENCE, expiries.next()).await.expect("no session ended").unwrap()
}

fn is_gone(result: Result<(), Error>, session: SessionId) -> bool {
    matches!(result, Err(Error::SessionGone(gone)) if gone == session)
}

async fn an_unattended_session_ends_once(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    let (mut expiries, mut others) = (store.expiries(), store.expiries());
    let kept = store.session(LONG).await.unwrap();
    let opened = Instant::now();
    let session = store.session(SHORT).await.unwrap();
    assert_eq!(next(&mut expiries).await, session);
    assert!(opened.elapsed() >= SHORT);
    assert_eq!(next(&mut others).await, session);
    assert!(is_gone(store.keep_alive(session).await, session));
    assert!(is_gone(store.end_session(session).await, session));
    let second = store.session(SHORT).await.unwrap();
    assert_ne!(session, second);
    assert_eq!(next(&mut expiries).await, second);
    store.keep_alive(kept).await.unwrap();
}

async fn a_session_ends_no_sooner_than_its_time_after_it_was_kept_alive(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    let mut expiries = store.expiries();
    let time = Duration::from_millis(300);
    let mut kept = Instant::now();
    let session = store.session(time).await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let asked = Instant::now();
        if store.keep_alive(session).await.is_err() {
            break;
        }
        kept = asked;
    }
    assert_eq!(next(&mut expiries).await, session);
    assert!(kept.elapsed() >= time, "{:?}", kept.elapsed());
}

async fn ending_a_session_is_reported_like_its_expiry(kind: Kind) {
    let subject = kind.open();
    let store = &*subject.store;
    let mut expiries = store.expiries();
    let (first, second) = (store.session(LONG).await.unwrap(), store.session(Duration::MAX).await.unwrap());
    assert_ne!(first, second);
    store.end_session(second).await.unwrap();
    store.keep_alive(first).await.unwrap();
    store.end_session(first).await.unwrap();
    assert_eq!((next(&mut expiries).await, next(&mut expiries).await), (second, first));
    assert!(is_gone(store.end_session(first).await, first));
    assert!(is_gone(store.keep_alive(SessionId(99)).await, SessionId(99)));
    assert_eq!(store.revision(), 0);
}

macro_rules! over_both {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() { super::$name(crate::support::Kind::Memory).await; })*
        }
        mod embedded {
            $(#[tokio::test]
            async fn $name() { super::$name(crate::support::Kind::Embedded).await; })*
        }
    };
}

over_both! {
    an_unattended_session_ends_once,
    a_session_ends_no_sooner_than_its_time_after_it_was_kept_alive,
    ending_a_session_is_reported_like_its_expiry,
}

#[tokio::test]
async fn an_open_session_survives_a_restart_with_its_whole_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = open(&path).unwrap();
    let (kept, short) = (store.session(LONG).await.unwrap(), store.session(SHORT).await.unwrap());
    store.close().await.unwrap();
    assert!(matches!(store.session(LONG).await, Err(Error::Unavailable(_))));
    let opened = Instant::now();
    let store = open(&path).unwrap();
    assert_eq!(next(&mut store.expiries()).await, short);
    assert!(opened.elapsed() >= SHORT);
    store.keep_alive(kept).await.unwrap();
}

#[tokio::test]
async fn an_ended_session_stays_ended_and_its_id_is_never_given_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = open(&path).unwrap();
    let mut expiries = store.expiries();
    let (ended, expired) = (store.session(LONG).await.unwrap(), store.session(SHORT).await.unwrap());
    store.end_session(ended).await.unwrap();
    let both = BTreeSet::from([next(&mut expiries).await, next(&mut expiries).await]);
    assert_eq!(both, BTreeSet::from([ended, expired]));
    store.close().await.unwrap();
    let store = open(&path).unwrap();
    for session in [ended, expired] {
        assert!(is_gone(store.keep_alive(session).await, session));
    }
    let fresh = store.session(LONG).await.unwrap();
    assert!(fresh > expired, "{fresh:?}");
}

#[test]
fn a_session_outlives_the_runtime_it_was_opened_on() {
    let subject = Kind::Memory.open();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let session = runtime().block_on(subject.store.session(SHORT)).unwrap();
    let ended = runtime().block_on(async { next(&mut subject.store.expiries()).await });
    assert_eq!(ended, session);
}
