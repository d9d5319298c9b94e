//! What descends from a shim. As its subreaper it inherits whatever its containers leave behind, so all of it is below it.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;

use crate::process::environment;
use crate::process::processes::{children, stat, variable};

/// A living process below the shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub pid: i32,
    /// Its process group.
    pub group: i32,
    /// The container it belongs to, by place in the pod; `None` when nothing tells.
    pub owner: Option<usize>,
}

/// A container's main process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Main<'a> {
    /// The container's place in the pod.
    pub at: usize,
    /// The container's name.
    pub name: &'a str,
    pub pid: i32,
}

/// Whether the shim has no child at all, and so no descendant: what lost its parent would be its child.
pub(super) fn is_childless() -> bool {
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, peek) == Err(Errno::ECHILD)
}

/// Everything alive below the shim, which is this process.
pub(super) fn members(mains: &[Main<'_>]) -> Vec<Member> {
    if is_childless() { Vec::new() } else { below(own_pid(), mains) }
}

/// Everything alive below a shim.
pub(super) fn below(shim: i32, mains: &[Main<'_>]) -> Vec<Member> {
    let mut found = BTreeMap::new();
    // The system's list of children may miss one while another ends; it does not miss the same one twice.
    for _ in 0..2 {
        for top in children(shim) {
            collect(top, owner(top, mains), &mut found);
        }
    }
    found.into_values().collect()
}

/// Takes note of the end of what no container is waiting for. `mains` are left to those who do.
pub(super) fn reap_strays(mains: &[Main<'_>]) {
    for pid in children(own_pid()) {
        if mains.iter().all(|main| main.pid != pid) {
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
    }
}

fn collect(pid: i32, owner: Option<usize>, found: &mut BTreeMap<i32, Member>) {
    let Some(stat) = stat(pid).filter(|stat| !stat.is_over) else { return };
    found.insert(pid, Member { pid, group: stat.group, owner });
    for child in children(pid) {
        if !found.contains_key(&child) {
            collect(child, owner, found);
        }
    }
}

/// Whose a child of the shim is: a main process, one of a main process's group, or one that bears a container's mark. One that
/// hides all that can only be of the container that runs, where only one does.
fn owner(pid: i32, mains: &[Main<'_>]) -> Option<usize> {
    let group = stat(pid)?.group;
    if let Some(main) = mains.iter().find(|main| main.pid == pid || main.pid == group) {
        return Some(main.at);
    }
    let mark = variable(pid, environment::CONTAINER);
    match (mains.iter().find(|main| Some(main.name) == mark.as_deref()), mains) {
        (Some(main), _) | (None, [main]) => Some(main.at),
        (None, _) => None,
    }
}

fn own_pid() -> i32 {
    Pid::this().as_raw()
}
