//! Files and directories that are one user's alone. Whoever else could have made or changed one could have become the server,
//! so each is looked at before it is believed, and opened without following links.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

const OTHERS_WRITE: u32 = 0o022;
const OTHERS_USE: u32 = 0o077;
const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;
/// Directories of a data directory whose entries are looked at, beside its own.
const INSIDE: &[&str] = &["pki", "pods", "docker"];
/// A private file that is read whole is no longer than this, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Something that others could have made or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// What, and by whom.
    pub what: String,
    /// The command that mends it, or what else to do.
    pub mend: String,
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.mend)
    }
}

/// Makes a directory that only its owner may enter, with those above it, or takes the one that is there for its owner alone.
/// Errors: it belongs to somebody else, others may write it or could replace it, or something in it is not its owner's.
pub fn make_dir(dir: &Path) -> Result<()> {
    // A link that leads nowhere is no directory, and making one through it would be following it.
    if fs::symlink_metadata(dir).is_err() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    if let Some(exposed) = exposed(dir).into_iter().next() {
        bail!("{exposed}");
    }
    let mode = fs::metadata(dir).with_context(|| format!("cannot look at {}", dir.display()))?.mode();
    if mode & OTHERS_USE != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).with_context(|| format!("cannot close {} to others", dir.display()))?;
    }
    Ok(())
}

/// What of a directory, of those above it and of what is in it is not for this process' user alone to change.
pub fn exposed(dir: &Path) -> Vec<Exposed> {
    let own = nix::unistd::geteuid().as_raw();
    let Ok(real) = dir.canonicalize() else {
        return match fs::symlink_metadata(dir) {
            Ok(_) => {
                vec![Exposed { what: format!("{} is a link that leads nowhere", dir.display()), mend: format!("rm {}", dir.display()) }]
            }
            Err(_) => Vec::new(),
        };
    };
    let mut found: Vec<Exposed> = real.ancestors().skip(1).filter_map(|above| above_exposed(above, own)).collect();
    found.extend(fs::metadata(&real).ok().and_then(|of| dir_exposed(dir, &of, own)));
    // Entries of a directory that is not ours say nothing more.
    if found.is_empty() {
        found.extend(
            entries(&real).chain(INSIDE.iter().flat_map(|name| entries(&real.join(name)))).filter_map(|path| entry_exposed(&path, own)),
        );
    }
    found
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whoever may write a directory may put another in the place of what is in it, unless it is sticky, as `/tmp` is.
fn above_exposed(dir: &Path, own: u32) -> Option<Exposed> {
    let of = fs::metadata(dir).ok()?;
    let (named, mode) = (dir.display(), of.mode());
    if of.uid() != own && of.uid() != ROOT {
        let what = format!("{named}, which it is in, belongs to user {}", of.uid());
        return Some(Exposed { what, mend: "name a directory with --data that no other user could replace".into() });
    }
    let own_group = of.gid() == nix::unistd::getegid().as_raw() || of.gid() == ROOT;
    let writers = if own_group { 0o002 } else { OTHERS_WRITE };
    (mode & writers != 0 && mode & STICKY == 0).then(|| Exposed {
        what: format!("others may write {named}, which it is in (mode {:04o})", mode & 0o7777),
        mend: format!("chmod go-w {named}"),
    })
}

fn dir_exposed(dir: &Path, of: &Metadata, own: u32) -> Option<Exposed> {
    let named = dir.display();
    if !of.is_dir() {
        return Some(Exposed { what: format!("{named} is no directory"), mend: "name another with --data".into() });
    }
    if of.uid() != own {
        let what = format!("{named} belongs to user {}, and this is user {own}", of.uid());
        return Some(Exposed { what, mend: "name a directory of your own with --data, or start it as that user".into() });
    }
    (of.mode() & OTHERS_WRITE != 0).then(|| Exposed {
        what: format!("others may write {named} (mode {:04o}), and so put anything into it", of.mode() & 0o7777),
        mend: format!("see that nothing in it is theirs, then: chmod 700 {named}"),
    })
}

fn entry_exposed(path: &Path, own: u32) -> Option<Exposed> {
    let of = fs::symlink_metadata(path).ok()?;
    let named = path.display();
    let exposed = |what: String| Some(Exposed { what, mend: format!("if nobody knows why it is there: rm {named}") });
    match of.file_type() {
        kind if kind.is_symlink() => exposed(format!("{named} is a link to somewhere else")),
        _ if of.uid() != own => exposed(format!("{named} belongs to user {}, and this is user {own}", of.uid())),
        kind if kind.is_file() && of.nlink() > 1 => exposed(format!("{named} has another name somewhere else (a hard link)")),
        kind if !kind.is_socket() && of.mode() & OTHERS_WRITE != 0 => Some(Exposed {
            what: format!("others may write {named} (mode {:04o})", of.mode() & 0o7777),
            mend: format!("chmod go-w {named}"),
        }),
        _ => None,
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".new");
    let write = || -> io::Result<()> {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&temporary, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

/// Reads a file of ours; `None` when it is not there. Errors: it is a link, somebody else's, or longer than a mebibyte.
pub fn read(file: &Path) -> Result<Option<Vec<u8>>> {
    let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(file);
    let opened = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.and_then(own_file).with_context(|| format!("cannot read {}", file.display()))?,
    };
    let mut bytes = Vec::new();
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", file.display()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("{}: expected at most {FILE_BYTES_MAX} bytes", file.display());
    }
    Ok(Some(bytes))
}

/// [`read`] as text. Errors: also where it is not UTF-8.
pub fn read_text(file: &Path) -> Result<Option<String>> {
    read(file)?.map(String::from_utf8).transpose().with_context(|| format!("{}: expected text in UTF-8", file.display()))
}

/// Opens a file of ours to write at its end; makes it, for its owner alone, when it is missing. Errors: it is a link, or somebody else's.
pub fn append(file: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW).open(file).and_then(own_file)
}

