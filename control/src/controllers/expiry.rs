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
        let forgotten = forget(&client, clock.now()).await;
        // Of events nothing can be told in events: the count of failures is what people see of it.
        super::looked("expiry", &forgotten);
        if let Err(error) = forgotten {
            tracing::warn!(%error, "old events could not be removed");
        }
    }
}

/// Removes what is old, as far as it can be. Errors: the first that cannot.
async fn forget(client: &Client, now: Timestamp) -> Result<()> {
    let cause = Because::circumstance("event-expiry", "Clock", "hour").reason("events are kept for an hour");
    let mut first = Ok(());
    for event in Objects::<Event>::all(client).list("").await? {
        let last = event.last_timestamp.as_ref().or(event.metadata.creation_timestamp.as_ref()).map(|time| time.0);
        if last.is_some_and(|last| now.duration_since(last) > KEPT) {
            let events = Objects::<Event>::namespaced(client, &event.namespace().unwrap_or_default());
            first = first.and(events.delete(&event.name_any(), None, Some(0), &cause).await);
        }
    }
    first
}
