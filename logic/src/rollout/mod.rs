//! How a Service gets from what runs to what is wanted, without a failed request.
//!
//! ```text
//!  spec changes ─▶ Starting ── all copies ready ─▶ Switched ── watched, old copies drained and gone ─▶ Complete
//!                     │                               │                                                │
//!                     │                               └── a copy ended, or too many requests failed    │
//!                     │                                        │ the version before is put back        │
//!                     ├── deadline passed, an older serves ─▶ Failed                                   ▼
//!                     └── spec changes again ─▶ Superseded ◀────────────────────────── a newer one is complete
//! ```
//!
//! [`plan`] looks at everything there is and says what to do next; it remembers nothing, so that it can be asked again after
//! any crash. Going live is one write, of the RouteTable; before it the Revision in the table serves untouched. The copies before
//! stay until the new ones have been watched for a while, so that they can be put back at once, and copies that lost their route
//! are deleted only when every router has drained them.

mod copies;
mod order;
mod receipt;
mod render;
mod status;
mod watch;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference, Time};
use kube_core::ResourceExt as _;
use model::revision::{RevisionPart, RevisionPhase};
use model::{Revision, RevisionSpec, RevisionStatus, RouteTable, RouteTableSpec, Service, ServiceStatus, labels};

pub use copies::{is_alive, is_ready};
pub use render::{part_hash, render};

/// How many Revisions of a Service are kept.
pub const REVISIONS_KEPT: usize = 20;
/// How many copies of one part are being made at a time. What is planned and no longer wanted is never more than that.
pub const WAVE: usize = 20;

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
    /// The nodes that run Pods, and whose routers must follow the table.
    pub routers: &'a [String],
    /// What came in the way when the last plan was carried out.
    pub obstacle: Option<&'a Obstacle>,
    /// The time.
    pub now: Timestamp,
}

/// Why a change that was planned could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What was tried, and what the server said.
    pub message: String,
    /// Whether the server refused it, so that the same is refused again until somebody changes something.
    pub is_refusal: bool,
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
    /// Write down how far the routers are with the table.
    SetTableStatus(i64, Vec<Condition>),
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
    let frozen = observed.service.spec.frozen();
    let Some(target) = latest.filter(|latest| latest.spec.template == frozen) else {
        return freeze(observed, latest);
    };
    let number = target.spec.number;
    if !observed.service.spec.suspend {
        return towards(observed, number);
    }
    let mut stopped = observed.revisions.to_vec();
    for part in stopped.iter_mut().flat_map(|revision| &mut revision.spec.template.parts) {
        part.replicas = 0;
    }
    towards(&Observed { revisions: &stopped, ..*observed }, number)
}

/// What to do next on the way to the Revision of this number.
fn towards(observed: &Observed, number: i64) -> Plan {
    let Some(target) = observed.revisions.iter().find(|revision| revision.spec.number == number) else { return Plan::default() };
    let stage = Stage::of(observed, target);
    if let Some((status, log_of)) = stage.taken_back() {
        return after_taking_back(observed, target, status, log_of);
    }
    let mut changes = Vec::new();
    stage.copies(&mut changes);
    stage.routes(&mut changes);
    stage.revisions(&mut changes);
    stage.table_status(&mut changes);
    Plan { changes, status: stage.service_status(), again_after: stage.again_after() }
}

/// First what failed is written down, so that whoever looks next goes on with it, and then the routes move back.
fn after_taking_back(observed: &Observed, target: &Revision, status: RevisionStatus, log_of: Option<String>) -> Plan {
    let mut revisions = observed.revisions.to_vec();
    for revision in revisions.iter_mut().filter(|revision| revision.spec.number == target.spec.number) {
        revision.status = Some(status.clone());
    }
    let mut plan = towards(&Observed { revisions: &revisions, ..*observed }, target.spec.number);
    plan.changes.insert(0, Change::SetRevisionStatus { name: target.name_any(), status: Box::new(status), log_of });
    plan
}

fn phase(revision: &Revision) -> RevisionPhase {
    revision.status.as_ref().map_or(RevisionPhase::Starting, |status| status.phase)
}

