//! `conductor rollback`: an older configuration is put back, as a rollout like any other.

use clap::Args;
use kube::ResourceExt;
use model::revision::RevisionPhase;
use model::{Revision, Service, labels};
use serde_json::json;

use super::failure::{Exit, Failure, Result};
use super::output::{self, Output, kind_and_name};
use super::reach::Reach;
use super::rollout::{self, Awaited, Patience, selector};
use super::server::absent;

/// What `rollback` can be told.
#[derive(Debug, Args)]
pub struct Rollback {
    /// Service to take back
    #[arg(value_parser = super::named::service)]
    service: String,
    /// Revision to go back to, by name or number [default: the newest other one that has served]
    #[arg(value_parser = super::named::revision)]
    revision: Option<String>,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// Puts an older configuration back, and waits.
pub async fn rollback(args: Rollback) -> Result<()> {
    let server = args.reach.connect().await?;
    let service = server.service(&args.service).await?;
    let revisions = server.objects::<Revision>().list(&selector(&args.service)).await?;
    let chosen = choose(&service, &revisions, args.revision.as_deref())?;
    let name = chosen.name_any();
    let kind = model::revision::kind();
    let stored = server.get(&kind, &name).await.map_err(|error| Failure::of_call(&format!("could not read Revision {name}"), &error))?;
    let stored = stored.ok_or_else(|| Failure::new(Exit::NotFound, format!("Revision {name} has just been forgotten")))?;
    let (object, is_changed) = server
        .change_service(&args.service, |object| {
            let mut wanted = stored["spec"]["template"].clone();
            if let Some(suspend) = object["spec"].get("suspend") {
                wanted["suspend"] = suspend.clone();
            }
            if object["spec"] != wanted {
                object["spec"] = wanted;
                object["metadata"]["annotations"][labels::ROLLBACK_OF] = json!(name);
            }
            Ok(())
        })
        .await?;
    if args.output.is_for_people() {
        let what = if is_changed { format!("rolled back to {name}") } else { "unchanged".to_owned() };
        output::done(&format!("{} {what}\n", kind_and_name(&object)))?;
    }
    let awaited = Awaited { namespace: server.namespace.clone(), name: args.service.clone(), is_changed };
    let settled = rollout::settle(&server, &[awaited], &args.patience, &args.output).await;
    if !args.output.is_for_people() {
        args.output.objects(&[object], String::new)?;
    }
    settled
}

/// The Revision that was asked for; otherwise the newest that has served and is not what the Service wants already.
fn choose<'a>(service: &Service, revisions: &'a [Revision], asked: Option<&str>) -> Result<&'a Revision> {
    let name = service.name_any();
    if let Some(asked) = asked {
        let found = revisions.iter().find(|revision| revision.name_any() == asked || revision.spec.number.to_string() == asked);
        let names: Vec<String> = revisions.iter().map(ResourceExt::name_any).collect();
        let what = format!("Service {name} has no Revision {asked}; `conductor history {name}` shows those it has");
        return found.ok_or_else(|| absent(&what, asked, names.iter().map(String::as_str)));
    }
    let candidates = revisions.iter().filter(|revision| has_served(revision) && revision.spec.template != service.spec.frozen());
    candidates.max_by_key(|revision| revision.spec.number).ok_or_else(|| {
        let why = "no other Revision of it has served; `conductor history` shows those there are";
        Failure::failed(format!("Service {name} has nothing to go back to: {why}"))
    })
}

fn has_served(revision: &Revision) -> bool {
    let status = revision.status.as_ref();
    status.is_some_and(|status| {
        status.phase == RevisionPhase::Complete || (status.switched_at.is_some() && status.phase != RevisionPhase::Failed)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn revision(number: i64, application: &str, status: &Value) -> Revision {
        let spec = json!({"service": "shop", "number": number, "template": {"application": application}});
        serde_json::from_value(json!({"metadata": {"name": format!("shop-{number}")}, "spec": spec, "status": status})).unwrap()
    }

    fn check(wanted: &str, revisions: &[Revision], asked: Option<&str>, expected: Result<&str, &str>) {
        let service: Service = serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": {"application": wanted}})).unwrap();
        match (choose(&service, revisions, asked), expected) {
            (Ok(revision), Ok(name)) => assert_eq!(revision.name_any(), name),
            (Err(failure), Err(words)) => assert!(failure.message().contains(words), "{}", failure.message()),
            (got, expected) => panic!("{got:?} where {expected:?} was expected"),
        }
    }

    #[test]
    fn the_newest_other_revision_that_has_served_is_gone_back_to() {
        let served = json!({"phase": "Superseded", "switchedAt": "2026-01-01T00:00:00Z"});
        let (complete, failed, skipped) = (json!({"phase": "Complete"}), json!({"phase": "Failed"}), json!({"phase": "Superseded"}));
        let plain = [revision(1, "a", &served), revision(2, "b", &served), revision(3, "c", &complete)];
        check("c", &plain, None, Ok("shop-2"));
        check("c", &plain, Some("1"), Ok("shop-1"));
        check("c", &plain, Some("shop-1"), Ok("shop-1"));
        check("c", &plain, Some("shop-9"), Err("has no Revision shop-9"));
        check("c", &[revision(1, "a", &served), revision(2, "b", &skipped), revision(3, "c", &complete)], None, Ok("shop-1"));
        check("d", &[revision(1, "a", &served), revision(3, "c", &complete), revision(4, "d", &failed)], None, Ok("shop-3"));
        check("a", &[revision(1, "a", &served), revision(2, "b", &served), revision(3, "a", &complete)], None, Ok("shop-2"));
        check("a", &[revision(1, "a", &complete)], None, Err("nothing to go back to"));
        check("b", &[revision(1, "a", &failed), revision(2, "b", &complete)], None, Err("nothing to go back to"));
    }
}
