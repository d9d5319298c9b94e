//! The file itself: who may read it, what is refused, what is written and when.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use store::embedded::Embedded;
use store::{Batch, Compare, Entry, Error, Limits, Store, Transaction};
use tempfile::TempDir;

use crate::support::{batch, batches_until, commit, journal, list, open, open_with, put, value};

type Log = TableDefinition<'static, (u64, u32), (&'static str, u64, u64, &'static [u8])>;

const LOG: Log = TableDefinition::new("log");

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    (directory, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A store with some objects and some history, closed.
async fn make(path: &Path) {
    let store = open(path).unwrap();
    for number in 0..60 {
        put(&store, &format!("/k/{:02}", number % 40), &format!("{number:>700}")).await;
    }
    commit(&store, Transaction::new().delete("/k/03").put("/k/04", "x")).await;
    store.session(Duration::from_secs(60)).await.unwrap();
    store.close().await.unwrap();
}

/// All that can be read from a store.
async fn content(store: &Embedded) -> (Vec<Entry>, Vec<Batch>) {
    let entries = list(store, "", None).await.entries;
    (entries, batches_until(&mut store.watch("", 0).await.unwrap(), store.revision()).await)
}

fn is_damaged(path: &Path) -> bool {
    match open(path) {
        Err(Error::Damaged { path: named, reason }) => {
            assert_eq!(Path::new(&named), path);
            assert!(!reason.is_empty());
            true
        }
        Err(error) => panic!("{error}"),
        Ok(_) => false,
    }
}

#[tokio::test]
async fn the_file_and_its_directory_are_for_their_owner_alone() {
    let (directory, _) = place();
    let path = directory.path().join("a/b/store.redb");
    let store = open(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!((mode(&directory.path().join("a")), mode(&directory.path().join("a/b"))), (0o700, 0o700));
    assert_eq!(mode(&journal(&path)), 0o600);
    assert_eq!(fs::read_dir(directory.path().join("a/b")).unwrap().count(), 2);
    assert_eq!(store.revision(), 0);
    drop(store);
    assert_eq!(fs::read_dir(directory.path().join("a/b")).unwrap().count(), 1, "a closed store is one file");
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_file_is_in_use() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(&error, Error::InUse { path: named } if Path::new(named) == path), "{error:?}");
    store.close().await.unwrap();
    open(&path).unwrap();
}

#[tokio::test]
async fn a_closed_store_refuses_writes_and_ends_its_watches() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    put(&store, "/a", "1").await;
    let mut watch = store.watch("", 1).await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.commit(Transaction::new().put("/a", "2")).await, Err(Error::Unavailable(_))));
    assert!(crate::support::next(&mut watch).await.is_none());
    assert_eq!(value(&store, "/a", None).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_watch_resumes_across_a_restart() {
    let (_directory, path) = place();
    make(&path).await;
    let store = open(&path).unwrap();
    let before = content(&store).await;
    assert_eq!(before.1.len(), 61);
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(content(&store).await, before);
    let mut watch = store.watch("/k/", 60).await.unwrap();
    put(&store, "/k/new", "1").await;
    assert_eq!((batch(&mut watch).await, batch(&mut watch).await.revision), (before.1[60].clone(), 62));
    store.compact(30).await.unwrap();
    drop(store);
    let error = open(&path).unwrap().watch("", 29).await.err().unwrap();
    assert!(matches!(error, Error::Compacted { asked: 29, oldest: 30 }), "{error:?}");
}

#[tokio::test]
async fn the_history_in_the_file_is_bounded() {
    const EVENTS_MAX: usize = 100;
    let (_directory, path) = place();
    let limits = Limits { history_events_max: EVENTS_MAX, ..Limits::default() };
    let store = open_with(&path, limits).unwrap();
    for number in 0..1000 {
        put(&store, "/a", &number.to_string()).await;
    }
    drop(store);
    let rows = Database::open(&path).unwrap().begin_read().unwrap().open_table(LOG).unwrap().len().unwrap();
    assert!(rows <= EVENTS_MAX as u64 + 256, "{rows}");
    let store = open_with(&path, limits).unwrap();
    assert!(matches!(store.get("/a", Some(899)).await, Err(Error::Compacted { oldest: 900, .. })));
    assert_eq!(value(&store, "/a", Some(900)).await.as_deref(), Some("899"));
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    put(&store, "/a", "1").await;
    let session = store.session(Duration::from_secs(60)).await.unwrap();
    let files = || [path.clone(), journal(&path)].map(|file| (fs::read(&file).unwrap(), fs::metadata(&file).unwrap().modified().unwrap()));
    let before = files();
    commit(&store, Transaction::new().put("/a", "1").delete("/b")).await;
    let conflict = Transaction::new().when(Compare::Absent("/a".into())).put("/b", "1");
    store.commit(conflict).await.unwrap_err();
    store.compact(0).await.unwrap();
    for _ in 0..20 {
        store.keep_alive(session).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(before == files(), "a file was written");
    put(&store, "/a", "2").await;
    assert!(before != files());
}

#[test]
fn what_is_not_a_store_is_refused() {
    let (_directory, path) = place();
    for content in [Vec::new(), b"hello".to_vec(), vec![0; 100_000], b"SQLite format 3\0".repeat(1000), vec![0xff; 5000]] {
        fs::write(&path, &content).unwrap();
        assert!(is_damaged(&path), "{} bytes", content.len());
        assert_eq!(fs::read(&path).unwrap().len(), content.len(), "it was written to");
    }
    fs::remove_file(&path).unwrap();
    drop(Database::create(&path).unwrap());
    assert!(is_damaged(&path), "another program's tables");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(open(&path), Err(Error::Unavailable(_))));
}

/// Changes the numbers of a closed store.
fn set_meta(path: &Path, name: &str, number: u64) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap().insert(name, number).unwrap();
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let (_directory, path) = place();
    make(&path).await;
    set_meta(&path, "format", 4);
    let error = open(&path).unwrap_err();
    assert!(matches!(&error, Error::NewerFormat { found: 4, supported: 3, .. }), "{error:?}");
    set_meta(&path, "format", 3);
    open(&path).unwrap();
}

