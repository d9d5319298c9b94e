//! Files that people write: YAML or JSON, one or more documents, each one object.

use std::collections::BTreeMap;

use logic::nearest::nearest;
use model::{KINDS, Kind};
use serde_json::{Value, json};

/// A file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// How people know it: its path, or `standard input`.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// One object of a file.
pub struct Document {
    /// Where it is, and what it is.
    pub at: Position,
    /// What it is.
    pub kind: Kind,
    /// Its namespace; empty where the kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// All of it, its namespace filled in.
    pub object: Value,
}

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    source: String,
    /// Number and first line, from 1; absent in a file of one document.
    place: Option<(usize, Option<usize>)>,
    /// `Service shop`, as far as that is known.
    what: String,
}

/// Which namespace documents go to.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// That of documents that name none.
    pub namespace: &'a str,
    /// Whether somebody asked for it, so that no document may name another.
    pub is_asked_for: bool,
}

impl Document {
    /// `service/shop`.
    pub fn kind_and_name(&self) -> String {
        format!("{}/{}", self.kind.singular, self.name)
    }

    fn key(&self) -> (String, String, String) {
        (self.kind.qualified_plural(), self.namespace.clone(), self.name.clone())
    }
}

impl Position {
    /// A problem there, in one line.
    pub fn problem(&self, problem: &str) -> String {
        let line = |line: &Option<usize>| line.map(|line| format!(" (line {line})")).unwrap_or_default();
        let place = self.place.as_ref().map(|(number, at)| format!(": document {number}{}", line(at))).unwrap_or_default();
        let what = if self.what.is_empty() { String::new() } else { format!(", {}", self.what) };
        format!("{}{place}{what}: {problem}", self.source)
    }
}

/// Every document of these files. Errors: all problems that can be seen without a server, a line each.
pub fn read(sources: &[Source], room: Room) -> Result<Vec<Document>, Vec<String>> {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for source in sources {
        if let Some(twice) = logic::yaml::duplicate(&source.text) {
            problems.push(format!("{}: {twice}; between two objects there is a line with ---", source.name));
            continue;
        }
        match logic::yaml::parse(&source.text) {
            Ok(values) if values.is_empty() => problems.push(format!("{}: there is nothing in it", source.name)),
            Ok(values) => {
                for (at, value) in positions(source, &values).into_iter().zip(values) {
                    match document(at, value, room) {
                        Ok(document) => documents.push(document),
                        Err(found) => problems.extend(found),
                    }
                }
            }
            Err(_) if source.text.contains("{{") && source.text.contains("}}") => problems.push(format!(
                "{}: this is a template of a Helm chart: render it first, `helm template NAME DIRECTORY | conductor up -f -`",
                source.name
            )),
            Err(error) => problems.push(format!("{}: {error}", source.name)),
        }
    }
    problems.extend(clashes(&documents));
    if problems.is_empty() { Ok(documents) } else { Err(problems) }
}

fn positions(source: &Source, values: &[Value]) -> Vec<Position> {
    let lines = first_lines(&source.text);
    let line = |at: usize| lines.get(at).copied().filter(|_| lines.len() == values.len());
    let place = |at: usize| (values.len() > 1).then(|| (at + 1, line(at)));
    let what = |value: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} {}", text(&value["kind"]), text(&value["metadata"]["name"])).trim().to_owned()
    };
    values.iter().enumerate().map(|(at, value)| Position { source: source.name.clone(), place: place(at), what: what(value) }).collect()
}

/// The line, from 1, of the first word of each document that has any.
fn first_lines(text: &str) -> Vec<usize> {
    let (mut found, mut is_new) = (Vec::new(), true);
    for (number, line) in text.lines().enumerate() {
        let rest = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        is_new |= rest.is_some();
        let words = rest.unwrap_or(line).trim();
        let is_content = !words.is_empty() && words != "..." && !words.starts_with('#') && !line.starts_with('%');
        if is_new && is_content {
            found.push(number + 1);
            is_new = false;
        }
    }
    found
}

