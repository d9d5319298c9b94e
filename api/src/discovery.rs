//! What is served: `/version`, `/api`, `/apis`, in the old form and the aggregated one.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, ETAG, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use model::Kind;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::answer::{self, Accepted, Format, View};
use crate::registry::{Registry, Served};
use crate::serve::page_not_found;
use crate::status::{Result, Status};
use crate::{access, protobuf};

const AGGREGATED: &str = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// The version of Kubernetes whose clients this API was made for.
const KUBERNETES: (&str, &str) = ("1", "36");

/// Serves a path that is about no resource. Errors: 406.
pub fn serve(registry: &Registry, path: &str, headers: &HeaderMap) -> Result<Response> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let body = match segments.as_slice() {
        // These two are JSON, whatever is asked for.
        [] => return Ok(answer::value(Format::Json, StatusCode::OK, &roots(registry))),
        ["version"] => return Ok(answer::value(Format::Json, StatusCode::OK, &version())),
        ["api" | "apis"] if let Some(form) = aggregated_form(headers) => {
            return Ok(aggregated(groups(registry, segments == ["api"]), form, headers));
        }
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": named_groups(registry)})),
        ["api", version] => resources(registry, "", version),
        ["apis", group] => group_of(registry, group).map(|found| typed("APIGroup", "v1", found)),
        ["apis", group, version] => resources(registry, group, version),
        _ => None,
    };
    let Some(body) = body else { return Ok(page_not_found()) };
    if body["kind"] == "APIResourceList" && !any_form_is_known(headers) {
        return Err(Status::no_such_representation(&["application/json", "application/yaml", protobuf::MEDIA_TYPE]));
    }
    let accepted = Accepted::from_headers(headers, true)?;
    if accepted.view != View::Whole {
        return Err(Status::not_acceptable());
    }
    Ok(answer::value(accepted.format, StatusCode::OK, &body))
}

/// Whether a media type that we have is asked for, with whatever parameters.
fn any_form_is_known(headers: &HeaderMap) -> bool {
    let known = ["application/json", "application/yaml", protobuf::MEDIA_TYPE, "application/*", "*/*"];
    let ranges = answer::ranges(headers);
    ranges.is_empty() || ranges.iter().any(|range| range.split(';').next().is_some_and(|media| known.contains(&media.trim())))
}

/// The format in which the aggregated form is asked for, if it is.
fn aggregated_form(headers: &HeaderMap) -> Option<Format> {
    answer::ranges(headers).into_iter().find_map(|range| {
        let parts: Vec<&str> = range.split(';').map(str::trim).collect();
        let is_asked = ["g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"].iter().all(|part| parts.contains(part));
        match parts.first().copied() {
            Some("application/json") if is_asked => Some(Format::Json),
            Some(protobuf::MEDIA_TYPE) if is_asked => Some(Format::Protobuf),
            _ => None,
        }
    })
}

fn aggregated(groups: Vec<Value>, format: Format, headers: &HeaderMap) -> Response {
    let body = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": groups});
    let tag = answer::tag(body.to_string().as_bytes());
    let mut response = if answer::has_tag(headers, &tag) {
        answer::bytes(StatusCode::NOT_MODIFIED, "application/json", bytes::Bytes::new())
    } else {
        answer::value(format, StatusCode::OK, &body)
    };
    let media_type = if format == Format::Protobuf { protobuf::MEDIA_TYPE } else { "application/json" };
    if let (Ok(media_type), Ok(tag)) = (HeaderValue::from_str(&format!("{media_type};{AGGREGATED}")), HeaderValue::from_str(&tag)) {
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn version() -> Value {
    let (major, minor) = KUBERNETES;
    let own = env!("CARGO_PKG_VERSION");
    json!({
        "major": major, "minor": minor, "gitVersion": format!("v{major}.{minor}.0+conductor.{own}"), "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, platform()),
    })
}

fn platform() -> &'static str {
    if std::env::consts::ARCH == "x86_64" { "amd64" } else { std::env::consts::ARCH }
}

fn roots(registry: &Registry) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".into(), "/apis".into()];
    for (group, version) in registry.group_versions().into_iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{version}"));
    }
    paths.extend(["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    json!({"paths": paths})
}

fn typed(kind: &str, api_version: &str, mut value: Value) -> Value {
    let mut object = json!({"kind": kind, "apiVersion": api_version});
    if let (Some(object), Some(fields)) = (object.as_object_mut(), value.as_object_mut()) {
        object.append(fields);
    }
    object
}

fn named_groups(registry: &Registry) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for (group, _) in registry.group_versions() {
        if !group.is_empty() && !names.contains(&group) {
            names.push(group);
        }
    }
    names.into_iter().filter_map(|name| group_of(registry, name)).collect()
}

