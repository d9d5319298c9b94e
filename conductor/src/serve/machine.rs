//! What is so of this machine.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use control::NodeFacts;
use nix::unistd::{SysconfVar, sysconf};
use runtime::Usage;

use crate::private;

/// The facts of this machine. Its name is kept in the data directory from the first start on, so that a machine that is
/// renamed stays the node that its Pods are on.
pub fn facts(data: &Path) -> Result<NodeFacts> {
    let file = data.join("node-name");
    let name = match private::read_text(&file)? {
        Some(name) if model::check_subdomain(name.trim()).is_empty() => name.trim().to_owned(),
        _ => {
            let name = node_name(
                &nix::sys::utsname::uname().map_or_else(|_| String::new(), |names| names.nodename().to_string_lossy().into_owned()),
            );
            private::write(&file, name.as_bytes())?;
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
        usage,
    })
}

/// A host name as a Node's name: lower case, with what cannot be in one replaced.
fn node_name(host: &str) -> String {
    let mapped: String = host.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let trimmed = mapped.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if model::check_subdomain(trimmed).is_empty() { trimmed.to_owned() } else { "node".into() }
}

fn memory_bytes(meminfo: &str) -> u64 {
    meminfo_bytes(meminfo, "MemTotal:").unwrap_or(0)
}

fn meminfo_bytes(meminfo: &str, name: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

/// What all processors have worked since the machine began, and the memory that is not available to new programs.
fn usage() -> Option<Usage> {
    let (stat, meminfo) = (std::fs::read_to_string("/proc/stat").ok()?, std::fs::read_to_string("/proc/meminfo").ok()?);
    let available = meminfo_bytes(&meminfo, "MemAvailable:")?;
    Some(Usage { cpu: worked(&stat)?, memory_bytes: memory_bytes(&meminfo).saturating_sub(available) })
}

fn worked(stat: &str) -> Option<Duration> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = all.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _waiting, interrupts, soft_interrupts, ..] = ticks.as_slice() else { return None };
    let ticks = [user, nice, system, interrupts, soft_interrupts].into_iter().fold(0_u64, |sum, ticks| sum.saturating_add(*ticks));
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100);
    Some(Duration::from_millis(ticks.saturating_mul(1_000) / per_second.max(1)))
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
        assert_eq!(meminfo_bytes("MemTotal: 2 kB", "MemAvailable:"), None);
        assert_eq!(worked("cpu  10 20 30 1000 500 4 6 7 0 0\ncpu0 1 1 1 1 1 1 1\n"), Some(Duration::from_millis(700)));
        assert_eq!((worked("cpu0 1 2 3 4 5 6 7"), worked("cpu  1 2 x")), (None, None));
        assert!(usage().is_some_and(|usage| !usage.cpu.is_zero() && usage.memory_bytes > 0));
        assert_eq!(system("NAME=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
        for (host, name) in [("Web_1.Local", "web-1.local"), ("", "node"), ("--", "node"), ("a..b", "node")] {
            assert_eq!(node_name(host), name, "{host}");
        }
    }
}
