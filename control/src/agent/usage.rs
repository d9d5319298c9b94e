//! What this node and its Pods use, for the API. Nothing is measured while nobody asks: use of processors is the difference
//! between two looks, the earlier of which is kept for a while for the next who asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use logic::usage::{Counted, rate};
use model::usage::{Measured, Rate};
use runtime::{ContainerPhase, PodState, Runtime, Usage};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::Shared;

/// The shortest time between two looks that are compared; the system counts in hundredths of a second.
const WINDOW_MIN: Duration = Duration::from_millis(500);
/// How long a look may be compared with.
const KEPT_MAX: Duration = Duration::from_secs(60);
/// When a later look takes its place.
const KEPT: Duration = Duration::from_secs(10);
/// How many Pods are looked at at a time.
const PODS_AT_A_TIME: usize = 16;

/// The look that the next one is compared with.
pub type Kept = Mutex<Option<Look>>;

/// What had been used at one moment.
pub struct Look {
    at: Instant,
    time: Timestamp,
    node: Option<Usage>,
    runs: BTreeMap<Run, Seen>,
}

/// One start of a container: the Pod's uid, the container's name, the count of starts.
type Run = (String, String, u32);

struct Seen {
    since: Timestamp,
    usage: Usage,
}

/// `GET /usage`: a [`Measured`].
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/usage", get(usage)).with_state(shared)
}

async fn usage(State(shared): State<Arc<Shared>>) -> Json<Measured> {
    // Whoever asks meanwhile waits here, and then compares with the same look.
    let mut kept = shared.look.lock().await;
    let before = match kept.take().filter(|look| look.at.elapsed() <= KEPT_MAX) {
        Some(look) => look,
        None => look(&shared).await,
    };
    sleep_until(before.at + WINDOW_MIN).await;
    let now = look(&shared).await;
    let measured = compared(&before, &now);
    *kept = Some(if now.at - before.at >= KEPT { now } else { before });
    Json(measured)
}

async fn look(shared: &Shared) -> Look {
    let (at, time, node) = (Instant::now(), shared.clock.now(), (shared.facts.usage)());
    let pods: Vec<BoxFuture<'static, _>> = shared.sandboxes().await.into_values().map(|pod| of_pod(pod).boxed()).collect();
    let runs = stream::iter(pods).buffer_unordered(PODS_AT_A_TIME).flat_map(stream::iter).collect().await;
    Look { at, time, node, runs }
}

/// The containers of a Pod that run. A Pod of which the runtime does not tell is left out.
async fn of_pod((runtime, state): (Arc<dyn Runtime>, PodState)) -> Vec<(Run, Seen)> {
    let uid = state.pod.uid;
    let usages = runtime.usage(&uid).await.unwrap_or_else(|error| {
        tracing::debug!(pod = %state.pod.name, %error, "a pod is not measured");
        BTreeMap::new()
    });
    let seen = |container: runtime::ContainerState| {
        let ContainerPhase::Running { since } = container.phase else { return None };
        let usage = *usages.get(&container.name)?;
        Some(((uid.clone(), container.name, container.starts), Seen { since, usage }))
    };
    state.containers.into_iter().filter_map(seen).collect()
}

fn compared(before: &Look, now: &Look) -> Measured {
    let window = now.at - before.at;
    let told = |counted: Counted, usage: &Usage| {
        let (window, cpu_nanos) = rate(counted);
        Rate { window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX), cpu_nanos, memory_bytes: usage.memory_bytes }
    };
    let of_node =
        |(usage, earlier): (&Usage, &Usage)| told(Counted { earlier: Some((earlier.cpu, window)), cpu: usage.cpu, age: window }, usage);
    let node = now.node.as_ref().zip(before.node.as_ref()).map(of_node);
    let mut pods: BTreeMap<String, BTreeMap<String, Rate>> = BTreeMap::new();
    for (run, Seen { since, usage }) in &now.runs {
        let earlier = before.runs.get(run).map(|earlier| (earlier.usage.cpu, window));
        let age = Duration::try_from(now.time.duration_since(*since)).unwrap_or_default();
        let (uid, name, _) = run;
        pods.entry(uid.clone()).or_default().insert(name.clone(), told(Counted { earlier, cpu: usage.cpu, age }, usage));
    }
    Measured { at: now.time, node, pods }
}
