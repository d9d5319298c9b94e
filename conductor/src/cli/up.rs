//! `conductor up`: what a file says is written, and awaited.

use std::path::PathBuf;

use clap::Args;
use model::Kind;
use serde_json::{Value, json};

use super::diff;
use super::failure::{Exit, Failure, Result, exit_of, words};
use super::manifest::{self, Document, Room};
use super::output::{self, Output};
use super::reach::Reach;
use super::rollout::{self, Patience};
use super::server::{Keep, Server};
use super::sources;
use super::stop::RESTARTED_AT;

/// How often a write is tried when other writers come between.
const TRIES_MAX: usize = 32;
/// Fields of a spec that the server fills in, and that a file which leaves them out does not mean to take away.
const FILLED_IN: [(&str, &str); 2] = [("Pod", "nodeName"), ("Namespace", "finalizers")];

/// What `up` can be told.
#[derive(Debug, Args)]
pub struct Up {
    /// Objects, YAML or JSON: a file, a directory of files, an address, or - for standard input. May be repeated
    #[arg(short, long = "file", value_name = "FILE|DIR|URL", required = true)]
    files: Vec<PathBuf>,
    /// Show what would change, field by field and copy by copy, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Created,
    Configured,
    Unchanged,
}

struct Written {
    verb: Verb,
    object: Value,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Writes every object of the files when all of them are right, and waits until its Services run.
pub async fn up(args: Up) -> Result<()> {
    let server = args.reach.connect().await?;
    let (documents, checked) = checked(&server, &args.files, args.reach.namespace.is_some()).await?;
    if args.dry_run {
        diff::show(&server, &documents, &checked, &args.output).await?;
        output::note("nothing was changed: this was a dry run");
        return Ok(());
    }
    let written = write(&server, &documents, &args.output).await?;
    let services = documents.iter().zip(&written).filter(|(document, _)| document.kind.qualified_plural() == "services.conductor.dev");
    let awaited = services.map(|(document, written)| rollout::Awaited {
        namespace: document.namespace.clone(),
        name: document.name.clone(),
        is_changed: written.verb != Verb::Unchanged,
    });
    let settled = rollout::settle(&server, &awaited.collect::<Vec<_>>(), &args.patience, &args.output).await;
    if !args.output.is_for_people() {
        show(&args.output, &documents, &latest(&server, &documents, written).await?)?;
    }
    settled
}

/// Reads files and has the server check every object of them; the objects as they would be kept.
/// Errors: all that is wrong with them, so that nothing is written when anything is wrong.
pub async fn checked(server: &Server, files: &[PathBuf], is_namespace_asked_for: bool) -> Result<(Vec<Document>, Vec<Value>)> {
    let sources = sources::read(files).await?;
    let room = Room { namespace: &server.namespace, is_asked_for: is_namespace_asked_for };
    let mut documents = manifest::read(&sources, room).map_err(|problems| refused(Exit::Failed, &problems))?;
    // A namespace must be there before what goes into it.
    documents.sort_by_key(|document| document.kind.is_namespaced());
    let checked = check(server, &documents).await?;
    Ok((documents, checked.into_iter().map(|written| written.object).collect()))
}

fn refused(exit: Exit, problems: &[String]) -> Failure {
    Failure::new(exit, format!("{}\nnothing was changed", problems.join("\n")))
}

/// Asks the server about every document. Errors: all it refuses, so that nothing is written when anything is wrong.
async fn check(server: &Server, documents: &[Document]) -> Result<Vec<Written>> {
    let (mut checked, mut problems, mut exit) = (Vec::new(), Vec::new(), None);
    for document in documents {
        let within = server.within(&document.namespace);
        let answer = match put(&within, document, Keep::No).await {
            Err(error) if waits_for_namespace(&error, document, documents) => check_elsewhere(server, document).await,
            other => other,
        };
        match answer {
            Ok(written) => checked.push(written),
            Err(error) => {
                exit = exit.or(Some(exit_of(&error)));
                problems.extend(refusals(&error).iter().map(|problem| document.at.problem(problem)));
            }
        }
    }
    exit.map_or(Ok(checked), |exit| Err(refused(exit, &problems)))
}

/// Each thing the server has against an object.
fn refusals(error: &kube::Error) -> Vec<String> {
    let kube::Error::Api(status) = error else { return vec![words(error)] };
    let causes = status.details.iter().flat_map(|details| &details.causes).filter(|cause| !cause.field.is_empty());
    let problems: Vec<String> = causes.map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    if problems.is_empty() { vec![words(error)] } else { problems }
}

/// Whether a document was refused only because its namespace, which comes with it, is not there yet.
fn waits_for_namespace(error: &kube::Error, document: &Document, documents: &[Document]) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let is_namespace = status.details.as_ref().is_some_and(|details| details.kind == "namespaces" && details.name == document.namespace);
    status.code == 404 && is_namespace && documents.iter().any(|other| other.kind.kind == "Namespace" && other.name == document.namespace)
}

