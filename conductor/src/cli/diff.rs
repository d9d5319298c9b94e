//! `conductor diff`, and what `up --dry-run` shows: what files would change, field by field, and which copies would go and come.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use logic::rollout::part_hash;
use model::{Kind, ServiceSpec, labels};
use serde_json::{Map, Value, json};

use super::failure::{Exit, Failure, Result};
use super::manifest::Document;
use super::output::{self, Output};
use super::reach::Reach;
use super::rollout::selector;
use super::server::Server;
use super::up;

/// Keys by which people tell the items of a list apart, the first that all items have.
const KEYS: &[&[&str]] = &[&["name"], &["host", "path"], &["mountPath"], &["containerPort", "protocol"], &["key"], &["ip"]];
/// Metadata that files do not say.
const OF_THE_SERVER: &[&str] = &["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"];
/// What kubectl keeps of a file, which the fields say better.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// How many letters of a value are shown.
const VALUE_MAX: usize = 120;

/// What `diff` can be told.
#[derive(Debug, Args)]
pub struct Diff {
    /// Objects, YAML or JSON: a file, a directory of files, an address, or - for standard input. May be repeated
    #[arg(short, long = "file", value_name = "FILE|DIR|URL", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    reach: Reach,
}

/// One field that would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where, such as `spec.parts[web].replicas`.
    path: String,
    /// What is there; absent where it would be added.
    before: Option<Value>,
    /// What would be; absent where it would be taken away.
    after: Option<Value>,
}

/// Which copies of a part would stay, go and come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    part: String,
    /// Names of Pods that are made from the same.
    stay: Vec<String>,
    /// Names of Pods that would be ended.
    go: Vec<String>,
    /// How many would be started.
    come: usize,
}

/// Shows what files would change. Exit codes are kubectl's: 0 where nothing would, 1 where something would, more where that cannot be said.
pub async fn diff(args: Diff) -> Result<()> {
    let asked = async {
        let server = args.reach.connect().await?;
        let (documents, checked) = up::checked(&server, &args.files, args.reach.namespace.is_some()).await?;
        show(&server, &documents, &checked, &args.output).await
    };
    match asked.await {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::new(Exit::Failed, "")),
        // 1 would say that something differs.
        Err(failure) if failure.exit().code() == 1 => Err(Failure::new(Exit::Undecided, failure.message())),
        Err(failure) => Err(failure),
    }
}

/// Shows what would change, before and after; whether anything would.
pub async fn show(server: &Server, documents: &[Document], after: &[Value], output: &Output) -> Result<bool> {
    let (mut text, mut rows, mut differs) = (String::new(), Vec::new(), false);
    for (document, after) in documents.iter().zip(after) {
        let within = server.within(&document.namespace);
        let before = within.get(&document.kind, &document.name).await;
        let before = before.map_err(|error| Failure::of_call(&format!("could not read {}", document.kind_and_name()), &error))?;
        let changes = changes(&document.kind, before.as_ref(), after);
        let copies = if document.kind.qualified_plural() == "services.conductor.dev" {
            copies(&within, &document.name, after).await?
        } else {
            Vec::new()
        };
        differs |= !changes.is_empty();
        text.push_str(&told(document, before.is_some(), &changes, &copies));
        rows.push(row(document, &changes, &copies));
    }
    if output.is_for_people() {
        output::print(&text)?
    } else {
        output.value(&json!({"kind": "List", "apiVersion": "v1", "items": rows}))?
    }
    Ok(differs)
}

fn told(document: &Document, is_there: bool, changes: &[Change], copies: &[Copies]) -> String {
    let name = document.kind_and_name();
    if changes.is_empty() {
        return format!("{name} unchanged\n");
    }
    let mut text = format!("{name} would be {}\n", if is_there { "configured" } else { "created" });
    if is_there {
        changes.iter().for_each(|change| text.push_str(&format!("  {}\n", change.told())));
    }
    for part in copies.iter().filter(|part| part.come + part.go.len() > 0 || !is_there) {
        let Copies { part: name, stay, go, come } = part;
        let listed = |names: &[String]| if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        text.push_str(&format!(
            "  copies of {name}: {come} would start, {} end{}, {} stay{}\n",
            go.len(),
            listed(go),
            stay.len(),
            listed(stay)
        ));
    }
    text
}

