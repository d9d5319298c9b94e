//! How a Service gets from what runs to what is wanted, without a failed request.
//!
//! ```text
//!  spec changes ─▶ Starting ── all copies ready ─▶ Switched ── old copies drained, counts in ─▶ Complete
//!                     │                                                                            │
//!                     ├── deadline passed, an older Revision serves ─▶ Failed                      ▼
//!                     └── spec changes again ─▶ Superseded ◀────────────────────── a newer one is switched to
//! ```
//!
//! [`plan`] looks at everything there is and says what to do next; it remembers nothing, so that it can be asked again after
//! any crash. Going live is one write, of the RouteTable; before it the Revision in the table serves untouched, and copies
//! that lost their route are deleted only when every router has drained them.

mod copies;
mod receipt;
mod render;
mod status;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube_core::ResourceExt as _;
use model::revision::{RevisionPart, RevisionPhase};
use model::{Revision, RevisionSpec, RevisionStatus, RouteTable, RouteTableSpec, Service, ServiceStatus, labels};

pub use copies::{is_alive, is_ready};
pub use render::{part_hash, render};

/// How many Revisions of a Service are kept.
pub const REVISIONS_KEPT: usize = 20;

/// Everything there is about one Service.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The Service.
    pub service: &'a Service,
    /// Its Revisions, in any order.
    pub revisions: &'a [Revision],
    /// Its Pods, in any order.
    pub pods: &'a [Pod],
    /// Its RouteTable.
    pub table: Option<&'a RouteTable>,
    /// The nodes whose routers must follow the table.
    pub routers: &'a [String],
    /// The time.
    pub now: Timestamp,
}

/// What to do, and what to tell.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// What to change, in order.
    pub changes: Vec<Change>,
    /// The Service's status.
    pub status: ServiceStatus,
    /// When to look again even if nothing happens.
    pub again_after: Option<Duration>,
}

/// One thing to change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Freeze the spec.
    CreateRevision(Box<Revision>),
    /// Start a copy.
    CreatePod(Box<Pod>, String),
    /// Stop a copy.
    DeletePod {
        /// The Pod's name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Move the routes, or create the table.
    PutTable(Box<RouteTable>, String),
    /// Write down how a rollout goes.
    SetRevisionStatus {
        /// The Revision's name.
        name: String,
        /// Its new status.
        status: Box<RevisionStatus>,
        /// The Pod whose last log lines belong into the failure.
        log_of: Option<String>,
    },
    /// Forget an old Revision.
    DeleteRevision {
        /// Its name.
        name: String,
    },
}

/// The Revisions that matter, and their copies.
struct Stage<'a> {
    observed: &'a Observed<'a>,
    target: &'a Revision,
    /// The Revision that the table names, when that is another one.
    active: Option<&'a Revision>,
    live: bool,
    failed: bool,
}

/// What to do next for a Service.
pub fn plan(observed: &Observed) -> Plan {
    let latest = observed.revisions.iter().max_by_key(|revision| revision.spec.number);
    let Some(target) = latest.filter(|latest| latest.spec.template == observed.service.spec) else {
        return freeze(observed, latest);
    };
    let routed = observed.table.map(|table| table.spec.revision.as_str());
    let live = routed == Some(target.name_any().as_str());
    let active = observed.revisions.iter().find(|revision| !live && routed == Some(revision.name_any().as_str()));
    let failed = !live && phase(target) == RevisionPhase::Failed;
    let stage = Stage { observed, target, active, live, failed };
    let mut changes = Vec::new();
    stage.copies(&mut changes);
    stage.routes(&mut changes);
    stage.revisions(&mut changes);
    Plan { changes, status: stage.service_status(), again_after: stage.again_after() }
}

fn phase(revision: &Revision) -> RevisionPhase {
    revision.status.as_ref().map_or(RevisionPhase::Starting, |status| status.phase)
}

fn freeze(observed: &Observed, latest: Option<&Revision>) -> Plan {
    let service = observed.service;
    let number = latest.map_or(0, |latest| latest.spec.number) + 1;
    let wanted = service.annotations().get(labels::ROLLBACK_OF);
    let returned_to =
        observed.revisions.iter().find(|revision| Some(&revision.name_any()) == wanted && revision.spec.template == service.spec);
    let parts = service.spec.parts.iter().map(|part| RevisionPart { name: part.name.clone(), hash: part_hash(&service.spec, part) });
    let spec = RevisionSpec {
        service: service.name_any(),
        number,
        rollback_of: returned_to.map(|revision| revision.name_any()),
        template: service.spec.clone(),
        parts: parts.collect(),
    };
    let mut revision = Revision::new(&format!("{}-{number}", service.name_any()), spec);
    revision.metadata = owned(service, &revision.name_any());
    let mut changes = vec![Change::CreateRevision(Box::new(revision))];
    if let Some(latest) = latest.filter(|latest| phase(latest) == RevisionPhase::Starting) {
        let status = receipt::superseded(latest, &format!("{}-{number}", service.name_any()), observed.now);
        changes.push(Change::SetRevisionStatus { name: latest.name_any(), status: Box::new(status), log_of: None });
    }
    let status =
        ServiceStatus { observed_generation: service.metadata.generation.unwrap_or(0), ..service.status.clone().unwrap_or_default() };
    Plan { changes, status, again_after: None }
}

