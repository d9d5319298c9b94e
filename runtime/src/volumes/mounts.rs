//! What is mounted on this machine, and how it is not.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const NOTHING: Option<&str> = None;

/// Mounts memory, of which no more than `bytes_max` is taken, at a directory.
pub(super) fn mount_memory(place: &Path, bytes_max: Option<u64>) -> io::Result<()> {
    let options = bytes_max.map(|bytes| format!("size={}", bytes.max(1)));
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("conductor"), place, Some("tmpfs"), flags, options.as_deref()).map_err(io::Error::from)
}

/// Shows what is open at another place too.
pub(super) fn bind(found: &OwnedFd, place: &Path) -> io::Result<()> {
    let from = format!("/proc/self/fd/{}", found.as_raw_fd());
    mount(Some(from.as_str()), place, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING).map_err(io::Error::from)
}

/// Whether something is mounted at just this place.
pub(super) fn is_mounted(place: &Path) -> io::Result<bool> {
    Ok(below(place)?.iter().any(|mounted| mounted == place))
}

/// Unmounts whatever is mounted at a place or below it. Errors: something stays mounted.
pub(super) fn unmount_below(place: &Path) -> io::Result<()> {
    // What is mounted twice at one place is listed twice; what comes while we look is met the next time.
    for _ in 0..8 {
        let mounted = below(place)?;
        if mounted.is_empty() {
            return Ok(());
        }
        for one in mounted.iter().rev() {
            match umount2(one, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                // Gone with what it was mounted on.
                Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(error) => return Err(io::Error::other(format!("{} stays mounted: {}", one.display(), error.desc()))),
            }
        }
    }
    Err(io::Error::other(format!("something below {} stays mounted", place.display())))
}

/// What is mounted at a place or below it, what is mounted later after what it is mounted on.
fn below(place: &Path) -> io::Result<Vec<PathBuf>> {
    // The list has no links in it.
    let real = match (place.parent().map(fs::canonicalize), place.file_name()) {
        (Some(Ok(above)), Some(name)) => above.join(name),
        _ => return Ok(Vec::new()),
    };
    Ok(listed(&fs::read("/proc/self/mountinfo")?).into_iter().filter(|mounted| mounted.starts_with(&real)).collect())
}

/// The places in a list of mounts, proc(5): the fifth word of each line.
fn listed(list: &[u8]) -> Vec<PathBuf> {
    let words = list.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    words.map(|word| PathBuf::from(OsString::from_vec(plain(word)))).collect()
}

/// `\040` and the like stand for bytes that would end a word.
fn plain(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match digits {
            Some(digits) => {
                out.push(digits.iter().fold(0_u8, |byte, digit| byte.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_mounts_is_read() {
        let list = b"36 35 98:0 / / rw shared:1 - ext4 /dev/root rw\n37 36 0:5 / /a\\040b/c\\134 rw - tmpfs x rw\n";
        assert_eq!(listed(list), [PathBuf::from("/"), PathBuf::from("/a b/c\\")]);
    }

    #[test]
    fn what_is_not_below_a_place_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_mounted(dir.path()).unwrap());
        unmount_below(dir.path()).unwrap();
    }
}
