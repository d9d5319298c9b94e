//! What is made of some objects, followed in the store rather than read for each request: the roles in force, the policies.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use store::{Event, ListOptions, Store, Watch};
use tokio::sync::Mutex;

use crate::status::Result;

/// Something that is made of objects, one at a time.
pub trait FromObjects: Clone + Default + Send + Sync {
    /// What the keys of its objects begin with.
    const PREFIX: &'static str;

    /// An object is there, as it is now, or is gone.
    fn set(&mut self, resource: &str, namespace: &str, name: &str, object: Option<&Value>);
}

/// The newest of what is made of the objects in a store.
pub struct Followed<T> {
    following: Mutex<Option<Following<T>>>,
}

struct Following<T> {
    made: Arc<T>,
    watch: Watch,
}

impl<T> Default for Followed<T> {
    fn default() -> Self {
        Self { following: Mutex::new(None) }
    }
}

impl<T: FromObjects> Followed<T> {
    /// What is made after every change that the store has told of. Whoever wrote an object and got its answer finds it here.
    pub async fn current(&self, store: &dyn Store) -> Result<Arc<T>> {
        let mut guard = self.following.lock().await;
        let caught_up = match guard.as_mut() {
            Some(following) => following.catch_up(),
            None => false,
        };
        if let (true, Some(following)) = (caught_up, guard.as_ref()) {
            return Ok(Arc::clone(&following.made));
        }
        let begun: Following<T> = begin(store).await?;
        let made = Arc::clone(&begun.made);
        *guard = Some(begun);
        Ok(made)
    }
}

async fn begin<T: FromObjects>(store: &dyn Store) -> Result<Following<T>> {
    let page = store.list(ListOptions { prefix: T::PREFIX.into(), ..ListOptions::default() }).await?;
    let watch = store.watch(T::PREFIX, page.revision).await?;
    let mut made = T::default();
    for entry in page.entries {
        set(&mut made, &entry.key, Some(&entry.value));
    }
    Ok(Following { made: Arc::new(made), watch })
}

impl<T: FromObjects> Following<T> {
    /// Takes in what waits; whether the watch still goes on. One that nobody read for long has been ended by the store.
    fn catch_up(&mut self) -> bool {
        loop {
            // Tokio's budget for a task would make a watch with changes look like one without.
            match tokio::task::unconstrained(self.watch.next()).now_or_never() {
                None => return true,
                Some(Some(Ok(batch))) => {
                    let made = Arc::make_mut(&mut self.made);
                    for Event { key, entry, .. } in &batch.events {
                        set(made, key, entry.as_ref().map(|entry| entry.value.as_ref()));
                    }
                }
                Some(_) => return false,
            }
        }
    }
}

fn set<T: FromObjects>(made: &mut T, key: &str, value: Option<&[u8]>) {
    let mut segments = key.strip_prefix(T::PREFIX).unwrap_or_default().split('/');
    let object: Option<Value> = value.map(|value| serde_json::from_slice(value).unwrap_or_default());
    let (Some(resource), Some(first)) = (segments.next(), segments.next()) else { return };
    let (namespace, name) = segments.next().map_or(("", first), |name| (first, name));
    made.set(resource, namespace, name, object.as_ref());
}

impl FromObjects for logic::rbac::Policy {
    const PREFIX: &'static str = "/rbac.authorization.k8s.io/";

    fn set(&mut self, resource: &str, namespace: &str, name: &str, object: Option<&Value>) {
        Self::set(self, resource, namespace, name, object);
    }
}
