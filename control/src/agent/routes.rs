//! The routes of this node: every RouteTable merged into the router's one table, and what the router says of each.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Because, Error, Objects, Result};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt as _, StreamExt as _};
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use logic::routing::{Merged, endpoints, merge, service_of};
use model::RouteTable;
use model::route_table::{RouterRow, Speaks};
use router::{Counts, Protocol, Route, Table, Timeouts};
use serde_json::json;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

const ACTOR: &str = "agent";
const TRIES_MAX: usize = 20;
const RETRY: Duration = Duration::from_millis(100);

/// Runs until `stop` is cancelled.
pub async fn run(shared: Arc<super::Shared>, stop: CancellationToken) {
    let mut objects = watcher(Api::<RouteTable>::all(shared.client.clone()), watcher::Config::default()).default_backoff().boxed();
    let mut routes = Routes { shared, tables: HashMap::new(), listed: HashMap::new(), listing: false, drains: HashMap::new() };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(event) = objects.next() => match event {
                Ok(event) => routes.see(event).await,
                Err(error) => tracing::debug!(%error, "the watch of route tables is opened again"),
            },
        }
    }
}

struct Routes {
    shared: Arc<super::Shared>,
    /// The tables in force, by Service.
    tables: HashMap<String, RouteTable>,
    listed: HashMap<String, RouteTable>,
    listing: bool,
    /// The newest drain of each Service.
    drains: HashMap<String, Drained>,
}

impl Routes {
    async fn see(&mut self, event: watcher::Event<RouteTable>) {
        match event {
            watcher::Event::Init => {
                self.listing = true;
                self.listed.clear();
            }
            watcher::Event::InitApply(table) => {
                self.listed.insert(service_of(&table), table);
            }
            watcher::Event::InitDone => {
                self.listing = false;
                let tables = std::mem::take(&mut self.listed);
                let changed = tables.values().filter(|table| self.is_new(table)).cloned().collect();
                self.put(tables, changed).await;
            }
            watcher::Event::Apply(table) => {
                if self.is_new(&table) {
                    let mut tables = self.tables.clone();
                    tables.insert(service_of(&table), table.clone());
                    self.put(tables, vec![table]).await;
                }
            }
            watcher::Event::Delete(table) => {
                let mut tables = self.tables.clone();
                tables.remove(&service_of(&table));
                self.drains.remove(&service_of(&table));
                self.put(tables, Vec::new()).await;
            }
        }
    }

    /// Whether a table's spec is not the one in force. Our own rows in its status are no news.
    fn is_new(&self, table: &RouteTable) -> bool {
        let known = self.tables.get(&service_of(table));
        known.is_none_or(|known| known.metadata.generation != table.metadata.generation || known.uid() != table.uid())
    }

    async fn put(&mut self, tables: HashMap<String, RouteTable>, changed: Vec<RouteTable>) {
        let before = std::mem::replace(&mut self.tables, tables);
        for table in changed.iter().filter(|table| is_switch(before.get(&service_of(table)), table, &self.shared.facts.name)) {
            if let Err(error) = self.shared.router.start_counting(&service_of(table)).await {
                tracing::warn!(%error, "the router does not count");
            }
        }
        let all: Vec<RouteTable> = self.tables.values().cloned().collect();
        let routes = merge(&all).into_iter().map(route);
        if let Err(error) = self.shared.router.apply(Table { routes: routes.collect() }).await {
            tracing::error!(%error, "the router did not take the table");
            for table in changed {
                let (shared, problem) = (Arc::clone(&self.shared), error.to_string());
                tokio::spawn(async move {
                    report(&shared, &table, "the router does not take the table", |row| row.problem.clone_from(&problem)).await;
                });
            }
            return;
        }
        for table in changed {
            let old = before.get(&service_of(&table));
            let now: Vec<SocketAddr> = endpoints(&table);
            let removed = old.map(endpoints).unwrap_or_default().into_iter().filter(|address| !now.contains(address)).collect();
            let switched = is_switch(old, &table, &self.shared.facts.name);
            let (done, drained) = oneshot::channel();
            let before = self.drains.insert(service_of(&table), drained.map(drop).boxed().shared());
            tokio::spawn(follow(Arc::clone(&self.shared), table, Drain { removed, before, _done: done }, switched));
        }
    }
}

fn route(merged: Merged) -> Route {
    let Merged { service, host, path, endpoints, speaks, timeouts } = merged;
    let protocol = match speaks {
        Speaks::Http => Protocol::Http1,
        Speaks::H2c => Protocol::H2c,
    };
    let limit = |duration: Option<model::Duration>| duration.map(model::Duration::get);
    let timeouts = Timeouts { request: limit(timeouts.request), backend_request: limit(timeouts.backend_request) };
    Route { service, host, path, endpoints, protocol, timeouts }
}

