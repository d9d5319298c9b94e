//! What is served, as OpenAPI: version 3 by group and version, version 2 as one document, both made from the Rust types when
//! somebody asks, and kept until other kinds are served.

mod paths;
mod schemas;
mod swagger;

use std::collections::HashMap;
use std::sync::Mutex;

use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, LOCATION, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::answer;
use crate::custom::Custom;
use crate::protobuf;
use crate::query::Query;
use crate::registry::{Registry, Served};

const JSON: &str = "application/json";
/// How clients ask for version 2 in protobuf, and how it is answered.
const SWAGGER_PROTOBUF: [&str; 2] =
    ["application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"];
/// What generators of clients expect here.
const TITLE: &str = "Kubernetes";

/// Documents that were made, by their paths.
#[derive(Default)]
pub struct Documents(Mutex<HashMap<String, Bytes>>);

impl Documents {
    fn get(&self, path: &str, make: impl FnOnce() -> Vec<u8>) -> Bytes {
        let kept = |documents: &Mutex<HashMap<String, Bytes>>| documents.lock().ok().and_then(|documents| documents.get(path).cloned());
        kept(&self.0).unwrap_or_else(|| {
            let made = Bytes::from(make());
            if let Ok(mut documents) = self.0.lock() {
                documents.insert(path.to_owned(), made.clone());
            }
            made
        })
    }
}

