//! What things are: one file a kind, and the words and values they share.
//!
//! [`KINDS`] lists every kind; the control API, discovery, tables and schemas read that list and nothing else. Types here
//! hold no I/O and no decisions: what follows from them is `logic`.

mod cause;
mod clock;
mod duration;
mod filling;
mod kind;
pub mod labels;
mod names;
mod problem;

pub mod admission;
pub mod batch;
pub mod config_map;
pub mod cron;
pub mod custom_resource_definition;
pub mod event;
pub mod lease;
pub mod metrics;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod pod_template;
pub mod priority_class;
pub mod rbac;
pub mod review;
pub mod revision;
pub mod route_name;
pub mod route_path;
pub mod route_table;
pub mod secret;
pub mod service;
pub mod service_account;
pub mod usage;

pub use cause::Cause;
pub use clock::Clock;
pub use duration::Duration;
pub use filling::drop_nulls;
pub use kind::{Cell, Claims, Column, Copies, Form, Kind, Scale, ScaleRefused, Scope, Source, age as kind_age};
pub use names::{check_label, check_path_segment, check_port_name, check_subdomain};
pub use problem::{Problem, ProblemKind};
pub use revision::{Revision, RevisionSpec, RevisionStatus};
pub use route_table::{RouteTable, RouteTableSpec, RouteTableStatus};
pub use service::{Service, ServiceSpec, ServiceStatus};

/// Every kind that is served without being defined at run time, in the order of discovery.
pub static KINDS: &[fn() -> Kind] = &[
    service::kind,
    revision::kind,
    route_table::kind,
    namespace::kind,
    node::kind,
    pod::kind,
    config_map::kind,
    secret::kind,
    event::kind,
    event::events_kind,
    custom_resource_definition::kind,
    lease::kind,
    admission::mutating_policy,
    admission::mutating_policy_binding,
    admission::mutating_webhooks,
    admission::validating_policy,
    admission::validating_policy_binding,
    admission::validating_webhooks,
    batch::cron_job,
    batch::job,
    priority_class::kind,
    service_account::kind,
    rbac::cluster_role_binding,
    rbac::cluster_role,
    rbac::role_binding,
    rbac::role,
    review::local_subject_access_review,
    review::self_subject_access_review,
    review::self_subject_rules_review,
    review::subject_access_review,
    review::self_subject_review,
    review::token_review,
    usage::node_metrics,
    usage::pod_metrics,
];
