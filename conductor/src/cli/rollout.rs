//! Waiting until what was asked for is so.

use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;

use clap::{ArgAction, Args};
use futures::future::join_all;
use futures::stream::select_all;
use futures::{FutureExt as _, Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use model::revision::RevisionPhase;
use model::{Revision, Service, labels};

use super::failure::{Exit, Failure, Result};
use super::output::{self, Output};
use super::receipt;
use super::server::Server;

/// How long nothing may be told before we look nevertheless.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether to wait, and how long.
#[derive(Debug, Clone, Args)]
pub struct Patience {
    /// Wait until it is so
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub wait: bool,
    /// How long to wait at most, such as 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = super::named::time)]
    pub timeout: model::Duration,
}

/// A Service whose rollout is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether we changed it just now.
    pub is_changed: bool,
}

/// How far a Service is on its way to its spec.
#[derive(Debug, PartialEq)]
enum Verdict<'a> {
    /// On its way; what is awaited.
    Waiting(String),
    /// The rollout is over, and this serves.
    Complete(&'a Revision),
    /// The rollout is over, and this never served or was taken back.
    Failed(&'a Revision),
    /// The server refuses what the Service needs; what it said.
    Refused(String),
}

/// The end of a rollout.
struct Outcome {
    service: Service,
    revision: Revision,
    is_failed: bool,
}

/// Waits for every Service, tells what is awaited on standard error and how it went on standard output.
/// Errors: a rollout failed, or did not end in time; of several the worst.
pub async fn settle(server: &Server, awaited: &[Awaited], patience: &Patience, output: &Output) -> Result<()> {
    if !patience.wait {
        return Ok(());
    }
    let outcomes = join_all(awaited.iter().map(|one| outcome(server, one, patience))).await;
    let mut failures = Vec::new();
    for (one, outcome) in awaited.iter().zip(outcomes) {
        match outcome {
            Ok(outcome) if outcome.is_failed => failures.push(failed(one, &outcome)),
            Ok(outcome) if output.is_for_people() => output::done(&told(server, one, &outcome))?,
            Ok(_) => {}
            Err(failure) => failures.push(failure),
        }
    }
    let Some(exit) = failures.iter().map(Failure::exit).max_by_key(|exit| exit.code()) else { return Ok(()) };
    let messages: Vec<&str> = failures.iter().map(Failure::message).collect();
    Err(Failure::new(exit, messages.join("\n")))
}

fn failed(one: &Awaited, outcome: &Outcome) -> Failure {
    let untried = "\n  It is as it was before this command, and is not tried again until it is changed.";
    let untried = if one.is_changed { "" } else { untried };
    Failure::new(Exit::Unhealthy, format!("{}{untried}", receipt::failure(&outcome.service, &outcome.revision)))
}

/// The receipt, where the rollout is of our making, and the addresses.
fn told(server: &Server, one: &Awaited, outcome: &Outcome) -> String {
    let mut lines = Vec::new();
    if one.is_changed {
        lines.push(format!("{}: {}\n", outcome.revision.name_any(), receipt::receipt(&outcome.revision)));
    }
    let addresses = receipt::addresses(&outcome.service.spec.routes, server.http.as_deref());
    lines.extend(addresses.iter().map(|address| format!("{address}\n")));
    lines.concat()
}

async fn outcome(server: &Server, one: &Awaited, patience: &Patience) -> Result<Outcome> {
    let server = server.within(&one.namespace);
    let told = Mutex::new(String::new());
    let progress = |message: String| {
        if let Ok(mut told) = told.lock()
            && *told != message
        {
            output::note(&message);
            *told = message;
        }
    };
    let look = || async {
        let revisions = server.objects::<Revision>().list(&selector(&one.name)).await?;
        let Some(service) = server.objects::<Service>().get(&one.name).await? else {
            return Err(Failure::new(Exit::NotFound, format!("Service {} was deleted meanwhile", one.name)));
        };
        let (revision, is_failed) = match judge(&service, &revisions) {
            Verdict::Waiting(what) => {
                progress(what);
                return Ok(None);
            }
            Verdict::Complete(revision) => (revision.clone(), false),
            Verdict::Failed(revision) => (revision.clone(), true),
            Verdict::Refused(why) => {
                let next = "change the file, or what refuses it, and run `conductor up` again";
                let message = format!("Service {} cannot be brought on: {why}\n  next    {next}", one.name);
                return Err(Failure::new(Exit::Unhealthy, message));
            }
        };
        Ok(Some(Outcome { service, revision, is_failed }))
    };
    let ended = until(&server, &one.name, patience.timeout.get(), look).await?;
    ended.ok_or_else(|| {
        let last = told.lock().map(|told| told.clone()).unwrap_or_default();
        let within = patience.timeout;
        Failure::new(Exit::TimedOut, format!("Service {} did not settle within {within}, and goes on: {last}", one.name))
    })
}

/// How far a Service is, from its newest Revision. One that was not made from the Service's present spec says nothing.
fn judge<'a>(service: &Service, revisions: &'a [Revision]) -> Verdict<'a> {
    let newest = revisions.iter().max_by_key(|revision| revision.spec.number);
    let Some(revision) = newest.filter(|revision| revision.spec.template == service.spec.frozen()) else {
        let waiting = || Verdict::Waiting(format!("{}: a new Revision is awaited", service.name_any()));
        return stalled(service).map_or_else(waiting, Verdict::Refused);
    };
    let status = revision.status.clone().unwrap_or_default();
    match status.phase {
        RevisionPhase::Failed => Verdict::Failed(revision),
        _ if status.failure.is_some() => Verdict::Failed(revision),
        RevisionPhase::Complete => match restarting(service) {
            Some(what) => Verdict::Waiting(format!("{}: {what}", revision.name_any())),
            None => Verdict::Complete(revision),
        },
        RevisionPhase::Starting | RevisionPhase::Switched | RevisionPhase::Superseded => match stalled(service) {
            Some(why) => Verdict::Refused(why),
            None => {
                let message = if status.message.is_empty() { "its copies are being started".to_owned() } else { status.message };
                Verdict::Waiting(format!("{}: {message}", revision.name_any()))
            }
        },
    }
}

