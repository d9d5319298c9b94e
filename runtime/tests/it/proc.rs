//! What the system says of processes.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn stat(pid: i32) -> Option<(String, Vec<String>)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = line.rsplit_once(") ")?;
    Some((head.split_once('(')?.1.into(), tail.split_whitespace().map(str::to_owned).collect()))
}

/// The name of its program.
pub fn name(pid: i32) -> Option<String> {
    Some(stat(pid)?.0)
}

/// Whether it has not ended; a zombie has.
pub fn runs(pid: i32) -> bool {
    stat(pid).is_some_and(|(_, fields)| fields[0] != "Z" && fields[0] != "X")
}

/// Those that run and have this in their environment or, as arguments, on their command line.
pub fn all_with(words: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let says = |pid: i32, file| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ").contains(words)
    };
    pids.filter(|pid| runs(*pid) && (says(*pid, "environ") || says(*pid, "cmdline"))).collect()
}

pub fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// A line of `/proc/<pid>/status`, as a number.
pub fn status(pid: i32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