/// Whoever can write a file that says whom to believe can become the server. Errors: somebody can who is neither root nor this user.
pub fn check_writers(path: &Path) -> Result<()> {
    let (named, of) = (path.display(), fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?);
    if of.mode() & OTHERS_WRITE != 0 {
        bail!("{named}: others may write it (mode {:04o}): chmod go-w {named}", of.mode() & 0o7777);
    }
    let own = nix::unistd::geteuid().as_raw();
    if of.uid() != ROOT && of.uid() != own {
        bail!("{named}: it belongs to user {}, expected root or user {own}: put a file of your own in its place", of.uid());
    }
    Ok(())
}

/// The file, if it is one and of this process' user.
fn own_file(file: File) -> io::Result<File> {
    let (of, own) = (file.metadata()?, nix::unistd::geteuid().as_raw());
    if !of.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if of.uid() != own {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it belongs to user {}, and this is user {own}", of.uid())));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn said(dir: &Path) -> String {
        exposed(dir).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_directory_that_is_not_there_is_made_for_its_owner_alone_and_one_that_others_may_read_is_closed() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("a/b");
        make_dir(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        make_dir(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn whatever_others_could_have_made_or_changed_is_refused_by_name() {
        let outer = tempfile::tempdir().unwrap();
        let (dir, elsewhere) = (outer.path().join("data"), outer.path().join("elsewhere"));
        make_dir(&dir.join("pki")).unwrap();
        fs::write(&elsewhere, "x").unwrap();
        assert_eq!(said(&dir), "");

        fs::set_permissions(&dir, Permissions::from_mode(0o770)).unwrap();
        assert!(said(&dir).contains("others may write"), "{}", said(&dir));
        assert!(make_dir(&dir).is_err());
        fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();

        for name in ["audit.log", "pki/ca.key"] {
            symlink(&elsewhere, dir.join(name)).unwrap();
            assert!(said(&dir).contains(&format!("{name} is a link to somewhere else")), "{}", said(&dir));
            fs::remove_file(dir.join(name)).unwrap();
            fs::hard_link(&elsewhere, dir.join(name)).unwrap();
            assert!(said(&dir).contains("a hard link"), "{}", said(&dir));
            fs::remove_file(dir.join(name)).unwrap();
        }
        fs::write(dir.join("admin-token"), "planted").unwrap();
        fs::set_permissions(dir.join("admin-token"), Permissions::from_mode(0o666)).unwrap();
        assert!(said(&dir).contains("others may write"), "{}", said(&dir));
        fs::remove_file(dir.join("admin-token")).unwrap();

        fs::set_permissions(outer.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(said(&dir).contains("which it is in"), "{}", said(&dir));
        fs::set_permissions(outer.path(), Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(said(&dir), "");
        fs::set_permissions(outer.path(), Permissions::from_mode(0o700)).unwrap();

        symlink(outer.path().join("nowhere"), outer.path().join("link")).unwrap();
        assert!(make_dir(&outer.path().join("link")).is_err());
        assert!(!outer.path().join("nowhere").exists());
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        if !nix::unistd::geteuid().is_root() {
            assert!(said(Path::new("/etc")).contains("/etc belongs to user 0"), "{}", said(Path::new("/etc")));
            assert!(read(Path::new("/etc/passwd")).is_err());
            return;
        }
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("data");
        make_dir(&dir).unwrap();
        fs::write(dir.join("admin-token"), "planted").unwrap();
        let stranger = Some(nix::unistd::Uid::from_raw(65_533));
        nix::unistd::chown(&dir.join("admin-token"), stranger, None).unwrap();
        assert!(said(&dir).contains("admin-token belongs to user 65533"), "{}", said(&dir));
        assert!(read(&dir.join("admin-token")).is_err());
        assert!(append(&dir.join("admin-token")).is_err());
        nix::unistd::chown(&dir, stranger, None).unwrap();
        assert!(said(&dir).contains("data belongs to user 65533, and this is user 0: name a directory of your own"), "{}", said(&dir));
        // A directory in a stranger's could be replaced at any time.
        make_dir(&dir.join("inner")).unwrap_err();
    }

    #[test]
    fn links_are_not_followed() {
        let outer = tempfile::tempdir().unwrap();
        let (link, target) = (outer.path().join("link"), outer.path().join("target"));
        symlink(&target, &link).unwrap();
        assert!(append(&link).is_err() && !target.exists());
        fs::write(&target, "x").unwrap();
        assert!(read(&link).is_err());
        write(&link, b"y").unwrap();
        assert_eq!((fs::read_to_string(&target).unwrap().as_str(), fs::read_to_string(&link).unwrap().as_str()), ("x", "y"));
        symlink(&target, outer.path().join("other.new")).unwrap();
        write(&outer.path().join("other"), b"z").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "x");
    }
}
