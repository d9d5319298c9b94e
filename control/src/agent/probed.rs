//! The probes of a container.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Probe};
use logic::pod::{ProbeKind, Probing};

/// The probe of a kind, where the container has one.
pub fn probe(container: &Container, kind: ProbeKind) -> Option<&Probe> {
    match kind {
        ProbeKind::Startup => container.startup_probe.as_ref(),
        ProbeKind::Readiness => container.readiness_probe.as_ref(),
        ProbeKind::Liveness => container.liveness_probe.as_ref(),
    }
}

/// All probes of a run that began then; `was_ready` says that it was found well before we began to look.
pub fn probings(container: &Container, since: Timestamp, was_ready: bool) -> Vec<Probing> {
    let probing = |kind| probe(container, kind).map(|probe| Probing::new(kind, probe, since, was_ready));
    [ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness].into_iter().filter_map(probing).collect()
}