fn document(at: Position, mut object: Value, room: Room) -> Result<Document, Vec<String>> {
    let mut problems = Vec::new();
    if let Some(advice) = advice(&object) {
        return Err(vec![at.problem(advice)]);
    }
    if !object.is_object() {
        return Err(vec![at.problem("expected an object with apiVersion, kind, metadata and spec")]);
    }
    let kind = kind_of(&object).map_err(|problem| problems.push(problem)).ok();
    let name = name_of(&object["metadata"]).map_err(|problem| problems.push(problem)).ok();
    let namespace =
        kind.as_ref().and_then(|kind| namespace_of(kind, &object["metadata"], room).map_err(|problem| problems.push(problem)).ok());
    match (kind, name, namespace) {
        (Some(kind), Some(name), Some(namespace)) => {
            if kind.is_namespaced() {
                object["metadata"]["namespace"] = json!(namespace);
            }
            Ok(Document { at, kind, namespace, name, object })
        }
        _ => Err(problems.iter().map(|problem| at.problem(problem)).collect()),
    }
}

/// What to do with a file that was written for another program.
fn advice(object: &Value) -> Option<&'static str> {
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    let (kind, group) = (text("kind"), text("apiVersion").split_once('/').map_or("", |(group, _)| group));
    match (kind, group) {
        ("", "") if object["services"].is_object() => Some(
            "this is a compose file: write a Service (conductor.dev/v1) with a part for each of its services, as docs/services.md shows",
        ),
        ("", "") if object["resources"].is_array() => {
            Some("this is a kustomization: render it first, `kubectl kustomize DIRECTORY | conductor up -f -`")
        }
        ("Kustomization" | "Component", "kustomize.config.k8s.io") => {
            Some("this is a kustomization: render it first, `kubectl kustomize DIRECTORY | conductor up -f -`")
        }
        ("", "") if !text("name").is_empty() && !text("version").is_empty() => {
            Some("this is a Helm chart: render it first, `helm template NAME DIRECTORY | conductor up -f -`")
        }
        ("Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet", "apps") => Some(
            "Conductor has no kinds of apps: write a Service (conductor.dev/v1) whose spec.parts[0].pod is this spec.template, with its replicas",
        ),
        ("Service", "")
            if text("apiVersion") == "v1" && ["ports", "selector", "type"].iter().any(|field| object["spec"].get(field).is_some()) =>
        {
            Some(
                "Kubernetes' Services are not served: a Service of conductor.dev/v1 has its addresses in spec.routes, as docs/services.md shows",
            )
        }
        ("Ingress" | "HTTPRoute", "networking.k8s.io" | "gateway.networking.k8s.io") => {
            Some("write its rules into spec.routes of the Service (conductor.dev/v1) they lead to, as docs/services.md shows")
        }
        _ => None,
    }
}

fn kind_of(object: &Value) -> Result<Kind, String> {
    let field = |name: &str, example: &str| match &object[name] {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::Null | Value::String(_) => Err(format!("{name}: missing: expected one such as {example}")),
        other => Err(format!("{name}: expected text such as {example}, found {other}")),
    };
    let name = field("kind", "Service")?;
    let kinds: Vec<Kind> = KINDS.iter().map(|kind| kind()).collect();
    let Some(kind) = kinds.iter().find(|kind| kind.kind == name) else {
        let meant = nearest(&name, kinds.iter().map(|kind| kind.kind.as_str()));
        let hint = meant.map_or_else(
            || format!("expected one of {}", kinds.iter().map(|kind| kind.kind.as_str()).collect::<Vec<_>>().join(", ")),
            |meant| format!("did you mean {meant}?"),
        );
        return Err(format!("kind: {name:?} is no kind that is known here: {hint}"));
    };
    let (version, expected) = (field("apiVersion", &kind.api_version())?, kind.api_version());
    if version != expected {
        return Err(format!("apiVersion: {version:?}: expected {expected} for a {name}"));
    }
    Ok(kind.clone())
}

