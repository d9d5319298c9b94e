//! What a Service's status says.
//!
//! Programs that judge any kind by its status read it as kstatus does: on its way while `observedGeneration` is behind, while
//! `Reconciling` is True or `Ready` is False; failed while `Stalled` is True; done otherwise.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_core::ResourceExt as _;
use model::revision::RevisionPhase;
use model::{RouteTable, ServiceStatus, labels};

use super::{Change, Observed, Stage, copies, is_alive, is_ready};

/// How many copies are wanted, and how many there are.
struct Count {
    ready: usize,
    wanted: usize,
    alive: usize,
}

impl Count {
    fn is_whole(&self) -> bool {
        self.ready >= self.wanted
    }
}

impl Stage<'_> {
    pub(super) fn service_status(&self) -> ServiceStatus {
        let service = self.observed.service;
        let serving = self.serving();
        let copies = serving.map(|revision| copies::of(revision, self.observed.pods)).unwrap_or_default();
        let count = Count {
            ready: copies.iter().filter(|pod| is_ready(pod) && !self.gives_way(pod)).count(),
            wanted: serving.map_or(0, |revision| self.wanted(revision)),
            alive: self.observed.pods.iter().filter(|pod| is_alive(pod)).count(),
        };
        let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        ServiceStatus {
            observed_generation: service.metadata.generation.unwrap_or(0),
            active_revision: serving.map(|revision| revision.name_any()),
            latest_revision: Some(self.target.name_any()),
            replicas: number(count.alive),
            ready_replicas: number(count.ready),
            selector: format!("{}={}", labels::SERVICE, service.name_any()),
            conditions: self.conditions(&count),
        }
    }

    fn conditions(&self, count: &Count) -> Vec<Condition> {
        let mut conditions = vec![
            self.ready(count),
            self.available(count),
            self.under_way("Reconciling"),
            self.stalled(),
            self.under_way("Progressing"),
            self.degraded(count),
        ];
        if self.observed.service.spec.suspend {
            // It is as it is wanted, and not ready: whoever waits for either finds it so.
            conditions.retain(|condition| condition.type_ != "Ready");
            let (is_stopped, message) = (self.observed.pods.is_empty(), format!("{} copies are left", self.observed.pods.len()));
            let (reason, message) = if is_stopped { ("Stopped", "spec.suspend is true".into()) } else { ("Stopping", message) };
            conditions.push(self.condition("Suspended", true, reason, message));
        }
        conditions
    }

    fn ready(&self, count: &Count) -> Condition {
        let name = self.target.name_any();
        if !self.live {
            let (reason, message) = match self.failing() {
                Some((reason, message)) => (reason, message),
                None => ("NotYetReady".into(), self.awaited()),
            };
            return self.condition("Ready", false, &reason, format!("{name}: {message}"));
        }
        if let Some((reason, message)) = self.failing() {
            return self.condition("Ready", false, &reason, format!("{name}: {message}"));
        }
        let reason = if count.is_whole() { "AllCopiesReady" } else { "CopiesNotReady" };
        self.condition("Ready", count.is_whole(), reason, format!("{name}: {} of {} copies are ready", count.ready, count.wanted))
    }

    fn available(&self, count: &Count) -> Condition {
        if self.observed.service.spec.suspend {
            return self.condition("Available", false, "Suspended", "it is stopped".into());
        }
        match self.serving() {
            None => self.condition("Available", false, "NothingServes", "no version has become ready yet".into()),
            Some(revision) => {
                let serves = count.ready > 0 || count.wanted == 0;
                let message = format!("{}: {} of {} copies are ready", revision.name_any(), count.ready, count.wanted);
                self.condition("Available", serves, if serves { "Serving" } else { "NoCopyReady" }, message)
            }
        }
    }

    /// What failed, as a word and a sentence: the rollout, or a change that the server refuses.
    fn failing(&self) -> Option<(String, String)> {
        // The Revision's status is written in the same turn: what it will say is what counts.
        let (next, _) = self.target_status(&self.target.status.clone().unwrap_or_default());
        let refused = self.observed.obstacle.filter(|obstacle| obstacle.is_refusal && self.live);
        let failed = next.failure.map(|failure| (failure.reason, if failure.detail.is_empty() { next.message } else { failure.detail }));
        failed.or_else(|| refused.map(|refused| ("Refused".to_owned(), refused.message.clone())))
    }

    fn stalled(&self) -> Condition {
        match self.failing() {
            Some((reason, message)) => self.condition("Stalled", true, &reason, format!("{}: {message}", self.target.name_any())),
            None => self.condition("Stalled", false, "AsWanted", String::new()),
        }
    }

    /// Whether a change is on its way. One that failed is not, though its copies may go on trying.
    fn under_way(&self, name: &str) -> Condition {
        let target = self.target.name_any();
        if self.failing().is_some() {
            return self.condition(name, false, "Failed", format!("{target}: the rollout failed"));
        }
        if !self.live {
            return self.condition(name, true, "Starting", format!("{target}: {}", self.awaited()));
        }
        let (next, _) = self.target_status(&self.target.status.clone().unwrap_or_default());
        if next.phase != RevisionPhase::Complete {
            let message = format!("{target}: it is watched, and the copies before finish their requests");
            return self.condition(name, true, "Switching", message);
        }
        if self.observed.service.spec.suspend && !self.observed.pods.is_empty() {
            return self.condition(name, true, "Stopping", format!("{} copies are left", self.observed.pods.len()));
        }
        self.condition(name, false, "Done", format!("{target}: the rollout is over"))
    }

    fn degraded(&self, count: &Count) -> Condition {
        if let Some((reason, message)) = self.failing() {
            return self.condition("Degraded", true, &reason, format!("{}: {message}", self.target.name_any()));
        }
        if self.serving().is_some() && !count.is_whole() {
            return self.condition("Degraded", true, "CopiesNotReady", "fewer copies are ready than wanted".into());
        }
        self.condition("Degraded", false, "AsWanted", String::new())
    }

    fn condition(&self, name: &str, is_true: bool, reason: &str, message: String) -> Condition {
        let service = self.observed.service;
        let old = service.status.as_ref().map_or(&[][..], |status| status.conditions.as_slice());
        condition(old, service.metadata.generation, self.observed.now, name, is_true, reason, message)
    }

    /// Writes down how far the routers are with the table, unless the table is about to change or that is told already.
    pub(super) fn table_status(&self, changes: &mut Vec<Change>) {
        let Some(table) = self.observed.table.filter(|_| !changes.iter().any(|change| matches!(change, Change::PutTable(..)))) else {
            return;
        };
        let (generation, conditions) = table_conditions(table, self.observed);
        let told = table.status.clone().unwrap_or_default();
        if told.observed_generation != generation || told.conditions != conditions {
            changes.push(Change::SetTableStatus(generation, conditions));
        }
    }
}

