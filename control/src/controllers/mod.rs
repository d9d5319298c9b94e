//! One file for each thing that is brought about.

mod aggregation;
mod expiry;
mod garbage;
mod namespaces;
mod placement;
mod service;

use std::sync::Arc;

use futures::future::join_all;
use kube::Client;
use model::Clock;
use tokio_util::sync::CancellationToken;

/// Runs every controller until `stop` is cancelled, then returns.
pub async fn run(client: Client, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let tasks = [
        tokio::spawn(service::run(client.clone(), Arc::clone(&clock), stop.clone())),
        tokio::spawn(placement::run(client.clone(), Arc::clone(&clock), stop.clone())),
        tokio::spawn(garbage::run(client.clone(), stop.clone())),
        tokio::spawn(namespaces::run(client.clone(), stop.clone())),
        tokio::spawn(aggregation::run(client.clone(), stop.clone())),
        tokio::spawn(expiry::run(client, clock, stop)),
    ];
    join_all(tasks).await;
}