fn row(document: &Document, changes: &[Change], copies: &[Copies]) -> Value {
    let changes: Vec<Value> =
        changes.iter().map(|change| json!({"path": change.path, "before": change.before, "after": change.after})).collect();
    let copies: Vec<Value> =
        copies.iter().map(|part| json!({"part": part.part, "stay": part.stay, "end": part.go, "start": part.come})).collect();
    json!({"kind": document.kind.kind, "apiVersion": document.kind.api_version(), "metadata": {"name": document.name, "namespace": document.namespace},
        "changes": changes, "copies": copies})
}

impl Change {
    fn told(&self) -> String {
        let shown = |value: &Value| super::grid::cut(&value.to_string(), VALUE_MAX);
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => format!("~ {}: {} -> {}", self.path, shown(before), shown(after)),
            (None, Some(after)) => format!("+ {}: {}", self.path, shown(after)),
            (Some(before), None) => format!("- {}: {}", self.path, shown(before)),
            (None, None) => self.path.clone(),
        }
    }
}

/// The fields that differ between an object as it is and as it would be. Values of Secrets are told as changed, never shown.
pub fn changes(kind: &Kind, before: Option<&Value>, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    let (before, after) = (before.map_or_else(|| json!({}), said), said(after));
    compare(&mut found, String::new(), Some(&before), Some(&after));
    if kind.kind == model::secret::kind().kind && kind.group.is_empty() {
        for change in found.iter_mut().filter(|change| ["data", "stringData"].iter().any(|field| change.path.starts_with(field))) {
            let hidden = |value: &mut Option<Value>, words: &str| {
                if value.is_some() {
                    *value = Some(json!(words))
                }
            };
            hidden(&mut change.before, "(a value)");
            hidden(&mut change.after, "(another value)");
        }
    }
    found
}

/// What people say of an object: without what the server keeps of it, and its status.
fn said(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|name, _| !OF_THE_SERVER.contains(&name.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
        metadata.retain(|name, value| name != "annotations" || value.as_object().is_none_or(|all| !all.is_empty()));
    }
    object
}

fn compare(found: &mut Vec<Change>, path: String, before: Option<&Value>, after: Option<&Value>) {
    if before == after {
        return;
    }
    let empty = Map::new();
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            walk(found, before, after, join);
        }
        (None, Some(Value::Object(after))) if path.is_empty() => walk(found, &empty, after, str::to_owned),
        (Some(Value::Array(before)), Some(Value::Array(after))) => match (by_key(before), by_key(after)) {
            (Some(before), Some(after)) => {
                let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
                for key in keys {
                    compare(found, format!("{path}[{key}]"), before.get(key).copied(), after.get(key).copied());
                }
            }
            _ => found.push(Change { path, before: Some(json!(before)), after: Some(json!(after)) }),
        },
        _ => found.push(Change { path, before: before.cloned(), after: after.cloned() }),
    }
}

fn walk(found: &mut Vec<Change>, before: &Map<String, Value>, after: &Map<String, Value>, path: impl Fn(&str) -> String) {
    for name in before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))) {
        compare(found, path(name), before.get(name), after.get(name));
    }
}

/// The items of a list by what people know them by; `None` where they have no such name, or share one.
fn by_key(items: &[Value]) -> Option<BTreeMap<String, &Value>> {
    let key_of = |item: &Value, keys: &[&str]| -> Option<String> {
        let parts: Vec<String> = keys
            .iter()
            .filter_map(|key| match item.get(key)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            })
            .collect();
        item.get(keys[0])?;
        Some(parts.join(" "))
    };
    KEYS.iter().find_map(|keys| {
        let mut all = BTreeMap::new();
        for item in items {
            if all.insert(key_of(item, keys)?, item).is_some() {
                return None;
            }
        }
        Some(all)
    })
}

/// What would become of the copies of a Service that would be so.
async fn copies(server: &Server, name: &str, after: &Value) -> Result<Vec<Copies>> {
    let pods = server.objects::<Pod>().list(&selector(name)).await?;
    let spec: ServiceSpec = serde_json::from_value(after["spec"].clone())
        .map_err(|error| Failure::failed(format!("Service {name} as the server would keep it cannot be read: {error}")))?;
    Ok(copies_of(&spec, &pods))
}