fn freeze(observed: &Observed, latest: Option<&Revision>) -> Plan {
    let service = observed.service;
    let number = latest.map_or(0, |latest| latest.spec.number) + 1;
    let template = service.spec.frozen();
    let wanted = service.annotations().get(labels::ROLLBACK_OF);
    let returned_to = observed.revisions.iter().find(|revision| Some(&revision.name_any()) == wanted && revision.spec.template == template);
    let parts = template.parts.iter().map(|part| RevisionPart { name: part.name.clone(), hash: part_hash(&template, part) });
    let spec = RevisionSpec {
        service: service.name_any(),
        number,
        rollback_of: returned_to.map(|revision| revision.name_any()),
        parts: parts.collect(),
        template: template.clone(),
    };
    let mut revision = Revision::new(&format!("{}-{number}", service.name_any()), spec);
    revision.metadata = owned(service, &revision.name_any());
    let mut changes = vec![Change::CreateRevision(Box::new(revision))];
    if let Some(latest) = latest.filter(|latest| phase(latest) == RevisionPhase::Starting) {
        let status = receipt::superseded(latest, &format!("{}-{number}", service.name_any()), observed.now);
        changes.push(Change::SetRevisionStatus { name: latest.name_any(), status: Box::new(status), log_of: None });
    }
    Plan { changes, status: status::before_a_revision(observed), again_after: None }
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

impl<'a> Stage<'a> {
    fn of(observed: &'a Observed<'a>, target: &'a Revision) -> Self {
        let named =
            |name: &str| observed.revisions.iter().find(|revision| revision.name_any() == name && revision.name_any() != target.name_any());
        let status = target.status.as_ref().filter(|status| status.phase == RevisionPhase::Failed);
        let put_back = status.and_then(|status| named(status.rolled_back_to.as_deref()?));
        let routed = observed.table.map(|table| table.spec.revision.as_str());
        let live = routed == Some(target.name_any().as_str()) && put_back.is_none();
        let active = routed.filter(|_| !live).and_then(named).or(put_back);
        Self { observed, target, active, live, failed: !live && phase(target) == RevisionPhase::Failed }
    }

    /// The Revision that serves, or that will once it is ready.
    fn serving(&self) -> Option<&'a Revision> {
        if self.live { Some(self.target) } else { self.active }
    }

    /// The Revision that served before the target, while it may still be put back.
    fn previous(&self) -> Option<&'a Revision> {
        let may = self.live && matches!(phase(self.target), RevisionPhase::Starting | RevisionPhase::Switched);
        let others = self.observed.revisions.iter().filter(|revision| may && revision.spec.number != self.target.spec.number);
        let served = others.filter(|revision| phase(revision) != RevisionPhase::Failed);
        let since = |revision: &Revision| revision.status.as_ref().and_then(|status| status.switched_at);
        served.filter(|revision| since(revision).is_some()).max_by_key(|revision| (since(revision), revision.spec.number))
    }

    /// The copies that stay: those of the Revision that serves, of the one that is to, and of the one that may be put back.
    fn kept(&self) -> Vec<&'a Pod> {
        let target = (!self.failed || self.active.is_none()).then_some(self.target);
        let previous = self.previous().filter(|_| !self.is_watched());
        let mut kept: Vec<&Pod> = Vec::new();
        for revision in self.serving().into_iter().chain(target).chain(previous) {
            for pod in copies::of(revision, self.observed.pods) {
                if !kept.iter().any(|other| other.name_any() == pod.name_any()) && !self.gives_way(pod) {
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
                let is_twin = |change: &Change| matches!(change, Change::CreatePod(other, _) if copies::same_part(other, &pod));
                if !changes.iter().any(is_twin) && !self.gives_way(&pod) && !self.waits_for_room(revision, &pod) {
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
        self.observed.table.is_none_or(|table| is_drained(&pod.name_any(), table, self.observed.routers))
    }

    fn routes(&self, changes: &mut Vec<Change>) {
        let switch = !self.live && !self.failed && self.is_target_ready();
        let Some(revision) = (if switch { Some(self.target) } else { self.serving() }) else { return };
        let rollout = &revision.spec.template.rollout;
        let spec = RouteTableSpec {
            revision: revision.name_any(),
            routes: copies::routes(revision, self.observed.pods, |pod| switch || !self.gives_way(pod)),
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
        copies.len() >= self.wanted(self.target)
            && copies.iter().all(|pod| self.counts_from(pod).is_some_and(|from| from <= self.observed.now))
    }

    /// How many copies a Revision wants.
    fn wanted(&self, revision: &Revision) -> usize {
        revision.spec.template.parts.iter().map(|part| usize::try_from(part.replicas).unwrap_or(0)).sum()
    }

    /// From when on a copy that is ready counts as such for the rollout to the target; `None` for one that is not ready.
    fn counts_from(&self, pod: &Pod) -> Option<Timestamp> {
        let created = self.target.metadata.creation_timestamp.as_ref().map_or(self.observed.now, |Time(time)| *time);
        copies::counts_from(pod, &self.target.spec.template.rollout, created)
    }

    /// When the target must be ready; later than its creation by the progress deadline.
    fn deadline(&self) -> Timestamp {
        let created = self.target.metadata.creation_timestamp.as_ref().map_or(self.observed.now, |Time(time)| *time);
        created.checked_add(self.target.spec.template.rollout.progress_deadline.get()).unwrap_or(Timestamp::MAX)
    }

    /// When to look again though nothing happens: at the deadline, when the next copy counts, at the end of the watch. Each is
    /// due once: whoever has seen it and has nothing to do waits for a change.
    fn again_after(&self) -> Option<Duration> {
        let mut due: Vec<Timestamp> = Vec::new();
        if !self.live && !self.failed {
            due.push(self.deadline());
            due.extend(copies::of(self.target, self.observed.pods).iter().filter_map(|pod| self.counts_from(pod)));
        }
        if self.live && phase(self.target) == RevisionPhase::Switched {
            due.extend(self.watched_until());
        }
        let next = due.into_iter().filter(|due| *due > self.observed.now).min()?;
        Some(Duration::try_from(next.duration_since(self.observed.now)).unwrap_or_default() + Duration::from_millis(50))
    }
}

/// Whether a table in force does not name a Pod, and the routers of these nodes have finished its requests.
pub fn is_drained(pod: &str, table: &RouteTable, routers: &[String]) -> bool {
    let mut endpoints = table.spec.routes.iter().flat_map(|route| &route.endpoints);
    let generation = table.metadata.generation.unwrap_or(0);
    let rows = table.status.as_ref().map_or(&[][..], |status| status.routers.as_slice());
    !endpoints.any(|endpoint| endpoint.pod == pod)
        && routers.iter().all(|node| rows.iter().any(|row| row.node == *node && row.drained_generation >= generation))
}

#[cfg(test)]
mod tests;
