//! What containers use, as the engine counts it.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptionsBuilder;
use futures::TryStreamExt as _;
use futures::future::try_join_all;

use crate::docker::engine::{ASKED, Engine, Refusal};
use crate::docker::sandbox::Sandbox;
use crate::{ContainerPhase, Result, Usage};

/// What of a container's memory can be taken back at once: pages of files that nobody has read lately. By the older system for
/// counting it has another name.
const RECLAIMABLE: [&str; 2] = ["total_inactive_file", "inactive_file"];

/// What the containers of a pod that run have used. One that ends meanwhile is left out.
pub(super) async fn of(engine: &Engine, sandbox: &Sandbox) -> Result<BTreeMap<String, Usage>> {
    let failed = |refusal: Refusal| refusal.into_error(format!("see what pod {} uses", sandbox.record.pod.name));
    let states = sandbox.state().containers.into_iter().filter(|state| matches!(state.phase, ContainerPhase::Running { .. }));
    let runs = states.filter_map(|state| Some((sandbox.run(&state.name, state.starts)?, state.name)));
    let found = try_join_all(runs.map(async |(id, name)| Ok((name, one(engine, &id).await?)))).await.map_err(failed)?;
    Ok(found.into_iter().filter_map(|(name, usage)| Some((name, usage?))).collect())
}

async fn one(engine: &Engine, id: &str) -> Result<Option<Usage>, Refusal> {
    let client = engine.client()?;
    let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
    let mut answers = Box::pin(client.stats(id, Some(options)));
    match engine.ask(ASKED, answers.try_next()).await {
        Ok(stats) => Ok(stats.as_ref().and_then(told)),
        // It is gone, or has just ended.
        Err(Refusal::Said { status: 404 | 409, .. }) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Reads what the engine says; `None` where it does not count, as of a container that does not run.
fn told(stats: &ContainerStatsResponse) -> Option<Usage> {
    let nanoseconds = stats.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage?;
    Some(Usage { cpu: Duration::from_nanos(nanoseconds), memory_bytes: stats.memory_stats.as_ref().map_or(0, memory_bytes) })
}

fn memory_bytes(memory: &ContainerMemoryStats) -> u64 {
    let parts = memory.stats.as_ref();
    let reclaimable = RECLAIMABLE.iter().find_map(|name| parts?.get(*name).copied()).unwrap_or(0);
    memory.usage.unwrap_or(0).saturating_sub(reclaimable)
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerCpuStats, ContainerCpuUsage};

    use super::*;

    #[test]
    fn memory_that_can_be_taken_back_is_not_counted() {
        let memory = |usage: Option<u64>, parts: &[(&str, u64)]| ContainerMemoryStats {
            usage,
            stats: Some(parts.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect()),
            ..ContainerMemoryStats::default()
        };
        let both = [("inactive_file", 10), ("total_inactive_file", 40)];
        for (usage, parts, expected) in [(None, 0, 0), (Some(100), 0, 100), (Some(100), 1, 90), (Some(100), 2, 60), (Some(5), 2, 0)] {
            assert_eq!(memory_bytes(&memory(usage, &both[..parts])), expected, "{usage:?} {parts:?}");
        }
        assert_eq!(told(&ContainerStatsResponse::default()), None);
        let cpu_usage = ContainerCpuUsage { total_usage: Some(7), ..ContainerCpuUsage::default() };
        let cpu_stats = ContainerCpuStats { cpu_usage: Some(cpu_usage), ..ContainerCpuStats::default() };
        let stats = ContainerStatsResponse { cpu_stats: Some(cpu_stats), ..ContainerStatsResponse::default() };
        assert_eq!(told(&stats), Some(Usage { cpu: Duration::from_nanos(7), memory_bytes: 0 }));
    }
}
