//! The machine's processes, read from `/proc`, and the ending of those that are ours.
//!
//! A pid alone names nothing for long: with the time the process began, in clock ticks since boot, and the boot, it does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

use crate::process::environment;

/// How long to go on killing what will not die.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// A process, told from any other that has had or will have its pid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub pid: i32,
    /// When it began, in ticks since boot.
    began_ticks: u64,
    /// Which boot.
    boot: String,
}

impl Identity {
    /// The process that has this pid; `None` if there is none.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, began_ticks: stat(pid)?.began_ticks, boot: boot() })
    }

    /// Whether it still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| !stat.is_over && stat.began_ticks == self.began_ticks) && self.boot == boot()
    }
}

/// A line of `/proc/<pid>/stat`, what we need of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// It has ended and waits to be reaped.
    pub is_over: bool,
    began_ticks: u64,
    /// Processor time, its own and of the children it has waited for, in ticks.
    cpu_ticks: u64,
    /// Resident memory, in pages.
    resident_pages: u64,
}

impl Stat {
    /// Processor time that it has used, and children that it has waited for.
    pub fn cpu(&self) -> Duration {
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100);
        Duration::from_millis(self.cpu_ticks.saturating_mul(1_000) / per_second.max(1))
    }

    /// Resident memory, in bytes; pages that it shares with others are counted.
    pub fn resident_bytes(&self) -> u64 {
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4_096);
        self.resident_pages.saturating_mul(page)
    }
}

/// Reads what the system knows of a process; `None` if there is none.
pub(super) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(line: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses and may hold anything, more parentheses included.
    let mut fields = line.rsplit_once(") ")?.1.split(' ');
    let is_over = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let mut number = |skipped: usize| fields.nth(skipped)?.trim().parse::<u64>().ok();
    let cpu_ticks = [number(8)?, number(0)?, number(0)?, number(0)?].into_iter().fold(0_u64, u64::saturating_add);
    let (began_ticks, resident_pages) = (number(4)?, number(1)?);
    Some(Stat { parent, group, is_over, began_ticks, cpu_ticks, resident_pages })
}

/// The value of a variable in the environment a process began with, where we may read it.
pub(super) fn variable(pid: i32, name: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environ.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

/// The children of a process, zombies included. May miss some while children come and go.
pub(super) fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => found.extend(list.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            // A kernel without this file: every process is asked for its parent.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && stat(pid).is_some() => {
                return all().into_iter().filter(|one| stat(*one).is_some_and(|stat| stat.parent == pid)).collect();
            }
            Err(_) => {}
        }
    }
    found
}

/// Sends a signal; a process that is gone is no failure.
pub(super) fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Ends, at once, all that a pod without a shim has left: the processes known to be its own, those marked with its directory, and
/// whatever descends from either. Returns when they are gone, or after five seconds with those that are not.
pub(super) fn end_leftovers(dir: &Path, known: &[Identity]) -> Vec<i32> {
    let deadline = Instant::now() + KILL_PATIENCE;
    let mut found = known.to_vec();
    loop {
        // Those found before are looked at again: once its leader is gone, nothing tells that a process was ours.
        let left = leftovers(dir, &found);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        found = left.iter().filter_map(|pid| Identity::of(*pid)).collect();
        for pid in left {
            send(pid, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn leftovers(dir: &Path, known: &[Identity]) -> Vec<i32> {
    let us = i32::try_from(std::process::id()).unwrap_or(0);
    let alive: Vec<(i32, Stat)> =
        all().into_iter().filter_map(|pid| Some((pid, stat(pid)?))).filter(|(pid, stat)| !stat.is_over && *pid > 1 && *pid != us).collect();
    let mut ours: BTreeSet<i32> = known.iter().filter(|known| known.is_alive()).map(|known| known.pid).collect();
    let mark = environment::dir_mark(dir);
    let is_marked = |pid: &i32| variable(*pid, environment::DIR).is_some_and(|dir| dir == mark);
    ours.extend(alive.iter().map(|(pid, _)| *pid).filter(is_marked));
    // A container leads its group: while it lives, the group is its own.
    let leaders = ours.clone();
    loop {
        let before = ours.len();
        for (pid, stat) in &alive {
            if ours.contains(&stat.parent) || leaders.contains(&stat.group) {
                ours.insert(*pid);
            }
        }
        if ours.len() == before {
            return ours.into_iter().collect();
        }
    }
}

fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_named_to_confuse_is_read_all_the_same() {
        let line = "42 (a) R 1 (b) S 7 40 39 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 10";
        assert_eq!(
            parse_stat(line),
            Some(Stat { parent: 7, group: 40, is_over: false, began_ticks: 98_765, cpu_ticks: 26, resident_pages: 10 })
        );
        assert_eq!(parse_stat("42 (x"), None);
    }

    #[test]
    fn another_start_time_or_another_boot_is_another_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let us = Identity::of(pid).unwrap();
        assert!(us.is_alive());
        assert!(!Identity { began_ticks: us.began_ticks + 1, ..us.clone() }.is_alive());
        assert!(!Identity { boot: "another".into(), ..us }.is_alive());
    }
}