#[tokio::test]
async fn tables_that_contradict_each_other_are_refused() {
    let (_directory, path) = place();
    make(&path).await;
    for (name, wrong, right) in [("revision", 60, 61), ("revision", 62, 61), ("floor", 62, 0), ("floor", u64::MAX, 0), ("session", 0, 1)] {
        set_meta(&path, name, wrong);
        assert!(is_damaged(&path), "{name} {wrong}");
        set_meta(&path, name, right);
    }
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(LOG).unwrap().remove((30, 0)).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(is_damaged(&path), "a missing revision");
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let (_directory, path) = place();
    make(&path).await;
    let whole = fs::read(&path).unwrap();
    for part in [1, 100, 4096, 10_000, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&path, &whole[..part]).unwrap();
        assert!(is_damaged(&path), "{part} of {} bytes", whole.len());
    }
    fs::write(&path, &whole).unwrap();
    open(&path).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_does_not_matter() {
    const FLIPS: usize = 60;
    let (_directory, path) = place();
    make(&path).await;
    let whole = fs::read(&path).unwrap();
    let expected = content(&open(&path).unwrap()).await;
    let mut refused = 0;
    let used: Vec<usize> = (0..whole.len()).filter(|place| whole[*place] != 0).collect();
    for flip in 0..FLIPS {
        let mut flipped = whole.clone();
        let place = used[flip * used.len() / FLIPS];
        flipped[place] ^= 1 << (flip % 8);
        fs::write(&path, &flipped).unwrap();
        if is_damaged(&path) {
            refused += 1;
        } else {
            let found = content(&open(&path).unwrap()).await;
            assert!(found == expected, "a flip at byte {place} was served");
        }
    }
    println!("{refused} of {FLIPS} flips refused, the others changed nothing that can be read");
    assert!(refused > 0);
}

#[tokio::test]
async fn a_large_file_opens_soon_after_a_crash() {
    let (directory, path) = place();
    let crashed = directory.path().join("crashed.redb");
    let store = open(&path).unwrap();
    for round in 0..20_u64 {
        let mut transaction = Transaction::new();
        for number in 0..250 {
            transaction = transaction.put(format!("/k/{}", (round % 10) * 250 + number), format!("{round:>1500}"));
        }
        commit(&store, transaction).await;
    }
    let expected = content(&store).await;
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        // A copy of files in use, while nothing is written, is what a killed process leaves.
        fs::copy(&path, &crashed).unwrap();
        fs::copy(journal(&path), journal(&crashed)).unwrap();
        let start = Instant::now();
        let opened = open(&crashed).unwrap();
        shortest = shortest.min(start.elapsed());
        assert!(content(&opened).await == expected);
    }
    println!("opened {} MB after a crash in {shortest:?}", fs::metadata(&crashed).unwrap().len() / 1_000_000);
    assert!(shortest < Duration::from_secs(2), "{shortest:?}");
}

#[tokio::test]
async fn a_store_whose_files_were_deleted_acknowledges_nothing_more_and_still_answers() {
    for (what, lost) in [("the directory", ""), ("the database", "store.redb"), ("the journal", "store.redb.journal")] {
        let outer = tempfile::tempdir().unwrap();
        let directory = outer.path().join("data");
        let store = open(&directory.join("store.redb")).unwrap();
        put(&store, "/k/a", "1").await;
        if lost.is_empty() {
            fs::remove_dir_all(&directory).unwrap()
        } else {
            fs::remove_file(directory.join(lost)).unwrap()
        }
        let refused = store.commit(Transaction::new().put("/k/b", "2")).await.unwrap_err();
        assert!(matches!(&refused, Error::Unavailable(reason) if reason.contains("deleted or replaced")), "{what}: {refused}");
        assert!(store.commit(Transaction::new().put("/k/b", "2")).await.is_err(), "{what}");
        assert_eq!(value(&store, "/k/a", None).await.as_deref(), Some("1"), "{what}");
    }
}
