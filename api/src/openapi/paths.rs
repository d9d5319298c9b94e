//! The paths of a document: what may be asked of each kind, and what is answered.

use model::Kind;
use serde_json::{Map, Value, json};

use super::path_of;
use super::schemas::{Names, reference, shared};
use crate::access;
use crate::registry::Served;

/// What an operation does to what.
struct Operation<'a> {
    kind: &'a Kind,
    method: &'static str,
    /// The word of `x-kubernetes-action`.
    action: &'static str,
    /// How its identifier begins.
    verb: &'static str,
    /// What its identifier says after the kind: `Status`.
    part: &'a str,
    /// What is sent, and answered unless it is a list or a deletion.
    body: &'a Value,
    names: &'a Names,
    everywhere: bool,
}

/// Adds the paths of a kind.
pub fn of_kind(paths: &mut Map<String, Value>, served: &Served, names: &Names) {
    let kind = &served.kind;
    let base = format!("/{}", path_of(&kind.group, &kind.version));
    let collection =
        if kind.is_namespaced() { format!("{base}/namespaces/{{namespace}}/{}", kind.plural) } else { format!("{base}/{}", kind.plural) };
    let body = reference(&names.one);
    let of = |method, action, verb| Operation { kind, method, action, verb, part: "", body: &body, names, everywhere: false };
    let (mut many, mut one) = (json!({}), json!({}));
    for verb in access::verbs(kind) {
        let (target, operation) = match verb {
            "create" => (&mut many, of("post", "post", "create")),
            "list" => (&mut many, of("get", "list", "list")),
            "deletecollection" => (&mut many, of("delete", "deletecollection", "delete")),
            "get" => (&mut one, of("get", "get", "read")),
            "update" => (&mut one, of("put", "put", "replace")),
            "patch" => (&mut one, of("patch", "patch", "patch")),
            "delete" => (&mut one, of("delete", "delete", "delete")),
            _ => continue,
        };
        target[operation.method] = operation.describe();
    }
    many["parameters"] = path_parameters(kind, false);
    paths.insert(collection.clone(), many);
    if one.as_object().is_none_or(Map::is_empty) {
        return;
    }
    one["parameters"] = path_parameters(kind, true);
    paths.insert(format!("{collection}/{{name}}"), one);
    let scale = reference("io.k8s.api.autoscaling.v1.Scale");
    let has_scale = kind.scale.is_some() || served.custom.as_ref().is_some_and(|custom| custom.scale.is_some());
    for (name, part, body) in [("status", "Status", &body), ("scale", "Scale", &scale)] {
        if !(name == "status" && kind.status || name == "scale" && has_scale) {
            continue;
        }
        let mut item = json!({"parameters": path_parameters(kind, true)});
        for (method, verb) in [("get", "read"), ("put", "replace"), ("patch", "patch")] {
            item[method] = Operation { part, body, ..of(method, method, verb) }.describe();
        }
        paths.insert(format!("{collection}/{{name}}/{name}"), item);
    }
    if kind.is_namespaced() {
        let list = Operation { everywhere: true, ..of("get", "list", "list") };
        paths.insert(format!("{base}/{}", kind.plural), json!({"get": list.describe()}));
    }
}

/// The path of a document of discovery itself.
pub fn of_discovery(path: &str, answer: &str, group: &str) -> Map<String, Value> {
    let verb = if answer == "APIResourceList" { "getAPIResources" } else { "getAPI" };
    let version = path.rsplit('/').next().filter(|_| answer == "APIResourceList").unwrap_or_default();
    let id = format!("{verb}{}{}", camel(if group.is_empty() && answer == "APIResourceList" { "core" } else { group }), upper(version));
    let operation = json!({"get": {
        "description": "get what is served here", "operationId": id,
        "responses": responses("get", &shared(answer)),
    }});
    Map::from_iter([(format!("/{path}/"), operation)])
}

/// The path of the program's version.
pub fn of_program() -> Map<String, Value> {
    let info = reference("io.k8s.apimachinery.pkg.version.Info");
    let operation = json!({"get": {"description": "get the version", "operationId": "getCodeVersion", "responses": {
        "200": {"description": "OK", "content": {"application/json": {"schema": info}}}, "401": {"description": "Unauthorized"},
    }}});
    Map::from_iter([("/version/".to_owned(), operation)])
}

fn path_parameters(kind: &Kind, named: bool) -> Value {
    let parameter = |name: &str, description: String| json!({"name": name, "in": "path", "required": true, "description": description, "schema": {"type": "string", "uniqueItems": true}});
    let mut parameters = Vec::new();
    if named {
        parameters.push(parameter("name", format!("name of the {}", kind.kind)));
    }
    if kind.is_namespaced() {
        parameters.push(parameter("namespace", "object name and auth scope, such as for teams and projects".into()));
    }
    parameters.push(query("pretty", "string"));
    json!(parameters)
}

