//! Keeping up with the engine: its events, and now and then a look at everything, for events are lost when it restarts.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as Shown, EventMessage};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::time::sleep;

use crate::ContainerPhase;
use crate::docker::engine::{ASKED, Refusal};
use crate::docker::sandbox::{Sandbox, remove};
use crate::docker::{Pods, asked};

/// How often everything is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How soon after the events begin, for what happened just before.
const FIRST_LOOK: Duration = Duration::from_millis(300);
/// How soon an engine that does not answer is asked again; the pause doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How many runs are looked at, or removed, at a time.
const AT_A_TIME: usize = 8;

/// Works until the runtime is gone.
pub(super) async fn run(pods: Weak<Pods>) {
    let mut pause = PAUSE_FIRST;
    let mut was_told = false;
    loop {
        let Some(strong) = pods.upgrade() else { return };
        let connected = connect(&strong).await;
        drop(strong);
        match connected {
            Ok(events) => {
                if was_told {
                    tracing::info!("the container engine answers again");
                }
                (pause, was_told) = (PAUSE_FIRST, false);
                follow(&pods, events).await;
            }
            Err(refusal) => {
                if !was_told {
                    tracing::warn!(%refusal, "the container engine is asked again until it answers");
                }
                was_told = true;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

type Events = BoxStream<'static, Result<EventMessage, bollard::errors::Error>>;

async fn connect(pods: &Arc<Pods>) -> Result<Events, Refusal> {
    pods.engine.connect().await?;
    look(pods).await?;
    let filters = HashMap::from([("type", vec!["container".to_owned()]), ("label", vec![ours(pods)])]);
    Ok(pods.engine.streaming()?.events(Some(EventsOptionsBuilder::default().filters(&filters).build())).boxed())
}

fn ours(pods: &Pods) -> String {
    format!("{}={}", asked::SERVER, pods.server)
}

/// Takes in events until they end or the engine is silent.
async fn follow(pods: &Weak<Pods>, mut events: Events) {
    let mut next_look = FIRST_LOOK;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => {
                    let Some(pods) = pods.upgrade() else { return };
                    take(&pods, &event).await;
                }
                Some(Err(_)) | None => return,
            },
            () = sleep(next_look) => {
                let Some(pods) = pods.upgrade() else { return };
                if look(&pods).await.is_err() {
                    return;
                }
                next_look = LOOK;
            }
        }
    }
}

/// An event of one of ours: the run is looked at, whatever it was.
async fn take(pods: &Arc<Pods>, event: &EventMessage) {
    let Some(actor) = &event.actor else { return };
    // Programs run inside make events too, several for each probe.
    if event.action.as_deref().is_none_or(|action| action.starts_with("exec")) {
        return;
    }
    let (Some(id), Some(labels)) = (&actor.id, &actor.attributes) else { return };
    let Some((sandbox, container, attempt)) = of_labels(pods, labels) else { return };
    if let Err(refusal) = sandbox.refresh(&container, attempt, id).await {
        tracing::debug!(%refusal, "a container could not be looked at");
    }
    if event.action.as_deref() == Some("oom") {
        sandbox.ran_out_of_memory(&container, attempt).await;
    }
}

fn of_labels(pods: &Pods, labels: &HashMap<String, String>) -> Option<(Arc<Sandbox>, String, u32)> {
    let sandbox = pods.get(labels.get(asked::UID)?)?;
    Some((sandbox, labels.get(asked::CONTAINER)?.clone(), labels.get(asked::ATTEMPT)?.parse().ok()?))
}

/// Every container of the engine that is ours; those of one pod, when its uid is given.
pub(super) async fn list(pods: &Pods, uid: Option<&str>) -> Result<Vec<ContainerSummary>, Refusal> {
    let mut labels = vec![ours(pods)];
    labels.extend(uid.map(|uid| format!("{}={uid}", asked::UID)));
    let options = ListContainersOptionsBuilder::default().all(true).filters(&HashMap::from([("label", labels)])).build();
    pods.engine.ask(ASKED, pods.engine.client()?.list_containers(Some(options))).await
}

/// Looks at all that is ours: adopts what belongs to a pod, removes what does not.
pub(super) async fn look(pods: &Arc<Pods>) -> Result<(), Refusal> {
    let found = list(pods, None).await?;
    let mut looks = Vec::new();
    let mut known = Vec::new();
    for summary in &found {
        let (Some(id), Some(labels)) = (&summary.id, &summary.labels) else { continue };
        match of_labels(pods, labels) {
            Some((sandbox, container, attempt)) => {
                known.push((sandbox.uid().to_owned(), container.clone(), attempt));
                if is_news(&sandbox, &container, attempt, summary) {
                    looks.push((sandbox, container, attempt, id.clone()));
                }
            }
            None => orphan(pods, id.clone()),
        }
    }
    for sandbox in pods.all().values() {
        for state in &sandbox.view.borrow().containers {
            let run = (sandbox.uid().to_owned(), state.name.clone(), state.starts);
            if matches!(state.phase, ContainerPhase::Running { .. }) && !known.contains(&run) {
                // Started after the list was made, or lost: its own answer tells.
                let id = sandbox.run(&state.name, state.starts);
                let name = || asked::name(&pods.server, &sandbox.record, &state.name, state.starts);
                looks.push((Arc::clone(sandbox), state.name.clone(), state.starts, id.unwrap_or_else(name)));
            }
        }
    }
    let looked =
        stream::iter(looks).map(|(sandbox, container, attempt, id)| async move { sandbox.refresh(&container, attempt, &id).await });
    looked.buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await.into_iter().collect()
}

/// Whether a run must be looked at to know how it is.
fn is_news(sandbox: &Sandbox, container: &str, attempt: u32, summary: &ContainerSummary) -> bool {
    let Ok((_, state)) = sandbox.container(container) else { return false };
    let is_known = sandbox.run(container, attempt).is_some();
    let seems_running = matches!(summary.state, Some(Shown::RUNNING | Shown::PAUSED));
    let is_running = state.starts == attempt && matches!(state.phase, ContainerPhase::Running { .. });
    !is_known || attempt > state.starts || seems_running != is_running
}

/// A container of ours whose pod is gone: a pod is known before anything is made for it, and forgotten last.
fn orphan(pods: &Arc<Pods>, id: String) {
    let engine = Arc::clone(&pods.engine);
    tokio::spawn(async move {
        tracing::info!(container = %id, "removing a container without a pod");
        if let Err(refusal) = remove(&engine, &id).await {
            tracing::warn!(%refusal, "a container without a pod could not be removed");
        }
    });
}
