//! What `cargo metadata` says, as far as the checks ask.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The workspace and all it depends on, with every feature.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
    workspace_root: PathBuf,
}

#[derive(Debug, Deserialize)]
pub struct Package {
    id: String,
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    pub dependencies: Vec<Dependency>,
    pub features: BTreeMap<String, Vec<String>>,
    pub targets: Vec<Target>,
    manifest_path: PathBuf,
}

/// One line of a crate's `[dependencies]` or the like.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    pub name: String,
    kind: Option<String>,
    pub features: Vec<String>,
}

impl Dependency {
    /// Whether only tests and examples have it.
    pub fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

#[derive(Debug, Deserialize)]
pub struct Target {
    pub src_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

impl Metadata {
    /// Asks Cargo. Errors: its own words.
    pub fn read(root: &Path) -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let asked = Command::new(cargo)
            .current_dir(root)
            .args(["metadata", "--format-version=1", "--locked", "--all-features", "--filter-platform", &platform])
            .output()
            .context("cannot run cargo metadata")?;
        if !asked.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&asked.stderr).trim());
        }
        serde_json::from_slice(&asked.stdout).context("cannot read what cargo metadata says")
    }

    /// Our own crates.
    pub fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The folder of one of our crates, from the root: `model`, `examples/hello`.
    pub fn folder(&self, package: &Package) -> String {
        let folder = package.manifest_path.parent().unwrap_or(&package.manifest_path);
        self.relative(folder)
    }

    /// A path from the root, with `/`.
    pub fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.workspace_root).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// Every package that is built into, or while building, what we ship; what only tests need is left out.
    pub fn shipped(&self) -> Vec<&Package> {
        let nodes: BTreeMap<&str, &Node> = self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = self.workspace_members.iter().map(String::as_str).collect();
        while let Some(id) = next.pop() {
            if seen.insert(id) {
                let edges = nodes.get(id).map(|node| node.deps.as_slice()).unwrap_or_default();
                let shipped = edges.iter().filter(|edge| edge.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev")));
                next.extend(shipped.map(|edge| edge.pkg.as_str()));
            }
        }
        self.packages.iter().filter(|package| seen.contains(package.id.as_str())).collect()
    }
}