/// Serves `/openapi/v2`, `/openapi/v3` and what lies below it.
pub fn serve(registry: &Registry, path: &str, query: &str, headers: &HeaderMap) -> Response {
    let nothing = || answer::bytes(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", Bytes::new());
    match path.strip_prefix("/openapi/").map(|path| path.split_once('/').unwrap_or((path, ""))) {
        Some(("v2", "")) => swagger_document(registry, headers),
        Some(("v3", "")) => answer::bytes(StatusCode::OK, "text/plain; charset=utf-8", index(registry).to_string().into()),
        Some(("v3", path)) => places(registry).into_iter().find(|place| place.path == path).map_or_else(nothing, |place| {
            let asked = Query::parse(query).get("hash").map(str::to_owned);
            document(registry, &place, asked.as_deref(), headers)
        }),
        _ => nothing(),
    }
}

/// Where a document of version 3 is, and what it is about.
struct Place {
    path: String,
    about: About,
}

enum About {
    Version(String, String),
    Group(String),
    Groups,
    CoreVersions,
    Program,
}

fn places(registry: &Registry) -> Vec<Place> {
    let place = |path: &str, about| Place { path: path.to_owned(), about };
    let mut places = vec![place("api", About::CoreVersions), place("apis", About::Groups), place("version", About::Program)];
    for (group, version) in registry.group_versions() {
        let path = format!("apis/{group}");
        if !group.is_empty() && !places.iter().any(|place| place.path == path) {
            places.push(place(&path, About::Group(group.to_owned())));
        }
        places.push(place(&path_of(group, version), About::Version(group.to_owned(), version.to_owned())));
    }
    places
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for place in places(registry) {
        let url = format!("/openapi/v3/{}?hash={}", place.path, hash(registry, &place));
        paths.insert(place.path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// Changes with the program's version and the kinds that are told of.
fn hash(registry: &Registry, place: &Place) -> String {
    let mut digest = Sha256::new_with_prefix(concat!(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")));
    digest.update(&place.path);
    if let About::Version(group, version) = &place.about {
        for served in kinds(registry, group, version) {
            digest.update(&served.kind.kind);
            digest.update(served.custom.as_ref().map(Custom::fingerprint).unwrap_or_default());
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn kinds<'a>(registry: &'a Registry, group: &str, version: &str) -> Vec<&'a Served> {
    let chosen = registry.all().iter().filter(|served| served.kind.group == group && served.kind.version == version);
    chosen.map(AsRef::as_ref).collect()
}

/// A document of version 3. One that is asked for by its hash stays as it is; by another hash, there is a newer one.
fn document(registry: &Registry, place: &Place, asked: Option<&str>, headers: &HeaderMap) -> Response {
    let hash = hash(registry, place);
    if let Some(header) =
        asked.filter(|asked| *asked != hash).and_then(|_| HeaderValue::from_str(&format!("/openapi/v3/{}?hash={hash}", place.path)).ok())
    {
        let mut response = answer::bytes(StatusCode::MOVED_PERMANENTLY, JSON, Bytes::new());
        response.headers_mut().insert(LOCATION, header);
        return response;
    }
    if !takes(headers, &[JSON]) {
        return answer::bytes(StatusCode::NOT_ACCEPTABLE, "text/plain; charset=utf-8", Bytes::new());
    }
    let made = || registry.documents.get(&place.path, || version_three(registry, place).to_string().into_bytes());
    let mut response = tagged(headers, &format!("\"{hash}\""), JSON, made);
    let lasts = if asked.is_some() { "public, immutable" } else { "no-cache, private" };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(lasts));
    response
}

fn tagged(headers: &HeaderMap, tag: &str, media_type: &'static str, made: impl FnOnce() -> Bytes) -> Response {
    let mut response = if answer::has_tag(headers, tag) {
        answer::bytes(StatusCode::NOT_MODIFIED, media_type, Bytes::new())
    } else {
        answer::bytes(StatusCode::OK, media_type, made())
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn takes(headers: &HeaderMap, media_types: &[&str]) -> bool {
    let ranges = answer::ranges(headers);
    let known = |range: &&str| {
        let media = range.split(';').next().unwrap_or_default().trim();
        ["*/*", "application/*"].contains(&media) || media_types.contains(&media)
    };
    ranges.is_empty() || ranges.iter().any(known)
}

fn version_three(registry: &Registry, place: &Place) -> Value {
    let (paths, schemas) = match &place.about {
        About::Version(group, version) => whole_version(&kinds(registry, group, version), group, version),
        About::Group(group) => (paths::of_discovery(&place.path, "APIGroup", group), schemas::of_discovery()),
        About::Groups => (paths::of_discovery("apis", "APIGroupList", ""), schemas::of_discovery()),
        About::CoreVersions => (paths::of_discovery("api", "APIVersions", "core"), schemas::of_discovery()),
        About::Program => (paths::of_program(), schemas::of_program()),
    };
    json!({
        "openapi": "3.0.0",
        "info": {"title": TITLE, "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn whole_version(kinds: &[&Served], group: &str, version: &str) -> (Map<String, Value>, Map<String, Value>) {
    let (names, definitions) = schemas::of_kinds(kinds);
    let mut all = paths::of_discovery(&path_of(group, version), "APIResourceList", group);
    for (served, names) in kinds.iter().zip(names) {
        paths::of_kind(&mut all, served, &names);
    }
    (all, definitions)
}

/// All of it in version 2, in JSON or in protobuf.
fn swagger_document(registry: &Registry, headers: &HeaderMap) -> Response {
    let ranges = answer::ranges(headers);
    let first = ranges
        .iter()
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .find(|media| [JSON, "*/*", "application/*"].contains(media) || SWAGGER_PROTOBUF.contains(media));
    let as_protobuf = match first {
        Some(media) => SWAGGER_PROTOBUF.contains(&media),
        None if ranges.is_empty() => false,
        None => return answer::bytes(StatusCode::NOT_ACCEPTABLE, "text/plain; charset=utf-8", Bytes::new()),
    };
    let document = || registry.documents.get("v2", || swagger::document(registry).to_string().into_bytes());
    let hashes: String = places(registry).iter().map(|place| hash(registry, place)).collect();
    let tag = answer::tag(format!("{hashes}{as_protobuf}").as_bytes());
    if !as_protobuf {
        return tagged(headers, &tag, JSON, document);
    }
    let encoded = || {
        let shaped = swagger::shaped(&serde_json::from_slice(&document()).unwrap_or_default());
        protobuf::encode_message("openapi.Document", &shaped)
    };
    tagged(headers, &tag, SWAGGER_PROTOBUF[1], || registry.documents.get("v2.protobuf", encoded))
}
