//! The postStart hooks of one Pod: each is run once a run of its container, beside it, and the container is told to run when it ended.
//!
//! Whether one has ended is told by the Pod's status alone, so a hook that our own end interrupted is run again: at least once, as
//! Kubernetes has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use runtime::Runtime;
use tokio::task::{AbortHandle, JoinSet};

use super::sandbox;

/// A hook may take as long as it likes: its container does not run until then. This is for ever.
const PATIENCE: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A hook that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its container.
    pub container: String,
    /// The start of the run that it belongs to.
    pub since: Timestamp,
    /// What went wrong, if something did.
    pub failure: Option<String>,
}

/// Those that have yet to end.
#[derive(Debug, Default)]
pub struct Hooks {
    tasks: JoinSet<Ended>,
    by_container: BTreeMap<String, AbortHandle>,
}

impl Hooks {
    /// Begins the hook of a run.
    pub fn begin(&mut self, runtime: &Arc<dyn Runtime>, uid: &str, container: &Container, hook: &LifecycleHandler, since: Timestamp) {
        let (runtime, uid, name) = (Arc::clone(runtime), uid.to_owned(), container.name.clone());
        let (check, sleep) = sandbox::hook(hook, container);
        let task = self.tasks.spawn(async move {
            tokio::time::sleep(sleep).await;
            let failure = match check {
                None => None,
                Some(check) => match runtime.probe(&uid, &name, &check, PATIENCE).await {
                    Ok(answer) => (!answer.passed).then_some(answer.detail),
                    Err(error) => Some(error.to_string()),
                },
            };
            Ended { container: name, since, failure }
        });
        if let Some(before) = self.by_container.insert(container.name.clone(), task) {
            before.abort();
        }
    }

    /// The run of a container has ended, and what its hook comes to means nothing any more.
    pub fn forget(&mut self, container: &str) {
        if let Some(task) = self.by_container.remove(container) {
            task.abort();
        }
    }

    /// The next that ends; `None` at once where none is to come.
    pub async fn next(&mut self) -> Option<Ended> {
        loop {
            // Those that were given up tell nothing.
            if let Ok(ended) = self.tasks.join_next().await? {
                self.by_container.remove(&ended.container);
                return Some(ended);
            }
        }
    }
}