fn name_of(metadata: &Value) -> Result<String, String> {
    let Some(name) = metadata["name"].as_str().filter(|name| !name.is_empty()) else {
        return Err("metadata.name: missing: expected the object's name".into());
    };
    match model::check_subdomain(name).into_iter().next() {
        Some(problem) => Err(format!("metadata.name: {name:?}: {problem}")),
        None => Ok(name.to_owned()),
    }
}

fn namespace_of(kind: &Kind, metadata: &Value, room: Room) -> Result<String, String> {
    let asked = &metadata["namespace"];
    match asked.as_str().filter(|text| !text.is_empty()) {
        Some(_) if !kind.is_namespaced() => Err(format!("metadata.namespace: a {} is in no namespace", kind.kind)),
        None if !kind.is_namespaced() => Ok(String::new()),
        Some(named) if room.is_asked_for && named != room.namespace => {
            Err(format!("metadata.namespace: {named:?}: expected {:?}, as --namespace says", room.namespace))
        }
        Some(named) => match model::check_label(named).into_iter().next() {
            Some(problem) => Err(format!("metadata.namespace: {named:?}: {problem}")),
            None => Ok(named.to_owned()),
        },
        None if asked.is_null() || asked.is_string() => Ok(room.namespace.to_owned()),
        None => Err(format!("metadata.namespace: expected a name, found {asked}")),
    }
}

/// Documents that cannot both be: two of one name, or two that want the same route.
fn clashes(documents: &[Document]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut names: BTreeMap<_, &Document> = BTreeMap::new();
    let mut claims: BTreeMap<_, &Document> = BTreeMap::new();
    for document in documents {
        if let Some(first) = names.insert(document.key(), document) {
            problems.push(document.at.problem(&format!("the same object is in {} already", first.at.short())));
            continue;
        }
        let wanted = document.kind.claims.map(|claims| claims(&document.object)).unwrap_or_default();
        for (field, claim) in wanted {
            let first = *claims.entry((document.kind.qualified_plural(), claim.clone())).or_insert(document);
            if first.key() != document.key() {
                problems.push(document.at.problem(&format!("{field}: {claim} is wanted by {} {} too", first.kind.kind, first.name)));
            }
        }
    }
    problems
}

