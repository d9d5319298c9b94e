//! Rollouts in words: what clients saw, or why a Revision never served or was taken back.

use std::time::Duration;

use kube::ResourceExt as _;
use model::service::Route;
use model::{Revision, Service};

/// What clients saw of a rollout, in one line.
pub fn receipt(revision: &Revision) -> String {
    let receipt = revision.status.as_ref().and_then(|status| status.receipt.clone()).unwrap_or_default();
    let count = |count: Option<i64>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let mut words = vec![format!("requests {}", count(receipt.requests)), format!("failed {}", count(receipt.failed))];
    words.extend(receipt.longest_stall.map(|stall| format!("longest stall {}", time(stall.get()))));
    words.extend(receipt.p99.map(|p99| format!("p99 {}", time(p99.get()))));
    words.extend([format!("started {}", receipt.started), format!("adopted {}", receipt.adopted)]);
    words.extend(receipt.ready_after.map(|after| format!("ready after {}", time(after.get()))));
    words.join(" · ")
}

/// A length of time with two or three digits that matter: `7ms`, `1.2s`, `2m5s`.
pub fn time(time: Duration) -> String {
    let milliseconds = time.as_millis();
    match milliseconds {
        0..1_000 => format!("{milliseconds}ms"),
        1_000..60_000 => {
            let tenths = milliseconds / 100;
            if tenths.is_multiple_of(10) { format!("{}s", tenths / 10) } else { format!("{}.{}s", tenths / 10, tenths % 10) }
        }
        _ => model::Duration::from_secs(time.as_secs()).to_string(),
    }
}

/// Why a Revision never served, and what serves instead: some lines.
pub fn failure(service: &Service, revision: &Revision) -> String {
    let (name, status) = (revision.name_any(), revision.status.clone().unwrap_or_default());
    let seen = status.rolled_back_to.as_ref().map(|_| receipt(revision)).unwrap_or_default();
    let failure = status.failure.unwrap_or_default();
    let reason = if failure.reason.is_empty() { "Failed".to_owned() } else { failure.reason };
    let mut lines = vec![format!("{name} failed ({reason}): {}", status.message)];
    let mut add = |label: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("  {label:<8}{text}"));
        }
    };
    add("pod", &failure.pod);
    add("detail", &failure.detail);
    for (at, line) in failure.log.iter().enumerate() {
        add(if at == 0 { "log" } else { "" }, line);
    }
    add("receipt", &seen);
    add("serving", &serving(service, &name));
    add("next", &next(service, &failure.pod, &name));
    lines.join("\n")
}

fn serving(service: &Service, failed: &str) -> String {
    let status = service.status.clone().unwrap_or_default();
    match status.active_revision.filter(|active| active != failed) {
        Some(active) => format!("{active}, as before ({} copies ready)", status.ready_replicas),
        None => "nothing; the copies go on trying".to_owned(),
    }
}

/// The copies that failed are kept, with their logs, only where nothing else serves.
fn next(service: &Service, pod: &str, failed: &str) -> String {
    let again = "change the file and run `conductor up` again";
    let name = service.name_any();
    let active = service.status.as_ref().and_then(|status| status.active_revision.as_deref());
    if active.is_some_and(|active| active != failed) {
        return format!("{again}, or go back with `conductor rollback {name}`");
    }
    format!("see `conductor logs {}`; {again}", if pod.is_empty() { &name } else { pod })
}

/// Where the routes of a Service are reached, each once; `http` is the server's own address when that is known.
pub fn addresses(routes: &[Route], http: Option<&str>) -> Vec<String> {
    let (own, port) = http.and_then(|http| http.strip_prefix("http://")?.rsplit_once(':')).unwrap_or_default();
    let mut found: Vec<String> = Vec::new();
    for route in routes {
        let host = if route.host.is_empty() { reachable(own) } else { &route.host };
        let address = match (host, port) {
            ("", _) => format!("*{}", route.path),
            (host, "") => format!("{host}{}", route.path),
            (host, "80") => format!("http://{host}{}", route.path),
            (host, port) => format!("http://{host}:{port}{}", route.path),
        };
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// An address to connect to where a server listens on all.
fn reachable(own: &str) -> &str {
    match own {
        "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn revision(status: &serde_json::Value) -> Revision {
        let spec = json!({"service": "shop", "number": 8, "template": {"application": "shop"}});
        serde_json::from_value(json!({"metadata": {"name": "shop-8"}, "spec": spec, "status": status})).unwrap()
    }

    fn service(status: &serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": {"application": "shop"}, "status": status})).unwrap()
    }

    #[test]
    fn a_receipt_is_one_line() {
        for (counts, line) in [
            (
                json!({"requests": 48211, "failed": 0, "longestStall": "7ms", "p99": "3ms", "started": 2, "adopted": 0, "readyAfter": "1234ms"}),
                "requests 48211 · failed 0 · longest stall 7ms · p99 3ms · started 2 · adopted 0 · ready after 1.2s",
            ),
            (json!({"started": 1, "adopted": 2}), "requests unknown · failed unknown · started 1 · adopted 2"),
        ] {
            assert_eq!(receipt(&revision(&json!({"phase": "Complete", "receipt": counts}))), line);
        }
    }

    #[test]
    fn times_have_the_digits_that_matter() {
        for (milliseconds, text) in [(0, "0ms"), (999, "999ms"), (1_000, "1s"), (1_250, "1.2s"), (59_999, "59.9s"), (125_600, "2m5s")] {
            assert_eq!(time(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn a_failure_says_what_happened_what_serves_and_what_to_do() {
        let status = json!({"phase": "Failed", "message": "not ready within 2m: 0 of 2 copies are ready", "failure": {
            "reason": "ProgressDeadlineExceeded", "pod": "shop-web-8-0", "detail": "connection refused", "log": ["one", "two"]}});
        let expected = "shop-8 failed (ProgressDeadlineExceeded): not ready within 2m: 0 of 2 copies are ready
  pod     shop-web-8-0
  detail  connection refused
  log     one
          two
  serving shop-7, as before (2 copies ready)
  next    change the file and run `conductor up` again, or go back with `conductor rollback shop`";
        assert_eq!(failure(&service(&json!({"activeRevision": "shop-7", "readyReplicas": 2})), &revision(&status)), expected);
        let first = failure(&service(&json!({})), &revision(&json!({"phase": "Starting", "message": "m", "failure": {"reason": "R"}})));
        assert!(
            first.contains("serving nothing; the copies go on trying")
                && first.ends_with("see `conductor logs shop`; change the file and run `conductor up` again"),
            "{first}"
        );
    }

    #[test]
    fn addresses_are_whole_where_the_server_is_known() {
        let routes = |hosts: &[&str]| -> Vec<Route> {
            let route =
                |host: &&str| Route { host: (*host).into(), path: "/".into(), part: "web".into(), port: "http".into(), timeouts: None };
            hosts.iter().map(route).collect()
        };
        for (hosts, http, expected) in [
            (&["a.test", "a.test"][..], Some("http://127.0.0.1:8080"), &["http://a.test:8080/"][..]),
            (&["a.test", ""], Some("http://0.0.0.0:80"), &["http://a.test/", "http://127.0.0.1/"]),
            (&["", "*.b.test"], Some("http://[::]:81"), &["http://[::1]:81/", "http://*.b.test:81/"]),
            (&["a.test", ""], None, &["a.test/", "*/"]),
        ] {
            assert_eq!(addresses(&routes(hosts), http), expected);
        }
    }
}
