//! Media types: what a route takes and gives, and metadata of one object or of a list.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::server::{Answer, Server, ask};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const META: &str = "g=meta.k8s.io;v=v1";

async fn accepting(server: &Server, method: &str, uri: &str, accept: &str, body: Value) -> Answer {
    let request = Request::builder().method(method).uri(uri).header("accept", accept).header("content-type", "application/json");
    ask(&server.router, request.body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn a_route_of_kubernetes_own_kinds_refuses_what_it_does_not_know_before_it_reads() {
    let server = Server::start().await;
    let one = format!("{MAPS}/a");
    for (uri, named) in [(MAPS, "stream=watch"), (one.as_str(), "application/vnd.kubernetes.protobuf")] {
        for accept in ["text/html", "application/*"] {
            let message = accepting(&server, "GET", uri, accept, json!(null)).await.refused(406, "NotAcceptable");
            assert!(message.starts_with("406: Not Acceptable") && message.ends_with(named), "{uri} {accept}: {message}");
        }
    }
    let refused = accepting(&server, "POST", MAPS, "text/html", json!({"metadata": {"name": "a"}})).await;
    refused.refused(406, "NotAcceptable");
    server.get(&one).await.refused(404, "NotFound");
    for media in ["application/json", "", "application/apply-patch+json"] {
        let refused = server.send("PATCH", &one, media, "{}").await.refused(415, "UnsupportedMediaType");
        assert_eq!(refused, "415: Unsupported Media Type", "{media}");
    }
    for (uri, code) in
        [("/api/v1/configmaps/a", 404), ("/api/v1/namespaces/default/nodes", 404), ("/api/v2/pods", 404), ("/apis/batch/v9/jobs", 404)]
    {
        assert_eq!(server.get(uri).await.expect(code).body["kind"], "Status", "{uri}");
    }
    server.post("/api/v1/configmaps", json!({"metadata": {"name": "a"}})).await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn metadata_is_asked_for_as_what_is_answered() {
    let server = Server::start().await;
    let (one, list) =
        (format!("application/json;as=PartialObjectMetadata;{META}"), format!("application/json;as=PartialObjectMetadataList;{META}"));
    let made = accepting(&server, "POST", MAPS, &list, json!({"metadata": {"name": "a"}})).await.refused(406, "NotAcceptable");
    assert_eq!(made, "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)");
    let uri = format!("{MAPS}/a");
    server.get(&uri).await.expect(200);
    let refused = accepting(&server, "GET", MAPS, &one, json!(null)).await.refused(406, "NotAcceptable");
    assert_eq!(refused, "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)");
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    assert!(accepting(&server, "GET", jobs, &one, json!(null)).await.refused(406, "NotAcceptable").ends_with("(*batch.JobList)"));
    assert_eq!(accepting(&server, "GET", &uri, &one, json!(null)).await.expect(200).body["kind"], "PartialObjectMetadata");
    assert_eq!(accepting(&server, "GET", MAPS, &list, json!(null)).await.expect(200).body["kind"], "PartialObjectMetadataList");
}

#[tokio::test]
async fn a_collection_is_deleted_a_page_at_a_time() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.post(MAPS, json!({"metadata": {"name": name, "labels": {"x": name}}})).await.expect(201);
    }
    let left = async || server.get(MAPS).await.expect(200).body["items"].as_array().unwrap().len();
    let page = server.delete(&format!("{MAPS}?limit=2")).await.expect(200).body;
    assert_eq!((page["items"].as_array().unwrap().len(), left().await), (2, 1));
    assert!(page["metadata"]["continue"].is_string());
    server.delete(&format!("{MAPS}?resourceVersionMatch=Sideways")).await.refused(422, "Invalid");
    server.delete(&format!("{MAPS}?labelSelector=x%3Da")).await.expect(200);
    assert_eq!(left().await, 1);
    server.delete(MAPS).await.expect(200);
    assert_eq!(left().await, 0);
}
