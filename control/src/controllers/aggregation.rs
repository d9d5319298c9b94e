//! ClusterRoles that are made of others hold the rules of those that their selectors pick.

use std::sync::Arc;

use client::{Because, Error, Objects, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use logic::rbac;
use model::Clock;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::BackOff;
use crate::Events;

const ACTOR: &str = "aggregation";

/// Runs until `stop` is cancelled.
pub async fn run(client: Client, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let (events, back_off) = (Events::new(&client, &clock, ACTOR), BackOff::default());
    let roles = Objects::<ClusterRole>::all(&client);
    let mut changes = watcher(roles.api(), watcher::Config::default()).default_backoff().boxed();
    loop {
        let Some(changed) = stop.run_until_cancelled(changes.try_next()).await else { return };
        if !matches!(changed, Ok(Some(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone))) {
            continue;
        }
        loop {
            let gathered = gather(&roles, &events).await;
            super::looked(ACTOR, &gathered);
            let Err(error) = gathered else { break };
            if !matches!(error, Error::Conflict { .. }) {
                tracing::warn!(%error, "the rules of ClusterRoles could not be gathered");
            }
            if stop.run_until_cancelled(tokio::time::sleep(back_off.failed(""))).await.is_none() {
                return;
            }
        }
        back_off.went_well("");
    }
}

/// Brings all roles up to date that can be. Errors: the first that cannot.
async fn gather(roles: &Objects<ClusterRole>, events: &Events) -> Result<()> {
    let mut first = Ok(());
    let all = roles.list("").await?;
    let values: Vec<Value> = all.iter().map(|role| serde_json::to_value(role).unwrap_or_default()).collect();
    for (role, value) in all.iter().zip(&values) {
        let Some(rules) = rbac::aggregated(value, values.iter()) else { continue };
        if value["rules"].as_array().map_or(&[][..], Vec::as_slice) == rules.as_slice() {
            continue;
        }
        let cause = Because::of(ACTOR, role).reason("the roles that it is made of changed");
        let change = serde_json::json!({"metadata": {"resourceVersion": role.resource_version()}, "rules": rules});
        if let Err(error) = roles.merge(&role.name_any(), &change, &cause).await {
            if error.is_refusal() {
                events.warning_once(role, "FailedAggregation", error.to_string()).await;
            }
            first = first.and(Err(error));
        }
    }
    first
}
