//! The journal: what a store that was not closed is put together from.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use store::embedded::Embedded;
use store::{Batch, Entry, Error, Store, Transaction};
use tempfile::TempDir;

use crate::support::{batches_until, commit, journal, list, open, put};

/// Copies of the files of a store, as a killed process leaves them. Nothing may be written meanwhile.
fn crashed(path: &Path) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("store.redb");
    fs::copy(path, &copy).unwrap();
    fs::copy(journal(path), journal(&copy)).unwrap();
    (directory, copy)
}

/// All that can be read from a store.
async fn content(store: &Embedded) -> (Vec<Entry>, Vec<Batch>) {
    let entries = list(store, "", None).await.entries;
    (entries, batches_until(&mut store.watch("", 0).await.unwrap(), store.revision()).await)
}

fn damage(path: &Path) -> Option<String> {
    match open(path) {
        Err(Error::Damaged { reason, .. }) => Some(reason),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    }
}

/// A store that nobody closed, with everything in its journal that a journal can hold.
async fn make(path: &Path) -> Embedded {
    let store = open(path).unwrap();
    for number in 0..20 {
        put(&store, &format!("/k/{:02}", number % 15), &format!("{number:>700}")).await;
    }
    commit(&store, Transaction::new().delete("/k/03").put("/k/04", "x").put("/l", "")).await;
    commit(&store, Transaction::new().delete("/k/05")).await;
    commit(&store, Transaction::new().put("/k/05", "made anew")).await;
    let ended = store.session(Duration::from_secs(60)).await.unwrap();
    store.end_session(ended).await.unwrap();
    store.session(Duration::from_secs(60)).await.unwrap();
    store
}

#[tokio::test]
async fn what_was_not_closed_comes_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = make(&path).await;
    let expected = content(&store).await;
    let (_directory, copy) = crashed(&path);
    let session = store.session(Duration::from_secs(60)).await.unwrap();
    store.compact(15).await.unwrap();
    let (_directory_later, later) = crashed(&path);
    for _ in 0..2 {
        let again = open(&copy).unwrap();
        assert!(content(&again).await == expected, "opening it does not change it");
    }
    let again = open(&later).unwrap();
    assert_eq!(list(&again, "", None).await.entries, expected.0);
    assert!(matches!(again.watch("", 14).await.err(), Some(Error::Compacted { oldest: 15, .. })));
    again.keep_alive(session).await.unwrap();
    assert!(again.session(Duration::from_secs(60)).await.unwrap() > session, "no id is given twice");
}

#[tokio::test]
async fn many_segments_come_back_whole_wherever_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = open(&path).unwrap();
    // Far more than both segments hold, with one change that is larger than a segment.
    for round in 0..60_u64 {
        let bytes = if round == 40 { 5 << 20 } else { 300_000 + 1_000 * (round as usize % 7) };
        commit(&store, Transaction::new().put(format!("/k/{}", round % 11), vec![b'a' + (round % 26) as u8; bytes])).await;
        if round % 9 == 0 {
            let expected = list(&store, "", None).await.entries;
            // The database takes over a segment just now, perhaps: then the copy of it is of no moment. Closed stores are.
            let mut tries = 0;
            loop {
                let (_directory, copy) = crashed(&path);
                match open(&copy) {
                    Ok(again) => break assert!(list(&again, "", None).await.entries == expected, "round {round}"),
                    Err(error) => assert!(tries < 50, "{error}"),
                }
                tries += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    let expected = list(&store, "", None).await.entries;
    store.close().await.unwrap();
    assert!(!journal(&path).exists());
    assert!(list(&open(&path).unwrap(), "", None).await.entries == expected);
}

#[tokio::test]
async fn a_frame_that_was_not_finished_never_happened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = open(&path).unwrap();
    put(&store, "/a", "1").await;
    let expected = content(&store).await;
    let before = fs::read(journal(&path)).unwrap();
    put(&store, "/b", &"2".repeat(100)).await;
    let whole = fs::read(journal(&path)).unwrap();
    let changed: Vec<usize> = (0..whole.len()).filter(|place| before[*place] != whole[*place]).collect();
    assert!(changed.len() > 100);
    let (_directory, copy) = crashed(&path);
    let (database, journal) = (fs::read(&copy).unwrap(), journal(&copy));
    for place in changed.iter().step_by(5) {
        for torn in [before[*place], !whole[*place]] {
            let mut bytes = whole.clone();
            bytes[*place] = torn;
            fs::write(&copy, &database).unwrap();
            fs::write(&journal, &bytes).unwrap();
            assert!(content(&open(&copy).unwrap()).await == expected, "byte {place}");
        }
    }
}

#[tokio::test]
async fn a_journal_that_was_altered_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let _store = make(&path).await;
    let (_directory, copy) = crashed(&path);
    let (whole, journal) = (fs::read(journal(&copy)).unwrap(), journal(&copy));
    let used: Vec<usize> = (0..whole.len()).filter(|place| whole[*place] != 0).collect();
    // The last frame may have been cut off by a crash: nobody can tell.
    let last = used[used.len() - 1] - 64;
    let mut refused = 0;
    for place in used.iter().copied().filter(|place| *place < last).step_by(97) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(&journal, bytes).unwrap();
        let reason = damage(&copy).unwrap_or_else(|| panic!("byte {place} does not matter"));
        assert!(reason.contains("its journal"), "{reason}");
        refused += 1;
    }
    assert!(refused > 50);
    fs::write(&journal, &whole[..5000]).unwrap();
    assert!(damage(&copy).is_some_and(|reason| reason.contains("is cut off")));
}

#[tokio::test]
async fn a_journal_that_is_missing_or_of_another_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = make(&path).await;
    let (_directory, copy) = crashed(&path);
    let (_other_directory, other) = {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        let _store = make(&path).await;
        crashed(&path)
    };
    fs::remove_file(journal(&copy)).unwrap();
    let reason = damage(&copy).unwrap();
    assert!(reason.contains("store.redb.journal is missing: put it back beside the store"), "{reason}");
    fs::copy(journal(&other), journal(&copy)).unwrap();
    let reason = damage(&copy).unwrap();
    assert!(reason.contains("belongs to another store"), "{reason}");
    fs::copy(journal(&path), journal(&copy)).unwrap();
    assert!(content(&open(&copy).unwrap()).await == content(&store).await);
}
