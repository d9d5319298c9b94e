//! The rules in force: all roles and bindings, followed in the store rather than read for each request.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use logic::rbac::Policy;
use store::{Event, ListOptions, Store, Watch};
use tokio::sync::Mutex;

use crate::status::Result;

/// What the keys of all roles and bindings begin with.
const PREFIX: &str = "/rbac.authorization.k8s.io/";

/// The rules in force.
#[derive(Default)]
pub struct Policies {
    following: Mutex<Option<Following>>,
}

struct Following {
    policy: Arc<Policy>,
    watch: Watch,
}

impl Policies {
    /// The rules after every change that the store has told of. Whoever made a role and got its answer finds it here.
    pub async fn current(&self, store: &dyn Store) -> Result<Arc<Policy>> {
        let mut guard = self.following.lock().await;
        let caught_up = match guard.as_mut() {
            Some(following) => following.catch_up(),
            None => false,
        };
        if let (true, Some(following)) = (caught_up, guard.as_ref()) {
            return Ok(Arc::clone(&following.policy));
        }
        let begun = begin(store).await?;
        let policy = Arc::clone(&begun.policy);
        *guard = Some(begun);
        Ok(policy)
    }
}

async fn begin(store: &dyn Store) -> Result<Following> {
    let page = store.list(ListOptions { prefix: PREFIX.into(), ..ListOptions::default() }).await?;
    let watch = store.watch(PREFIX, page.revision).await?;
    let mut policy = Policy::default();
    for entry in page.entries {
        set(&mut policy, &entry.key, Some(&entry.value));
    }
    Ok(Following { policy: Arc::new(policy), watch })
}

impl Following {
    /// Takes in what waits; whether the watch still goes on. One that nobody read for long has been ended by the store.
    fn catch_up(&mut self) -> bool {
        loop {
            // Tokio's budget for a task would make a watch with changes look like one without.
            match tokio::task::unconstrained(self.watch.next()).now_or_never() {
                None => return true,
                Some(Some(Ok(batch))) => {
                    let policy = Arc::make_mut(&mut self.policy);
                    for Event { key, entry, .. } in &batch.events {
                        set(policy, key, entry.as_ref().map(|entry| entry.value.as_ref()));
                    }
                }
                Some(_) => return false,
            }
        }
    }
}

fn set(policy: &mut Policy, key: &str, value: Option<&[u8]>) {
    let mut segments = key.strip_prefix(PREFIX).unwrap_or_default().split('/');
    let object: Option<serde_json::Value> = value.map(|value| serde_json::from_slice(value).unwrap_or_default());
    let (Some(resource), Some(first)) = (segments.next(), segments.next()) else { return };
    let (namespace, name) = segments.next().map_or(("", first), |name| (first, name));
    policy.set(resource, namespace, name, object.as_ref());
}
