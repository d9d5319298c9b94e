//! A data directory that is deleted, or replaced, under a running server: it is noticed, and what still runs is named.
//!
//! The store refuses writes by itself from then on. What was there is answered, and requests are carried, until somebody stops the
//! server; nobody could find its pods any more, unless told here which they are.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Of so many looks that find it gone, one is told.
const TOLD_EVERY: u32 = 30;

/// Looks at a data directory until `stop` is cancelled.
pub async fn watch(data: PathBuf, stop: CancellationToken) {
    let (Some(opened), Ok(real)) = (identity(&data), fs::canonicalize(&data)) else { return };
    let mut looks = 0_u32;
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        if identity(&data) == Some(opened) {
            continue;
        }
        if looks.is_multiple_of(TOLD_EVERY) {
            report(&data, &real);
        }
        looks = looks.saturating_add(1);
    }
    if looks > 0 {
        report(&data, &real);
    }
}

fn identity(dir: &Path) -> Option<(u64, u64)> {
    fs::metadata(dir).ok().map(|of| (of.dev(), of.ino()))
}

/// Names what is left, whatever way the directory was named to us: pods carry its real name, which is asked while it is there.
fn report(data: &Path, real: &Path) {
    let pods = real.join("pods");
    let left = processes_of_pods().into_iter().filter_map(|(pid, dir)| Some((pid, dir.strip_prefix(&pods).ok()?.display().to_string())));
    let running = left.map(|(pid, pod)| format!("{pid} ({pod})")).collect::<Vec<_>>().join(", ");
    tracing::error!(
        data = %data.display(), processes = %running,
        "the data directory was deleted or replaced: nothing more can be stored. Processes of pods run on and must be ended by hand \
         (containers: `docker ps --filter label=dev.conductor.server`); stop this server, restore a backup, and start it again"
    );
}

/// Every process of a pod of whatever server, with the directory of its pod, which it carries in its environment.
pub fn processes_of_pods() -> Vec<(u32, PathBuf)> {
    const MARK: &str = "CONDUCTOR_POD_DIR=";
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let marked = pids.filter_map(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let dir = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(MARK.as_bytes()))?;
        Some((pid, PathBuf::from(std::ffi::OsStr::from_bytes(dir))))
    });
    marked.collect()
}
