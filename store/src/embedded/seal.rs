//! Which values are sealed in the file, and with what. In memory all are plain: reads cost nothing more.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::keys::{Closed, Keys, sealed_by};
use super::load::Unreadable;
use crate::{Error, Result, Revision};

/// What is to be sealed.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// The file of the keys; made when it is missing and nothing is sealed yet.
    pub key_file: PathBuf,
    /// Values under keys that begin with one of these are sealed.
    pub prefixes: Vec<String>,
}

/// Seals and opens values, or leaves all as they are.
#[derive(Debug)]
pub struct Seal {
    sealing: Option<Sealing>,
    keys: RwLock<Option<Keys>>,
}

impl Seal {
    /// Reads the keys, where there are any. Errors: [`Error::Key`].
    pub fn open(sealing: Option<Sealing>) -> Result<Self> {
        let keys = sealing.as_ref().map(|sealing| Keys::read(&sealing.key_file)).transpose()?.flatten();
        Ok(Self { sealing, keys: RwLock::new(keys) })
    }

    /// Makes keys where some are wanted and none are there. Errors: [`Error::Key`].
    pub fn ensure_keys(&self) -> Result<()> {
        if let Some(sealing) = &self.sealing
            && self.keys().is_none()
        {
            let keys = Keys::generate()?;
            keys.write(&sealing.key_file)?;
            self.take(keys);
        }
        Ok(())
    }

    /// Seals with a new key from here on; the keys, to take the news of. Errors: [`Error::Key`], and [`Error::Unavailable`] where
    /// nothing is sealed.
    pub fn renew(&self) -> Result<String> {
        let (Some(sealing), Some(keys)) = (&self.sealing, self.keys()) else {
            return Err(Error::Unavailable("nothing is sealed in it".to_owned()));
        };
        let keys = keys.with_new()?;
        keys.write(&sealing.key_file)?;
        let id = keys.id().to_owned();
        self.take(keys);
        Ok(id)
    }

    /// The keys.
    pub fn keys(&self) -> Option<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }

    fn covers(&self, key: &str) -> bool {
        self.sealing.as_ref().is_some_and(|sealing| sealing.prefixes.iter().any(|prefix| key.starts_with(prefix)))
    }

    /// A value as it is written. Errors: it cannot be sealed.
    pub fn close<'a>(&self, key: &str, modified: Revision, value: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        if !self.covers(key) {
            return Ok(Cow::Borrowed(value));
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let keys = keys.as_ref().ok_or_else(|| io::Error::other("there is no key to seal with"))?;
        keys.seal(&place(key, modified), value).map(Cow::Owned)
    }

    /// A written value as it is, and whether it should be written anew: it was plain, or sealed with an older key.
    /// Errors: there is no key for it; it was altered.
    pub fn unclose(&self, key: &str, modified: Revision, value: &[u8]) -> Result<(Bytes, bool), Unreadable> {
        let Some(id) = sealed_by(value) else { return Ok((Bytes::copy_from_slice(value), self.covers(key))) };
        if !self.covers(key) {
            return match &self.sealing {
                Some(_) => Ok((Bytes::copy_from_slice(value), false)),
                None => Err(Unreadable::Key(format!("{key} is sealed with key {id}: name the key file"))),
            };
        }
        self.opened(&place(key, modified), value, id).map(|(plain, id_in_use)| (plain, id != id_in_use)).map_err(|wrong| match wrong {
            None => Unreadable::Wrong(format!("the value under {key} is not what was sealed there")),
            Some(reason) => Unreadable::Key(reason),
        })
    }

    /// A file's content that was sealed in a backup. Errors: as above.
    pub fn unclose_file(&self, place: &str, value: &[u8]) -> Result<Bytes, Unreadable> {
        let altered = || Unreadable::Wrong(format!("{place} is not what was sealed there"));
        let id = sealed_by(value).ok_or_else(altered)?;
        self.opened(place.as_bytes(), value, id).map(|(plain, _)| plain).map_err(|wrong| wrong.map_or_else(altered, Unreadable::Key))
    }

    /// What was sealed, and the id of the key in use. Errors: `None` when it was altered, else what is wrong with the keys.
    fn opened(&self, place: &[u8], value: &[u8], id: &str) -> Result<(Bytes, String), Option<String>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = keys.as_ref() else {
            return Err(Some(format!(
                "it is missing, and what is stored is sealed with its key {id}: put it back, from where you keep a copy"
            )));
        };
        match keys.open(place, value) {
            Ok(plain) => Ok((plain.into(), keys.id().to_owned())),
            Err(Closed::Altered) => Err(None),
            Err(Closed::NoKey(id)) => {
                Err(Some(format!("it lacks key {id}, with which what is stored is sealed: put the file back that belongs to this store")))
            }
        }
    }

    /// The file of the keys, to be named in errors.
    pub fn key_file(&self) -> String {
        self.sealing.as_ref().map(|sealing| sealing.key_file.display().to_string()).unwrap_or_default()
    }
}

/// What a sealed value is bound to: it means nothing under another key, or as an older value of the same.
fn place(key: &str, modified: Revision) -> Vec<u8> {
    [key.as_bytes(), b"\0", &modified.to_be_bytes()].concat()
}
