//! What is sealed in the file, what comes of older files, and backups.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, TableDefinition};
use store::embedded::{Backup, Embedded, Made, Options, Sealing, Unvouched};
use store::{Entry, Error, Store, Transaction};
use tempfile::TempDir;

use crate::support::{commit, journal, list, put, value};

/// A store as the first format wrote it, with a Secret that is not sealed.
const FORMAT_1: &[u8] = include_bytes!("../stores/format-1.redb.gz");
const HUSH: &str = "hush-hush-hush";

struct Place {
    dir: TempDir,
    store: PathBuf,
    options: Options,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let sealing = Sealing { key_file: dir.path().join("secrets.key"), prefixes: vec!["/core/secrets/".into()] };
    Place { store: dir.path().join("store.redb"), options: Options { sealing: Some(sealing), ..Options::default() }, dir }
}

impl Place {
    fn open(&self) -> store::Result<Embedded> {
        Embedded::open(&self.store, self.options.clone())
    }

    fn key_file(&self) -> PathBuf {
        self.dir.path().join("secrets.key")
    }

    /// Which files of the directory hold these bytes.
    fn holding(&self, bytes: &[u8]) -> Vec<String> {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let holds = |file: &PathBuf| fs::read(file).unwrap().windows(bytes.len()).any(|window| window == bytes);
        files.filter(holds).map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    fn error(&self) -> String {
        self.open().unwrap_err().to_string()
    }
}

async fn entries(store: &Embedded) -> Vec<Entry> {
    list(store, "", None).await.entries
}

#[tokio::test]
async fn secrets_are_nowhere_in_the_file_and_come_back_as_they_were() {
    let place = place();
    let store = place.open().unwrap();
    put(&store, "/core/secrets/a/s", HUSH).await;
    put(&store, "/core/configmaps/a/m", "for-everybody").await;
    commit(&store, Transaction::new().put("/core/secrets/a/s", format!("{HUSH} later")).put("/core/secrets/a/t", HUSH)).await;
    commit(&store, Transaction::new().delete("/core/secrets/a/t")).await;
    let revision = store.revision();
    put(&store, "/core/secrets/a/s", &format!("{HUSH} later")).await;
    assert_eq!(store.revision(), revision, "the same value again is no change, although it would be sealed otherwise");
    let expected = entries(&store).await;
    assert_eq!(place.holding(b"for-everybody"), ["store.redb.journal"]);
    assert_eq!(place.holding(HUSH.as_bytes()), [""; 0]);
    drop(store);
    assert_eq!(place.holding(HUSH.as_bytes()), [""; 0]);
    assert_eq!(place.holding(b"for-everybody"), ["store.redb"]);
    assert_eq!(fs::metadata(place.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
    let store = place.open().unwrap();
    assert_eq!(entries(&store).await, expected);
    assert_eq!(value(&store, "/core/secrets/a/s", Some(1)).await.as_deref(), Some(HUSH), "history too");
}

#[tokio::test]
async fn a_new_key_seals_everything_while_others_write() {
    let place = place();
    let store = Arc::new(place.open().unwrap());
    for number in 0..40 {
        put(&*store, &format!("/core/secrets/a/{number}"), &format!("{HUSH} {number}")).await;
    }
    let old = fs::read_to_string(place.key_file()).unwrap();
    let old_id = old.lines().last().unwrap().split_once(' ').unwrap().0.to_owned();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0..200 {
                put(&*store, &format!("/core/secrets/b/{}", number % 7), &format!("{HUSH} b {number}")).await;
            }
        }
    });
    let id = store.rotate().await.unwrap();
    writer.await.unwrap();
    assert_ne!(id, old_id);
    let expected = entries(&store).await;
    drop(store);
    assert_eq!(place.holding(HUSH.as_bytes()), [""; 0]);
    let of_old = place.holding(old_id.as_bytes());
    assert_eq!(of_old, ["secrets.key"], "nothing in the store is sealed with the old key");
    // The new key alone is enough.
    let new_line: String = fs::read_to_string(place.key_file()).unwrap().lines().filter(|line| line.starts_with(&id)).collect();
    fs::write(place.key_file(), new_line).unwrap();
    assert_eq!(entries(&place.open().unwrap()).await, expected);
}

