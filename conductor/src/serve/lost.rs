//! A data directory that is deleted, or replaced, under a running server: it is noticed, and what still runs is named.
//!
//! The store refuses writes by itself from then on. What was there is answered, and requests are carried, until somebody stops the
//! server; nobody could find its pods any more, unless told here which they are.

use std::fs;
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
    let Some(opened) = identity(&data) else { return };
    let mut looks = 0_u32;
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        if identity(&data) == Some(opened) {
            continue;
        }
        if looks.is_multiple_of(TOLD_EVERY) {
            report(&data);
        }
        looks = looks.saturating_add(1);
    }
    if looks > 0 {
        report(&data);
    }
}

fn identity(dir: &Path) -> Option<(u64, u64)> {
    fs::metadata(dir).ok().map(|of| (of.dev(), of.ino()))
}

fn report(data: &Path) {
    let left = processes_of_pods(data);
    let running = left.iter().map(|(pid, pod)| format!("{pid} ({pod})")).collect::<Vec<_>>().join(", ");
    tracing::error!(
        data = %data.display(), processes = %running,
        "the data directory was deleted or replaced: nothing more can be stored. Processes of pods run on and must be ended by hand \
         (containers: `docker ps --filter label=dev.conductor.server`); stop this server, restore a backup, and start it again"
    );
}

/// The processes of pods below a data directory, each with the directory of its pod. They carry it in their environment.
pub fn processes_of_pods(data: &Path) -> Vec<(u32, String)> {
    let mark = [b"CONDUCTOR_POD_DIR=", data.join("pods").as_os_str().as_encoded_bytes(), b"/"].concat();
    all_of_pods().filter_map(|(pid, variable)| Some((pid, String::from_utf8_lossy(variable.strip_prefix(&*mark)?).into_owned()))).collect()
}

/// Every process of a pod of whatever server, with the directory of its pod.
pub fn pods_everywhere() -> Vec<(u32, PathBuf)> {
    const NAME: usize = "CONDUCTOR_POD_DIR=".len();
    all_of_pods().map(|(pid, variable)| (pid, PathBuf::from(String::from_utf8_lossy(&variable[NAME..]).into_owned()))).collect()
}

fn all_of_pods() -> impl Iterator<Item = (u32, Vec<u8>)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let variable = environment.split(|byte| *byte == 0).find(|variable| variable.starts_with(b"CONDUCTOR_POD_DIR="))?;
        Some((pid, variable.to_vec()))
    })
}
