//! A Revision: a Service's resolved configuration at one moment, and the receipt of its rollout.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::{begin_status, object_schema};
use crate::{Column, Duration, Kind, Problem, ProblemKind, ServiceSpec, problem};

/// What was frozen. Never changes.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "conductor.dev",
    version = "v1",
    kind = "Revision",
    namespaced,
    status = "RevisionStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[kube(crates(
    kube_core = "::kube_core",
    k8s_openapi = "::k8s_openapi",
    schemars = "::schemars",
    serde = "::serde",
    serde_json = "::serde_json"
))]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "dev.conductor.v1.RevisionSpec")]
pub struct RevisionSpec {
    /// The Service's name.
    pub service: String,
    /// Its number: 1 for a Service's first Revision, and rising.
    pub number: i64,
    /// The Revision whose configuration this one puts back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<String>,
    /// The Service's spec, as it was.
    pub template: ServiceSpec,
    /// What each part's copies are made from.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parts: Vec<RevisionPart>,
}

/// One part of a Revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "dev.conductor.v1.RevisionPart")]
pub struct RevisionPart {
    /// The part's name.
    pub name: String,
    /// The hash of its rendered pod and configuration: copies with this hash are copies of this part.
    pub hash: String,
}

/// How far a rollout is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "dev.conductor.v1.RevisionPhase")]
pub enum RevisionPhase {
    /// Its copies are being started; the Revision before it serves.
    #[default]
    Starting,
    /// The routes point to it; the copies before it finish their requests.
    Switched,
    /// The rollout is over and it serves.
    Complete,
    /// It never served, or was taken back: see `failure`.
    Failed,
    /// A newer one has taken its place.
    Superseded,
}

/// The receipt of a rollout. Written by the Service controller alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "dev.conductor.v1.RevisionStatus")]
pub struct RevisionStatus {
    /// The generation of the spec that this status speaks of; a Revision's spec never changes.
    pub observed_generation: i64,
    /// How far the rollout is.
    pub phase: RevisionPhase,
    /// What is awaited, or what happened, in a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the routes moved to this Revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::kind::time_schema")]
    pub switched_at: Option<Timestamp>,
    /// When the rollout ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::kind::time_schema")]
    pub finished_at: Option<Timestamp>,
    /// What clients saw during the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// Why it never served, or was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The Revision that was put back when this one failed after the routes had moved to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back_to: Option<String>,
    /// Ready once its rollout is over and it serves, Reconciling until then, Stalled when it failed; none once it is superseded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::kind::conditions_schema")]
    pub conditions: Vec<Condition>,
}

/// What clients saw from the switch until the old copies had stopped, as the routers counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "dev.conductor.v1.Receipt")]
pub struct Receipt {
    /// Requests answered; absent where a router cannot count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<i64>,
    /// Of these, failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<i64>,
    /// The longest a client waited for the first byte of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_stall: Option<Duration>,
    /// The time to the first byte that 99 of 100 requests kept to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<Duration>,
    /// Copies kept from before because nothing about them changed.
    pub adopted: i64,
    /// Copies started.
    pub started: i64,
    /// From the Revision's creation to the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_after: Option<Duration>,
}

/// Why a rollout failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "dev.conductor.v1.Failure")]
pub struct Failure {
    /// A word for it: `ProgressDeadlineExceeded`, or after the switch `CopyEnded` and `TooManyFailedRequests`.
    pub reason: String,
    /// The Pod that shows it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// What that Pod's containers or probes last said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The last lines that Pod wrote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// The kind, for [`crate::KINDS`].
pub fn kind() -> Kind {
    Kind {
        short_names: vec!["rev".into()],
        categories: vec!["all".into()],
        status: true,
        generation: true,
        columns: vec![
            Column::name(),
            Column::path("Service", "string", ".spec.service", "The Service it belongs to"),
            Column::path("Phase", "string", ".status.phase", "How far its rollout is"),
            Column::path("Requests", "integer", ".status.receipt.requests", "Requests during the switch"),
            Column::path("Failed", "integer", ".status.receipt.failed", "Requests that failed during the switch"),
            Column::path("Message", "string", ".status.message", "What is awaited or what happened").wide(),
            Column::age(),
        ],
        selectable_fields: vec!["spec.service".into()],
        validate,
        validate_change,
        complete: |object| begin_status(object, "the Revision is new"),
        ..Kind::new("conductor.dev", "v1", "Revision", "revisions", |generator| {
            object_schema::<RevisionSpec, RevisionStatus>(
                generator,
                "Revision",
                "A Service's configuration at one moment, and the receipt of its rollout.",
            )
        })
    }
}

/// Whoever reads Revisions reads them all, so one that cannot be read is not kept.
fn validate(object: &Value) -> Vec<Problem> {
    problem::read::<RevisionSpec>(&object["spec"], "spec").err().into_iter().collect()
}

fn validate_change(before: &Value, after: &Value) -> Vec<Problem> {
    if before["spec"] == after["spec"] {
        return Vec::new();
    }
    vec![Problem::new(ProblemKind::Forbidden, "spec", "a Revision never changes: change the Service, and a new Revision is made")]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_revision_never_changes() {
        let before = json!({"spec": {"number": 1}, "status": {}});
        assert!(validate_change(&before, &json!({"spec": {"number": 1}, "status": {"phase": "Failed"}})).is_empty());
        assert_eq!(validate_change(&before, &json!({"spec": {"number": 2}})).len(), 1);
    }
}
