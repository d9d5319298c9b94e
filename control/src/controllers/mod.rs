//! One file for each thing that is brought about.

mod accounts;
mod aggregation;
mod back_off;
mod batch;
mod cron;
mod expiry;
mod garbage;

mod namespaces;
mod placement;
mod service;

use std::sync::{Arc, LazyLock};

use futures::future::join_all;
use kube::Client;
use model::Clock;
use model::metrics::{Counter, Form, Labelled, Text};
use tokio_util::sync::CancellationToken;

pub(crate) use back_off::BackOff;

use crate::Events;

/// How often each controller looked at an object (labels: controller, outcome).
static LOOKS: LazyLock<Labelled<Counter>> = LazyLock::new(Labelled::default);

/// Tells how often controllers and the agent looked at something, and how often in vain.
pub fn tell(text: &mut Text) {
    const NAME: &str = "conductor_reconciles_total";
    text.family(NAME, Form::Counter, "How often a controller looked at an object and did what followed.");
    for (labels, count) in LOOKS.all() {
        let labels: Vec<(&str, &str)> = ["controller", "outcome"].into_iter().zip(labels.iter().map(String::as_str)).collect();
        text.number(NAME, &labels, count.get());
    }
}

/// What a controller works with.
pub(crate) struct Context {
    pub client: Client,
    pub clock: Arc<dyn Clock>,
    pub events: Events,
    pub back_off: BackOff,
}

impl Context {
    /// `actor` is who its events are of.
    pub fn new(client: &Client, clock: Arc<dyn Clock>, actor: &'static str) -> Arc<Self> {
        let events = Events::new(client, &clock, actor);
        Arc::new(Self { client: client.clone(), clock, events, back_off: BackOff::default() })
    }
}

/// Takes note of how a look ended.
pub(crate) fn looked<T, E>(controller: &str, outcome: &Result<T, E>) {
    if let Some(count) = LOOKS.with(&[controller, if outcome.is_ok() { "done" } else { "failed" }]) {
        count.add_one();
    }
}

/// Runs every controller until `stop` is cancelled, then returns.
pub async fn run(client: Client, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let tasks = [
        tokio::spawn(service::run(client.clone(), Arc::clone(&clock), stop.clone())),
        tokio::spawn(placement::run(client.clone(), Arc::clone(&clock), stop.clone())),
        tokio::spawn(garbage::run(client.clone(), stop.clone())),
        tokio::spawn(namespaces::run(client.clone(), Arc::clone(&clock), stop.clone())),
        tokio::spawn(accounts::run(client.clone(), Arc::clone(&clock), stop.clone())),
        tokio::spawn(aggregation::run(client.clone(), Arc::clone(&clock), stop.clone())),
        tokio::spawn(batch::run(client.clone(), Arc::clone(&clock), stop.clone())),
        tokio::spawn(cron::run(client.clone(), Arc::clone(&clock), stop.clone())),
        tokio::spawn(expiry::run(client, clock, stop)),
    ];
    join_all(tasks).await;
}