fn group_of(registry: &Registry, name: &str) -> Option<Value> {
    let versions: Vec<Value> = registry
        .group_versions()
        .into_iter()
        .filter(|(group, _)| *group == name && !group.is_empty())
        .map(|(group, version)| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({"name": name, "versions": versions, "preferredVersion": preferred}))
}

fn kinds<'a>(registry: &'a Registry, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Served> {
    registry.all().iter().map(AsRef::as_ref).filter(move |served| served.kind.group == group && served.kind.version == version)
}

fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for served in kinds(registry, group, version) {
        let (kind, hash) = (&served.kind, &served.hash);
        let mut resource = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.is_namespaced(), "kind": kind.kind,
            "verbs": access::verbs(kind), "shortNames": kind.short_names, "categories": kind.categories, "storageVersionHash": hash,
        });
        if let Some(fields) = resource.as_object_mut() {
            fields.retain(|name, value| {
                value.as_array().is_none_or(|list| !list.is_empty()) && (kind.is_kept() || name != "storageVersionHash")
            });
        }
        list.push(resource);
        for (name, api, kind_name, verbs) in subresources(served) {
            let mut resource = json!({
                "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.is_namespaced(), "kind": kind_name, "verbs": verbs,
            });
            if let Some((group, version)) = api {
                resource["group"] = json!(group);
                resource["version"] = json!(version);
            }
            list.push(resource);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!list.is_empty()).then(|| json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list}))
}

type Subresource = (String, Option<(&'static str, &'static str)>, String, Vec<String>);

fn subresources(served: &Served) -> Vec<Subresource> {
    let kind = &served.kind;
    let change = || ["get", "patch", "update"].map(str::to_owned).to_vec();
    let mut found: Vec<Subresource> = Vec::new();
    if kind.status {
        found.push(("status".into(), None, kind.kind.clone(), change()));
    }
    if kind.scale.is_some() || served.custom.as_ref().is_some_and(|custom| custom.scale.is_some()) {
        found.push(("scale".into(), Some(("autoscaling", "v1")), "Scale".into(), change()));
    }
    for (name, verbs) in &kind.subresources {
        let (api, of) = match name.as_str() {
            "attach" => (None, "PodAttachOptions"),
            "binding" => (None, "Binding"),
            "eviction" => (Some(("policy", "v1")), "Eviction"),
            "exec" => (None, "PodExecOptions"),
            "portforward" => (None, "PodPortForwardOptions"),
            "token" => (Some((model::review::AUTHENTICATION, "v1")), "TokenRequest"),
            _ => (None, kind.kind.as_str()),
        };
        found.push((name.clone(), api, of.to_owned(), verbs.clone()));
    }
    found
}

fn groups(registry: &Registry, core: bool) -> Vec<Value> {
    let mut found: Vec<(&str, Vec<Value>)> = Vec::new();
    for (group, version) in registry.group_versions().into_iter().filter(|(group, _)| group.is_empty() == core) {
        let resources: Vec<Value> = kinds(registry, group, version).map(aggregated_resource).collect();
        let version = json!({"version": version, "resources": resources, "freshness": "Current"});
        match found.iter_mut().find(|(name, _)| *name == group) {
            Some((_, versions)) => versions.push(version),
            None => found.push((group, vec![version])),
        }
    }
    let group = |(name, versions): (&str, Vec<Value>)| {
        let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
        json!({"metadata": metadata, "versions": versions})
    };
    found.into_iter().map(group).collect()
}

fn aggregated_resource(served: &Served) -> Value {
    let kind = &served.kind;
    let response_kind = |(group, version): (&str, &str), kind: &str| json!({"group": group, "version": version, "kind": kind});
    // What needs no definition answers in its own group and version, which goes without saying.
    let own = if kind.defined { (kind.group.as_str(), kind.version.as_str()) } else { ("", "") };
    let subresources: Vec<Value> = subresources(served)
        .into_iter()
        .map(|(name, api, of, verbs)| json!({"subresource": name, "responseKind": response_kind(api.unwrap_or(own), &of), "verbs": verbs}))
        .collect();
    let mut resource = json!({
        "resource": kind.plural, "responseKind": response_kind(own, &kind.kind),
        "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" }, "singularResource": kind.singular,
        "verbs": access::verbs(kind), "shortNames": kind.short_names, "categories": kind.categories, "subresources": subresources,
    });
    if let Some(fields) = resource.as_object_mut() {
        fields.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    }
    resource
}

/// A word that changes when objects of a kind are stored in another form.
pub fn storage_hash(kind: &Kind) -> String {
    let digest = Sha256::digest(format!("{}/{}/{}", kind.group, kind.version, kind.kind));
    STANDARD.encode(&digest[..8])
}