fn table_conditions(table: &RouteTable, observed: &Observed) -> (i64, Vec<Condition>) {
    let generation = table.metadata.generation.unwrap_or(0);
    let status = table.status.clone().unwrap_or_default();
    let row = |node: &String| status.routers.iter().find(|row| row.node == *node);
    let behind: Vec<&str> =
        observed.routers.iter().filter(|node| row(node).is_none_or(|row| row.generation < generation)).map(String::as_str).collect();
    let problem = status.routers.iter().find(|row| observed.routers.contains(&row.node) && !row.problem.is_empty());
    let (reason, message) = match problem {
        Some(row) => ("NotTaken", format!("{}: {}", row.node, row.problem)),
        None if behind.is_empty() => ("InForce", "every router has it in force".to_owned()),
        None => ("RoutersBehind", format!("not in force on {}", behind.join(", "))),
    };
    let is_ready = behind.is_empty() && problem.is_none();
    let told = |name: &str, is_true| {
        condition(&status.conditions, table.metadata.generation, observed.now, name, is_true, reason, message.clone())
    };
    let reconciling = !is_ready && problem.is_none();
    (generation, vec![told("Ready", is_ready), told("Reconciling", reconciling), told("Stalled", problem.is_some())])
}

/// The status of a Service whose newest spec has no Revision yet: as it was, for the generation that it speaks of, unless the
/// Revision cannot be made.
pub fn before_a_revision(observed: &Observed) -> ServiceStatus {
    let service = observed.service;
    let mut status = service.status.clone().unwrap_or_default();
    let Some(obstacle) = observed.obstacle else { return status };
    status.observed_generation = service.metadata.generation.unwrap_or(0);
    let old = std::mem::take(&mut status.conditions);
    let told = |name: &str, is_true, reason: &str| {
        condition(&old, service.metadata.generation, observed.now, name, is_true, reason, obstacle.message.clone())
    };
    let is_stalled = obstacle.is_refusal;
    let reason = if is_stalled { "Refused" } else { "Retrying" };
    status.conditions = vec![told("Ready", false, reason), told("Reconciling", !is_stalled, reason), told("Stalled", is_stalled, reason)];
    status.conditions.extend(told_before(&old, &status.conditions));
    status
}

fn told_before(old: &[Condition], new: &[Condition]) -> Vec<Condition> {
    old.iter().filter(|old| new.iter().all(|new| new.type_ != old.type_)).cloned().collect()
}

/// A condition, whose time is that of its last change.
pub fn condition(
    told: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
    name: &str,
    is_true: bool,
    reason: &str,
    message: String,
) -> Condition {
    let status = if is_true { "True" } else { "False" };
    let old = told.iter().find(|old| old.type_ == name && old.status == status);
    Condition {
        type_: name.into(),
        status: status.into(),
        reason: reason.into(),
        message,
        observed_generation: generation,
        last_transition_time: old.map_or(Time(now), |old| old.last_transition_time.clone()),
    }
}