/// Whether a table reaches another Revision than before; after a restart of ours, whether its counts are not handed in.
fn is_switch(before: Option<&RouteTable>, table: &RouteTable, node: &str) -> bool {
    match before {
        Some(before) => before.spec.revision != table.spec.revision,
        None => {
            let rows = table.status.as_ref().map_or(&[][..], |status| status.routers.as_slice());
            !rows.iter().any(|row| row.node == node && row.counted_revision == table.spec.revision)
        }
    }
}

/// What must be drained before a table counts as such.
struct Drain {
    /// The copies that this table is the first not to name.
    removed: Vec<SocketAddr>,
    /// Ends when the tables before are drained: what they no longer named may still have requests.
    before: Option<Drained>,
    /// Dropped when this one is.
    _done: oneshot::Sender<()>,
}

/// Ends when a table, and all before it, are drained.
type Drained = Shared<BoxFuture<'static, ()>>;

/// Acknowledges a table that is in force, drains what it no longer names, and hands in what was counted.
async fn follow(shared: Arc<super::Shared>, table: RouteTable, drain: Drain, switched: bool) {
    let generation = table.metadata.generation.unwrap_or(0);
    let begun = tokio::time::Instant::now();
    let before = drain.before.clone().filter(|before| before.clone().now_or_never().is_none());
    if !drain.removed.is_empty() || before.is_some() {
        report(&shared, &table, "the table is in force", |row| in_force(row, generation)).await;
    }
    if !drain.removed.is_empty()
        && let Err(error) = shared.router.drain(&drain.removed, table.spec.drain.get()).await
    {
        tracing::warn!(%error, "copies could not be drained");
    }
    if let Some(before) = before {
        before.await;
    }
    drop(drain);
    report(&shared, &table, "the table is in force and drained", |row| {
        in_force(row, generation);
        row.drained_generation = row.drained_generation.max(generation);
    })
    .await;
    if switched {
        tokio::time::sleep(table.spec.watch.get().saturating_sub(begun.elapsed())).await;
        let counts = shared.router.counts(&service_of(&table)).await.unwrap_or_default();
        report(&shared, &table, "the requests of the switch are counted", |row| count(row, &table.spec.revision, counts)).await;
    }
}

fn in_force(row: &mut RouterRow, generation: i64) {
    row.generation = row.generation.max(generation);
    row.problem.clear();
}

fn count(row: &mut RouterRow, revision: &str, counts: Option<Counts>) {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let duration = |value: Duration| model::Duration::from_millis(u64::try_from(value.as_millis()).unwrap_or(u64::MAX));
    row.counted_revision = revision.to_owned();
    row.requests = counts.map(|counts| number(counts.requests));
    row.failed = counts.map(|counts| number(counts.failed));
    row.longest_stall = counts.map(|counts| duration(counts.longest_stall));
    row.p99 = counts.map(|counts| duration(counts.p99));
}

/// Changes this node's row, unless the table is gone or has been made anew.
async fn report(shared: &super::Shared, table: &RouteTable, reason: &str, change: impl Fn(&mut RouterRow)) {
    for _ in 0..TRIES_MAX {
        match try_report(shared, table, reason, &change).await {
            Ok(()) | Err(Error::NotFound { .. }) => return,
            Err(Error::Conflict { .. }) => {}
            Err(error) => {
                tracing::warn!(table = %table.name_any(), %error, "a router's row could not be written");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn try_report(shared: &super::Shared, table: &RouteTable, reason: &str, change: impl Fn(&mut RouterRow)) -> Result<()> {
    let tables = Objects::<RouteTable>::namespaced(&shared.client, &table.namespace().unwrap_or_default());
    let Some(current) = tables.get(&table.name_any()).await?.filter(|current| current.uid() == table.uid()) else { return Ok(()) };
    let mut rows = current.status.clone().unwrap_or_default().routers;
    let node = &shared.facts.name;
    if !rows.iter().any(|row| row.node == *node) {
        rows.push(RouterRow { node: node.clone(), ..RouterRow::default() });
    }
    let old = rows.clone();
    for row in rows.iter_mut().filter(|row| row.node == *node) {
        change(row);
    }
    if rows == old && current.status.is_some() {
        return Ok(());
    }
    let cause = Because::of(ACTOR, &current).reason(reason);
    let version = current.resource_version();
    tables.merge_status(&table.name_any(), &json!({"routers": rows}), version.as_deref(), &cause).await?;
    Ok(())
}
