//! Files of a volume, all replaced at once, in the way of Kubernetes: programs that watch `..data` go on working.
//!
//! ```text
//! key    -> ..data/key
//! ..data -> ..2              one rename turns this to what is new
//! ..2/key
//! ```

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;

use super::File;

const CURRENT: &str = "..data";
const NEXT: &str = "..data_next";

/// Makes these the files of a volume; whether anything changed.
pub(super) fn write(place: &Path, files: &[File], owner: Option<u32>, group: Option<u32>) -> io::Result<bool> {
    let group = group.or(owner);
    let current = fs::read_link(place.join(CURRENT)).ok().and_then(|target| target.to_str().map(str::to_owned));
    let is_same = current.as_ref().is_some_and(|current| is_as_wanted(&place.join(current), files, owner, group));
    let version = match current {
        Some(current) if is_same => current,
        current => {
            let version = next(current.as_deref());
            clear(&place.join(&version))?;
            add(&place.join(&version), files, owner, group)?;
            clear(&place.join(NEXT))?;
            symlink(&version, place.join(NEXT))?;
            fs::rename(place.join(NEXT), place.join(CURRENT))?;
            version
        }
    };
    link(place, files, owner, group)?;
    tidy(place, files, &version)?;
    Ok(!is_same)
}

fn next(current: Option<&str>) -> String {
    let number = current.and_then(|name| name.strip_prefix("..")?.parse::<u64>().ok()).unwrap_or(0);
    format!("..{}", number + 1)
}

fn is_as_wanted(dir: &Path, files: &[File], owner: Option<u32>, group: Option<u32>) -> bool {
    let is_file = |file: &File| -> io::Result<bool> {
        let mut found = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(dir.join(&file.path))?;
        let said = found.metadata()?;
        let is_owned = owner.is_none_or(|owner| said.uid() == owner) && group.is_none_or(|group| said.gid() == group);
        let mut bytes = Vec::new();
        found.read_to_end(&mut bytes)?;
        Ok(is_owned && said.mode() & 0o777 == file.mode && bytes == file.bytes)
    };
    files.iter().all(|file| is_file(file).unwrap_or(false)) && count(dir).is_ok_and(|count| count == files.len())
}

/// How many files there are in a directory and below it.
fn count(dir: &Path) -> io::Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        found += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(found)
}

fn add(dir: &Path, files: &[File], owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    make_dir(dir, owner, group)?;
    for file in files {
        let path = dir.join(&file.path);
        let mut above = dir.to_owned();
        for step in Path::new(&file.path).parent().into_iter().flat_map(Path::components) {
            above.push(step);
            make_dir(&above, owner, group)?;
        }
        let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        made.write_all(&file.bytes)?;
        if owner.is_some() || group.is_some() {
            chown(&path, owner, group).map_err(not_given)?;
        }
        made.set_permissions(Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

fn make_dir(dir: &Path, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    if owner.is_some() || group.is_some() {
        chown(dir, owner, group).map_err(not_given)?;
    }
    Ok(())
}

/// Lets every name at the top lead to what is current.
fn link(place: &Path, files: &[File], owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    for name in tops(files) {
        let (path, target) = (place.join(name), Path::new(CURRENT).join(name));
        if fs::read_link(&path).ok().as_ref() == Some(&target) {
            continue;
        }
        clear(&path)?;
        symlink(&target, &path)?;
        if owner.is_some() || group.is_some() {
            lchown(&path, owner, group).map_err(not_given)?;
        }
    }
    Ok(())
}

/// Deletes names that lead nowhere and what was current before.
fn tidy(place: &Path, files: &[File], version: &str) -> io::Result<()> {
    let tops = tops(files);
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_kept = name.to_str().is_some_and(|name| name == CURRENT || name == version || tops.contains(name));
        if !is_kept {
            clear(&entry.path())?;
        }
    }
    Ok(())
}

fn tops(files: &[File]) -> BTreeSet<&str> {
    files.iter().filter_map(|file| file.path.split('/').next()).collect()
}

/// Deletes whatever is there, without following it.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

/// What is said when files cannot be handed to others.
pub(super) fn not_given(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            io::Error::other("only a server that runs as root can give files to another user or to a group (fsGroup)")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, mode: u32, text: &str) -> File {
        File { path: path.into(), mode, bytes: text.into() }
    }

    fn names(place: &Path) -> Vec<String> {
        let mut all: Vec<String> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }

    #[test]
    fn files_are_replaced_all_at_once_and_only_where_they_differ() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path();
        let first = [file("a", 0o640, "1"), file("d/e/f", 0o400, "2")];
        assert!(write(place, &first, None, None).unwrap());
        assert_eq!(names(place), ["..1", "..data", "a", "d"]);
        assert_eq!(fs::read_to_string(place.join("d/e/f")).unwrap(), "2");
        assert_eq!(fs::metadata(place.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(!write(place, &first, None, None).unwrap());
        let held = fs::canonicalize(place.join("a")).unwrap();
        for (next, is_new) in [
            (vec![file("a", 0o640, "3")], true),
            (vec![file("a", 0o640, "3")], false),
            (vec![file("a", 0o600, "3")], true),
            (vec![file("a", 0o600, "3"), file("b", 0o600, "")], true),
            (Vec::new(), true),
            (Vec::new(), false),
        ] {
            assert_eq!(write(place, &next, None, None).unwrap(), is_new, "{next:?}");
            let kept: Vec<String> = names(place).into_iter().filter(|name| !name.starts_with("..")).collect();
            assert_eq!(kept, next.iter().map(|file| file.path.clone()).collect::<Vec<_>>());
        }
        assert!(!held.exists());
        assert_eq!(names(place).len(), 2);
    }

    #[test]
    fn what_was_half_made_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path();
        write(place, &[file("a", 0o644, "1")], None, None).unwrap();
        fs::create_dir(place.join("..2")).unwrap();
        fs::write(place.join("..2/half"), "").unwrap();
        symlink("..2", place.join(NEXT)).unwrap();
        fs::remove_file(place.join("a")).unwrap();
        assert!(!write(place, &[file("a", 0o644, "1")], None, None).unwrap());
        assert_eq!(names(place), ["..1", "..data", "a"]);
        assert!(write(place, &[file("a", 0o644, "2")], None, None).unwrap());
        assert_eq!(
            (names(place), fs::read_to_string(place.join("a")).unwrap()),
            (vec!["..2".into(), "..data".into(), "a".into()], "2".into())
        );
    }
}
