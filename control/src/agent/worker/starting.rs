//! How a Pod's volumes, its sandbox and its containers come to be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Because, Result};
use kube::ResourceExt as _;
use logic::pod::Trouble;
use model::labels;
use runtime::volumes::Volume;
use runtime::{PodState, Runtime};
use serde_json::json;

use super::{ACTOR, Worker};
use crate::agent::credentials::{self, Shown};
use crate::agent::translated::trouble;
use crate::agent::{sandbox, volumes};

type Paused<T> = std::result::Result<T, Duration>;

impl Worker {
    pub(super) async fn create(&mut self, runtime: &Arc<dyn Runtime>) -> Result<Option<Duration>> {
        let volumes = match self.fill(runtime).await? {
            Ok(volumes) => volumes,
            Err(pause) => return Ok(Some(pause)),
        };
        let wanted = match sandbox::wanted(&self.shared, &self.pod, runtime, &volumes).await? {
            Ok(wanted) => wanted,
            Err(trouble) => return Ok(Some(self.failed(trouble).await)),
        };
        match runtime.create(&wanted).await {
            Ok(state) => {
                self.trouble = None;
                self.failures = 0;
                self.publish(&state).await?;
                Ok(Some(Duration::ZERO))
            }
            Err(error) => Ok(Some(self.failed(trouble(&error, "CreateContainerError", error.to_string())).await)),
        }
    }

    /// Writes where the Pod's ports are reached.
    async fn publish(&mut self, state: &PodState) -> Result<()> {
        let endpoints: BTreeMap<&str, String> =
            state.endpoints.iter().map(|(name, address)| (name.as_str(), address.to_string())).collect();
        let text = json!(endpoints).to_string();
        if self.pod.annotations().get(labels::ENDPOINTS) == Some(&text) {
            return Ok(());
        }
        let cause = Because::of(ACTOR, &self.pod).reason("its ports are allotted");
        self.pod =
            self.pods().merge(&self.pod.name_any(), &json!({"metadata": {"annotations": {labels::ENDPOINTS: text}}}), &cause).await?;
        Ok(())
    }

    pub(super) async fn start(&mut self, runtime: &Arc<dyn Runtime>, uid: &str, container: &str) -> Result<Option<Duration>> {
        if let Err(pause) = self.fill_for(runtime, container).await? {
            return Ok(Some(pause));
        }
        let shown = match self.container(container) {
            Some(container) => credentials::of(&self.shared, &self.pod, container).await?,
            None => Shown::default(),
        };
        if !shown.problem.is_empty() && shown.problem != self.pull_problem {
            let message = format!("{}; images are fetched without", shown.problem);
            self.shared.events.warning(&self.pod, "FailedToRetrieveImagePullSecret", message).await;
            self.pull_problem.clone_from(&shown.problem);
        }
        match runtime.start(uid, container, &shown.credentials).await {
            Ok(()) => {
                self.trouble = None;
                self.failures = 0;
                Ok(Some(Duration::ZERO))
            }
            Err(error) => {
                let message = format!("{container}: {error}{}", shown.because(&error));
                Ok(Some(self.failed(trouble(&error, "RunContainerError", message)).await))
            }
        }
    }

    /// Sets up the Pod's volumes, or tells why that cannot be and how long to wait.
    async fn fill(&mut self, runtime: &Arc<dyn Runtime>) -> Result<Paused<Vec<Volume>>> {
        match self.filling.fill(&self.shared, &self.pod, runtime).await? {
            Ok(volumes) => Ok(Ok(volumes)),
            Err(message) => Ok(Err(self.not_mounted(message).await)),
        }
    }

    /// As `fill`, with the parts of volumes that a container sees.
    async fn fill_for(&mut self, runtime: &Arc<dyn Runtime>, name: &str) -> Result<Paused<()>> {
        let Some(container) = self.container(name).filter(|container| container.volume_mounts.is_some()).cloned() else {
            return Ok(Ok(()));
        };
        let volumes = match self.fill(runtime).await? {
            Ok(volumes) => volumes,
            Err(pause) => return Ok(Err(pause)),
        };
        match volumes::set_up_parts(&self.shared, &self.pod, &container, &volumes).await? {
            Ok(()) => Ok(Ok(())),
            Err(message) => Ok(Err(self.not_mounted(message).await)),
        }
    }

    /// Volumes cannot be set up: its containers are still to be made, as Kubernetes says it.
    async fn not_mounted(&mut self, message: String) -> Duration {
        let trouble = Trouble { reason: "ContainerCreating".into(), message };
        if self.trouble.as_ref() != Some(&trouble) {
            self.shared.events.warning(&self.pod, "FailedMount", trouble.message.clone()).await;
        }
        self.delayed(trouble).await
    }

    /// Brings the files of a Pod that is there to what they are made from by now; when that must be done again at the latest. What
    /// cannot be had any more leaves them as they are.
    pub(super) async fn refill(&mut self, runtime: &Arc<dyn Runtime>) -> Result<Option<Duration>> {
        if self.state.is_none() || self.pod.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        if self.filling.is_due(self.shared.clock.now())
            && let Err(message) = self.filling.fill(&self.shared, &self.pod, runtime).await?
            && self.filling.problem != message
        {
            self.shared.events.warning(&self.pod, "FailedMount", message.clone()).await;
            self.filling.problem = message;
        }
        Ok(self.filling.due_after(self.shared.clock.now()))
    }

    /// Removes what its volumes have here; whether that succeeded.
    pub(super) async fn remove_volumes(&mut self, uid: &str) -> bool {
        match self.shared.volumes.remove(uid).await {
            Ok(()) => true,
            Err(error) => self.not_removed(format!("its volumes could not be removed: {error}")).await,
        }
    }
}
