//! `conductor stop`, `start` and `restart`: a Service is stopped and started as it is, or its copies are made anew.

use clap::Args;
use serde_json::{Value, json};

use super::failure::Result;
use super::output::{self, Output, kind_and_name};
use super::reach::Reach;
use super::rollout::{self, Awaited, Patience};
use super::server::Server;

/// The annotation that makes copies anew, as `kubectl rollout restart` writes it.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// What `stop`, `start` and `restart` can be told.
#[derive(Debug, Args)]
pub struct Chosen {
    /// Services
    #[arg(value_name = "SERVICE", required = true, value_parser = super::named::service)]
    services: Vec<String>,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// Stops Services: their copies end once they have finished their requests, and their routes answer 503.
pub async fn stop(args: Chosen) -> Result<()> {
    change(args, "stopped", |object| suspend(object, true)).await
}

/// Starts Services that were stopped, as they were.
pub async fn start(args: Chosen) -> Result<()> {
    change(args, "started", |object| suspend(object, false)).await
}

/// Makes every copy anew, as a rollout like any other.
pub async fn restart(args: Chosen) -> Result<()> {
    let now = model::Clock::now(&crate::clock::WallClock).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    change(args, "restarted", |object| mark(object, &now)).await
}

/// Changes all of the Services or, where one of them is not there, none; and waits.
async fn change(args: Chosen, word: &str, change: impl Fn(&mut Value)) -> Result<()> {
    let server: Server = args.reach.connect().await?;
    for name in &args.services {
        server.service(name).await?;
    }
    let (mut objects, mut awaited) = (Vec::new(), Vec::new());
    for name in &args.services {
        let changed = server.change_service(name, |object| {
            change(object);
            Ok(())
        });
        let (object, is_changed) = changed.await?;
        if args.output.is_for_people() {
            output::done(&format!("{} {}\n", kind_and_name(&object), if is_changed { word } else { "unchanged" }))?;
        }
        awaited.push(Awaited { namespace: server.namespace.clone(), name: name.clone(), is_changed: is_changed && word == "restarted" });
        objects.push(object);
    }
    let settled = rollout::settle(&server, &awaited, &args.patience, &args.output).await;
    if !args.output.is_for_people() {
        args.output.objects(&objects, String::new)?;
    }
    settled
}

fn suspend(object: &mut Value, is_stopped: bool) {
    if object["spec"]["suspend"].as_bool().unwrap_or(false) != is_stopped {
        object["spec"]["suspend"] = json!(is_stopped);
    }
}

fn mark(object: &mut Value, now: &str) {
    for part in object.pointer_mut("/spec/parts").and_then(Value::as_array_mut).into_iter().flatten() {
        part["pod"]["metadata"]["annotations"][RESTARTED_AT] = json!(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stopped_already_is_no_change() {
        let mut object = json!({"spec": {}});
        suspend(&mut object, false);
        assert_eq!(object, json!({"spec": {}}));
        suspend(&mut object, true);
        assert_eq!(object["spec"]["suspend"], true);
        suspend(&mut object, false);
        assert_eq!(object["spec"]["suspend"], false);
    }

    #[test]
    fn every_part_is_made_anew() {
        let mut none = json!({"spec": {}});
        mark(&mut none, "now");
        assert_eq!(none, json!({"spec": {}}));
        let mut object = json!({"spec": {"parts": [{"pod": {}}, {"pod": {"metadata": {"annotations": {"a": "b"}}}}]}});
        mark(&mut object, "now");
        assert_eq!(object["spec"]["parts"][0]["pod"]["metadata"]["annotations"], json!({RESTARTED_AT: "now"}));
        assert_eq!(object["spec"]["parts"][1]["pod"]["metadata"]["annotations"], json!({"a": "b", RESTARTED_AT: "now"}));
    }
}
