//! Backups: all objects at one revision, and files that belong to them, in one file that can be checked whole.
//!
//! ```text
//! "conductor-backup 2\n" · key · made by · made at · revision · number of rows · rows · HMAC-SHA-256 of all before
//! row: 'o' or 'f' · name · created · modified · value      numbers big-endian; texts and values after their lengths
//! ```
//!
//! The key of the HMAC follows from the one that seals, whose id the backup names: who does not have it can alter nothing. A store
//! without keys makes backups with an empty id and SHA-256 in place of the HMAC, and version 1 had neither id nor maker: for these nobody
//! vouches, and they are read only where that is asked for.
//!
//! What is sealed in the store is sealed here, with the same keys, and every file is. History and sessions are left out: a restored
//! store begins anew at a revision far beyond, so that whoever watched the old one is told to list again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::Options;
use super::bytes::{Reader, counted, number};
use super::disk;
use super::keys::{Closed, Keys};
use super::load::Unreadable;
use super::seal::Seal;
use crate::history::Slot;
use crate::state::State;
use crate::{Error, Result, Revision};

const TITLE: &[u8] = b"conductor-backup ";
const VERSION: u64 = 2;
/// How far a restored store's revision lies beyond the backup's: nobody made so many changes since.
const BEYOND: Revision = 1_000_000_000;
/// What stands before a file's name where it is sealed: no object's key begins so.
const FILE_PLACE: &str = "file:";

/// Who made a backup, and when, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Who asked for it, and of which server.
    pub by: String,
    /// The time.
    pub at: String,
}

/// What becomes of a backup that nobody vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unvouched {
    /// It is refused: anybody could have written it.
    Refused,
    /// It is read as it stands.
    Taken,
}

/// A backup that was read and found whole.
#[derive(Debug)]
pub struct Backup {
    made: Option<Made>,
    revision: Revision,
    objects: BTreeMap<Arc<str>, Slot>,
    files: Vec<(String, Bytes)>,
}

/// Writes down the objects of a state, and files: a name and its content each. Errors: something cannot be sealed.
pub fn write(state: &State, files: &[(String, Vec<u8>)], made: &Made, seal: &Seal) -> Result<Vec<u8>> {
    let mut out = [TITLE, VERSION.to_string().as_bytes(), b"\n"].concat();
    // One look at the keys: another one may come into use meanwhile, and the id must be of the one that vouches.
    let vouching = seal.keys();
    for text in [vouching.as_ref().map_or("", Keys::id), &made.by, &made.at] {
        counted(&mut out, text.as_bytes());
    }
    let objects: Vec<(&str, &Slot)> = state.all().collect();
    number(&mut out, state.history().revision());
    number(&mut out, (objects.len() + files.len()) as u64);
    let refused = |error: std::io::Error| Error::Unavailable(format!("make a backup: {error}"));
    for (key, slot) in objects {
        let value = seal.close(key, slot.modified, &slot.value).map_err(refused)?;
        row(&mut out, b'o', key, (slot.created, slot.modified), &value);
    }
    for (name, content) in files {
        let keys = seal.keys().ok_or_else(|| Error::Unavailable("make a backup: there is no key to seal files with".to_owned()))?;
        let value = keys.seal(format!("{FILE_PLACE}{name}").as_bytes(), content).map_err(refused)?;
        row(&mut out, b'f', name, (0, 0), &value);
    }
    match vouching {
        Some(keys) => out.extend_from_slice(keys.vouch(&out).map_err(refused)?.as_ref()),
        None => out.extend_from_slice(digest(&SHA256, &out).as_ref()),
    }
    Ok(out)
}

fn row(out: &mut Vec<u8>, kind: u8, name: &str, (created, modified): (u64, u64), value: &[u8]) {
    out.push(kind);
    counted(out, name.as_bytes());
    number(out, created);
    number(out, modified);
    counted(out, value);
}

/// Kind, name, created, modified, value.
fn read_row<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a str, u64, u64, &'a [u8])> {
    Some((reader.byte()?, reader.text()?, reader.number()?, reader.number()?, reader.counted()?))
}

impl Backup {
    /// Reads a backup and opens all that is sealed in it. Errors: [`Error::Backup`] for what is no backup, is cut off, altered, or of a
    /// newer version; [`Error::Unvouched`]; [`Error::Key`] for keys that are missing or wrong.
    pub fn read(bytes: &[u8], options: &Options, unvouched: Unvouched) -> Result<Self> {
        let seal = Seal::open(options.sealing.clone())?;
        let backup = parse(bytes, &seal).map_err(|wrong| match wrong {
            Unreadable::Key(reason) => Error::Key { path: seal.key_file(), reason },
            Unreadable::Wrong(reason) => Error::Backup(reason),
            Unreadable::Newer(found) => {
                Error::Backup(format!("it has version {found}, this program reads up to {VERSION}: use a newer version"))
            }
            Unreadable::Database(error) => Error::Backup(error.to_string()),
        })?;
        if backup.made.is_none() && unvouched == Unvouched::Refused {
            return Err(Error::Unvouched);
        }
        Ok(backup)
    }

