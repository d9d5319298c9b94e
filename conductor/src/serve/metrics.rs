//! The numbers of this process, beside those of the API: `/metrics`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::metrics::{Form, Text};
use router::builtin::Builtin;
use serde::Deserialize;
use store::Entry;
use store::embedded::Embedded;

/// The phases that Kubernetes' Pods have.
const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];

/// Tells all of them.
pub fn tell(text: &mut Text, begun: Timestamp, store: &Embedded, router: &Builtin) {
    text.family("conductor_build_info", Form::Gauge, "The version of this program.");
    text.number("conductor_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.single("process_start_time_seconds", Form::Gauge, "When the server was started.", begun.as_second());
    if let Some(bytes) = resident_bytes(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()) {
        text.single("process_resident_memory_bytes", Form::Gauge, "Memory in use.", bytes);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        text.single("process_open_fds", Form::Gauge, "Open files and connections.", open.count());
    }
    of_store(text, store);
    control::controllers::tell(text);
    of_pods(text, &store.under(&format!("/core/{}/", model::pod::kind().plural)));
    of_router(text, router);
}

fn of_store(text: &mut Text, store: &Embedded) {
    let (work, (watchers, waiting)) = (store.work(), store.watchers());
    text.family("conductor_store_write_duration_seconds", Form::Histogram, "How long writes of the store to the disk took.");
    text.histogram("conductor_store_write_duration_seconds", &[], &work.took);
    for (name, about, count) in [
        ("conductor_store_writes_total", "Writes of the store to the disk; each holds all requests that waited.", work.writes.get()),
        ("conductor_store_write_requests_total", "Requests that were part of a write.", work.requests.get()),
        ("conductor_store_writes_failed_total", "Writes that failed.", work.failed.get()),
    ] {
        text.single(name, Form::Counter, about, count);
    }
    text.single("conductor_store_queue", Form::Gauge, "Requests that wait to be written.", work.queued());
    text.single("conductor_store_revision", Form::Gauge, "The newest revision.", store::Store::revision(store));
    text.single("conductor_store_objects", Form::Gauge, "Keys in the store.", store.objects());
    text.single("conductor_watchers", Form::Gauge, "Watches that are open.", watchers);
    text.single("conductor_watch_queue_bytes", Form::Gauge, "Changes that wait to be read by watches.", waiting);
}

fn of_pods(text: &mut Text, pods: &[Entry]) {
    const NAME: &str = "conductor_pods";
    let phases = phases(pods);
    text.family(NAME, Form::Gauge, "Pods by phase.");
    for phase in PHASES {
        text.number(NAME, &[("phase", phase)], phases.get(phase).copied().unwrap_or(0));
    }
}

/// How many Pods are in each phase. One that says nothing is pending.
fn phases(pods: &[Entry]) -> BTreeMap<&'static str, usize> {
    #[derive(Deserialize, Default)]
    struct Pod {
        #[serde(default)]
        status: Status,
    }
    #[derive(Deserialize, Default)]
    struct Status {
        #[serde(default)]
        phase: String,
    }
    let mut counts = BTreeMap::new();
    for entry in pods {
        let pod: Pod = serde_json::from_slice(&entry.value).unwrap_or_default();
        let phase = PHASES.into_iter().find(|phase| *phase == pod.status.phase).unwrap_or("Pending");
        *counts.entry(phase).or_default() += 1;
    }
    counts
}

fn of_router(text: &mut Text, router: &Builtin) {
    const REQUESTS: &str = "conductor_router_requests_total";
    const FIRST_BYTE: &str = "conductor_router_first_byte_seconds";
    let services = router.services();
    text.family(REQUESTS, Form::Counter, "Requests to Services, by the class of the answer's code; gone: the client did not wait for it.");
    for (service, lasting) in &services {
        for (class, count) in ["gone", "1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(&lasting.codes) {
            text.number(REQUESTS, &[("service", service), ("code", class)], count.get());
        }
    }
    text.family(FIRST_BYTE, Form::Histogram, "How long clients of a Service waited for the first byte of an answer.");
    for (service, lasting) in &services {
        text.histogram(FIRST_BYTE, &[("service", service)], &lasting.first_byte);
    }
    const REFUSED: &str = "conductor_router_refused_total";
    text.family(REFUSED, Form::Counter, "Requests that the router answered itself, by why.");
    for (reason, count) in router.refusals() {
        text.number(REFUSED, &[("reason", reason)], count);
    }
    let totals = router.totals();
    text.single("conductor_router_unrouted_total", Form::Counter, "Requests for which there was no route.", totals.unrouted);
    text.single("conductor_router_failed_total", Form::Counter, "Requests that the router could not carry.", totals.failed);
    text.single("conductor_router_in_flight", Form::Gauge, "Requests and tunnels in flight.", totals.in_flight);
    text.single("conductor_router_connections", Form::Gauge, "Connections from clients.", totals.connections);
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_counted_by_phase_and_memory_is_read() {
        let entry = |text: &str| Entry { key: "/core/pods/a/b".into(), value: text.to_owned().into(), created: 1, modified: 1 };
        let pods = [r#"{"status": {"phase": "Running"}}"#, r#"{"spec": {}}"#, r#"{"status": {"phase": "Odd"}}"#, "no JSON"].map(entry);
        assert_eq!(phases(&pods), BTreeMap::from([("Pending", 3), ("Running", 1)]));
        assert_eq!(resident_bytes("VmPeak: 9 kB\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
    }
}
