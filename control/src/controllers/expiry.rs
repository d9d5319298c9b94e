//! Events are kept for an hour, so that the store does not grow with time.

use std::sync::Arc;
use std::time::Duration;

use client::{Because, Objects, Result};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::{Client, ResourceExt as _};
use model::Clock;
use tokio_util::sync::CancellationToken;

const KEPT: SignedDuration = SignedDuration::from_hours(1);
const PERIOD: Duration = Duration::from_secs(300);

/// Runs until `stop` is cancelled.
pub async fn run(client: Client, clock: Arc<dyn Clock>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
        if let Err(error) = forget(&client, clock.now()).await {
            tracing::warn!(%error, "old events could not be removed");
        }
    }
}

async fn forget(client: &Client, now: Timestamp) -> Result<()> {
    let cause = Because::circumstance("event-expiry", "Clock", "hour").reason("events are kept for an hour");
    for event in Objects::<Event>::all(client).list("").await? {
        let last = event.last_timestamp.as_ref().or(event.metadata.creation_timestamp.as_ref()).map(|time| time.0);
        if last.is_some_and(|last| now.duration_since(last) > KEPT) {
            let events = Objects::<Event>::namespaced(client, &event.namespace().unwrap_or_default());
            events.delete(&event.name_any(), None, Some(0), &cause).await?;
        }
    }
    Ok(())
}