    /// Who made it, and when; `None` where nobody vouches for it.
    pub fn made(&self) -> Option<&Made> {
        self.made.as_ref()
    }

    /// The revision it was made at.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many objects it holds.
    pub fn objects(&self) -> usize {
        self.objects.len()
    }

    /// The files that belong to it: names and contents.
    pub fn files(&self) -> &[(String, Bytes)] {
        &self.files
    }

    /// Makes a store of it, in place of one that may be there, which is kept beside it as `….before-restore`.
    /// Errors: [`Error::InUse`]; [`Error::Unavailable`] when the system refuses. The old store is then where it was.
    pub fn restore(&self, path: &Path, options: &Options) -> Result<()> {
        let revision = self.revision.saturating_add(BEYOND);
        let state = State::new(self.objects.clone(), revision, options.limits);
        // No session is taken over, and none gets an id that was given before.
        disk::replace(path, options, &state, revision)
    }
}

fn parse(bytes: &[u8], seal: &Seal) -> Result<Backup, Unreadable> {
    let wrong = |reason: &str| Unreadable::Wrong(reason.to_owned());
    let rest = bytes.strip_prefix(TITLE).ok_or_else(|| wrong("it does not begin as one: name a file that `conductor backup` wrote"))?;
    let end = rest.iter().take(20).position(|byte| *byte == b'\n').ok_or_else(|| wrong("it is cut off"))?;
    let version = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse().ok()).ok_or_else(|| wrong("it has no version"))?;
    if version > VERSION {
        return Err(Unreadable::Newer(version));
    }
    let altered = || wrong("it is cut off or was altered: its checksum is wrong");
    let (checked, sum) = bytes.split_last_chunk::<SHA256_OUTPUT_LEN>().ok_or_else(altered)?;
    let mut reader = Reader(checked.get(TITLE.len() + end + 1..).ok_or_else(altered)?);
    let (key, made) = if version < 2 { ("", Made::default()) } else { read_head(&mut reader).ok_or_else(altered)? };
    if key.is_empty() {
        if digest(&SHA256, checked).as_ref() != sum {
            return Err(altered());
        }
    } else {
        check_voucher(seal, key, checked, sum)?;
    }
    let rows = parse_rows(reader, seal)?;
    Ok(Backup { made: (!key.is_empty()).then_some(made), ..rows })
}

/// The id of the key that vouches, and who made it.
fn read_head<'a>(reader: &mut Reader<'a>) -> Option<(&'a str, Made)> {
    let key = reader.text()?;
    Some((key, Made { by: reader.text()?.to_owned(), at: reader.text()?.to_owned() }))
}

/// Errors: the key is not here; what was vouched for with it was something else.
fn check_voucher(seal: &Seal, key: &str, checked: &[u8], sum: &[u8]) -> Result<(), Unreadable> {
    match seal.keys() {
        None => Err(Unreadable::Key(format!(
            "it is missing, and the backup is vouched for with its key {key:?}: put it back, from where you keep a copy"
        ))),
        Some(keys) => match keys.vouches(key, checked, sum) {
            Ok(()) => Ok(()),
            Err(Closed::NoKey(id)) => Err(Unreadable::Key(format!(
                "it lacks key {id:?}, with which the backup is vouched for: put the file back that belongs to it"
            ))),
            Err(Closed::Altered) => Err(Unreadable::Wrong("it is cut off or was altered: its key does not vouch for it".to_owned())),
        },
    }
}

fn parse_rows(mut reader: Reader<'_>, seal: &Seal) -> Result<Backup, Unreadable> {
    let contradicts = || Unreadable::Wrong("it contradicts itself".to_owned());
    let (revision, rows) = (reader.number().ok_or_else(contradicts)?, reader.number().ok_or_else(contradicts)?);
    let mut backup = Backup { made: None, revision, objects: BTreeMap::new(), files: Vec::new() };
    for _ in 0..rows {
        let (kind, name, created, modified, value) = read_row(&mut reader).ok_or_else(contradicts)?;
        match kind {
            b'o' if created > 0 && created <= modified && modified <= revision => {
                let (value, _) = seal.unclose(name, modified, value)?;
                backup.objects.insert(Arc::from(name), Slot { value, created, modified });
            }
            b'f' => backup.files.push((name.to_owned(), seal.unclose_file(&format!("{FILE_PLACE}{name}"), value)?)),
            _ => return Err(contradicts()),
        }
    }
    if reader.0.is_empty() { Ok(backup) } else { Err(contradicts()) }
}
