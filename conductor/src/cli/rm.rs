//! `conductor rm`: Services go, and everything of theirs.

use std::io::{BufRead as _, IsTerminal as _};

use clap::Args;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use model::Service;
use serde_json::Value;

use super::failure::{Exit, Failure, Result};
use super::output::{self, Output};
use super::reach::Reach;
use super::rollout::{Patience, selector, until};
use super::server::Server;

/// What `rm` can be told.
#[derive(Debug, Args)]
pub struct Rm {
    /// Services to delete
    #[arg(required_unless_present = "all", conflicts_with = "all", value_parser = super::named::service)]
    services: Vec<String>,
    /// Every Service of the namespace
    #[arg(long)]
    all: bool,
    /// Ask nothing
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// Deletes Services, all or, where one is not there, none; and waits until their copies are gone.
pub async fn rm(args: Rm) -> Result<()> {
    let server = args.reach.connect().await?;
    let services = chosen(&server, &args).await?;
    if args.all && !services.is_empty() && !args.yes {
        confirm(&server, &services).await?;
    }
    let kind = model::service::kind();
    for service in &services {
        let name = service.name_any();
        server.delete(&kind, &name).await.map_err(|error| Failure::of_call(&format!("could not delete Service {name}"), &error))?;
        if args.output.is_for_people() {
            output::done(&format!("service/{name} deleted\n"))?;
        }
    }
    if !args.output.is_for_people() {
        let objects = services.iter().map(serde_json::to_value).collect::<Result<Vec<Value>, _>>();
        let objects = objects.map_err(|error| Failure::failed(format!("the Services cannot be shown: {error}")))?;
        args.output.objects(&objects, String::new)?;
    }
    if args.patience.wait {
        let gone = services.iter().map(|service| gone(&server, service, &args.patience));
        join_all(gone).await.into_iter().collect::<Result<Vec<()>>>()?;
    }
    Ok(())
}

async fn chosen(server: &Server, args: &Rm) -> Result<Vec<Service>> {
    if args.all {
        let services = server.objects::<Service>().list("").await?;
        if services.is_empty() {
            output::note(&format!("there is no Service in namespace {}", server.namespace));
        }
        return Ok(services);
    }
    let mut services: Vec<Service> = Vec::new();
    for name in &args.services {
        if !services.iter().any(|service| service.name_any() == *name) {
            services.push(server.service(name).await?);
        }
    }
    Ok(services)
}

/// Asks whether all this is meant. Errors: it is not, or there is nobody to ask.
async fn confirm(server: &Server, services: &[Service]) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody can be asked whether to delete every Service: pass --yes"));
    }
    let names: Vec<String> = services.iter().map(ResourceExt::name_any).collect();
    output::note(&format!("Delete all Services of namespace {}: {}? [y/N]", server.namespace, names.join(", ")));
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let answer = read.await.ok().and_then(Result::ok).unwrap_or_default();
    if is_yes(&answer) { Ok(()) } else { Err(Failure::failed("nothing was deleted")) }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

async fn gone(server: &Server, deleted: &Service, patience: &Patience) -> Result<()> {
    let (name, uid) = (deleted.name_any(), deleted.uid());
    let told = std::sync::Mutex::new(None);
    let look = || async {
        // One of the same name that somebody makes meanwhile is another Service, with copies of its own.
        let service = server.objects::<Service>().get(&name).await?;
        if service.as_ref().is_some_and(|service| service.uid() == uid) {
            return Ok(None);
        }
        let pods = server.objects::<Pod>().list(&selector(&name)).await?;
        let is_of = |pod: &Pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref());
        let left = pods.iter().filter(|pod| is_of(pod)).count();
        if let Ok(mut told) = told.lock()
            && left > 0
            && *told != Some(left)
        {
            output::note(&format!("{name}: {left} {} left", if left == 1 { "copy is" } else { "copies are" }));
            *told = Some(left);
        }
        Ok((left == 0).then_some(()))
    };
    let within = patience.timeout;
    let late = || Failure::new(Exit::TimedOut, format!("copies of Service {name} were not gone within {within}; they go on ending"));
    until(server, &name, within.get(), look).await?.ok_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_deletes_everything() {
        for (answer, yes) in [("y\n", true), ("Yes", true), ("", false), ("n", false), ("yy", false)] {
            assert_eq!(is_yes(answer), yes, "{answer}");
        }
    }
}
