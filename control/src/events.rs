//! Events: what people are told about an object beside its status.

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Client, Resource, ResourceExt as _};
use model::{Cause, Clock};

use client::{Because, Objects};

/// Writes events. One that cannot be written is logged and forgotten: nothing waits for it.
#[derive(Clone)]
pub struct Events {
    client: Client,
    clock: Arc<dyn Clock>,
    actor: &'static str,
}

impl Events {
    /// Events of one controller.
    pub fn new(client: &Client, clock: &Arc<dyn Clock>, actor: &'static str) -> Self {
        Self { client: client.clone(), clock: Arc::clone(clock), actor }
    }

    /// Something went as it should.
    pub async fn normal<K: Resource<DynamicType = ()>>(&self, about: &K, reason: &str, message: impl Into<String>) {
        self.publish(about, "Normal", reason, message.into()).await;
    }

    /// Something is wrong.
    pub async fn warning<K: Resource<DynamicType = ()>>(&self, about: &K, reason: &str, message: impl Into<String>) {
        self.publish(about, "Warning", reason, message.into()).await;
    }

    /// Something is wrong, and goes on being tried: told once, by the name that its words give the event.
    pub async fn warning_once<K: Resource<DynamicType = ()>>(&self, about: &K, reason: &str, message: impl Into<String>) {
        self.once(about, "Warning", reason, message.into()).await;
    }

    /// As `warning_once`, of what is as it should be.
    pub async fn normal_once<K: Resource<DynamicType = ()>>(&self, about: &K, reason: &str, message: impl Into<String>) {
        self.once(about, "Normal", reason, message.into()).await;
    }

    async fn once<K: Resource<DynamicType = ()>>(&self, about: &K, kind: &str, reason: &str, message: String) {
        let mut event = self.event(about, kind, reason, message.clone());
        let mut words = std::hash::DefaultHasher::new();
        (reason, &message, about.uid()).hash(&mut words);
        event.metadata.name = Some(format!("{}.{:016x}", about.name_any(), words.finish()));
        let namespace = about.namespace().unwrap_or_else(|| "default".into());
        let cause: Cause = Because::of(self.actor, about).reason(reason);
        match Objects::<Event>::namespaced(&self.client, &namespace).create(&event, &cause).await {
            Err(error) if !error.is_conflict() => tracing::debug!(%error, reason, "an event was not written"),
            _ => {}
        }
    }

    async fn publish<K: Resource<DynamicType = ()>>(&self, about: &K, kind: &str, reason: &str, message: String) {
        let event = self.event(about, kind, reason, message);
        let namespace = about.namespace().unwrap_or_else(|| "default".into());
        let cause: Cause = Because::of(self.actor, about).reason(reason);
        if let Err(error) = Objects::<Event>::namespaced(&self.client, &namespace).create(&event, &cause).await {
            tracing::debug!(%error, reason, "an event was not written");
        }
    }

    fn event<K: Resource<DynamicType = ()>>(&self, about: &K, kind: &str, reason: &str, message: String) -> Event {
        let now = self.clock.now();
        let name = format!("{}.{:x}", about.name_any(), now.as_nanosecond());
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: about.namespace().or(Some("default".into())), ..ObjectMeta::default() },
            involved_object: ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                name: Some(about.name_any()),
                namespace: about.namespace(),
                uid: about.uid(),
                resource_version: about.resource_version(),
                ..ObjectReference::default()
            },
            type_: Some(kind.into()),
            reason: Some(reason.into()),
            message: Some(message),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource { component: Some(self.actor.into()), host: None }),
            reporting_component: Some(self.actor.into()),
            ..Event::default()
        }
    }
}
