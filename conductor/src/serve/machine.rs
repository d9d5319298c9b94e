//! What is so of this machine.

use std::path::Path;

use anyhow::Result;
use control::NodeFacts;

use crate::paths;

/// The facts of this machine. Its name is kept in the data directory from the first start on, so that a machine that is
/// renamed stays the node that its Pods are on.
pub fn facts(data: &Path) -> Result<NodeFacts> {
    let file = data.join("node-name");
    let name = match std::fs::read_to_string(&file) {
        Ok(name) if model::check_subdomain(name.trim()).is_empty() => name.trim().to_owned(),
        _ => {
            let name = node_name(
                &nix::sys::utsname::uname().map_or_else(|_| String::new(), |names| names.nodename().to_string_lossy().into_owned()),
            );
            paths::write_private(&file, name.as_bytes())?;
            name
        }
    };
    let kernel = nix::sys::utsname::uname().map_or_else(|_| String::new(), |names| names.release().to_string_lossy().into_owned());
    Ok(NodeFacts {
        name,
        address: "127.0.0.1".into(),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_bytes: memory_bytes(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        version: env!("CARGO_PKG_VERSION").into(),
        system: system(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()),
        kernel,
    })
}

/// A host name as a Node's name: lower case, with what cannot be in one replaced.
fn node_name(host: &str) -> String {
    let mapped: String = host.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let trimmed = mapped.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if model::check_subdomain(trimmed).is_empty() { trimmed.to_owned() } else { "node".into() }
}

fn memory_bytes(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

fn system(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map(|name| name.trim_matches('"').to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_the_system_files() {
        assert_eq!(memory_bytes("MemTotal:       2 kB\nMemFree: 1 kB"), 2048);
        assert_eq!(system("NAME=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
        for (host, name) in [("Web_1.Local", "web-1.local"), ("", "node"), ("--", "node"), ("a..b", "node")] {
            assert_eq!(node_name(host), name, "{host}");
        }
    }
}
