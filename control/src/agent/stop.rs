//! How a container is brought to its end, and what it wrote before.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Container;
use runtime::{LogOptions, ProbeAnswer, Runtime};

use super::sandbox;

/// How many lines of what a container wrote are its last words.
const WORDS_LINES: u64 = 20;

/// What went wrong on the way, as a word and a sentence for people.
type Problems = Vec<(&'static str, String)>;

/// Stops a container, after its preStop hook when there is one; both within `grace`.
pub async fn container(runtime: Arc<dyn Runtime>, uid: String, container: Option<Container>, name: String, grace: Duration) -> Problems {
    let started = tokio::time::Instant::now();
    let mut problems = Vec::new();
    let hook = container.as_ref().and_then(|container| container.lifecycle.as_ref()?.pre_stop.as_ref());
    if let (Some(hook), Some(container)) = (hook, &container) {
        let (check, sleep) = sandbox::hook(hook, container);
        tokio::time::sleep(sleep.min(grace)).await;
        if let Some(check) = check {
            match runtime.probe(&uid, &name, &check, grace).await {
                Ok(ProbeAnswer { passed: false, detail }) => problems.push(("FailedPreStopHook", format!("{name}: {detail}"))),
                Err(error) => problems.push(("FailedPreStopHook", format!("{name}: {error}"))),
                Ok(_) => {}
            }
        }
    }
    if let Err(error) = runtime.stop(&uid, &name, grace.saturating_sub(started.elapsed())).await {
        problems.push(("FailedKillPod", format!("{name} could not be stopped: {error}")));
    }
    problems
}

/// The end of what a container wrote; empty where that cannot be read.
pub async fn last_words(runtime: &Arc<dyn Runtime>, uid: &str, container: &str) -> String {
    let options = LogOptions { tail: Some(WORDS_LINES), limit_bytes: Some(2_048), ..LogOptions::default() };
    let Ok(mut stream) = runtime.logs(uid, container, options).await else { return String::new() };
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
