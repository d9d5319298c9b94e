//! `conductor history`: the Revisions of a Service, and how each rollout went.

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt as _;
use model::revision::Receipt;
use model::{Clock as _, Revision};
use serde_json::{Value, json};

use super::cells::cell;
use super::failure::{Failure, Result};
use super::grid::{cut, grid};
use super::output::Output;
use super::reach::Reach;
use super::receipt::time;
use super::rollout::selector;
use crate::clock::WallClock;

/// How many letters of a message are shown unless all are asked for.
const MESSAGE_MAX: usize = 28;

/// What `history` can be told.
#[derive(Debug, Args)]
pub struct History {
    /// Service whose Revisions are shown
    #[arg(value_parser = super::named::service)]
    service: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// Shows the Revisions of a Service, the newest first.
pub async fn history(args: History) -> Result<()> {
    let server = args.reach.connect().await?;
    server.service(&args.service).await?;
    let mut revisions = server.objects::<Revision>().list(&selector(&args.service)).await?;
    revisions.sort_by_key(|revision| std::cmp::Reverse(revision.spec.number));
    let objects = revisions.iter().map(serde_json::to_value).collect::<Result<Vec<Value>, _>>();
    let objects = objects.map_err(|error| Failure::failed(format!("the Revisions cannot be shown: {error}")))?;
    args.output.objects(&objects, || table(&revisions, WallClock.now(), args.output.is_wide()))
}

/// Revisions in columns.
pub fn table(revisions: &[Revision], now: Timestamp, is_wide: bool) -> String {
    let mut header = vec!["NAME", "PHASE", "REQUESTS", "FAILED", "STALL"];
    header.extend(is_wide.then_some(["P99", "STARTED", "ADOPTED"]).into_iter().flatten());
    header.extend(["MESSAGE", "AGE"]);
    grid(&header, &revisions.iter().map(|revision| row(revision, now, is_wide)).collect::<Vec<_>>())
}

fn row(revision: &Revision, now: Timestamp, is_wide: bool) -> Vec<String> {
    let status = revision.status.clone().unwrap_or_default();
    let receipt = status.receipt.clone().unwrap_or_default();
    let count = |count: Option<i64>| count.map(|count| count.to_string()).unwrap_or_default();
    let length = |length: Option<model::Duration>| length.map(|length| time(length.get())).unwrap_or_default();
    let mut cells = vec![
        revision.name_any(),
        format!("{:?}", status.phase),
        count(receipt.requests),
        count(receipt.failed),
        length(receipt.longest_stall),
    ];
    if is_wide {
        let of_copies = |number: fn(&Receipt) -> i64| count(status.receipt.as_ref().map(number));
        cells.extend([length(receipt.p99), of_copies(|receipt| receipt.started), of_copies(|receipt| receipt.adopted)]);
    }
    let created = json!({"metadata": {"creationTimestamp": revision.metadata.creation_timestamp}});
    let message = message(revision);
    cells.push(if is_wide { message } else { cut(&message, MESSAGE_MAX) });
    cells.push(cell(&model::revision::kind(), "Age", &created, now));
    cells
}

/// What the counts do not say: where a configuration came from, why it failed, what is awaited.
fn message(revision: &Revision) -> String {
    let status = revision.status.clone().unwrap_or_default();
    let back = revision.spec.rollback_of.as_ref().map(|of| format!("rollback of {of}"));
    let failure = status.failure.map(|failure| if failure.detail.is_empty() { status.message.clone() } else { failure.detail });
    let is_over = status.receipt.as_ref().is_some_and(|receipt| receipt.requests.is_some()) || status.finished_at.is_some();
    let awaited = Some(status.message).filter(|message| !message.is_empty() && !is_over);
    let never_served = (status.switched_at.is_none() && is_over).then(|| "never served".to_owned());
    [back, failure.or(awaited).or(never_served)].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_revision_is_a_line() {
        let revision = |number: i64, back: Option<&str>, status: Value| -> Revision {
            let spec = json!({"service": "shop", "number": number, "rollbackOf": back, "template": {"application": "shop"}});
            let metadata = json!({"name": format!("shop-{number}"), "creationTimestamp": "2026-01-01T00:00:00Z"});
            serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
        };
        let receipt = json!({"requests": 48211, "failed": 0, "longestStall": "7ms", "started": 2, "adopted": 0});
        let revisions = [
            revision(4, None, json!({"phase": "Starting", "message": "0 of 2 copies are ready"})),
            revision(
                3,
                Some("shop-1"),
                json!({"phase": "Complete", "message": "m", "receipt": receipt, "switchedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:00Z"}),
            ),
            revision(
                2,
                None,
                json!({"phase": "Failed", "finishedAt": "2026-01-01T00:00:00Z", "failure": {"reason": "R", "detail": "connection refused by everybody"}}),
            ),
            revision(1, None, json!({"phase": "Superseded", "message": "shop-2 took its place", "finishedAt": "2026-01-01T00:00:00Z"})),
        ];
        let expected = "\
NAME    PHASE       REQUESTS  FAILED  STALL   MESSAGE                       AGE
shop-4  Starting    <none>    <none>  <none>  0 of 2 copies are ready       60s
shop-3  Complete    48211     0       7ms     rollback of shop-1            60s
shop-2  Failed      <none>    <none>  <none>  connection refused by every…  60s
shop-1  Superseded  <none>    <none>  <none>  never served                  60s
";
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(table(&revisions, now, false), expected);
        let wide = table(&revisions[1..2], now, true);
        assert!(wide.contains("STALL  P99     STARTED  ADOPTED") && wide.contains("7ms    <none>  2        0"), "{wide}");
    }
}
