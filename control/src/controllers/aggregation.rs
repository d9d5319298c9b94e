//! ClusterRoles that are made of others hold the rules of those that their selectors pick.

use std::time::Duration;

use client::{Because, Error, Objects, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use logic::rbac;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const AGAIN: Duration = Duration::from_secs(1);

/// Runs until `stop` is cancelled.
pub async fn run(client: Client, stop: CancellationToken) {
    let roles = Objects::<ClusterRole>::all(&client);
    let mut changes = watcher(roles.api(), watcher::Config::default()).default_backoff().boxed();
    loop {
        let Some(changed) = stop.run_until_cancelled(changes.try_next()).await else { return };
        if !matches!(changed, Ok(Some(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone))) {
            continue;
        }
        while let Err(error) = gather(&roles).await {
            if !matches!(error, Error::Conflict { .. }) {
                tracing::warn!(%error, "the rules of ClusterRoles could not be gathered");
            }
            if stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
                return;
            }
        }
    }
}

async fn gather(roles: &Objects<ClusterRole>) -> Result<()> {
    let all = roles.list("").await?;
    let values: Vec<Value> = all.iter().map(|role| serde_json::to_value(role).unwrap_or_default()).collect();
    for (role, value) in all.iter().zip(&values) {
        let Some(rules) = rbac::aggregated(value, values.iter()) else { continue };
        if value["rules"].as_array().map_or(&[][..], Vec::as_slice) == rules.as_slice() {
            continue;
        }
        let cause = Because::of("aggregation", role).reason("the roles that it is made of changed");
        let change = serde_json::json!({"metadata": {"resourceVersion": role.resource_version()}, "rules": rules});
        roles.merge(&role.name_any(), &change, &cause).await?;
    }
    Ok(())
}
