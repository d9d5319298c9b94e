//! The outer form of answers, and what whoever writes is told.

use std::io::Read as _;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn bytes(server: &Server, uri: &str, header: (&str, &str)) -> (Option<String>, Vec<u8>) {
    let request = Request::get(uri).header(header.0, header.1).body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    let encoding = response.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
    (encoding, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn a_large_answer_is_compressed_for_whoever_takes_it_so() {
    let server = Server::start().await;
    server.post(MAPS, json!({"metadata": {"name": "small"}})).await.expect(201);
    server.post(MAPS, json!({"metadata": {"name": "large"}, "data": {"k": "x".repeat(200_000)}})).await.expect(201);
    let take = ("accept-encoding", "br;q=1.0, gzip");
    assert_eq!(bytes(&server, &format!("{MAPS}/small"), take).await.0, None);
    assert_eq!(bytes(&server, &format!("{MAPS}/large"), ("accept", "*/*")).await.0, None);
    let (encoding, body) = bytes(&server, &format!("{MAPS}/large"), take).await;
    assert_eq!(encoding.as_deref(), Some("gzip"));
    assert!(body.len() < 10_000);
    let mut text = String::new();
    flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["data"]["k"].as_str().unwrap().len(), 200_000);
}

#[tokio::test]
async fn a_long_list_is_sent_in_pieces_and_is_the_same_in_every_form() {
    let server = Server::start().await;
    let names: Vec<String> = (0..8).map(|at| format!("m-{at}")).collect();
    for name in &names {
        server.post(MAPS, json!({"metadata": {"name": name}, "data": {"k": "x".repeat(100_000)}})).await.expect(201);
    }
    let request = Request::get(MAPS).body(Body::empty()).unwrap();
    let mut body = server.router.clone().oneshot(request).await.unwrap().into_body();
    let (mut whole, mut pieces) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        whole.extend_from_slice(&frame.unwrap().into_data().unwrap());
        pieces += 1;
    }
    assert_eq!(pieces, 3, "each ends with the object that takes it over 256 KiB");
    assert!(whole.ends_with(b"]}\n"));
    let list: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
    let (encoding, zipped) = bytes(&server, MAPS, ("accept-encoding", "gzip")).await;
    let mut unzipped = Vec::new();
    flate2::read::GzDecoder::new(zipped.as_slice()).read_to_end(&mut unzipped).unwrap();
    assert_eq!((encoding.as_deref(), unzipped == whole), (Some("gzip"), true));
    let pretty = bytes(&server, &format!("{MAPS}?pretty=true"), ("accept", "*/*")).await.1;
    assert_eq!(serde_json::from_slice::<Value>(&pretty).unwrap(), list);
    let (_, yaml) = bytes(&server, MAPS, ("accept", "application/yaml")).await;
    assert_eq!(logic::yaml::parse(std::str::from_utf8(&yaml).unwrap()).unwrap(), [list]);
}

#[tokio::test]
async fn people_get_answers_that_they_can_read() {
    let server = Server::start().await;
    let lines =
        async |uri: &str, agent: &str| bytes(&server, uri, ("user-agent", agent)).await.1.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines("/api/v1/namespaces/default", "curl/8.0").await > 5);
    assert!(lines("/api/v1/namespaces/none", "curl/8.0").await > 5, "refusals too");
    assert!(lines("/api/v1/namespaces/default?pretty=true", "kubectl").await > 5);
    assert!(lines("/api/v1/namespaces/default?pretty=false", "curl/8.0").await <= 1);
    assert!(lines("/api/v1/namespaces/default", "kubectl").await <= 1);
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_told_or_refused() {
    let server = Server::start().await;
    let twice = r#"{"metadata": {"name": "a"}, "data": {"k": "1", "k": "2"}}"#;
    let strict = server.post(&format!("{MAPS}?fieldValidation=Strict"), twice).await.refused(400, "BadRequest");
    assert!(strict.ends_with("strict decoding error: duplicate field \"data.k\""), "{strict}");
    let warned = server.post(MAPS, twice).await.expect(201);
    assert_eq!((warned.warnings.len(), &warned.body["data"]["k"]), (1, &json!("2")));
    let silent = server.merge(&format!("{MAPS}/a?fieldValidation=Ignore"), r#"{"data": {"k": "1", "k": "3"}}"#).await.expect(200);
    assert_eq!((silent.warnings.len(), &silent.body["data"]["k"]), (0, &json!("3")));
}

#[tokio::test]
async fn plain_text_of_a_secret_is_never_kept_as_such() {
    let server = Server::start().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let created = server.post(secrets, json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}})).await.expect(201);
    assert_eq!((&created.body["data"]["k"], &created.body["stringData"]), (&json!("dg=="), &Value::Null));
    let bad = server.post(secrets, json!({"metadata": {"name": "t"}, "data": {"k": "no base64"}})).await;
    assert!(bad.refused(400, "BadRequest").contains("illegal base64 data at input byte"));
    let other = server.merge(&format!("{secrets}/s"), json!({"type": "kubernetes.io/tls"})).await.refused(422, "Invalid");
    assert!(other.contains("type: Invalid value: \"kubernetes.io/tls\": field is immutable"), "{other}");
}

#[tokio::test]
async fn whoever_leads_can_be_written_down() {
    let server = Server::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let spec = json!({"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.000000Z"});
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": spec});
    let mut held = server.post(leases, &lease).await.expect(201).body;
    assert_eq!(held["spec"], spec);
    held["spec"]["holderIdentity"] = json!("b");
    server.put(&format!("{leases}/l"), &held).await.expect(200);
    assert!(server.put(&format!("{leases}/l"), &held).await.refused(409, "Conflict").contains("has been modified"));
    held["metadata"]["resourceVersion"] = Value::Null;
    held["spec"]["leaseDurationSeconds"] = json!(0);
    server.merge(&format!("{leases}/l"), json!({"spec": {"leaseDurationSeconds": 0}})).await.refused(422, "Invalid");
}

