//! The keys that values are sealed with, in a file that only its owner may read: a line for each, the one in use first.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::{Error, Result};

const KEY_BYTES: usize = 32;
/// How a sealed value begins; its key's id and a colon follow, then the nonce, then what was sealed.
const MAGIC: &[u8] = b"sealed:1:";
/// Letters of a key's id.
const ID_LETTERS: usize = 16;
/// What the key that vouches for backups is derived with.
const VOUCHER: &[u8] = b"conductor: who vouches for a backup";
/// A file of keys is no longer than this, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A key, and its id: the beginning of its hash, so that a key that was altered is found out.
#[derive(Clone)]
struct Key {
    id: String,
    bytes: [u8; KEY_BYTES],
}

/// Keys: the first seals, all of them open. ChaCha20-Poly1305 with random nonces.
#[derive(Clone)]
pub struct Keys(Vec<Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

/// Why something could not be opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Closed {
    /// None of the keys has this id.
    NoKey(String),
    /// The key is there, and this is not what it sealed.
    Altered,
}

impl Keys {
    /// One new key. Errors: the system gives no random bytes.
    pub fn generate() -> Result<Self> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Unavailable("make a key: the system gives no random bytes".to_owned()))?;
        Ok(Self(vec![Key::new(bytes)]))
    }

    /// These keys, and a new one before them. Errors: those of [`Self::generate`].
    pub fn with_new(&self) -> Result<Self> {
        let mut keys = Self::generate()?;
        keys.0.extend(self.0.iter().cloned());
        Ok(keys)
    }

    /// The id of the key that seals.
    pub fn id(&self) -> &str {
        self.0.first().map_or("", |key| &key.id)
    }

    /// Reads a file; `None` when it is not there. Errors: [`Error::Key`] for one that others may read, that holds no keys, or
    /// that the system refuses.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let wrong = |reason: String| Error::Key { path: path.display().to_string(), reason };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
        };
        let of = file.metadata().map_err(|error| wrong(format!("cannot be read: {error}")))?;
        if of.mode() & 0o077 != 0 {
            let reason = format!("others may use it (mode {:04o}): chmod 600 {}", of.mode() & 0o7777, path.display());
            return Err(wrong(reason));
        }
        let mut text = String::new();
        let read = Read::by_ref(&mut file).take(FILE_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
        Self::parse(&text).map(Some).map_err(wrong)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
            let key = line.split_once(' ').and_then(|(id, text)| {
                let bytes = STANDARD.decode(text.trim()).ok()?;
                Some(Key::new(bytes.try_into().ok()?)).filter(|key| key.id == id)
            });
            let expected = "expected a key's id and the key, as this program wrote them: put the right file back";
            keys.push(key.ok_or_else(|| format!("line {}: {expected}", at + 1))?);
        }
        if keys.is_empty() {
            return Err("it holds no key: put the right file back".to_owned());
        }
        Ok(Self(keys))
    }

    /// Writes the file, whole or not at all, for its owner alone. Errors: [`Error::Key`] when the system refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text =
            String::from("# What Secrets are sealed with: the first key seals, the others open what was sealed before. Keep it safe.\n");
        for key in &self.0 {
            text.push_str(&format!("{} {}\n", key.id, STANDARD.encode(key.bytes)));
        }
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let write = || -> io::Result<()> {
            match std::fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&fresh, path)?;
            match path.parent() {
                Some(directory) if directory != Path::new("") => File::open(directory)?.sync_all(),
                _ => Ok(()),
            }
        };
        write().map_err(|error| Error::Key { path: path.display().to_string(), reason: format!("cannot be written: {error}") })
    }

    /// Seals a value for one place, which must be named again to open it. Errors: the system gives no random bytes.
    pub fn seal(&self, place: &[u8], value: &[u8]) -> io::Result<Vec<u8>> {
        let key = self.0.first().ok_or_else(|| io::Error::other("there is no key to seal with"))?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        let mut text = value.to_vec();
        let sealed = key.cipher()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut text);
        sealed.map_err(|_| io::Error::other("a value is too long to be sealed"))?;
        let head = [MAGIC, key.id.as_bytes(), b":", &nonce].concat();
        Ok([head, text].concat())
    }

    /// Opens what was sealed for one place.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Closed> {
        let id = sealed_by(sealed).ok_or(Closed::Altered)?;
        let key = self.0.iter().find(|key| key.id == id).ok_or_else(|| Closed::NoKey(id.to_owned()))?;
        let rest = sealed.get(MAGIC.len() + ID_LETTERS + 1..).ok_or(Closed::Altered)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Closed::Altered)?;
        let mut text = text.to_vec();
        let cipher = key.cipher().map_err(|_| Closed::Altered)?;
        let opened = cipher.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut text);
        let length = opened.map_err(|_| Closed::Altered)?.len();
        text.truncate(length);
        Ok(text)
    }

    /// What shows that a text was written by somebody who has the key that seals. Errors: there is none.
    pub fn vouch(&self, text: &[u8]) -> io::Result<hmac::Tag> {
        let key = self.0.first().ok_or_else(|| io::Error::other("there is no key to vouch with"))?;
        Ok(hmac::sign(&key.voucher(), text))
    }

    /// Errors: the key of this id is not here; it did not vouch for this text.
    pub fn vouches(&self, id: &str, text: &[u8], tag: &[u8]) -> Result<(), Closed> {
        let key = self.0.iter().find(|key| key.id == id).ok_or_else(|| Closed::NoKey(id.to_owned()))?;
        hmac::verify(&key.voucher(), text, tag).map_err(|_| Closed::Altered)
    }
}