impl Position {
    fn short(&self) -> String {
        let number = self.place.map(|(number, _)| format!("document {number} of ")).unwrap_or_default();
        format!("{number}{}", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { namespace: "default", is_asked_for: false };
    const SHOP: &str = "apiVersion: conductor.dev/v1\nkind: Service\nmetadata: {name: shop}\nspec: {application: shop}\n";

    fn source(text: &str) -> Source {
        Source { name: "a.yaml".into(), text: text.into() }
    }

    fn check(text: &str, room: Room, expected: &[&str]) {
        let problems = read(&[source(text)], room).err().unwrap_or_default();
        assert_eq!(problems, expected, "{text}");
    }

    #[test]
    fn documents_are_read_with_their_place() {
        let text = format!("# what\n---\n\n{SHOP}---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: texts, namespace: b}}\n");
        let documents = read(&[source(&text)], ROOM).unwrap();
        let found: Vec<_> = documents.iter().map(|document| (document.kind_and_name(), document.namespace.as_str())).collect();
        assert_eq!(found, [("service/shop".into(), "default"), ("configmap/texts".into(), "b")]);
        assert_eq!(documents[0].object["metadata"]["namespace"], "default");
        assert_eq!(documents[1].at.problem("x"), "a.yaml: document 2 (line 10), ConfigMap texts: x");
    }

    #[test]
    fn a_file_of_one_document_is_read_as_json_too() {
        let text = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}"#;
        let documents = read(&[source(text)], ROOM).unwrap();
        assert_eq!((documents[0].kind_and_name().as_str(), documents[0].namespace.as_str()), ("namespace/a", ""));
        assert_eq!(documents[0].at.problem("x"), "a.yaml, Namespace a: x");
    }

    #[test]
    fn each_mistake_names_file_document_and_field() {
        check("", ROOM, &["a.yaml: there is nothing in it"]);
        check(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {}\napiVersion: v1\nkind: ConfigMap\n",
            ROOM,
            &["a.yaml: line 5: key \"apiVersion\" already set in map; between two objects there is a line with ---"],
        );
        check(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  name: b\n",
            ROOM,
            &["a.yaml: line 5: key \"name\" already set in map; between two objects there is a line with ---"],
        );
        check("just words", ROOM, &["a.yaml: expected an object with apiVersion, kind, metadata and spec"]);
        check(
            &SHOP.replace("Service", "Servce"),
            ROOM,
            &["a.yaml, Servce shop: kind: \"Servce\" is no kind that is known here: did you mean Service?"],
        );
        check(
            &SHOP.replace("conductor.dev/v1", "v1"),
            ROOM,
            &["a.yaml, Service shop: apiVersion: \"v1\": expected conductor.dev/v1 for a Service"],
        );
        check(
            "kind: Service\nmetadata: {}",
            ROOM,
            &[
                "a.yaml, Service: apiVersion: missing: expected one such as conductor.dev/v1",
                "a.yaml, Service: metadata.name: missing: expected the object's name",
            ],
        );
        check(
            &SHOP.replace("name: shop}", "name: shop, namespace: b}"),
            Room { namespace: "a", is_asked_for: true },
            &["a.yaml, Service shop: metadata.namespace: \"b\": expected \"a\", as --namespace says"],
        );
        check(
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}",
            ROOM,
            &["a.yaml, Namespace a: metadata.namespace: a Namespace is in no namespace"],
        );
        check(
            &format!("{SHOP}---\n{SHOP}"),
            ROOM,
            &["a.yaml: document 2 (line 6), Service shop: the same object is in document 1 of a.yaml already"],
        );
    }

    #[test]
    fn files_of_other_programs_get_one_sentence_that_says_what_to_do() {
        for (text, expected) in [
            ("services:\n  web: {image: a}\n", "this is a compose file"),
            ("resources: [a.yaml]\n", "kubectl kustomize"),
            ("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n", "kubectl kustomize"),
            ("apiVersion: v2\nname: a\nversion: 1.0.0\n", "helm template"),
            ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n", "whose spec.parts[0].pod is this spec.template"),
            ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: []}\n", "has its addresses in spec.routes"),
            ("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\n", "spec.routes"),
            ("kind: {{ .Values.kind }}\n  a: {{- b }}\n", "a template of a Helm chart"),
        ] {
            let problems = read(&[source(text)], ROOM).err().unwrap();
            assert!(problems.len() == 1 && problems[0].contains(expected), "{text}: {problems:?}");
        }
    }

    #[test]
    fn text_that_is_no_yaml_names_its_line() {
        let problems = read(&[source("a: 1\nb: [")], ROOM).err().unwrap();
        assert!(problems[0].starts_with("a.yaml: ") && problems[0].contains("line"), "{problems:?}");
    }

    #[test]
    fn two_services_of_one_route_are_refused_before_either_is_written() {
        let service = |name: &str| {
            format!(
                "apiVersion: conductor.dev/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  application: a\n  routes: [{{host: a.test, part: web, port: http}}]\n"
            )
        };
        check(
            &format!("{}---\n{}", service("one"), service("two")),
            ROOM,
            &["a.yaml: document 2 (line 8), Service two: spec.routes[0]: a.test/ is wanted by Service one too"],
        );
    }
}