fn copies_of(spec: &ServiceSpec, pods: &[Pod]) -> Vec<Copies> {
    let label = |pod: &Pod, name: &str| pod.labels().get(name).cloned().unwrap_or_default();
    let alive: Vec<&Pod> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
    let mut found = Vec::new();
    for part in &spec.parts {
        let (hash, wanted) = (part_hash(spec, part), usize::try_from(part.replicas).unwrap_or(0));
        let own = alive.iter().filter(|pod| label(pod, labels::PART) == part.name);
        let (mut stay, mut go): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for pod in own {
            let list = if label(pod, labels::PART_HASH) == hash && stay.len() < wanted { &mut stay } else { &mut go };
            list.push(pod.name_any());
        }
        let come = wanted.saturating_sub(stay.len());
        found.push(Copies { part: part.name.clone(), stay, go, come });
    }
    let gone = alive.iter().filter(|pod| !spec.parts.iter().any(|part| label(pod, labels::PART) == part.name));
    let mut of_parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in gone {
        of_parts.entry(label(pod, labels::PART)).or_default().push(pod.name_any());
    }
    found.extend(of_parts.into_iter().map(|(part, go)| Copies { part, stay: Vec::new(), go, come: 0 }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(kind: &Kind, before: Option<Value>, after: Value) -> Vec<String> {
        changes(kind, before.as_ref(), &after).iter().map(Change::told).collect()
    }

    #[test]
    fn each_field_that_would_change_is_a_line() {
        let before = json!({"metadata": {"name": "a", "uid": "1", "resourceVersion": "7", "labels": {"x": "1"}},
            "spec": {"parts": [{"name": "web", "replicas": 1, "pod": {"a": [1, 2]}}, {"name": "old"}], "config": {"A": "1"}}, "status": {"x": 1}});
        let after = json!({"metadata": {"name": "a", "uid": "1", "resourceVersion": "8", "labels": {"x": "2"}},
            "spec": {"parts": [{"name": "new"}, {"name": "web", "replicas": 3, "pod": {"a": [1, 3]}}], "config": {"A": "1", "B": "2"}}});
        assert_eq!(
            lines(&model::service::kind(), Some(before), after),
            [
                "~ metadata.labels.x: \"1\" -> \"2\"",
                "- spec.parts[old]: {\"name\":\"old\"}",
                "~ spec.parts[web].replicas: 1 -> 3",
                "~ spec.parts[web].pod.a: [1,2] -> [1,3]",
                "+ spec.parts[new]: {\"name\":\"new\"}",
                "+ spec.config.B: \"2\"",
            ]
        );
    }

    #[test]
    fn order_and_what_the_server_keeps_are_no_change_and_secrets_stay_secret() {
        let one = json!({"metadata": {"name": "a", "generation": 1}, "spec": {"routes": [{"host": "a", "path": "/"}, {"host": "b", "path": "/"}]}});
        let other = json!({"metadata": {"name": "a", "generation": 2}, "spec": {"routes": [{"host": "b", "path": "/"}, {"host": "a", "path": "/"}]}, "status": {}});
        assert_eq!(lines(&model::service::kind(), Some(one), other), [""; 0]);
        let secret = |value: &str| json!({"metadata": {"name": "a"}, "data": {"k": value}});
        let shown = lines(&model::secret::kind(), Some(secret("aGlkZGVu")), secret("c2VjcmV0"));
        assert_eq!(shown, ["~ data.k: \"(a value)\" -> \"(another value)\""]);
    }

    #[test]
    fn copies_that_are_made_from_the_same_would_stay() {
        let spec: ServiceSpec = serde_json::from_value(json!({"application": "a", "parts": [
            {"name": "web", "replicas": 2, "pod": {"spec": {"containers": [{"name": "c", "command": ["true"]}]}}}]}))
        .unwrap();
        let hash = part_hash(&spec, &spec.parts[0]);
        let pod = |name: &str, part: &str, hash: &str| -> Pod {
            let labels = json!({labels::PART: part, labels::PART_HASH: hash});
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
        };
        let pods = [pod("a", "web", &hash), pod("b", "web", "other"), pod("c", "gone", "x")];
        let found = copies_of(&spec, &pods);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(found[0], Copies { part: "web".into(), stay: names(&["a"]), go: names(&["b"]), come: 1 });
        assert_eq!(found[1], Copies { part: "gone".into(), stay: Vec::new(), go: names(&["c"]), come: 0 });
    }
}