fn query(name: &str, of: &str) -> Value {
    let description = match name {
        "dryRun" => "All: everything is checked and nothing is stored.",
        "fieldManager" => "The name of whoever writes, for the ownership of fields.",
        "fieldValidation" => "What becomes of unknown fields and of fields that are there twice: Ignore, Warn or Strict.",
        "force" => "Whether an apply takes fields from their owners.",
        "pretty" => "If 'true', then the output is pretty printed.",
        "labelSelector" => "Only objects with these labels.",
        "fieldSelector" => "Only objects with these values in fields.",
        "limit" => "The most items of an answer.",
        "continue" => "Where the list before ended.",
        "watch" => "Whether changes are streamed.",
        _ => "",
    };
    let mut parameter = json!({"name": name, "in": "query", "schema": {"type": of, "uniqueItems": true}});
    if !description.is_empty() {
        parameter["description"] = json!(description);
    }
    parameter
}

const DELETION: [(&str, &str); 5] = [
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const SELECTION: [(&str, &str); 8] = [
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
];
const WRITE: [(&str, &str); 4] = [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];

impl Operation<'_> {
    fn parameters(&self) -> Vec<Value> {
        let mut names: Vec<(&str, &str)> = match self.action {
            "list" => [("allowWatchBookmarks", "boolean"), ("watch", "boolean")].into_iter().chain(SELECTION).collect(),
            "deletecollection" => DELETION.into_iter().chain(SELECTION).collect(),
            "delete" => DELETION.to_vec(),
            "patch" => WRITE.to_vec(),
            "post" | "put" => WRITE[..3].to_vec(),
            _ => Vec::new(),
        };
        names.sort_unstable();
        names.into_iter().map(|(name, of)| query(name, of)).collect()
    }

    fn describe(&self) -> Value {
        let (kind, names) = (self.kind, self.names);
        let group = if kind.group.is_empty() { "core" } else { kind.group.as_str() };
        let collection = if self.action == "deletecollection" { "Collection" } else { "" };
        let namespaced = if kind.is_namespaced() && !self.everywhere { "Namespaced" } else { "" };
        let everywhere = if self.everywhere { "ForAllNamespaces" } else { "" };
        let (group_name, version, part) = (camel(group), upper(&kind.version), self.part);
        let id = format!("{}{group_name}{version}{collection}{namespaced}{}{part}{everywhere}", self.verb, kind.kind);
        let answer = match self.action {
            "list" => reference(&names.list),
            "delete" | "deletecollection" if !["Pod", "Namespace", "ServiceAccount"].contains(&kind.kind.as_str()) => shared("Status"),
            _ => self.body.clone(),
        };
        let is_watched = self.action == "list" && access::verbs(kind).contains(&"watch");
        let mut operation = json!({
            "tags": [format!("{}_{}", camel(group).chars().enumerate().map(|(at, c)| if at == 0 { c.to_ascii_lowercase() } else { c }).collect::<String>(), kind.version)],
            "description": format!("{} {}", if is_watched { "list or watch objects of kind" } else { self.verb }, kind.kind),
            "operationId": id,
            "parameters": self.parameters(),
            "responses": responses(self.action, &answer),
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        });
        match self.method {
            "post" | "put" => operation["requestBody"] = json!({"content": {"*/*": {"schema": self.body}}, "required": true}),
            "delete" => operation["requestBody"] = json!({"content": {"*/*": {"schema": shared("DeleteOptions")}}}),
            "patch" => {
                let patch = json!({"schema": shared("Patch")});
                let types = crate::verbs::patch_types(kind).into_iter().map(|name| (name.to_owned(), patch.clone()));
                operation["requestBody"] = json!({"content": types.collect::<Map<_, _>>(), "required": true});
            }
            _ => {}
        }
        operation
    }
}

fn responses(action: &str, schema: &Value) -> Value {
    let mut types = vec!["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"];
    if action == "list" {
        types.extend(["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"]);
    }
    let content: Map<String, Value> = types.into_iter().map(|name| (name.to_owned(), json!({"schema": schema}))).collect();
    let codes: &[(&str, &str)] = match action {
        "post" => &[("200", "OK"), ("201", "Created"), ("202", "Accepted")],
        "put" | "patch" => &[("200", "OK"), ("201", "Created")],
        "delete" => &[("200", "OK"), ("202", "Accepted")],
        _ => &[("200", "OK")],
    };
    let mut responses: Map<String, Value> =
        codes.iter().map(|(code, words)| ((*code).to_owned(), json!({"description": words, "content": content}))).collect();
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    Value::Object(responses)
}

fn upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `RbacAuthorization` for `rbac.authorization.k8s.io`.
fn camel(group: &str) -> String {
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    group.split(['.', '-']).map(upper).collect()
}
