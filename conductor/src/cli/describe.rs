//! `conductor describe`: all there is to know about a Service or a Pod, in one look.

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt as _;
use model::{Clock as _, Kind, Revision};
use serde_json::{Value, json};

use super::cells::cell;
use super::failure::{Exit, Failure, Result};
use super::grid::grid;
use super::history;
use super::named::{self, Target};
use super::output::{self, Output};
use super::reach::Reach;
use super::rollout::selector;
use super::server::{Server, check_name, values};
use super::target;
use crate::clock::WallClock;

/// How many Revisions and events are shown: the newest.
const REVISIONS_MAX: usize = 5;
const EVENTS_MAX: usize = 20;

/// What `describe` can be told.
#[derive(Debug, Args)]
pub struct Describe {
    /// Service or Pod
    #[arg(value_name = "SERVICE|POD", value_parser = named::target)]
    target: Target,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// Shows a Service or a Pod with what is about it. Errors: it is not there.
pub async fn describe(args: Describe) -> Result<()> {
    let server = args.reach.connect().await?;
    let name = args.target.to_string();
    check_name(&name)?;
    let services = model::service::kind();
    let service = match &args.target {
        Target::Pod(_) => None,
        _ => server.get(&services, &name).await.map_err(|error| Failure::of_call(&format!("could not read Service {name}"), &error))?,
    };
    match service {
        Some(service) if args.output.is_for_people() => output::print(&of_service(&server, &name, &service).await?),
        Some(service) => args.output.objects(&[service], String::new),
        None => {
            let pod = target::running(&server, &args.target).await?;
            let kind = model::pod::kind();
            let object = server
                .get(&kind, &pod.name_any())
                .await
                .map_err(|error| Failure::of_call(&format!("could not read Pod {name}"), &error))?;
            let object = object.ok_or_else(|| Failure::new(Exit::NotFound, format!("Pod {name} has just gone")))?;
            if args.output.is_for_people() {
                output::print(&of_pod(&server, &object).await?)
            } else {
                args.output.objects(&[object], String::new)
            }
        }
    }
}

async fn of_service(server: &Server, name: &str, service: &Value) -> Result<String> {
    let now = WallClock.now();
    let kind = model::service::kind();
    let mut text = head(&kind, service, now);
    for field in ["Revision", "Ready", "State", "Routes"] {
        text.push_str(&line(field, &cell(&kind, field, service, now)));
    }
    text.push_str(&conditions(service, now));
    let pods = server.objects::<Pod>().list(&selector(name)).await?;
    let pod_kind = model::pod::kind();
    let rows: Vec<Vec<String>> = values(&pods)?
        .iter()
        .map(|pod| ["Name", "Ready", "Status", "Restarts", "Node", "Age"].map(|column| cell(&pod_kind, column, pod, now)).to_vec())
        .collect();
    text.push_str(&section("Copies", &["NAME", "READY", "STATUS", "RESTARTS", "NODE", "AGE"], &rows));
    let mut revisions = server.objects::<Revision>().list(&selector(name)).await?;
    revisions.sort_by_key(|revision| std::cmp::Reverse(revision.spec.number));
    revisions.truncate(REVISIONS_MAX);
    text.push_str(&format!("\nRevisions (newest first)\n{}", indented(&history::table(&revisions, now, false))));
    let names: Vec<String> =
        pods.iter().map(kube::ResourceExt::name_any).chain(revisions.iter().map(kube::ResourceExt::name_any)).collect();
    text.push_str(&events(server, |of| (of.0 == "Service" && of.1 == name) || names.iter().any(|known| known == of.1), now).await?);
    Ok(text)
}

async fn of_pod(server: &Server, pod: &Value) -> Result<String> {
    let now = WallClock.now();
    let kind = model::pod::kind();
    let mut text = head(&kind, pod, now);
    for field in ["Ready", "Status", "Restarts", "Node"] {
        text.push_str(&line(field, &cell(&kind, field, pod, now)));
    }
    text.push_str(&conditions(pod, now));
    let statuses =
        ["initContainerStatuses", "containerStatuses"].into_iter().flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let rows: Vec<Vec<String>> = statuses.map(container).collect();
    text.push_str(&section("Containers", &["NAME", "STATE", "RESTARTS", "LAST", "IMAGE"], &rows));
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    text.push_str(&events(server, |of| of.0 == "Pod" && of.1 == name, now).await?);
    Ok(text)
}

fn head(kind: &Kind, object: &Value, now: Timestamp) -> String {
    let metadata = &object["metadata"];
    let map = |field: &str| {
        let pairs = metadata[field].as_object().into_iter().flatten().filter(|(name, _)| !name.ends_with("last-applied-configuration"));
        pairs.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect::<Vec<_>>().join(", ")
    };
    let mut text = line(&kind.kind, metadata["name"].as_str().unwrap_or_default());
    text.push_str(&line("Namespace", metadata["namespace"].as_str().unwrap_or_default()));
    text.push_str(&line("Age", &cell(kind, "Age", object, now)));
    text.push_str(&line("Labels", &map("labels")));
    text.push_str(&line("Annotations", &map("annotations")));
    text
}

/// A field with its value; a field without one is left out. Nothing in a value moves the cursor.
fn line(field: &str, value: &str) -> String {
    let value: String = value.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if value.trim().is_empty() { String::new() } else { format!("{:<12} {value}\n", format!("{field}:")) }
}

fn conditions(object: &Value, now: Timestamp) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |condition: &Value| {
        let since = condition["lastTransitionTime"].as_str().map(|time| age(time, now)).unwrap_or_default();
        vec![text(&condition["type"]), text(&condition["status"]), text(&condition["reason"]), since, text(&condition["message"])]
    };
    let rows: Vec<Vec<String>> = object["status"]["conditions"].as_array().into_iter().flatten().map(row).collect();
    section("Conditions", &["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], &rows)
}

fn container(status: &Value) -> Vec<String> {
    let state = |state: &Value| {
        let (name, of) =
            state.as_object().and_then(|state| state.iter().next()).map_or(("", &Value::Null), |(name, of)| (name.as_str(), of));
        let reason = of["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
        let code = of["exitCode"].as_i64().map(|code| format!(" (exit code {code})")).unwrap_or_default();
        format!("{name}{reason}{code}")
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    vec![
        text(&status["name"]),
        state(&status["state"]),
        status["restartCount"].to_string(),
        state(&status["lastState"]),
        text(&status["image"]),
    ]
}

fn section(title: &str, header: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() { String::new() } else { format!("\n{title}\n{}", indented(&grid(header, rows))) }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn age(time: &str, now: Timestamp) -> String {
    let object = json!({"metadata": {"creationTimestamp": time}});
    cell(&model::pod::kind(), "Age", &object, now)
}

/// The newest events about objects that `is_meant`, by kind and name; the newest last.
async fn events(server: &Server, is_meant: impl Fn((&str, &str)) -> bool, now: Timestamp) -> Result<String> {
    let mut events = server.objects::<Event>().list("").await?;
    events.retain(|event| {
        let of = &event.involved_object;
        is_meant((of.kind.as_deref().unwrap_or_default(), of.name.as_deref().unwrap_or_default()))
    });
    let when = |event: &Event| {
        event
            .last_timestamp
            .as_ref()
            .map(|time| time.0)
            .or_else(|| event.event_time.as_ref().map(|time| time.0))
            .or_else(|| event.creation_timestamp().map(|time| time.0))
    };
    events.sort_by_key(when);
    let first = events.len().saturating_sub(EVENTS_MAX);
    let row = |event: &Event| {
        let of = &event.involved_object;
        let object = format!("{}/{}", of.kind.clone().unwrap_or_default().to_lowercase(), of.name.clone().unwrap_or_default());
        let since = when(event).map(|time| age(&time.to_string(), now)).unwrap_or_default();
        vec![
            since,
            event.type_.clone().unwrap_or_default(),
            event.reason.clone().unwrap_or_default(),
            object,
            event.message.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = events[first..].iter().map(row).collect();
    Ok(section("Events (newest last)", &["SINCE", "TYPE", "REASON", "OBJECT", "MESSAGE"], &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_moves_the_cursor_and_what_is_absent_is_left_out() {
        assert_eq!(line("Name", "a\u{1b}[2Jb"), "Name:        a [2Jb\n");
        assert_eq!(line("Name", ""), "");
        let object = json!({"metadata": {"name": "shop", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"}},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "R", "message": "m\u{1b}[31m"}]}});
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(
            head(&model::service::kind(), &object, now),
            "Service:     shop\nNamespace:   default\nAge:         60s\nLabels:      a=b\n"
        );
        assert!(!conditions(&object, now).contains('\u{1b}'));
        let status = json!({"name": "web", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}, "image": "i"});
        assert_eq!(container(&status), ["web", "waiting: CrashLoopBackOff", "2", "terminated: Error (exit code 3)", "i"]);
    }
}