#[tokio::test]
async fn what_cannot_be_given_is_not_given_in_another_form() {
    let server = Server::start().await;
    let code = async |uri: &str, accept: &str| {
        let request = Request::get(uri).header("accept", accept).body(Body::empty()).unwrap();
        server.router.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    assert_eq!(code("/apis", beta).await, 406);
    assert_eq!(code("/apis", &format!("{beta},application/json")).await, 200);
    assert_eq!(code(&format!("{MAPS}?watch=true"), "application/yaml").await, 406);
    assert_eq!(code(MAPS, "application/yaml").await, 200);
}

#[tokio::test]
async fn core_kinds_are_told_in_protobuf_and_others_are_not() {
    let server = Server::start().await;
    server.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"key": "value"}})).await.expect(201);
    let ask = async |uri: &str, accept: &str| {
        let request = Request::get(uri).header("accept", accept).body(Body::empty()).unwrap();
        let response = server.router.clone().oneshot(request).await.unwrap();
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), media_type, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    };
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    let services = "/apis/conductor.dev/v1/namespaces/default/services";
    let one = format!("{MAPS}/a");
    let metadata = format!("{PROTOBUF};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
    for (uri, accept, code, media_type) in [
        (one.as_str(), PROTOBUF, 200, PROTOBUF),
        (MAPS, "application/vnd.kubernetes.protobuf,application/json", 200, PROTOBUF),
        ("/api/v1/namespaces/default/configmaps/none", PROTOBUF, 404, PROTOBUF),
        ("/apis", PROTOBUF, 200, PROTOBUF),
        ("/api/v1", PROTOBUF, 200, PROTOBUF),
        (services, PROTOBUF, 406, PROTOBUF),
        (services, "application/vnd.kubernetes.protobuf,application/json", 200, "application/json"),
        (services, metadata.as_str(), 200, PROTOBUF),
    ] {
        let (found_code, found_type, bytes) = ask(uri, accept).await;
        assert_eq!((found_code, found_type.as_str()), (code, media_type), "{uri} {accept}");
        assert_eq!(bytes.starts_with(b"k8s\0"), media_type == PROTOBUF, "{uri}");
    }
    let (code, media_type, bytes) = ask(&format!("{MAPS}?watch=true&timeoutSeconds=1"), &format!("{PROTOBUF};stream=watch")).await;
    assert_eq!((code, media_type.as_str()), (200, "application/vnd.kubernetes.protobuf;stream=watch"));
    let (mut rest, mut frames) = (bytes.as_slice(), 0);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (frame, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        assert!(frame.starts_with(b"\x0a\x05ADDED"), "{frame:?}");
        (rest, frames) = (after, frames + 1);
    }
    assert_eq!(frames, 1);
}

/// The fields of a message, by number; bytes only.
fn fields(mut rest: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    let varint = |rest: &mut &[u8]| {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let (byte, after) = rest.split_first().unwrap();
            *rest = after;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return number;
            }
        }
    };
    while !rest.is_empty() {
        let tag = varint(&mut rest);
        match tag & 7 {
            0 => drop(varint(&mut rest)),
            1 => rest = &rest[8..],
            2 => {
                let length = usize::try_from(varint(&mut rest)).unwrap();
                let (bytes, after) = rest.split_at(length);
                found.push((tag >> 3, bytes));
                rest = after;
            }
            other => panic!("wire type {other}"),
        }
    }
    found
}

#[tokio::test]
async fn openapi_is_whole_in_both_versions_and_kept_by_those_who_have_it() {
    let server = Server::start().await;
    let swagger = server.get("/openapi/v2").await.expect(200).body;
    let definitions = swagger["definitions"].as_object().unwrap();
    let mut references = Vec::new();
    collect(&swagger, &mut references);
    assert!(references.len() > 500, "{}", references.len());
    for reference in references {
        let name = reference.strip_prefix("#/definitions/").unwrap_or_else(|| panic!("{reference}"));
        assert!(definitions.contains_key(name), "{name} is not defined");
    }
    let index = server.get("/openapi/v3").await.expect(200).body;
    for (path, of) in index["paths"].as_object().unwrap() {
        let document = server.get(of["serverRelativeURL"].as_str().unwrap()).await.expect(200).body;
        let mut references = Vec::new();
        collect(&document, &mut references);
        for reference in references {
            let name = reference.strip_prefix("#/components/schemas/").unwrap_or_else(|| panic!("{path}: {reference}"));
            assert!(document["components"]["schemas"][name].is_object(), "{path}: {name} is not defined");
        }
    }
    let ask = async |tag: &str| {
        let accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
        let request = Request::get("/openapi/v2").header("accept", accept).header("if-none-match", tag).body(Body::empty()).unwrap();
        server.router.clone().oneshot(request).await.unwrap()
    };
    let response = ask("").await;
    assert_eq!(response.headers()["content-type"], "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(ask(&tag).await.status(), 304);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let (_, encoded) = *fields(&bytes).iter().find(|(number, _)| *number == 9).unwrap();
    let names: Vec<String> = fields(encoded).iter().map(|(_, named)| String::from_utf8_lossy(fields(named)[0].1).into_owned()).collect();
    assert_eq!(names.len(), definitions.len());
    assert!(names.iter().any(|name| name == "io.k8s.api.core.v1.ConfigMap"));
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            // A property may be called so as well: then it is an object.
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