/// Why nothing more happens to a Service as it is written now; `None` while something does.
fn stalled(service: &Service) -> Option<String> {
    let status = service.status.as_ref().filter(|status| Some(status.observed_generation) == service.metadata.generation)?;
    let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled" && condition.status == "True")?;
    Some(stalled.message.clone())
}

/// What is awaited of a Service that was stopped or started again, which makes no Revision; `None` when it is so.
fn restarting(service: &Service) -> Option<String> {
    let status = service.status.clone().unwrap_or_default();
    if service.metadata.generation.is_some_and(|generation| status.observed_generation < generation) {
        return Some("the change is being looked at".into());
    }
    let find = |name: &str| status.conditions.iter().find(|condition| condition.type_ == name).cloned();
    let unfinished = if service.spec.suspend {
        find("Suspended").filter(|condition| condition.reason != "Stopped")
    } else {
        find("Ready").filter(|condition| condition.status == "False")
    };
    unfinished.map(|condition| condition.message)
}

/// The selector of everything that belongs to a Service.
pub fn selector(service: &str) -> String {
    format!("{}={service}", labels::SERVICE)
}

/// Looks again whenever something of a Service changes, until there is something to see; `None` when that took too long.
/// A server that does not answer for a while is waited for. Errors: those of `look`.
pub async fn until<T, Look, Looking>(server: &Server, service: &str, most: Duration, look: Look) -> Result<Option<T>>
where
    Look: Fn() -> Looking,
    Looking: Future<Output = Result<Option<T>>>,
{
    let mut changes = pin!(changes(server, service));
    let mut is_away = false;
    let seen = async {
        loop {
            match look().await {
                Ok(Some(seen)) => return Ok(seen),
                Ok(None) => is_away = false,
                Err(failure) if failure.is_passing() => {
                    if !is_away {
                        output::note("the server does not answer just now; waiting for it");
                    }
                    is_away = true;
                }
                Err(failure) => return Err(failure),
            }
            let _ = tokio::time::timeout(LOOK_EVERY, changes.next()).await;
            // What came at the same time is seen at one look.
            while let Some(Some(())) = changes.next().now_or_never() {}
        }
    };
    tokio::time::timeout(most, seen).await.map_or(Ok(None), |seen| seen.map(Some))
}

/// Something for every change of a Service, its Revisions and its Pods; what changed is to be looked up.
fn changes(server: &Server, service: &str) -> impl Stream<Item = ()> {
    let (client, namespace) = (&server.client, &server.namespace);
    let belonging = || watcher::Config::default().labels(&selector(service));
    let named = watcher::Config::default().fields(&format!("metadata.name={service}"));
    select_all([
        watcher(Api::<Service>::namespaced(client.clone(), namespace), named).default_backoff().map(drop).boxed(),
        watcher(Api::<Revision>::namespaced(client.clone(), namespace), belonging()).default_backoff().map(drop).boxed(),
        watcher(Api::<Pod>::namespaced(client.clone(), namespace), belonging()).default_backoff().map(drop).boxed(),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn revision(number: i64, application: &str, status: &Value) -> Revision {
        let spec = json!({"service": "shop", "number": number, "template": {"application": application}});
        serde_json::from_value(json!({"metadata": {"name": format!("shop-{number}")}, "spec": spec, "status": status})).unwrap()
    }

    fn check(revisions: &[Revision], expected: &str) {
        let service = json!({"metadata": {"name": "shop"}, "spec": {"application": "new"}});
        let service: Service = serde_json::from_value(service).unwrap();
        let verdict = match judge(&service, revisions) {
            Verdict::Waiting(what) => format!("waiting: {what}"),
            Verdict::Complete(revision) => format!("complete: {}", revision.name_any()),
            Verdict::Failed(revision) => format!("failed: {}", revision.name_any()),
            Verdict::Refused(why) => format!("refused: {why}"),
        };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn a_service_is_as_far_as_the_revision_of_its_present_spec() {
        let complete = json!({"phase": "Complete"});
        check(&[], "waiting: shop: a new Revision is awaited");
        check(&[revision(1, "old", &complete)], "waiting: shop: a new Revision is awaited");
        check(
            &[revision(2, "new", &json!({"phase": "Starting", "message": "0 of 2"})), revision(1, "new", &complete)],
            "waiting: shop-2: 0 of 2",
        );
        check(
            &[revision(1, "old", &complete), revision(2, "new", &json!({"phase": "Switched", "message": "moved"}))],
            "waiting: shop-2: moved",
        );
        check(&[revision(1, "new", &json!({}))], "waiting: shop-1: its copies are being started");
        check(&[revision(1, "old", &complete), revision(2, "new", &complete)], "complete: shop-2");
        check(&[revision(2, "new", &json!({"phase": "Failed"}))], "failed: shop-2");
        check(&[revision(1, "new", &json!({"phase": "Starting", "failure": {"reason": "R"}}))], "failed: shop-1");
    }
}