#[tokio::test]
async fn keys_that_are_missing_wrong_or_readable_by_others_are_refused() {
    let place = place();
    put(&place.open().unwrap(), "/core/secrets/a/s", HUSH).await;
    let keys = fs::read(place.key_file()).unwrap();
    fs::remove_file(place.key_file()).unwrap();
    assert!(place.error().contains("secrets.key: it is missing, and what is stored is sealed with its key"), "{}", place.error());
    assert!(!place.key_file().exists(), "no other key is made in its place");
    let other = self::place();
    drop(other.open().unwrap());
    fs::copy(other.key_file(), place.key_file()).unwrap();
    assert!(place.error().contains("it lacks key"), "{}", place.error());
    fs::write(place.key_file(), "hello").unwrap();
    assert!(place.error().contains("line 1: expected a key's id"), "{}", place.error());
    fs::write(place.key_file(), &keys).unwrap();
    fs::set_permissions(place.key_file(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(place.error().contains("others may use it (mode 0644): chmod 600"), "{}", place.error());
    fs::set_permissions(place.key_file(), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(Embedded::open(&place.store, Options::default()), Err(Error::Key { .. })), "a store that is not told of keys");
    assert_eq!(value(&place.open().unwrap(), "/core/secrets/a/s", None).await.as_deref(), Some(HUSH));
}

#[tokio::test]
async fn a_store_of_the_first_format_is_upgraded_after_a_copy_and_its_secrets_are_sealed() {
    const PLAIN: &[u8] = b"Z29sZGVuLWh1c2gtMQ==";
    let place = place();
    let mut golden = Vec::new();
    flate2::read::GzDecoder::new(FORMAT_1).read_to_end(&mut golden).unwrap();
    fs::write(&place.store, &golden).unwrap();
    let store = place.open().unwrap();
    let secret = value(&store, "/core/secrets/default/s", None).await.unwrap();
    assert!(secret.contains(std::str::from_utf8(PLAIN).unwrap()));
    assert!(value(&store, "/core/configmaps/default/m1", None).await.is_some());
    let expected = entries(&store).await;
    assert!(store.revision() >= 29 && expected.len() > 5);
    drop(store);
    assert_eq!(place.holding(PLAIN), ["store.redb.format-1"], "only the copy is as it was");
    {
        let copy = Database::open(place.dir.path().join("store.redb.format-1")).unwrap();
        let meta = copy.begin_read().unwrap().open_table(TableDefinition::<&str, u64>::new("meta")).unwrap();
        assert_eq!(meta.get("format").unwrap().unwrap().value(), 1);
    }
    assert_eq!(fs::metadata(place.dir.path().join("store.redb.format-1")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_file(place.dir.path().join("store.redb.format-1")).unwrap();
    assert_eq!(entries(&place.open().unwrap()).await, expected);
    assert!(!place.dir.path().join("store.redb.format-1").exists(), "it is upgraded once");
}

#[tokio::test]
async fn a_plain_store_is_sealed_when_it_is_opened_with_a_key() {
    let place = place();
    let store = Embedded::open(&place.store, Options::default()).unwrap();
    put(&store, "/core/secrets/a/s", HUSH).await;
    put(&store, "/core/secrets/a/s", &format!("{HUSH} later")).await;
    drop(store);
    assert_eq!(place.holding(HUSH.as_bytes()), ["store.redb"]);
    let store = place.open().unwrap();
    assert_eq!(value(&store, "/core/secrets/a/s", Some(1)).await.as_deref(), Some(HUSH));
    drop(store);
    assert_eq!(place.holding(HUSH.as_bytes()), [""; 0]);
}

fn made() -> Made {
    Made { by: "local:0 on here".into(), at: "2026-01-02T03:04:05Z".into() }
}

/// Reads a backup that somebody vouches for.
fn read(bytes: &[u8], options: &Options) -> store::Result<Backup> {
    Backup::read(bytes, options, Unvouched::Refused)
}

/// A store with something in it, and a backup made while others write.
async fn backed_up(place: &Place) -> (Vec<u8>, Vec<Entry>) {
    let store = Arc::new(place.open().unwrap());
    for number in 0..60 {
        put(&*store, &format!("/core/secrets/a/{number}"), &format!("{HUSH} {number}")).await;
    }
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0..100_u32 {
                // Both or neither: a backup that has one only is of no revision.
                let text = number.to_string();
                commit(&*store, Transaction::new().put("/k/left", text.clone()).put("/k/right", text)).await;
            }
        }
    });
    while store.get("/k/left", None).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let bytes = store.backup(&[("pki/ca.key".into(), HUSH.into())], &made()).unwrap();
    let revision = read(&bytes, &place.options).unwrap().revision();
    let expected = list(&*store, "", Some(revision)).await.entries;
    writer.await.unwrap();
    (bytes, expected)
}

#[tokio::test]
async fn a_backup_is_of_one_revision_and_comes_back_whole() {
    let place = place();
    let (bytes, expected) = backed_up(&place).await;
    assert!(!bytes.windows(HUSH.len()).any(|window| window == HUSH.as_bytes()));
    let backup = read(&bytes, &place.options).unwrap();
    assert_eq!((backup.objects(), backup.files().len()), (expected.len(), 1));
    assert_eq!((backup.files()[0].0.as_str(), &*backup.files()[0].1), ("pki/ca.key", HUSH.as_bytes()));

    let other = self::place();
    assert!(read(&bytes, &other.options).unwrap_err().to_string().contains("it is missing, and the backup is vouched for"));
    fs::copy(place.key_file(), other.key_file()).unwrap();
    let store = other.open().unwrap();
    put(&store, "/k/of-before", "1").await;
    assert!(matches!(backup.restore(&other.store, &other.options), Err(Error::InUse { .. })));
    drop(store);
    backup.restore(&other.store, &other.options).unwrap();
    let store = other.open().unwrap();
    assert!(entries(&store).await == expected);
    let left = value(&store, "/k/left", None).await;
    assert!(left.is_some() && left == value(&store, "/k/right", None).await);
    let stale = store.watch("", backup.revision() + 1000).await.err().unwrap();
    assert!(matches!(stale, Error::Compacted { .. }), "whoever watched is told to list again: {stale:?}");
    assert!(put(&store, "/k/new", "1").await > backup.revision() + 1000);
    drop(store);
    assert_eq!(other.holding(HUSH.as_bytes()), [""; 0]);
    let before = Embedded::open(other.dir.path().join("store.redb.before-restore"), other.options.clone()).unwrap();
    assert_eq!(value(&before, "/k/of-before", None).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused() {
    let place = place();
    let (bytes, _) = backed_up(&place).await;
    let refused = |bytes: &[u8]| match read(bytes, &place.options) {
        Err(Error::Backup(reason)) => reason,
        other => panic!("{other:?}"),
    };
    for length in (0..bytes.len()).step_by(97) {
        refused(&bytes[..length]);
        let mut altered = bytes.clone();
        altered[length] ^= 4;
        refused(&altered);
    }
    refused(&[&bytes[..], b"x"].concat());
    assert!(refused(b"hello").contains("name a file that `conductor backup` wrote"));
    let newer = String::from_utf8_lossy(&bytes[..19]).replace("backup 2", "backup 3").into_bytes();
    assert!(refused(&[&newer[..], &bytes[19..]].concat()).contains("version 3, this program reads up to 2"));
}

/// A backup as the first version wrote it: without a key's id and a maker, with a plain checksum that anybody can make.
fn of_first_version(bytes: &[u8]) -> Vec<u8> {
    let title = b"conductor-backup 2\n".len();
    let mut rest = &bytes[title..bytes.len() - 32];
    for _ in 0..3 {
        let (length, tail) = rest.split_first_chunk::<8>().unwrap();
        rest = &tail[usize::try_from(u64::from_be_bytes(*length)).unwrap()..];
    }
    summed([b"conductor-backup 1\n", rest].concat())
}

fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
    bytes
}

#[tokio::test]
async fn a_backup_that_was_forged_is_refused() {
    let place = place();
    let store = place.open().unwrap();
    put(&store, "/rbac/rolebindings/a/jane", "{\"roleRef\":\"view\"}").await;
    put(&store, "/core/secrets/a/s", HUSH).await;
    let bytes = store.backup(&[], &made()).unwrap();
    drop(store);
    assert_eq!(read(&bytes, &place.options).unwrap().made(), Some(&made()));
    let refused = |bytes: &[u8], unvouched: Unvouched| Backup::read(bytes, &place.options, unvouched).unwrap_err().to_string();
    let at = bytes.windows(6).position(|window| window == b"\"view\"").unwrap();
    let mut forged = bytes.clone();
    forged[at..at + 6].copy_from_slice(b"\"edit\"");
    // Hashed again, by somebody who lacks the key.
    let hashed = summed(forged[..forged.len() - 32].to_vec());
    for bytes in [&forged, &hashed] {
        for unvouched in [Unvouched::Refused, Unvouched::Taken] {
            assert!(refused(bytes, unvouched).contains("its key does not vouch for it"));
        }
    }
    // Neither does it help to leave the key out, or to write in the older form.
    let older = of_first_version(&forged);
    let title = b"conductor-backup 2\n".len();
    let keyless = summed([&forged[..title], &[0; 8], &forged[title + 8 + 16..forged.len() - 32]].concat());
    for bytes in [&older, &keyless] {
        assert!(refused(bytes, Unvouched::Refused).contains("nobody vouches for it"));
        let taken = Backup::read(bytes, &place.options, Unvouched::Taken).unwrap();
        assert_eq!((taken.objects(), taken.made()), (2, None), "whoever takes it in spite of that is told of no maker");
    }
    let other = self::place();
    drop(other.open().unwrap());
    assert!(matches!(read(&bytes, &other.options), Err(Error::Key { .. })), "another server's keys do not vouch for it");
}

/// Runs what needs a file system of its own, of this many KiB; not where none may be mounted.
fn on_small_disk(kibibytes: u32, run: impl FnOnce(&Path)) {
    use nix::mount::{MsFlags, mount, umount};
    let dir = tempfile::tempdir().unwrap();
    let options = format!("size={kibibytes}k,mode=700");
    if mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).is_err() {
        crate::without::without("mounts", "a file system cannot be mounted here, which needs root");
        return;
    }
    run(dir.path());
    umount(dir.path()).unwrap();
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_what_was_acknowledged() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The journal has no room on the first; on the second it has, and the database has none for what the journal holds.
    for (kibibytes, has_journal) in [(2048, false), (13_000, true)] {
        on_small_disk(kibibytes, |dir| {
            runtime.block_on(async {
                let path = dir.join("store.redb");
                let store = Embedded::open(&path, Options::default()).unwrap();
                assert_eq!(journal(&path).exists(), has_journal);
                let mut kept = 0;
                let error = loop {
                    let put = Transaction::new().put(format!("/k/{kept}"), "x".repeat(20_000));
                    match store.commit(put).await {
                        Ok(_) => kept += 1,
                        Err(error) => break error,
                    }
                    assert!(kept < 5000, "the disk is never full");
                };
                assert!(matches!(&error, Error::Unavailable(_)), "{error:?}");
                assert_eq!(entries(&store).await.len(), kept, "reads go on");
                store.backup(&[], &Made::default()).unwrap();
                drop(store);
                let store = Embedded::open(&path, Options::default()).unwrap();
                assert!(entries(&store).await.len() >= kept && kept > 5, "{kept}");
            });
        });
    }
}

#[test]
fn a_disk_that_cannot_be_written_is_told() {
    use nix::mount::{MsFlags, mount};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    on_small_disk(4096, |dir| {
        let path = dir.join("store.redb");
        let options = Options::default();
        runtime.block_on(async { put(&Embedded::open(&path, options.clone()).unwrap(), "/k/a", "1").await });
        mount(None::<&str>, dir, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None::<&str>).unwrap();
        let error = Embedded::open(&path, options).unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("Read-only file system"), "{error}");
    });
}
