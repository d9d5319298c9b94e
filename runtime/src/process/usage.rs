//! What containers use: the sum over their processes, as the system counts it.
//!
//! A process that outlives its parent hands its time to whoever waits for it, which may be the shim; so the sum may fall.

use std::collections::BTreeMap;
use std::io;

use crate::process::family::{self, Main};
use crate::process::processes::{Identity, stat};
use crate::process::records::{self, RunRecord};
use crate::process::sandbox::Sandbox;
use crate::{ContainerPhase, Error, Result, Usage};

/// What the containers of a pod that run have used. Blocks: reads a few files for each process.
pub(super) fn of(sandbox: &Sandbox) -> Result<BTreeMap<String, Usage>> {
    let failed = |error: io::Error| {
        let tried = format!("see what pod {} uses", sandbox.record.pod.name);
        Error::Failed { tried, reason: error.to_string() }
    };
    let running: Vec<String> = sandbox
        .state()
        .containers
        .into_iter()
        .filter(|container| matches!(container.phase, ContainerPhase::Running { .. }))
        .map(|container| container.name)
        .collect();
    let mut mains = Vec::new();
    for (at, name) in running.iter().enumerate() {
        let run: Option<RunRecord> = records::read(&records::run_file(&sandbox.dir, name)).map_err(failed)?;
        mains.extend(run.map(|run| Main { at, name, pid: run.process.pid }));
    }
    let shim: Option<Identity> = records::read::<Option<Identity>>(&sandbox.dir.join(records::SHIM)).map_err(failed)?.flatten();
    let members = shim.filter(Identity::is_alive).map(|shim| family::below(shim.pid, &mains)).unwrap_or_default();
    let mut usages = vec![Usage::default(); running.len()];
    for member in members {
        let usage = member.owner.and_then(|owner| usages.get_mut(owner));
        if let (Some(usage), Some(stat)) = (usage, stat(member.pid)) {
            usage.cpu += stat.cpu();
            usage.memory_bytes = usage.memory_bytes.saturating_add(stat.resident_bytes());
        }
    }
    Ok(running.into_iter().zip(usages).collect())
}
