//! Where a server keeps what.

use std::path::{Path, PathBuf};

/// The data directory of root's server.
pub const ROOTS_DATA_DIR: &str = "/var/lib/conductor";

/// The data directory when none is named: `/var/lib/conductor` for root, `$XDG_STATE_HOME/conductor` for others.
pub fn default_data_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return ROOTS_DATA_DIR.into();
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
