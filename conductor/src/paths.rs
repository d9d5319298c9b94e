//! Where a server keeps what, and how private files are made.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The data directory when none is named: `/var/lib/conductor` for root, `$XDG_STATE_HOME/conductor` for others.
pub fn default_data_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return "/var/lib/conductor".into();
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from).join(".local/state");
    state.unwrap_or_else(home).join("conductor")
}

/// The file of settings when none is named: `/etc/conductor/conductor.toml` for root, `$XDG_CONFIG_HOME/conductor/conductor.toml`
/// for others.
pub fn default_config_file() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return "/etc/conductor/conductor.toml".into();
    }
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from).join(".config");
    config.unwrap_or_else(home).join("conductor/conductor.toml")
}

/// The socket of this machine's people.
pub fn socket(data: &Path) -> PathBuf {
    data.join("conductor.sock")
}

/// All objects and their recent history.
pub fn store(data: &Path) -> PathBuf {
    data.join("store.redb")
}

/// The administrator's kubeconfig.
pub fn kubeconfig(data: &Path) -> PathBuf {
    data.join("kubeconfig")
}

/// What says where a server that is ready is reached.
pub fn ready(data: &Path) -> PathBuf {
    data.join("ready.json")
}

/// Makes a directory, and those above it, that only its owner may enter.
pub fn make_private(dir: &Path) -> Result<()> {
    if !dir.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    Ok(())
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(file: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".new");
    let write = || -> std::io::Result<()> {
        let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        out.set_permissions(fs::Permissions::from_mode(0o600))?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&temporary, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}