/// The metadata of something that belongs to a Service.
fn owned(service: &Service, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: service.namespace(),
        labels: Some([(labels::SERVICE.to_owned(), service.name_any())].into()),
        owner_references: Some(vec![OwnerReference {
            api_version: "conductor.dev/v1".into(),
            kind: "Service".into(),
            name: service.name_any(),
            uid: service.uid().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

impl Stage<'_> {
    /// The Revision that serves, or that will once it is ready.
    fn serving(&self) -> Option<&Revision> {
        if self.live { Some(self.target) } else { self.active }
    }

    /// The copies that stay: those of the Revision that serves, and of the one that is to.
    fn kept(&self) -> Vec<&Pod> {
        let mut kept: Vec<&Pod> = self.serving().into_iter().flat_map(|revision| copies::of(revision, self.observed.pods)).collect();
        if !self.failed || self.active.is_none() {
            for pod in copies::of(self.target, self.observed.pods) {
                if !kept.iter().any(|other| other.name_any() == pod.name_any()) {
                    kept.push(pod);
                }
            }
        }
        kept
    }

    fn copies(&self, changes: &mut Vec<Change>) {
        if self.observed.service.metadata.deletion_timestamp.is_some() {
            return;
        }
        let mut wanted: Vec<&Revision> = self.serving().into_iter().collect();
        if !self.live && (!self.failed || self.active.is_none()) {
            wanted.push(self.target);
        }
        let mut taken: Vec<String> = self.observed.pods.iter().map(|pod| pod.name_any()).collect();
        for revision in wanted {
            for pod in copies::missing(self.observed.service, revision, self.observed.pods, &mut taken) {
                if !changes.iter().any(|change| matches!(change, Change::CreatePod(other, _) if copies::same_part(other, &pod))) {
                    changes.push(Change::CreatePod(Box::new(pod), format!("{} wants another copy", revision.name_any())));
                }
            }
        }
        let kept = self.kept();
        let surplus = self.observed.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let surplus = surplus.filter(|pod| !kept.iter().any(|other| other.name_any() == pod.name_any()));
        for pod in surplus.filter(|pod| self.is_drained(pod)) {
            let reason = format!("{} is no longer wanted and has no requests", pod.name_any());
            changes.push(Change::DeletePod { name: pod.name_any(), reason });
        }
    }

    /// Whether the table in force does not name a Pod, and every router has finished its requests.
    fn is_drained(&self, pod: &Pod) -> bool {
        let Some(table) = self.observed.table else { return true };
        let mut endpoints = table.spec.routes.iter().flat_map(|route| &route.endpoints);
        !endpoints.any(|endpoint| endpoint.pod == pod.name_any()) && self.all_routers(|row| row.drained_generation)
    }

    /// Whether every router's row has reached the table's generation.
    fn all_routers(&self, reached: impl Fn(&model::route_table::RouterRow) -> i64) -> bool {
        let Some(table) = self.observed.table else { return false };
        let generation = table.metadata.generation.unwrap_or(0);
        let rows = table.status.as_ref().map_or(&[][..], |status| status.routers.as_slice());
        self.observed.routers.iter().all(|node| rows.iter().any(|row| row.node == *node && reached(row) >= generation))
    }

    fn routes(&self, changes: &mut Vec<Change>) {
        let switch = !self.live && !self.failed && self.is_target_ready();
        let Some(revision) = (if switch { Some(self.target) } else { self.serving() }) else { return };
        let rollout = &revision.spec.template.rollout;
        let spec = RouteTableSpec {
            revision: revision.name_any(),
            routes: copies::routes(revision, self.observed.pods),
            drain: rollout.drain,
            watch: rollout.watch,
        };
        if self.observed.table.is_some_and(|table| table.spec == spec) {
            return;
        }
        let reason = if switch { format!("every copy of {} is ready", revision.name_any()) } else { "the ready copies changed".into() };
        let mut table = RouteTable::new(&self.observed.service.name_any(), spec);
        table.metadata = owned(self.observed.service, &self.observed.service.name_any());
        table.metadata.resource_version = self.observed.table.and_then(|table| table.metadata.resource_version.clone());
        changes.push(Change::PutTable(Box::new(table), reason));
    }

    fn is_target_ready(&self) -> bool {
        let copies = copies::of(self.target, self.observed.pods);
        let wanted: usize = self.target.spec.template.parts.iter().map(|part| usize::try_from(part.replicas).unwrap_or(0)).sum();
        copies.len() >= wanted && copies.iter().all(|pod| is_ready(pod))
    }

    /// When the target must be ready; later than its creation by the progress deadline.
    fn deadline(&self) -> Timestamp {
        let created = self.target.metadata.creation_timestamp.as_ref().map_or(self.observed.now, |Time(time)| *time);
        created.checked_add(self.target.spec.template.rollout.progress_deadline.get()).unwrap_or(Timestamp::MAX)
    }

    fn again_after(&self) -> Option<Duration> {
        if self.live || self.failed {
            return None;
        }
        let left = self.deadline().duration_since(self.observed.now);
        Some(Duration::try_from(left).unwrap_or_default() + Duration::from_millis(50))
    }
}

#[cfg(test)]
mod tests;
