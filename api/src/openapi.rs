//! OpenAPI v3 of everything served, made from the Rust types when somebody asks.

use axum::response::Response;
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};
use model::Kind;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::access;
use crate::answer::{self, Format};
use crate::custom::Custom;
use crate::registry::{Registry, Served, schemas};
use crate::serve::page_not_found;
use crate::status::Result;

/// Serves `/openapi/v3` and what lies below it.
pub fn serve(registry: &Registry, path: &str, headers: &HeaderMap) -> Result<Response> {
    let Some(rest) = path.strip_prefix("/openapi/v3") else { return Ok(page_not_found()) };
    if rest.is_empty() {
        let mut response = answer::value(Format::Json, StatusCode::OK, &index(registry));
        response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        return Ok(response);
    }
    let Some((group, version)) = group_version(registry, rest.trim_start_matches('/')) else { return Ok(page_not_found()) };
    let hash = hash(registry, &group, &version);
    let tag = format!("\"{hash}\"");
    if headers.get(http::header::IF_NONE_MATCH).is_some_and(|sent| sent.as_bytes() == tag.as_bytes()) {
        return Ok(answer::bytes(StatusCode::NOT_MODIFIED, "application/json", bytes::Bytes::new()));
    }
    let mut response = answer::value(Format::Json, StatusCode::OK, &document(registry, &group, &version));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    Ok(response)
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn group_version(registry: &Registry, path: &str) -> Option<(String, String)> {
    let found = registry.group_versions().into_iter().find(|(group, version)| path_of(group, version) == path)?;
    Some((found.0.to_owned(), found.1.to_owned()))
}

fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (group, version) in registry.group_versions() {
        let path = path_of(group, version);
        let url = format!("/openapi/v3/{path}?hash={}", hash(registry, group, version));
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// Changes with the program's version and the kinds that are served.
fn hash(registry: &Registry, group: &str, version: &str) -> String {
    let mut digest = Sha256::new_with_prefix(concat!(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")));
    for served in kinds(registry, group, version) {
        digest.update(&served.kind.kind);
        digest.update(served.custom.as_ref().map(Custom::fingerprint).unwrap_or_default());
    }
    digest.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn kinds<'a>(registry: &'a Registry, group: &str, version: &str) -> Vec<&'a Served> {
    let chosen = registry.all().iter().filter(|served| served.kind.group == group && served.kind.version == version);
    chosen.map(AsRef::as_ref).collect()
}

fn document(registry: &Registry, group: &str, version: &str) -> Value {
    let kinds = kinds(registry, group, version);
    let described: Vec<(&Kind, Option<&Custom>)> = kinds.iter().map(|served| (&served.kind, served.custom.as_ref())).collect();
    let (roots, mut definitions) = schemas(&described);
    logic::patch::core_types::annotate(&mut definitions);
    let mut paths = Map::new();
    for ((kind, _), root) in described.iter().zip(&roots) {
        let name = root["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()).unwrap_or_default().to_owned();
        if let Some(schema) = definitions.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]);
        }
        add_paths(&mut paths, kind, root);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Conductor", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"schemas": definitions},
    })
}

fn add_paths(paths: &mut Map<String, Value>, kind: &Kind, schema: &Value) {
    let base = format!("/{}", path_of(&kind.group, &kind.version));
    let collection =
        if kind.is_namespaced() { format!("{base}/namespaces/{{namespace}}/{}", kind.plural) } else { format!("{base}/{}", kind.plural) };
    let (mut many, mut one) = (json!({}), json!({}));
    for verb in access::verbs(kind) {
        let (target, method, action) = match verb {
            "create" => (&mut many, "post", "post"),
            "list" => (&mut many, "get", "list"),
            "deletecollection" => (&mut many, "delete", "deletecollection"),
            "get" => (&mut one, "get", "get"),
            "update" => (&mut one, "put", "put"),
            "patch" => (&mut one, "patch", "patch"),
            "delete" => (&mut one, "delete", "delete"),
            _ => continue,
        };
        target[method] = operation(kind, method, action, schema);
    }
    many["parameters"] = json!(path_parameters(kind, false));
    one["parameters"] = json!(path_parameters(kind, true));
    if kind.status {
        let mut status = json!({"parameters": path_parameters(kind, true)});
        for method in ["get", "put", "patch"] {
            status[method] = operation(kind, method, method, schema);
        }
        paths.insert(format!("{collection}/{{name}}/status"), status);
    }
    paths.insert(format!("{collection}/{{name}}"), one);
    if kind.is_namespaced() {
        paths.insert(format!("{base}/{}", kind.plural), json!({"get": operation(kind, "get", "list", schema)}));
    }
    paths.insert(collection, many);
}

fn path_parameters(kind: &Kind, named: bool) -> Vec<Value> {
    let parameter = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}});
    let names = [named.then_some("name"), kind.is_namespaced().then_some("namespace")];
    names.into_iter().flatten().map(parameter).collect()
}

fn operation(kind: &Kind, method: &str, action: &str, schema: &Value) -> Value {
    let query = |name: &str, of: &str| json!({"name": name, "in": "query", "schema": {"type": of, "uniqueItems": true}});
    let parameters = match method {
        "get" if action == "list" => [
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ]
        .map(|(name, of)| query(name, of))
        .to_vec(),
        "get" => Vec::new(),
        "delete" => vec![query("dryRun", "string"), query("gracePeriodSeconds", "integer"), query("propagationPolicy", "string")],
        _ => vec![query("dryRun", "string"), query("fieldManager", "string"), query("fieldValidation", "string")],
    };
    let mut operation = json!({
        "operationId": format!("{action}{}{}", if kind.is_namespaced() { "Namespaced" } else { "" }, kind.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    });
    match method {
        "post" | "put" => operation["requestBody"] = json!({"content": {"*/*": {"schema": schema}}, "required": true}),
        "patch" => {
            let patch = json!({"schema": {"type": "object"}});
            let types = crate::verbs::patch_types(kind).into_iter().map(|name| (name.to_owned(), patch.clone()));
            operation["requestBody"] = json!({"content": types.collect::<Map<_, _>>(), "required": true});
        }
        _ => {}
    }
    operation
}