/// Has a document checked as if it went to the namespace that is always there.
async fn check_elsewhere(server: &Server, document: &Document) -> kube::Result<Written> {
    let mut object = document.object.clone();
    object["metadata"]["namespace"] = json!("default");
    match server.within("default").create(&document.kind, &object, Keep::No).await {
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    Ok(Written { verb: Verb::Created, object: document.object.clone() })
}

async fn write(server: &Server, documents: &[Document], output: &Output) -> Result<Vec<Written>> {
    let mut all = Vec::new();
    for document in documents {
        let written = put(&server.within(&document.namespace), document, Keep::Yes).await;
        let written = written.map_err(|error| Failure::new(exit_of(&error), document.at.problem(&refusals(&error).join("; "))))?;
        if output.is_for_people() {
            output::done(&line(document, written.verb))?;
        }
        all.push(written);
    }
    Ok(all)
}

/// Creates the object, or brings the one there is to what the document says.
async fn put(server: &Server, document: &Document, keep: Keep) -> kube::Result<Written> {
    let mut tries = 0;
    loop {
        let answer = put_once(server, document, keep).await;
        tries += 1;
        match answer {
            Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES_MAX => {}
            other => return other,
        }
    }
}

async fn put_once(server: &Server, document: &Document, keep: Keep) -> kube::Result<Written> {
    let kind = &document.kind;
    let Some(stored) = server.get(kind, &document.name).await? else {
        return Ok(Written { verb: Verb::Created, object: server.create(kind, &document.object, keep).await? });
    };
    let wanted = merged(kind, &stored, &document.object);
    // What the server makes of it, defaults filled in, tells whether it is a change at all.
    let checked = server.replace(kind, &wanted, Keep::No).await?;
    if checked == stored {
        return Ok(Written { verb: Verb::Unchanged, object: stored });
    }
    let object = if keep == Keep::Yes { server.replace(kind, &wanted, Keep::Yes).await? } else { checked };
    Ok(Written { verb: Verb::Configured, object })
}

/// A stored object with what a file says: labels and annotations are added, everything else is the file's; what the server
/// owns stays.
fn merged(kind: &Kind, stored: &Value, file: &Value) -> Value {
    let mut object = file.clone();
    object["metadata"] = stored["metadata"].clone();
    for map in ["labels", "annotations"] {
        match &file["metadata"][map] {
            Value::Null => {}
            Value::Object(entries) => {
                for (key, value) in entries {
                    object["metadata"][map][key] = value.clone();
                }
            }
            other => object["metadata"][map] = other.clone(),
        }
    }
    if let Some(status) = stored.get("status") {
        object["status"] = status.clone();
    }
    keep_of_parts(stored, &mut object);
    for (_, field) in FILLED_IN.iter().filter(|(name, _)| *name == kind.kind) {
        if object["spec"].get(field).is_none() && !stored["spec"][field].is_null() {
            object["spec"][field] = stored["spec"][field].clone();
        }
    }
    object
}

/// What `scale` and `restart` wrote of a part stays, unless the file says it: how many copies there are, and when they were last made
/// anew.
fn keep_of_parts(stored: &Value, object: &mut Value) {
    for part in object.pointer_mut("/spec/parts").and_then(Value::as_array_mut).into_iter().flatten() {
        let before = stored["spec"]["parts"].as_array().into_iter().flatten().find(|before| before["name"] == part["name"]);
        if let Some(replicas) = before.and_then(|before| before.get("replicas"))
            && part.is_object()
            && part.get("replicas").is_none()
        {
            part["replicas"] = replicas.clone();
        }
        let noted = before.map_or(&Value::Null, |before| &before["pod"]["metadata"]["annotations"][RESTARTED_AT]);
        let says = part.pointer("/pod/metadata/annotations").is_some_and(|annotations| !annotations[RESTARTED_AT].is_null());
        if part["pod"].is_object() && noted.is_string() && !says {
            part["pod"]["metadata"]["annotations"][RESTARTED_AT] = noted.clone();
        }
    }
}

fn line(document: &Document, verb: Verb) -> String {
    format!("{} {}\n", document.kind_and_name(), verb.word())
}

fn show(output: &Output, documents: &[Document], written: &[Written]) -> Result<()> {
    let objects: Vec<Value> = written.iter().map(|written| written.object.clone()).collect();
    output.objects(&objects, || documents.iter().zip(written).map(|(document, written)| line(document, written.verb)).collect())
}

/// The objects as they are now that they have been waited for.
async fn latest(server: &Server, documents: &[Document], written: Vec<Written>) -> Result<Vec<Written>> {
    let mut all = Vec::new();
    for (document, written) in documents.iter().zip(written) {
        let read = server.within(&document.namespace).get(&document.kind, &document.name).await;
        let read = read.map_err(|error| Failure::of_call(&format!("could not read {}", document.kind_and_name()), &error))?;
        all.push(Written { object: read.unwrap_or(written.object), ..written });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_and_others_own_stays() {
        let stored = json!({
            "kind": "Service", "metadata": {"name": "a", "uid": "1", "resourceVersion": "7", "labels": {"team": "b"}, "annotations": {"x": "1"}},
            "spec": {"application": "old", "config": {"A": "1"}}, "status": {"replicas": 2},
        });
        let file = json!({"kind": "Service", "metadata": {"name": "a", "labels": {"tier": "c"}}, "spec": {"application": "new"}});
        let expected = json!({
            "kind": "Service",
            "metadata": {"name": "a", "uid": "1", "resourceVersion": "7", "labels": {"team": "b", "tier": "c"}, "annotations": {"x": "1"}},
            "spec": {"application": "new"}, "status": {"replicas": 2},
        });
        assert_eq!(merged(&model::service::kind(), &stored, &file), expected);
    }

    #[test]
    fn a_restart_stays_noted() {
        let part = |annotations: Value| json!({"name": "web", "pod": {"metadata": {"annotations": annotations}, "spec": {}}});
        let service = |part: Value| json!({"kind": "Service", "metadata": {"name": "a"}, "spec": {"parts": [part]}});
        let stored = service(part(json!({RESTARTED_AT: "then", "x": "1"})));
        let object = merged(&model::service::kind(), &stored, &service(json!({"name": "web", "pod": {"spec": {}}})));
        assert_eq!(object["spec"]["parts"][0], part(json!({RESTARTED_AT: "then"})));
        let said = service(part(json!({RESTARTED_AT: "now"})));
        assert_eq!(merged(&model::service::kind(), &stored, &said)["spec"], said["spec"]);
    }

    #[test]
    fn how_many_copies_there_are_stays_where_a_file_does_not_say() {
        let parts = |parts: Value| json!({"metadata": {"name": "a"}, "spec": {"parts": parts}});
        let stored = parts(json!([{"name": "web", "replicas": 3}, {"name": "worker", "replicas": 2}]));
        let file = parts(json!([{"name": "web"}, {"name": "worker", "replicas": 1}, {"name": "new"}]));
        let object = merged(&model::service::kind(), &stored, &file);
        assert_eq!(object["spec"]["parts"], json!([{"name": "web", "replicas": 3}, {"name": "worker", "replicas": 1}, {"name": "new"}]));
    }

    #[test]
    fn a_bound_pod_stays_on_its_node() {
        let stored = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n", "containers": [1]}});
        let file = json!({"metadata": {"name": "a", "labels": "wrong"}, "spec": {"containers": [2]}});
        let object = merged(&model::pod::kind(), &stored, &file);
        assert_eq!(object["spec"], json!({"nodeName": "n", "containers": [2]}));
        assert_eq!(object["metadata"]["labels"], "wrong", "the server says what is wrong with it");
    }

    #[test]
    fn each_cause_of_a_refusal_is_a_line() {
        let status = json!({"code": 422, "message": "all", "details": {"causes": [
            {"field": "spec.a", "message": "Required value"}, {"field": "spec.b", "message": "Invalid value: x"}]}});
        let error = kube::Error::Api(serde_json::from_value(status).unwrap());
        assert_eq!(refusals(&error), ["spec.a: Required value", "spec.b: Invalid value: x"]);
        let plain = kube::Error::Api(kube::core::Status::failure("no", "Forbidden").with_code(403).boxed());
        assert_eq!(refusals(&plain), ["no"]);
    }
}