/// The id of the key that sealed a value; `None` for a plain one.
pub fn sealed_by(value: &[u8]) -> Option<&str> {
    let id = value.strip_prefix(MAGIC)?.get(..=ID_LETTERS)?;
    std::str::from_utf8(id).ok()?.strip_suffix(':')
}

impl Key {
    fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let hash = digest(&SHA256, &bytes);
        Self { id: hash.as_ref().iter().take(ID_LETTERS / 2).map(|byte| format!("{byte:02x}")).collect(), bytes }
    }

    /// The key that vouches: one of its own, so that no key does two things.
    fn voucher(&self) -> hmac::Key {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.bytes), VOUCHER);
        hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
    }

    fn cipher(&self) -> io::Result<LessSafeKey> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &self.bytes).map_err(|_| io::Error::other("a key has the wrong length"))?;
        Ok(LessSafeKey::new(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_at_its_place_with_its_key_alone() {
        let keys = Keys::generate().unwrap();
        let sealed = keys.seal(b"/a", b"hush").unwrap();
        assert_eq!(sealed_by(&sealed), Some(keys.id()));
        assert!(!sealed.windows(4).any(|window| window == b"hush"));
        assert_ne!(sealed, keys.seal(b"/a", b"hush").unwrap(), "the same value looks different each time");
        assert_eq!(keys.open(b"/a", &sealed).unwrap(), b"hush");
        assert_eq!(keys.open(b"/b", &sealed), Err(Closed::Altered));
        let later = keys.with_new().unwrap();
        assert_eq!(later.open(b"/a", &sealed).unwrap(), b"hush");
        assert_eq!(Keys::generate().unwrap().open(b"/a", &sealed), Err(Closed::NoKey(keys.id().to_owned())));
        for place in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[place] ^= 1;
            assert!(keys.open(b"/a", &altered).is_err(), "a flip at {place}");
            assert!(keys.open(b"/a", &sealed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_file_of_keys_is_read_as_it_was_written_or_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        assert!(Keys::read(&file).unwrap().is_none());
        let keys = Keys::generate().unwrap().with_new().unwrap();
        keys.write(&file).unwrap();
        let read = Keys::read(&file).unwrap().unwrap();
        assert_eq!((read.id(), read.0.len()), (keys.id(), 2));
        assert!(!format!("{read:?}").contains(&STANDARD.encode(read.0[0].bytes)));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let said = Keys::read(&file).unwrap_err().to_string();
        assert!(said.contains("others may use it (mode 0640): chmod 600"), "{said}");
        let text = std::fs::read_to_string(&file).unwrap();
        for wrong in ["", "# nothing", "hello", &text.replace(keys.id(), "0000000000000000"), &text[..text.len() - 9]] {
            assert!(Keys::parse(wrong).unwrap_err().contains("put the right file back"), "{wrong}");
        }
    }
}
