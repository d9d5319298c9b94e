//! What lies on a node for the volumes of its pods. Runtimes only mount it.
//!
//! `disk` keeps directories, and what is private in memory; [`fake`] remembers what it was asked for and is for tests.

#[cfg(any(feature = "process", feature = "docker"))]
pub mod disk;
pub mod fake;
#[cfg(any(feature = "process", feature = "docker"))]
mod files;
#[cfg(any(feature = "process", feature = "docker"))]
mod mounts;
#[cfg(any(feature = "process", feature = "docker"))]
mod node_path;
#[cfg(any(feature = "process", feature = "docker"))]
mod sub_path;

use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Result;

/// What a container sees at a place of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The directory or file of this machine.
    pub source: PathBuf,
    /// Where the container sees it: an absolute path.
    pub target: String,
    /// Whether the container may only read it.
    pub is_read_only: bool,
}

/// A volume of a pod as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The uid of its pod.
    pub uid: String,
    /// Its name within the pod.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// The user that its files belong to; the server's own without.
    pub owner: Option<u32>,
    /// The group that its files belong to, and that may do as their owner may.
    pub group: Option<u32>,
}

/// Where a volume comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A directory that is empty at first and goes with the pod.
    Empty {
        /// Whether it lies in memory.
        is_memory: bool,
        /// The most that it holds, where it lies in memory.
        bytes_max: Option<u64>,
    },
    /// A path of the node, which is nobody's to delete.
    Node {
        /// The path.
        path: PathBuf,
        /// What it is to be.
        kind: NodePath,
    },
    /// Files, which containers only read.
    Files {
        /// What they are.
        files: Vec<File>,
        /// Whether they must never be on a disk.
        is_private: bool,
    },
}

/// What a path of the node is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodePath {
    /// Anything; a directory is made where there is nothing.
    Any,
    /// A directory, made where there is nothing.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file, made where there is nothing.
    FileOrCreate,
    /// A file.
    File,
    /// A Unix socket.
    Socket,
    /// A device that is read by the character.
    CharDevice,
    /// A device that is read by the block.
    BlockDevice,
}

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is within the volume.
    pub path: String,
    /// What its owner, its group and others may do with it.
    pub mode: u32,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Part of a volume that a container sees in place of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubPath {
    /// The container.
    pub container: String,
    /// Which of its mounts it is.
    pub number: usize,
    /// The path within the volume.
    pub path: String,
}

/// Something that keeps the volumes of a node's pods.
#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// Where a volume, or part of it, is mounted from once it is set up; the same at all times.
    fn place(&self, volume: &Volume, part: Option<&SubPath>) -> PathBuf;

    /// Makes a volume as it is wanted, or as it is wanted by now: files are replaced all at once. Whether anything changed.
    /// Errors: [`crate::Error::Failed`], why it cannot be.
    async fn set_up(&self, volume: &Volume) -> Result<bool>;

    /// Makes part of a volume ready to be mounted, for the next start of its container.
    /// Errors: [`crate::Error::Failed`], why it cannot be, such as that a link leads out of the volume.
    async fn set_up_part(&self, volume: &Volume, part: &SubPath) -> Result<()>;

    /// Deletes all that a pod's volumes have on this node, which none of its containers may use any more.
    async fn remove(&self, uid: &str) -> Result<()>;

    /// The uids of the pods that have something here.
    async fn pods(&self) -> Result<Vec<String>>;
}
