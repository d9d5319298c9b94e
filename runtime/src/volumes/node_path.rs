//! Paths of the node: that they are what a pod says they are.

use std::fs::{self, DirBuilder, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::NodePath;

/// Looks whether a path is what it should be, and makes it where that is asked for. Errors: it is not.
pub(super) fn check(path: &Path, kind: NodePath) -> io::Result<()> {
    let found = match fs::metadata(path) {
        Ok(found) => Some(found.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(io::Error::other(format!("{}: {error}", path.display()))),
    };
    match (kind, found) {
        (NodePath::Any | NodePath::DirectoryOrCreate, None) => {
            DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|error| not_made(path, &error))
        }
        (NodePath::FileOrCreate, None) => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
            made.map(drop).map_err(|error| not_made(path, &error))
        }
        (NodePath::Any, Some(_)) => Ok(()),
        (kind, found) => {
            let (word, is_so): (&str, fn(&FileType) -> bool) = match kind {
                NodePath::Any | NodePath::DirectoryOrCreate | NodePath::Directory => ("a directory", FileType::is_dir),
                NodePath::FileOrCreate | NodePath::File => ("a file", FileType::is_file),
                NodePath::Socket => ("a socket", FileType::is_socket),
                NodePath::CharDevice => ("a character device", FileType::is_char_device),
                NodePath::BlockDevice => ("a block device", FileType::is_block_device),
            };
            match found {
                Some(found) if is_so(&found) => Ok(()),
                _ => Err(io::Error::other(format!("hostPath type check failed: {} is not {word}", path.display()))),
            }
        }
    }
}

fn not_made(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{} could not be made: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_it_is_said_to_be_or_is_made_so() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("file"), "").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let all = [
            (NodePath::Any, "dir file socket null new1/deep"),
            (NodePath::DirectoryOrCreate, "dir new2/deep"),
            (NodePath::Directory, "dir"),
            (NodePath::FileOrCreate, "file new3"),
            (NodePath::File, "file"),
            (NodePath::Socket, "socket"),
            (NodePath::CharDevice, "null"),
            (NodePath::BlockDevice, ""),
        ];
        for (kind, good) in all {
            let good: Vec<&str> = good.split_whitespace().collect();
            for name in ["dir", "file", "socket", "null", "missing"].iter().chain(&good) {
                let path = if *name == "null" { "/dev/null".into() } else { at(name) };
                let makes = matches!(kind, NodePath::Any | NodePath::DirectoryOrCreate | NodePath::FileOrCreate);
                let expected = good.contains(name) || *name == "missing" && makes;
                assert_eq!(check(&path, kind).is_ok(), expected, "{kind:?} {name}");
                if *name == "missing" {
                    let _ = fs::remove_dir(&path).or_else(|_| fs::remove_file(&path));
                }
            }
        }
        assert!(at("new1/deep").is_dir() && at("new2/deep").is_dir() && at("new3").is_file());
    }
}
